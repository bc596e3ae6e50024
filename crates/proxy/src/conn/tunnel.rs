//! An upgraded connection: bytes pass in both directions until both sides have ended.
//!
//! Owns: one buffer at a time in each direction, half close. Must never know: what they mean; where WebSocket frames end matters to
//! `farewell` alone. Called by `conn`.

use std::ops::Range;

use hostler_driver::{Buffer, Part, PoolClass, ReceiveMode};
use hostler_protocol::worker::WINDOW_BYTES;

use super::{Action, Conn, Context, Keep, Link, Phase, Reading, Refusal, Writing};

/// nginx's status in the log where the server closes without a word: an app may do that to a refused request.
const CLOSED_WITHOUT_ANSWER: u16 = 444;

/// Most bytes of the client that are given to a worker at once. Through a channel two of them and what is ahead stay
/// within the window (`shard/tunnels.rs`).
const PIECE_BYTES_MAX: u32 = WINDOW_BYTES / 4;

impl Link {
    /// Request body bytes that may be given to it at once.
    pub(super) fn window(self) -> u32 {
        if matches!(self, Self::Tunnel { .. }) { PIECE_BYTES_MAX } else { WINDOW_BYTES }
    }
}

impl Conn {
    /// The worker agreed to the upgrade; `rest` are its first bytes behind the head.
    pub(super) fn begin_tunnel(
        &mut self,
        buffer: &Buffer,
        rest: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        self.request.status = cx.response_head.status;
        self.log(cx);
        self.head = None;
        self.reading = Reading::Done;
        self.writing = Writing::Done;
        self.worker_held = false;
        self.set_phase(Phase::Tunnel, cx);
        cx.actions.push_back(Action::Upgraded);
        if rest.is_empty() {
            cx.actions.push_back(Action::WorkerCredit(0));
        } else {
            self.tunnel_from_worker(buffer, rest, scarce, cx);
        }
        match self.inbox.take() {
            Some(early) => self.tunnel_from_client(early, cx),
            // FIN has been passed on.
            None if self.receive_ended => {}
            None => self.receive_next(0, cx),
        }
    }

    pub(super) fn tunnel_from_client(&mut self, part: Part, cx: &mut Context<'_>) {
        // Whoever sends on after a refused request gives the app no more time for its answer.
        if !self.request.refusal.is_with_app() {
            self.mark_ms = cx.now.ms;
        }
        cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        self.tunnel_give(part, cx);
    }

    /// Gives the worker one piece; what is more waits for it to leave.
    fn tunnel_give(&mut self, part: Part, cx: &mut Context<'_>) {
        let piece = part.slice(0..part.len().min(PIECE_BYTES_MAX as usize));
        if piece.len() < part.len() {
            self.inbox.put_back(part.slice(piece.len()..part.len()));
        }
        // Remembered until the bytes have left, so that the next buffer has the right size.
        self.body_bytes = piece.len() as u64;
        self.body_in_link = true;
        cx.actions.push_back(Action::WorkerBody(piece));
        if self.receive_ended && self.inbox.is_empty() {
            cx.actions.push_back(Action::WorkerHalfClose);
        }
    }

    pub(super) fn tunnel_to_worker_sent(&mut self, cx: &mut Context<'_>) {
        if !self.request.refusal.is_with_app() {
            self.mark_ms = cx.now.ms;
        }
        if let Some(rest) = self.inbox.take() {
            self.tunnel_give(rest, cx);
        } else if !self.receive_ended {
            self.receive_next(self.body_bytes, cx);
        }
    }

    /// Small buffers suit messages and cost idle sockets nothing; a full one says that more is coming.
    fn receive_next(&mut self, last_bytes: u64, cx: &mut Context<'_>) {
        let small = u64::from(cx.pool.buffer_bytes(PoolClass::Head));
        let class = if last_bytes >= small { PoolClass::Body } else { PoolClass::Head };
        cx.actions.push_back(Action::Receive(ReceiveMode::Once(class)));
    }

    pub(super) fn tunnel_from_worker(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        self.mark_ms = cx.now.ms;
        match self.request.refusal {
            Refusal::Asked(answer) => self.refusal_answered(answer, buffer, range, cx),
            Refusal::No | Refusal::Answered => self.tunnel_to_client(buffer, range, scarce, cx),
        }
    }

    pub(super) fn tunnel_to_client_sent(&mut self, cx: &mut Context<'_>) {
        self.mark_ms = cx.now.ms;
        if self.outbox.is_empty() {
            if self.worker_held {
                self.worker_gone_quietly(cx);
            } else {
                cx.actions.push_back(Action::WorkerCredit(0));
            }
        }
    }

    pub(super) fn tunnel_client_ended(&mut self, cx: &mut Context<'_>) {
        if self.inbox.is_empty() {
            cx.actions.push_back(Action::WorkerHalfClose);
        }
    }

    /// The worker ended its side: pass on what waits, then FIN. A worker of Node's never goes on reading after that,
    /// so the tunnel is over.
    pub(super) fn tunnel_worker_ended(&mut self, cx: &mut Context<'_>) {
        if self.outbox.is_empty() {
            self.worker_gone_quietly(cx);
        } else {
            self.worker_held = true;
        }
    }

    fn worker_gone_quietly(&mut self, cx: &mut Context<'_>) {
        self.refusal_over(CLOSED_WITHOUT_ANSWER, cx);
        self.release(Keep::Cancel, cx);
        self.begin_close(cx);
        debug_assert!(matches!(self.phase, Phase::Closing | Phase::Lingering));
    }
}
