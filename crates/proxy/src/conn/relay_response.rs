//! Stage relay_response: the worker's answer, from the worker to the client.
//!
//! Owns: response heads (1xx and final), where a response ends. Must never know: the request's body, what a link is
//! made of. Called by `conn`.
//!
//! Bytes of a body are forwarded as the worker wrote them, chunked coding included; they are only followed, so
//! that a response that ends too early or goes on too long is never taken for a good one.

use std::ops::Range;

use hostler_driver::Buffer;
use hostler_protocol::http1::{BodyFraming, ChunkLimits, ChunkedDecoder, Method, Parsed, Version};
use hostler_protocol::websocket::FrameBounds;

use super::farewell::begins_websocket;
use super::{
    Action, BodyLeft, Conn, Context, Ending, Keep, Link, Phase, Reading, Refusal, ResponseEnd,
    Writing,
};
use crate::forward;
use crate::respond::OwnAnswer;

/// Output towards a client above which a plain worker connection is not read.
pub(super) const WAITING_BYTES_MAX: u32 = 128 * 1024;

impl Conn {
    pub(super) fn worker_bytes(
        &mut self,
        buffer: &Buffer,
        range: Range<usize>,
        end: ResponseEnd,
        scarce: bool,
        cx: &mut Context<'_>,
    ) {
        if self.offered.is_some() {
            self.relay_offered(buffer, range, end, scarce, cx);
            return;
        }
        if self.phase == Phase::Tunnel {
            self.tunnel_from_worker(buffer, range, scarce, cx);
            return;
        }
        if self.phase != Phase::Exchange || matches!(self.writing, Writing::Done) {
            return;
        }
        self.mark_ms = cx.now.ms;
        self.unacknowledged += range.len() as u32;
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
                self.websocket = (status == 101 && begins_websocket(bytes, cx.response_head))
                    .then(FrameBounds::default);
                let sticky = cx.settings.sticky.as_deref();
                let cookie = self.cookie_to_set(sticky, bytes, cx.response_head);
                forward::write_tunnel_head(
                    &mut self.outbox,
                    cx.pool,
                    bytes,
                    cx.response_head,
                    &self.request,
                    cookie,
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
        // Behind the last request that `maxRequestsPerSocket` allows Node announces the end and leaves it to the client: what
        // comes all the same is answered with 503 (parserOnIncoming of _http_server.js). If the app ends it, END_CLOSE says so.
        let counted_out =
            cx.settings.requests_per_connection_max.is_some_and(|max| self.requests >= max);
        self.close_after |=
            app_closes && !counted_out || cx.ending != Ending::No || self.receive_ended;
        self.close_after |= matches!(left, BodyLeft::UntilClose | BodyLeft::Decoded(_));
        self.worker_keeps = head.keep_alive && !matches!(left, BodyLeft::UntilClose);
        if matches!(self.link, Link::Plain { .. }) {
            self.worker_idle_ms = head.keep_alive_s(bytes).map(|s| s.saturating_mul(1_000));
        }
        let tells_idle = cx.settings.announces_idle
            && matches!(self.link, Link::Stream { .. })
            && head.keep_alive_s(bytes).is_some();
        let announce = if self.close_after || app_closes {
            forward::Announce::Close
        } else if tells_idle {
            forward::Announce::IdleTime
        } else if self.request.version == Version::Http10 {
            forward::Announce::KeepAlive
        } else {
            forward::Announce::Nothing
        };
        let cookie = self.cookie_to_set(cx.settings.sticky.as_deref(), bytes, head);
        forward::write_response_head(
            &mut self.outbox,
            cx.pool,
            bytes,
            head,
            &self.request,
            announce,
            cookie,
        );
        self.request.status = head.status;
        if cx.settings.sticky.is_some() {
            self.expect_session();
        }
        if self.request.refusal.is_with_app() {
            self.request.refusal = Refusal::Answered;
        }
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
        if self.handshake.is_some() {
            self.learn_session(&buffer[range.start..range.start + take], cx);
        }
        let Writing::Body(left) = &mut self.writing else { return };
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
            // Node closed the socket of a client that had half-closed it: nobody waits for an answer. Or the app that of one
            // that had broken its request.
            Writing::AwaitHead if self.receive_ended || self.request.refusal.is_with_app() => {
                self.abandon(cx);
            }
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
        if self.suspect.is_some() {
            cx.actions.push_back(Action::Acquit);
        }
        // With the client's FIN passed on, the worker's connection can carry no further request.
        let ends = self.link.is_bytes() && (!self.worker_keeps || self.receive_ended);
        self.release(if ends { Keep::Cancel } else { Keep::Reuse }, cx);
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
}
