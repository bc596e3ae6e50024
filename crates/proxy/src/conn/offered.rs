//! A connection that Node accepted and offered to the proxy, under `hostler exec`.
//!
//! Owns: what differs for it. Nothing is added, removed or answered in the app's place; there is no time-out; and what
//! frames cannot carry exactly goes back to Node with the bytes that were read. Must never know: how a descriptor is
//! taken or handed over. Called by the other stages of `conn`.

use std::ops::Range;

use hostler_driver::{Buffer, ReceiveMode};
use hostler_protocol::http1::{ChunkedDecoder, HeadScanner};

use super::read_head::Gather;
use super::{Action, BodyLeft, Conn, Context, Keep, Phase, Reading, ResponseEnd, Writing};

/// Facts about an offered connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The worker's number of the offer.
    pub offer: u32,
    /// The channel it came through; no other worker may have its requests.
    pub channel: u16,
    /// `maxHeaderSize` of the server that accepted it, bytes.
    pub head_bytes_max: u32,
    /// It stands in the shard's list of connections that wait for a whole head.
    pub waits: bool,
}

/// How far an offered connection is on its way back in the middle of an exchange. The worker writes to it until it agrees,
/// so it stays ours until then; and until all that was written has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Frames carry it.
    No,
    /// HOLD is sent. What comes of the client waits.
    Asked,
    /// HELD is here: nothing more comes from the worker.
    Agreed,
}

/// The FIN of the worker's side of an offered connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fin {
    /// The app may write.
    No,
    /// It follows what is in the outbox.
    Due,
    /// The client has it. What the client still sends is the app's, until the app destroys the socket.
    Sent,
}

impl Conn {
    /// Frames cannot carry on: the client sends requests before their turn (Node looks at them at once, and its answers keep
    /// the order), or a body that is not valid.
    pub(super) fn ask_back(&mut self, cx: &mut Context<'_>) {
        if self.offered.is_some() && self.leaving == Leaving::No {
            self.leaving = Leaving::Asked;
            cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
            cx.actions.push_back(Action::WorkerHold);
        }
    }

    /// The worker agrees, or asks itself because the app wants to read the connection.
    pub(super) fn worker_held(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Idle | Phase::Head | Phase::Exchange) {
            self.leaving = Leaving::Agreed;
            cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        }
    }

    /// The way back, once all that the worker wrote has left.
    pub(super) fn go_back(&mut self, cx: &mut Context<'_>) {
        let open = matches!(self.phase, Phase::Idle | Phase::Head | Phase::Exchange);
        if self.leaving != Leaving::Agreed || !self.outbox.is_empty() || !open {
            return;
        }
        let mut read = match &self.reading {
            Reading::Chunked(decoder) => self.resume_text(decoder),
            Reading::Done | Reading::Length(_) => Vec::new(),
        };
        let lead = read.len();
        if let Some(gather) = self.gather.take() {
            read.extend_from_slice(&gather.bytes);
        }
        if let Some(more) = self.inbox.take() {
            read.extend_from_slice(more.as_slice());
        }
        if self.phase == Phase::Exchange {
            self.release(Keep::Reuse, cx);
        }
        self.set_phase(Phase::Closing, cx);
        cx.actions.push_back(Action::GiveBack { lead, read });
    }

    /// The decoder's, with the trailers that were read already.
    pub(super) fn resume_text(&self, decoder: &ChunkedDecoder) -> Vec<u8> {
        let mut text = decoder.resume_text();
        let trailers = self.trailers.as_deref().unwrap_or_default();
        let mut pieces = trailers.split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            for piece in [name, b": ", value, b"\r\n"] {
                text.extend_from_slice(piece);
            }
        }
        text
    }

    /// No whole request head has come yet, and the wait for one is short: Node has time-outs and events for clients that
    /// say nothing, or only half of something. Between two requests of a stream the client may take as long as Node lets it.
    pub fn may_go_back(&self) -> bool {
        self.offered.is_some()
            && match self.phase {
                Phase::Head => true,
                Phase::Idle => self.streams.is_empty(),
                _ => false,
            }
    }

    /// The wait for a whole head is over.
    pub(super) fn give_back_due(&mut self, cx: &mut Context<'_>) {
        if self.may_go_back() {
            let read = self.gather.take().map_or_else(Vec::new, |gather| gather.bytes);
            self.give_back(read, cx);
        }
    }

    /// Hands the connection back to Node with the bytes `read`, the beginning of a request or nothing. While an answer is
    /// still leaving the bytes wait: two writers on one connection would tear each other's answers apart.
    pub(super) fn give_back(&mut self, mut read: Vec<u8>, cx: &mut Context<'_>) {
        if let Some(more) = self.inbox.take() {
            read.extend_from_slice(more.as_slice());
        }
        if self.outbox.is_empty() {
            self.set_phase(Phase::Closing, cx);
            cx.actions.push_back(Action::GiveBack { lead: 0, read });
            return;
        }
        if self.phase == Phase::Idle {
            self.set_phase(Phase::Head, cx);
        }
        self.gather = Some(Box::new(Gather { bytes: read, scanner: HeadScanner::new() }));
        cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
    }

    /// FIN from the client. Node decides what becomes of the connection, also between requests.
    pub(super) fn offered_receive_ended(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            // Node will see it itself.
            _ if self.leaving != Leaving::No => {}
            _ if self.may_go_back() && self.outbox.is_empty() => self.give_back_due(cx),
            Phase::Head => self.begin_close(cx),
            Phase::Idle | Phase::Exchange => cx.actions.push_back(Action::WorkerHalfClose),
            Phase::Queued | Phase::Tunnel | Phase::Closing | Phase::Lingering => {}
        }
    }

    /// Response bytes as the app wrote them; the worker's frames alone say where a response ends.
    pub(super) fn relay_offered(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        end: ResponseEnd,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        let open = matches!(self.phase, Phase::Idle | Phase::Head | Phase::Exchange);
        if !open || self.fin != Fin::No {
            return;
        }
        self.mark_ms = cx.now.ms;
        self.unacknowledged += range.len() as u32;
        if matches!(self.writing, Writing::AwaitHead) {
            self.head = None;
            self.writing = Writing::Body(BodyLeft::UntilClose);
        }
        // Bytes behind the answer are what the app writes to the socket itself.
        let answers = !matches!(self.writing, Writing::Done);
        self.raw |= !answers;
        if !range.is_empty() {
            self.outbox.push(cx.pool, buffer, range, scarce);
        }
        if end == ResponseEnd::EndClose {
            self.fin = Fin::Due;
        }
        if end != ResponseEnd::Open && answers {
            self.response_complete(cx);
        }
        self.send_fin(cx);
    }

    /// Only the app's own side is over with `socket.end()`: Node goes on reading until the client's FIN. When the app (or Node,
    /// behind an answer that is the last) destroys the socket, RESET says so.
    pub(super) fn send_fin(&mut self, cx: &mut Context<'_>) {
        if self.fin == Fin::Due && self.outbox.is_empty() && self.phase != Phase::Closing {
            self.fin = Fin::Sent;
            cx.actions.push_back(Action::ShutdownWrite);
        }
    }

    /// The process is gone, or its channel: as under Node alone what it had written still arrives, then the connection ends.
    pub(super) fn offered_worker_lost(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Closing | Phase::Lingering) {
            return;
        }
        if self.phase == Phase::Exchange {
            self.release(Keep::Cancel, cx);
            self.writing = Writing::Done;
        }
        self.begin_close(cx);
    }
}
