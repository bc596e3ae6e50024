//! Stage relay_response: the worker's answer, from the worker to the client.
//!
//! Owns: response heads (1xx and final), where a response ends, the worker's credit. Must never know: the
//! request's body, what a link is made of. Called by `conn`.
//!
//! Bytes of a body are forwarded as the worker wrote them, chunked coding included; they are only followed, so
//! that a response that ends too early or goes on too long is never taken for a good one.

use std::ops::Range;

use hostler_driver::{Buffer, ReceiveMode};
use hostler_protocol::http1::{BodyFraming, ChunkLimits, ChunkedDecoder, Method, Parsed, Version};
use hostler_protocol::worker::WINDOW_BYTES;

use super::{
    Action, BodyLeft, Conn, Context, Keep, Leaving, Link, PIPELINE_BYTES_MAX, Phase, Reading,
    ResponseEnd, Writing,
};
use crate::forward;
use crate::respond::OwnAnswer;

/// How often a request that never left may be given out again: each time a worker refused the connection.
const UNSENT_RETRIES_MAX: u8 = 4;
/// Output towards a client above which a plain worker connection is not read.
const WAITING_BYTES_MAX: u32 = 128 * 1024;

impl Conn {
    pub(super) fn worker_bytes(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        end: ResponseEnd,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        if self.phase == Phase::Tunnel {
            self.tunnel_from_worker(buffer, range, scarce, cx);
            return;
        }
        if self.phase != Phase::Exchange || matches!(self.writing, Writing::Done) {
            return;
        }
        self.mark_ms = cx.now.ms;
        self.unacknowledged += range.len() as u32;
        if self.offered.is_some() {
            self.relay_offered(buffer, range, end, scarce, cx);
            return;
        }
        let from_frames = matches!(self.link, Link::Stream { .. });
        if matches!(self.writing, Writing::AwaitHead) {
            if let Some(mut gathered) = self.response_gather.take() {
                gathered.extend_from_slice(&buffer[range]);
                let buffer = Buffer::from_vec(gathered);
                self.response_head(&buffer, 0..buffer.len(), false, cx);
            } else {
                self.response_head(buffer, range, scarce, cx);
            }
        } else {
            self.response_body(buffer, range, scarce, cx);
        }
        if self.phase != Phase::Exchange {
            return;
        }
        if from_frames {
            self.frames_end(end, cx);
        } else {
            self.plain_progress(cx);
        }
    }

    /// Reads heads until the final one, then goes on with the body.
    fn response_head(
        &mut self,
        buffer: &Buffer,
        mut range: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        let head_only = self.request.method == Method::Head;
        while !range.is_empty() {
            let bytes = &buffer[range.clone()];
            match cx.response_head.parse(bytes, head_only, &cx.settings.response_limits) {
                Ok(Parsed::Complete) => {}
                Ok(Parsed::Partial) => {
                    self.response_gather = Some(bytes.to_vec());
                    return;
                }
                Err(_) => {
                    self.answer(OwnAnswer::WorkerBroken, cx);
                    return;
                }
            }
            let head_len = cx.response_head.head_len as usize;
            let status = cx.response_head.status;
            let connected = self.request.method == Method::Connect && (200..300).contains(&status);
            if status == 101 && !self.request.upgrade {
                // Nobody asked for another protocol: what follows is not ours to interpret.
                self.answer(OwnAnswer::WorkerBroken, cx);
                return;
            }
            if status == 101 || connected {
                forward::write_tunnel_head(
                    &mut self.outbox,
                    cx.pool,
                    bytes,
                    cx.response_head,
                    &self.request,
                );
                self.begin_tunnel(buffer, range.start + head_len..range.end, scarce, cx);
                return;
            }
            if (100..200).contains(&status) {
                // HTTP/1.0 has no interim responses (RFC 9110 section 15.2).
                if self.request.version == Version::Http11 {
                    self.outbox.write(cx.pool, &bytes[..head_len]);
                    self.interim_sent = true;
                }
                range.start += head_len;
                continue;
            }
            self.final_head(bytes, cx);
            range.start += head_len;
            self.response_body(buffer, range, scarce, cx);
            return;
        }
    }

    fn final_head(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let head = &*cx.response_head;
        let left = match head.framing {
            BodyFraming::None => BodyLeft::None,
            BodyFraming::Length(length) => BodyLeft::Length(length),
            BodyFraming::Chunked => {
                let decoder = ChunkedDecoder::new(ChunkLimits::default());
                match self.request.version {
                    Version::Http11 => BodyLeft::Chunked(decoder),
                    Version::Http10 => BodyLeft::Decoded(decoder),
                }
            }
            BodyFraming::UntilClose => BodyLeft::UntilClose,
        };
        // Over frames `Connection: close` is the app's wish for its client; on the plain path it is
        // about the worker's own connection.
        let app_closes = matches!(self.link, Link::Stream { .. }) && !head.keep_alive;
        self.close_after |= app_closes || cx.draining || self.receive_ended;
        self.close_after |= matches!(left, BodyLeft::UntilClose | BodyLeft::Decoded(_));
        self.worker_keeps = head.keep_alive && !matches!(left, BodyLeft::UntilClose);
        if matches!(self.link, Link::Plain { .. }) {
            self.worker_idle_ms = head.keep_alive_s(bytes).map(|s| s.saturating_mul(1_000));
        }
        let announce = if self.close_after {
            forward::Announce::Close
        } else if self.request.version == Version::Http10 {
            forward::Announce::KeepAlive
        } else {
            forward::Announce::Nothing
        };
        forward::write_response_head(
            &mut self.outbox,
            cx.pool,
            bytes,
            head,
            &self.request,
            announce,
        );
        self.request.status = head.status;
        // The answer has begun: no retry any more, so the request's bytes can go, unless the log wants them.
        if cx.log.is_none() {
            self.head = None;
        }
        self.writing = Writing::Body(left);
    }

    fn response_body(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        let Writing::Body(left) = &mut self.writing else {
            return;
        };
        let available = range.len();
        let (take, whole) = match left {
            BodyLeft::None => (0, true),
            BodyLeft::UntilClose => (available, false),
            BodyLeft::Length(missing) => {
                let take = (*missing).min(available as u64) as usize;
                *missing -= take as u64;
                (take, *missing == 0)
            }
            BodyLeft::Chunked(decoder) => match decoder.scan(&buffer[range.clone()]) {
                Ok(scan) => (scan.len, scan.done),
                Err(_) => {
                    self.truncated(cx);
                    return;
                }
            },
            BodyLeft::Decoded(_) => {
                self.decoded_body(buffer, range, scarce, cx);
                return;
            }
        };
        if take > 0 {
            self.request.body_bytes_out += take as u64;
            self.outbox.push(cx.pool, buffer, range.start..range.start + take, scarce);
        }
        if take < available {
            // Bytes behind the end of a response belong to nobody. Over frames they are about the client's connection, on the
            // plain path about the worker's own.
            self.close_after |= matches!(self.link, Link::Stream { .. });
            self.worker_keeps = false;
        }
        if whole {
            *left = BodyLeft::None;
        }
        self.bound_spill(cx);
    }

    /// Cuts the one that makes the shard hold too much for slow readers.
    pub(super) fn bound_spill(&mut self, cx: &mut Context<'_>) {
        let spilled = self.outbox.spilled();
        let others = cx.stats.spilled_bytes - u64::from(self.spill_counted);
        if spilled > 0 && others + u64::from(spilled) > cx.settings.spill_bytes_max {
            self.cut(cx);
        }
    }

    /// Frames say themselves where a response ends; its bytes must agree.
    fn frames_end(&mut self, end: ResponseEnd, cx: &mut Context<'_>) {
        if end == ResponseEnd::Open {
            return;
        }
        self.close_after |= end == ResponseEnd::EndClose;
        match self.writing {
            // Node closed the socket of a client that had half-closed it: nobody waits for an answer.
            Writing::AwaitHead if self.receive_ended => self.abandon(cx),
            Writing::AwaitHead => self.answer(OwnAnswer::WorkerBroken, cx),
            Writing::Body(BodyLeft::None | BodyLeft::UntilClose) => self.response_complete(cx),
            // The app promised more bytes than it wrote: the client must not take this for the whole.
            Writing::Body(BodyLeft::Length(_) | BodyLeft::Chunked(_) | BodyLeft::Decoded(_)) => {
                self.truncated(cx);
            }
            Writing::Done => {}
        }
    }

    /// On the plain path only the bytes tell; ask for more, or hold the worker back.
    fn plain_progress(&mut self, cx: &mut Context<'_>) {
        if matches!(self.writing, Writing::Body(BodyLeft::None)) {
            self.response_complete(cx);
        } else if self.outbox.waiting() < WAITING_BYTES_MAX {
            cx.actions.push_back(Action::WorkerCredit(0));
        } else {
            self.worker_held = true;
        }
    }

    /// The worker's plain connection ended.
    pub(super) fn worker_ended(&mut self, cx: &mut Context<'_>) {
        match (self.phase, &self.writing) {
            (Phase::Exchange, Writing::Body(BodyLeft::UntilClose)) => self.response_complete(cx),
            (Phase::Tunnel, _) => self.tunnel_worker_ended(cx),
            _ => self.worker_lost(false, cx),
        }
    }

    pub(super) fn response_complete(&mut self, cx: &mut Context<'_>) {
        self.writing = Writing::Done;
        if matches!(self.reading, Reading::Done) {
            self.exchange_complete(cx);
        } else if self.close_after {
            self.release(Keep::Cancel, cx);
            self.finish_exchange(cx);
        }
    }

    /// Request and response are complete.
    pub(super) fn exchange_complete(&mut self, cx: &mut Context<'_>) {
        // With the client's FIN passed on, the worker's connection can carry no further request.
        let plain_ends =
            matches!(self.link, Link::Plain { .. }) && (!self.worker_keeps || self.receive_ended);
        self.release(if plain_ends { Keep::Cancel } else { Keep::Reuse }, cx);
        self.finish_exchange(cx);
    }

    /// The response cannot be completed: the client sees a connection that ends too early.
    pub(super) fn truncated(&mut self, cx: &mut Context<'_>) {
        cx.stats.failed += 1;
        self.must_reset |= self.ends_by_close();
        self.release(Keep::Cancel, cx);
        self.writing = Writing::Done;
        self.begin_close(cx);
    }

    pub(super) fn worker_reset(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Exchange | Phase::Tunnel => {
                self.release(Keep::Cancel, cx);
                self.writing = Writing::Done;
                self.begin_close(cx);
            }
            Phase::Idle => self.begin_close(cx),
            Phase::Head | Phase::Queued | Phase::Closing | Phase::Lingering => {}
        }
    }

    /// The worker is gone. The request goes to another one only if no app code can have seen it, or if it may be repeated
    /// (idempotent, no body, no byte of an answer).
    pub(super) fn worker_lost(&mut self, unsent: bool, cx: &mut Context<'_>) {
        if self.offered.is_some() {
            self.offered_worker_lost(cx);
            return;
        }
        match (self.phase, &self.writing) {
            (Phase::Exchange, Writing::AwaitHead) => {
                let untouched =
                    matches!(self.request.framing, BodyFraming::None | BodyFraming::Length(0))
                        && self.response_gather.is_none()
                        && !self.interim_sent;
                let repeatable = unsent || self.request.method.is_idempotent();
                let retries_max = if unsent { UNSENT_RETRIES_MAX } else { 1 };
                let again = self.request.retries < retries_max;
                if untouched && repeatable && self.head.is_some() && again {
                    self.request.retries += 1;
                    cx.stats.retried += 1;
                    self.release(Keep::Cancel, cx);
                    self.set_phase(Phase::Queued, cx);
                    cx.actions.push_back(Action::Dispatch);
                } else {
                    self.answer(OwnAnswer::WorkerLost, cx);
                }
            }
            (Phase::Exchange, _) => self.truncated(cx),
            (Phase::Tunnel, _) => self.worker_reset(cx),
            _ => {}
        }
    }

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
            Link::Stream { .. } if self.credit >= WINDOW_BYTES / 4 => {
                cx.actions.push_back(Action::WorkerCredit(std::mem::take(&mut self.credit)));
            }
            Link::Plain { .. } if self.worker_held && self.outbox.waiting() < WAITING_BYTES_MAX => {
                self.worker_held = false;
                cx.actions.push_back(Action::WorkerCredit(0));
            }
            _ => {}
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
            Phase::Idle | Phase::Head => self.begin_close(cx),
            // FIN may be all that a client had to add, or the end of its patience. In the queue it gets a moment in
            // which a worker may take the request and Node decide; see `deadline.rs`.
            Phase::Queued => {}
            Phase::Exchange if matches!(self.reading, Reading::Done) => {
                // As on a socket of its own: Node decides whether a half-closed client gets its answer.
                self.close_after = true;
                cx.actions.push_back(Action::WorkerHalfClose);
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
