//! How a connection ends.
//!
//! Owns: flushing, lingering, cutting. Must never know: why. Called by `conn`.

use hostler_driver::ReceiveMode;

use super::{Action, BodyLeft, Conn, Context, Fin, Keep, Phase, Reading, Writing};

/// nginx's status in the log for a client that left before its answer began; nothing is sent with it.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Bytes a client may still send after our last words before it is cut off.
const LINGER_BYTES_MAX: u64 = 256 * 1024;

impl Conn {
    /// Sends what waits, then closes; lingers if the client may still be sending.
    pub(super) fn begin_close(&mut self, cx: &mut Context<'_>) {
        self.gather = None;
        self.head = None;
        self.set_phase(Phase::Closing, cx);
        if self.outbox.is_empty() {
            self.last_bytes_sent(cx);
        }
    }

    /// Nothing is left to send.
    pub(super) fn last_bytes_sent(&mut self, cx: &mut Context<'_>) {
        let unread =
            self.must_linger || !matches!(self.reading, Reading::Done) || !self.inbox.is_empty();
        self.inbox.clear();
        if self.offered.is_some() {
            // The worker may hold its descriptor a little longer, and the client should not wait for that.
            if self.fin != Fin::Sent {
                cx.actions.push_back(Action::ShutdownWrite);
            }
            cx.actions.push_back(Action::Close);
            return;
        }
        if self.must_reset {
            cx.actions.push_back(Action::Reset);
            return;
        }
        if self.receive_ended || !unread {
            cx.actions.push_back(Action::Close);
            return;
        }
        // Closing with unread bytes makes the kernel send RST, and RST makes the client's kernel throw our
        // answer away (RFC 9112 section 9.6).
        cx.actions.push_back(Action::ShutdownWrite);
        cx.actions.push_back(Action::Receive(ReceiveMode::Stream));
        self.body_bytes = 0;
        self.set_phase(Phase::Lingering, cx);
    }

    /// Bytes that nobody reads any more.
    pub(super) fn linger(&mut self, bytes: usize, cx: &mut Context<'_>) {
        self.body_bytes += bytes as u64;
        if self.body_bytes > LINGER_BYTES_MAX {
            cx.actions.push_back(Action::Close);
        }
    }

    /// Ends without (the rest of) this answer. Answers that were given before and are still on their way arrive: a client
    /// that pipelines is owed them whatever became of a later request.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>) {
        self.must_reset |= self.ends_by_close();
        self.log_left(cx);
        self.release(Keep::Cancel, cx);
        self.writing = Writing::Done;
        self.begin_close(cx);
    }

    /// The client takes the end of its connection for the end of the answer in hand.
    pub(super) fn ends_by_close(&self) -> bool {
        matches!(self.writing, Writing::Body(BodyLeft::UntilClose | BodyLeft::Decoded(_)))
    }

    fn log_left(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Tunnel {
            self.refusal_over(CLIENT_CLOSED_REQUEST, cx);
        }
        if matches!(self.phase, Phase::Queued | Phase::Exchange) {
            if self.request.status == 0 {
                self.request.status = CLIENT_CLOSED_REQUEST;
            }
            self.log(cx);
        }
    }

    /// Ends at once: the client is gone, or nothing sensible can be said to it.
    pub(super) fn cut(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Queued {
            cx.actions.push_back(Action::Undispatch);
        }
        self.log_left(cx);
        if matches!(self.phase, Phase::Exchange | Phase::Tunnel) {
            self.release(Keep::Cancel, cx);
        }
        self.gather = None;
        self.outbox.clear();
        let resets = self.must_reset || self.ends_by_close();
        if !matches!(self.phase, Phase::Closing | Phase::Lingering) {
            // So that nothing else of this step goes on with the exchange.
            self.set_phase(Phase::Closing, cx);
        }
        cx.actions.push_back(if resets { Action::Reset } else { Action::Close });
    }
}
