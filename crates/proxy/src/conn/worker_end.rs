//! A worker ends its side in the middle of something.
//!
//! Owns: whether that is the end of an answer, a broken one, or a reason to ask another worker. Must never know: why the
//! worker ended. Called by `conn`.

use hostler_protocol::http1::BodyFraming;

use super::{Action, BodyLeft, Conn, Context, Keep, Phase, Reading, Refusal, Writing};
use crate::respond::OwnAnswer;

/// How often a request that never left may be given out again: each time a worker refused the connection.
const UNSENT_RETRIES_MAX: u8 = 4;

/// How often one is repeated in all whose last worker was killed by somebody: that may happen to a whole row of workers.
const BLAMELESS_RETRIES_MAX: u8 = 3;

impl Conn {
    /// The worker's plain connection ended.
    pub(super) fn worker_ended(&mut self, cx: &mut Context<'_>) {
        match (self.phase, &self.writing) {
            (Phase::Exchange, Writing::Body(BodyLeft::UntilClose)) => self.response_complete(cx),
            (Phase::Tunnel, _) => match self.request.refusal {
                Refusal::Asked(answer) => self.refusal_ended(answer, cx),
                Refusal::No | Refusal::Answered => self.tunnel_worker_ended(cx),
            },
            _ => self.worker_lost(false, cx),
        }
    }

    pub(super) fn worker_reset(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Exchange | Phase::Tunnel => {
                self.release(Keep::Cancel, cx);
                self.writing = Writing::Done;
                self.begin_close(cx);
            }
            Phase::Idle => self.begin_close(cx),
            // Part of the next request is here, and the stream it was to come on is free.
            Phase::Head if self.offered.is_some() => self.begin_close(cx),
            Phase::Head | Phase::Queued | Phase::Closing | Phase::Lingering => {}
        }
    }

    /// The worker is gone. The request goes to another one only if no app code can have seen it, or if it may be repeated
    /// (idempotent, no body, no byte of an answer at the client).
    pub(super) fn worker_lost(&mut self, unsent: bool, cx: &mut Context<'_>) {
        if self.offered.is_some() {
            self.offered_worker_lost(cx);
            return;
        }
        match (self.phase, &self.writing) {
            (Phase::Exchange, Writing::AwaitHead) => {
                if let Refusal::Asked(answer) = self.request.refusal {
                    self.answer(answer, cx);
                    return;
                }
                // A piece of a head that is here already is nothing that the client has seen.
                let untouched =
                    matches!(self.request.framing, BodyFraming::None | BodyFraming::Length(0))
                        && !self.interim_sent;
                let repeatable = unsent || self.request.method.is_idempotent();
                let blameless = std::mem::take(&mut self.request.blameless);
                let retries_max = match (unsent, blameless) {
                    (true, _) => UNSENT_RETRIES_MAX,
                    (false, true) => BLAMELESS_RETRIES_MAX,
                    (false, false) => 1,
                };
                let again = self.request.retries < retries_max;
                if untouched && repeatable && self.head.is_some() && again {
                    self.request.retries += 1;
                    self.response_gather = None;
                    cx.stats.retried += 1;
                    self.release(Keep::Cancel, cx);
                    self.set_phase(Phase::Queued, cx);
                    cx.actions.push_back(Action::Dispatch);
                } else {
                    self.answer(OwnAnswer::WorkerLost, cx);
                }
            }
            // The client has all of it, and may have sent its next request: only the frame that says so is missing.
            (Phase::Exchange, Writing::Body(BodyLeft::None)) => self.whole_without_a_word(cx),
            (Phase::Exchange, _) => self.truncated(cx),
            (Phase::Tunnel, _) => match self.request.refusal {
                Refusal::Asked(answer) => self.answer(answer, cx),
                Refusal::No | Refusal::Answered => self.worker_reset(cx),
            },
            _ => {}
        }
    }

    /// The worker's event loop hangs, and the client need not wait until somebody ends it. The request is not repeated: perhaps it
    /// is the one that hangs the worker.
    pub(super) fn worker_hangs(&mut self, cx: &mut Context<'_>) {
        match (self.phase, &self.writing, self.request.refusal) {
            _ if self.offered.is_some() => {}
            (Phase::Exchange, Writing::AwaitHead, Refusal::Asked(answer))
            | (Phase::Tunnel, _, Refusal::Asked(answer)) => self.answer(answer, cx),
            (Phase::Exchange, Writing::AwaitHead, _) => self.answer(OwnAnswer::WorkerHangs, cx),
            (Phase::Exchange, Writing::Body(BodyLeft::None), _) => self.whole_without_a_word(cx),
            (Phase::Exchange, _, _) => self.truncated(cx),
            (Phase::Tunnel, _, _) => self.worker_reset(cx),
            _ => {}
        }
    }

    /// The answer is complete by its own framing, and the worker will not say so any more.
    fn whole_without_a_word(&mut self, cx: &mut Context<'_>) {
        self.close_after |= !matches!(self.reading, Reading::Done);
        self.writing = Writing::Done;
        self.release(Keep::Cancel, cx);
        self.finish_exchange(cx);
    }
}
