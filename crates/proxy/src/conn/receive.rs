//! What comes from the client, and who gets it.
//!
//! Owns: whose turn it is with what came, the meaning of FIN in each phase. Must never know: what the bytes
//! mean. Called by `conn`.

use hostler_driver::{Buffer, Part, Pool, PoolClass, ReceiveMode};

use super::{Action, Conn, Context, Keep, Leaving, Phase, Reading, Writing};
use crate::respond::OwnAnswer;

/// Answers waiting for a client above which its next request is not looked at.
pub(super) const PIPELINE_BYTES_MAX: u32 = 64 * 1024;

/// FIN that comes later than this into the queue is no half close.
const HALF_CLOSE_MS_MAX: u64 = 100;

impl Conn {
    pub(super) fn received(&mut self, part: Part, cx: &mut Context<'_>) {
        if self.leaving != Leaving::No {
            // What was on its way when we stopped reading.
            self.inbox.add(part);
            return;
        }
        match self.phase {
            Phase::Idle => self.next_request(part, cx),
            Phase::Head => self.read_head(part, cx),
            Phase::Exchange if !matches!(self.reading, Reading::Done) => {
                self.mark_ms = cx.now.ms;
                self.inbox.add(part);
                self.relay_request(cx);
            }
            Phase::Queued | Phase::Exchange => {
                // Pipelined bytes wait for their turn; the client's socket buffer holds the rest.
                self.inbox.add(part);
                cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
                self.ask_back(cx);
            }
            Phase::Tunnel => self.tunnel_from_client(part, cx),
            Phase::Closing => {}
            Phase::Lingering => self.linger(part.len(), cx),
        }
    }

    /// Bytes of the next request. They wait while the client does not take the answers it has: who pipelines without
    /// reading would fill the memory with answers.
    pub(super) fn next_request(&mut self, part: Part, cx: &mut Context<'_>) {
        let waited = !self.inbox.is_empty();
        self.inbox.add(part);
        if self.leaving != Leaving::No {
            return;
        }
        if self.outbox.waiting() > PIPELINE_BYTES_MAX {
            cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        } else if let Some(part) = self.inbox.take() {
            if waited {
                cx.actions.push_back(Action::Receive(ReceiveMode::Stream));
            }
            self.read_head(part, cx);
        }
    }

    /// Moves what is kept of the request out of its receive buffer when those are short, so that requests which wait long,
    /// in the queue or at a worker, cannot keep new ones from being received.
    pub fn unpin_head(&mut self, pool: &Pool) {
        if pool.free(PoolClass::Head) >= pool.capacity(PoolClass::Head) / 4 {
            return;
        }
        for kept in self.head.iter_mut().chain(self.inbox.first_mut()) {
            if kept.buffer().class() == Some(PoolClass::Head) {
                *kept = Part::whole(Buffer::from_vec(kept.as_slice().to_vec()));
            }
        }
    }

    /// FIN from the client.
    pub(super) fn receive_ended(&mut self, cx: &mut Context<'_>) {
        self.receive_ended = true;
        if self.offered.is_some() {
            self.offered_receive_ended(cx);
            return;
        }
        match self.phase {
            // Node's parser calls this an error, and so may the app.
            Phase::Head if cx.settings.client_error => {
                let read = self.gather.take().map_or_else(Vec::new, |gather| gather.bytes);
                self.ask_app(OwnAnswer::CUT_HEAD, read, cx);
            }
            Phase::Idle | Phase::Head => self.begin_close(cx),
            // FIN may be all that a client had to add, or the end of its patience. Who half-closes does it behind the request,
            // and gets a moment in which a worker may take it and Node decide (see `deadline.rs`); who waits first has left.
            Phase::Queued if cx.now.ms.saturating_sub(self.mark_ms) > HALF_CLOSE_MS_MAX => {
                cx.actions.push_back(Action::Undispatch);
                self.abandon(cx);
            }
            Phase::Queued => {}
            Phase::Exchange if matches!(self.reading, Reading::Done) => {
                // As on a socket of its own: Node decides whether a half-closed client gets its answer.
                self.close_after = true;
                // Not before the first bytes for the new protocol, which wait for the worker to agree to it.
                if !self.request.upgrade || self.inbox.is_empty() {
                    cx.actions.push_back(Action::WorkerHalfClose);
                }
            }
            Phase::Exchange if matches!(self.writing, Writing::Done) => {
                // The answer is whole and may be on its way; only the request will never be.
                self.close_after = true;
                self.release(Keep::Cancel, cx);
                self.finish_exchange(cx);
            }
            Phase::Exchange => self.abandon(cx),
            // A client that half-closes still wants its answer; one that is gone makes the send fail.
            Phase::Closing => {}
            Phase::Tunnel => self.tunnel_client_ended(cx),
            Phase::Lingering => cx.actions.push_back(Action::Close),
        }
    }
}
