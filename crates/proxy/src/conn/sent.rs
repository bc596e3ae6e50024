//! What the client has taken.
//!
//! Owns: what follows when a send leaves: the worker's credit, the next request, the end. Must never know: what was sent.
//! Called by `conn`.

use hostler_driver::ReceiveMode;
use hostler_protocol::worker::WINDOW_BYTES;

use super::receive::PIPELINE_BYTES_MAX;
use super::relay_response::WAITING_BYTES_MAX;
use super::{Action, Conn, Context, Leaving, Link, Phase, Writing};

impl Conn {
    /// A send to the client is complete: credit the worker, go on.
    pub(super) fn sent(&mut self, cx: &mut Context<'_>) {
        let bytes = self.outbox.sent();
        self.mark_sent(cx);
        let taken = if self.outbox.is_empty() {
            self.unacknowledged
        } else {
            bytes.min(self.unacknowledged)
        };
        self.unacknowledged -= taken;
        self.credit += taken;
        if self.raw {
            self.credit_worker(cx);
        }
        match self.phase {
            Phase::Exchange if !matches!(self.writing, Writing::Done) => self.credit_worker(cx),
            Phase::Idle
                if self.outbox.waiting() <= PIPELINE_BYTES_MAX && self.leaving == Leaving::No =>
            {
                if let Some(part) = self.inbox.take() {
                    cx.actions.push_back(Action::Receive(ReceiveMode::Stream));
                    self.read_head(part, cx);
                }
            }
            Phase::Tunnel => self.tunnel_to_client_sent(cx),
            Phase::Closing if self.outbox.is_empty() => self.last_bytes_sent(cx),
            _ => {}
        }
        self.send_fin(cx);
    }

    /// The client takes bytes. That is progress only where the client's reading is waited for: a slow reader of one
    /// answer gets no more time for its next head.
    pub(super) fn mark_sent(&mut self, cx: &Context<'_>) {
        // Idle counts too: whoever still takes the last answer is not idle yet.
        if matches!(self.phase, Phase::Exchange | Phase::Tunnel | Phase::Closing | Phase::Idle) {
            self.mark_ms = cx.now.ms;
        }
    }

    fn credit_worker(&mut self, cx: &mut Context<'_>) {
        match self.link {
            Link::Stream { .. } | Link::None if self.credit >= WINDOW_BYTES / 2 => {
                cx.actions.push_back(Action::WorkerCredit(std::mem::take(&mut self.credit)));
            }
            Link::Plain { .. } | Link::Tunnel { .. }
                if self.worker_held && self.outbox.waiting() < WAITING_BYTES_MAX =>
            {
                self.worker_held = false;
                cx.actions.push_back(Action::WorkerCredit(0));
            }
            _ => {}
        }
    }
}
