//! The two ends of an exchange: a worker gets the request, the request is over.
//!
//! Owns: what is set when an exchange begins and forgotten when it ends, and the answers in the app's place. Must never
//! know: what happens in between. Called by the stages of `conn`.

use hostler_driver::ReceiveMode;
use hostler_protocol::http1::{Method, Version};

use super::{
    Action, Conn, Context, Ending, Keep, Leaving, Link, Phase, Reading, Refusal, Request, Writing,
};
use crate::respond::{AnswerFacts, OwnAnswer, write_answer};

impl Conn {
    pub(super) fn granted(&mut self, link: Link, cx: &mut Context<'_>) {
        if self.request.refusal.is_with_app() {
            self.begin_refused(link, cx);
            return;
        }
        self.link = link;
        self.requests = self.requests.saturating_add(1);
        self.generation = self.generation.wrapping_add(1);
        self.writing = Writing::AwaitHead;
        self.window = link.window();
        self.unacknowledged = 0;
        self.credit = 0;
        self.body_in_link = false;
        self.worker_held = false;
        self.interim_sent = false;
        self.raw = false;
        self.set_phase(Phase::Exchange, cx);
        cx.actions.push_back(Action::WorkerHead);
        self.relay_request(cx);
        if !self.inbox.is_empty() && matches!(self.reading, Reading::Done) {
            self.ask_back(cx);
        }
        if self.receive_ended && self.phase == Phase::Exchange {
            // The client sent FIN in the queue, behind its request or in the middle of it.
            self.receive_ended(cx);
        }
    }

    /// Answers in place of the app, and ends the exchange.
    pub(crate) fn answer(&mut self, answer: OwnAnswer, cx: &mut Context<'_>) {
        if self.offered.is_some() {
            self.cut(cx);
            return;
        }
        let status = answer.status();
        if status >= 500 {
            cx.stats.failed += 1;
        } else {
            cx.stats.refused += 1;
        }
        let request_read = matches!(self.phase, Phase::Queued | Phase::Exchange)
            && matches!(self.reading, Reading::Done)
            && !self.request.refusal.is_with_app();
        self.request.refusal = Refusal::No;
        let keep = request_read
            && self.request.keep_alive
            && cx.ending == Ending::No
            && !self.receive_ended;
        let facts = AnswerFacts {
            request_id: self.request.id.as_bytes(),
            head_only: self.request.method == Method::Head,
            close: !keep,
            announce_keep_alive: self.request.version == Version::Http10,
            unix_ms: cx.now.unix_ms,
            random: cx.ids.random(),
        };
        write_answer(&mut self.outbox, cx.pool, answer, &facts);
        self.request.status = status;
        self.request.worker = None;
        self.release(Keep::Cancel, cx);
        self.writing = Writing::Done;
        self.close_after = !keep;
        self.must_linger = !request_read;
        self.finish_exchange(cx);
    }

    /// Gives the link back, if there is one.
    pub(super) fn release(&mut self, keep: Keep, cx: &mut Context<'_>) {
        if keep == Keep::Cancel
            && let Some(at) =
                cx.actions.iter().position(|action| matches!(action, Action::WorkerHead))
        {
            // What this step meant to tell a worker that has not heard of the request is better not said.
            cx.actions.truncate(at);
        }
        if self.link != Link::None {
            cx.actions.push_back(Action::Release(keep));
        }
    }

    /// Both directions are complete (or given up): next request, or close.
    pub(super) fn finish_exchange(&mut self, cx: &mut Context<'_>) {
        self.log(cx);
        cx.stats.requests += 1;
        self.head = None;
        self.response_gather = None;
        self.handshake = None;
        self.trailers = None;
        if self.close_after || cx.ending == Ending::Stopping {
            self.begin_close(cx);
            return;
        }
        self.reading = Reading::Done;
        self.request = Request::NONE;
        self.set_phase(Phase::Idle, cx);
        if self.leaving != Leaving::No {
            return;
        }
        if let Some(part) = self.inbox.take() {
            cx.actions.push_back(Action::Receive(ReceiveMode::Stream));
            self.next_request(part, cx);
        } else if self.receive_ended && self.offered.is_none() {
            self.begin_close(cx);
        }
    }
}
