//! Deadlines: every phase has one.
//!
//! Owns: when a connection has waited too long, for whom, and what follows. Must never know: the wheel.
//! Called by `conn` and by the shard (which asks for the deadline after every step).

use super::{Action, Conn, Context, Keep, Phase, Reading, Refusal, Writing};
use crate::respond::OwnAnswer;
use crate::settings::Settings;

/// How long a client may take to read our last words after FIN.
const LINGER_MS_MAX: u64 = 2_000;

/// How long a client that has sent FIN may stay in the queue: nearly always it has left.
const ENDED_CLIENT_MS_MAX: u64 = 1_000;
/// How long a client that came during the stop may take to send its request.
const LATE_CLIENT_MS_MAX: u64 = 1_000;

/// Whose turn it is in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    ClientToSend,
    ClientToRead,
    Worker,
}

impl Conn {
    /// The moment at which the present wait has lasted too long, shard milliseconds.
    pub fn deadline_ms(&self, settings: &Settings) -> u64 {
        let limit_ms = match self.phase {
            // Node's own time-outs run in the worker; ours would be seen.
            _ if self.offered.is_some() && self.phase != Phase::Closing => return u64::MAX,
            // The last answer has not left yet: it is the client's turn to read, not to ask.
            Phase::Idle if !self.outbox.is_empty() => settings.client_silence_ms_max,
            // As under Node, where a connection that has asked nothing yet is a head that is late, however short
            // `keepAliveTimeout` is.
            Phase::Idle if self.requests == 0 => settings.idle_ms_max.max(settings.head_ms_max),
            Phase::Idle => settings.idle_ms_max,
            Phase::Head => settings.head_ms_max,
            Phase::Queued if self.receive_ended => settings.queue_ms_max.min(ENDED_CLIENT_MS_MAX),
            // The queue itself ends the wait to the millisecond, and knows whether a start is under way.
            Phase::Queued => settings.queue_ms_max.saturating_add(settings.start_wait_ms()),
            Phase::Exchange => match self.waits_for() {
                WaitsFor::Worker => settings.worker_silence_ms_max,
                WaitsFor::ClientToSend | WaitsFor::ClientToRead => settings.client_silence_ms_max,
            },
            Phase::Tunnel => match self.request.refusal {
                Refusal::No => settings.tunnel_idle_ms_max,
                Refusal::Asked(_) => settings.worker_silence_ms_max,
                Refusal::Answered => settings.client_silence_ms_max,
            },
            Phase::Closing => settings.client_silence_ms_max,
            Phase::Lingering => LINGER_MS_MAX,
        };
        let deadline_ms = self.mark_ms.saturating_add(limit_ms);
        deadline_ms
            .min(self.request_deadline_ms(settings))
            .min(self.farewell_ms())
            .min(self.answer_deadline_ms(settings))
    }

    /// The moment at which the answer's head must be here, if it is not. A stream whose head is out may take as long as it likes.
    fn answer_deadline_ms(&self, settings: &Settings) -> u64 {
        let limited = settings.answer_ms_max != u64::MAX;
        let waits = limited && (self.phase == Phase::Queued || self.is_unanswered());
        if waits && !self.request.refusal.is_with_app() {
            self.request.started_ms.saturating_add(settings.answer_ms_max)
        } else {
            u64::MAX
        }
    }

    /// The moment at which the whole request must be here, if it is not.
    fn request_deadline_ms(&self, settings: &Settings) -> u64 {
        let arrives = self.phase == Phase::Head
            || self.phase == Phase::Exchange && !matches!(self.reading, Reading::Done);
        if arrives { self.began_ms.saturating_add(settings.request_ms_max) } else { u64::MAX }
    }

    /// Shortens the wait for the first request of a client that came while the server is stopping.
    pub fn hurry(&mut self, settings: &Settings) {
        let wait_ms = settings.idle_ms_max.max(settings.head_ms_max);
        let spared_ms = wait_ms.saturating_sub(LATE_CLIENT_MS_MAX);
        self.mark_ms = self.mark_ms.saturating_sub(spared_ms);
    }

    fn waits_for(&self) -> WaitsFor {
        if !self.outbox.is_empty() {
            WaitsFor::ClientToRead
        } else if !matches!(self.reading, Reading::Done) && self.window > 0 && !self.body_in_link {
            WaitsFor::ClientToSend
        } else {
            WaitsFor::Worker
        }
    }

    pub(super) fn deadline_passed(&mut self, cx: &mut Context<'_>) {
        if cx.now.ms < self.deadline_ms(cx.settings) {
            return;
        }
        if cx.now.ms >= self.farewell_ms() {
            self.farewell_due(cx);
            return;
        }
        match self.phase {
            Phase::Idle => self.begin_close(cx),
            Phase::Head if cx.settings.client_error => {
                let read = self.gather.take().map_or_else(Vec::new, |gather| gather.bytes);
                self.ask_app(OwnAnswer::ClientTimeout, read, cx);
            }
            Phase::Head => self.answer(OwnAnswer::ClientTimeout, cx),
            Phase::Queued if self.receive_ended => {
                cx.actions.push_back(Action::Undispatch);
                self.abandon(cx);
            }
            Phase::Queued => {
                cx.actions.push_back(Action::Undispatch);
                self.answer(OwnAnswer::Overload, cx);
            }
            Phase::Exchange => self.exchange_late(cx),
            Phase::Tunnel => {
                if let Refusal::Asked(answer) = self.request.refusal {
                    self.answer(answer, cx);
                    return;
                }
                self.release(Keep::Cancel, cx);
                self.begin_close(cx);
            }
            Phase::Closing | Phase::Lingering => self.cut(cx),
        }
    }

    fn exchange_late(&mut self, cx: &mut Context<'_>) {
        let unanswered = matches!(self.writing, Writing::AwaitHead);
        if cx.now.ms >= self.answer_deadline_ms(cx.settings) {
            let waited_ms = cx.now.ms.saturating_sub(self.request.started_ms);
            cx.actions.push_back(Action::TimedOut(waited_ms));
            self.answer(OwnAnswer::RequestTimeout, cx);
            return;
        }
        if cx.now.ms >= self.request_deadline_ms(cx.settings) {
            // As `requestTimeout` of Node (onRequestTimeout of _http_server.js): 408, if nothing has been said yet.
            match unanswered {
                true => self.answer(OwnAnswer::ClientTimeout, cx),
                false => self.cut(cx),
            }
            return;
        }
        if let (Refusal::Asked(answer), true) = (self.request.refusal, unanswered) {
            self.answer(answer, cx);
            return;
        }
        match self.waits_for() {
            WaitsFor::ClientToSend if unanswered => self.answer(OwnAnswer::ClientTimeout, cx),
            WaitsFor::Worker if unanswered => self.answer(OwnAnswer::WorkerTimeout, cx),
            WaitsFor::ClientToSend | WaitsFor::ClientToRead | WaitsFor::Worker => self.cut(cx),
        }
    }
}
