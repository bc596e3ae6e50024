//! Stage relay_request: the request body, from the client to the worker.
//!
//! Owns: body framing, the worker's window, the one-buffer-at-a-time rule that is the client's
//! back-pressure. Must never know: the response, what a link is made of. Called by `conn`.

use hostler_driver::{Buffer, BufferMut, Part, PoolClass, ReceiveMode};
use hostler_protocol::http1::ChunkPiece;

use super::{Action, Conn, Context, Leaving, Link, Phase, Reading, Writing};
use crate::respond::OwnAnswer;

/// Chunks of one delivery that go on one by one: Node gives each to the app by itself, and apps exist that take a chunk
/// for a message.
const CHUNKS_ALONE_MAX: usize = 1024;

/// Further ones up to this size are gathered into one buffer: a client that sends one byte a chunk must not cost one
/// frame a byte.
const GATHER_BYTES_MAX: usize = 1024;

/// The chunks of one delivery.
#[derive(Default)]
struct Chunks {
    seen: usize,
    gather: Option<BufferMut>,
}

impl Conn {
    /// Moves what is in the inbox as far as framing and window allow, then asks for more.
    pub(super) fn relay_request(&mut self, cx: &mut Context<'_>) {
        if self.leaving != Leaving::No {
            return;
        }
        let stalled = match self.reading {
            Reading::Done => return,
            Reading::Length(_) => self.relay_length(cx),
            Reading::Chunked(_) if self.request.upgrade => self.relay_verbatim(cx),
            Reading::Chunked(_) => self.relay_chunked(cx),
        };
        let asked = self.request.refusal.is_with_app();
        if self.phase != Phase::Exchange || self.leaving != Leaving::No || asked {
            return;
        }
        if matches!(self.reading, Reading::Done) {
            self.request_complete(cx);
        } else if !stalled && self.window > 0 && !self.body_in_link {
            let class = self.body_class(cx);
            cx.actions.push_back(Action::Receive(ReceiveMode::Once(class)));
        } else {
            self.unpin_head(cx.pool);
            // The stream of the head may still be on: without this a worker that takes nothing holds nobody back.
            cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        }
    }

    /// What the next body bytes are received into. Bytes that the worker does not take wait in that buffer, so a large one
    /// is asked for only when most of it fits into the window.
    fn body_class(&self, cx: &Context<'_>) -> PoolClass {
        let class = PoolClass::Body;
        let fits = self.window >= cx.pool.buffer_bytes(class) / 2;
        if fits { class } else { PoolClass::Head }
    }

    /// Returns true when bytes in hand wait for the worker's window.
    fn relay_length(&mut self, cx: &mut Context<'_>) -> bool {
        let Reading::Length(left) = &mut self.reading else {
            return false;
        };
        let Some(part) = self.inbox.take() else {
            return false;
        };
        let take = (*left).min(part.len() as u64).min(self.window.into()) as usize;
        *left -= take as u64;
        if *left == 0 {
            self.reading = Reading::Done;
        }
        if take < part.len() {
            self.inbox.put_back(part.slice(take..part.len()));
        }
        if take > 0 {
            self.spend(take);
            self.give_body(part.slice(0..take), cx);
        }
        !self.inbox.is_empty()
    }

    /// The chunks of a request that asks for another protocol, as the client wrote them: an app that agrees in the middle
    /// of them reads on from there, and so these bytes and the tunnel's are one text. Node does not look at such a
    /// body at all (`parserOnIncoming` of _http_server.js returns 2). Returns true when bytes in hand wait for the window.
    fn relay_verbatim(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(part), Reading::Chunked(decoder)) = (self.inbox.take(), &mut self.reading) else {
            return false;
        };
        let visible = part.len().min(self.window as usize);
        let scan = match decoder.scan(&part.as_slice()[..visible]) {
            Ok(scan) => scan,
            Err(error) => {
                self.request_broken(400, error.explain(), cx);
                return false;
            }
        };
        if scan.done {
            self.reading = Reading::Done;
        }
        if scan.len < part.len() {
            self.inbox.put_back(part.slice(scan.len..part.len()));
        }
        if scan.len > 0 {
            self.spend(scan.len);
            if self.body_bytes > cx.settings.body_bytes_max {
                self.body_too_large(cx);
                return false;
            }
            self.give_body(part.slice(0..scan.len), cx);
        }
        !self.inbox.is_empty()
    }

    /// Returns true when bytes in hand wait for the worker's window.
    fn relay_chunked(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(part) = self.inbox.take() else {
            return false;
        };
        let mut stalled = false;
        let mut chunks = Chunks::default();
        let mut at = 0;
        while let Reading::Chunked(decoder) = &mut self.reading {
            let rest = &part.as_slice()[at..];
            if self.window == 0 && !rest.is_empty() {
                stalled = true;
                break;
            }
            // The window is a promise about DATA bytes: never look at more than it allows.
            let visible = &rest[..rest.len().min(self.window as usize)];
            let before = decoder.clone();
            let (consumed, piece) = match decoder.next(visible) {
                Ok(step) => step,
                Err(_) if self.offered.is_some() => {
                    // Node has its own words for it: it reads on from where the last good piece ended.
                    self.reading = Reading::Chunked(before);
                    self.flush_gather(&mut chunks, cx);
                    self.inbox.put_back(part.slice(at..part.len()));
                    self.ask_back(cx);
                    return true;
                }
                Err(error) if self.tells_broken(cx) => {
                    self.flush_gather(&mut chunks, cx);
                    let answer = OwnAnswer::BadRequest { status: 400, why: error.explain() };
                    self.ask_app_about_body(answer, &before, &part.as_slice()[at..], cx);
                    return false;
                }
                Err(error) => {
                    self.request_broken(400, error.explain(), cx);
                    return false;
                }
            };
            match piece {
                ChunkPiece::Data(range) => {
                    let data = part.slice(at + range.start..at + range.end);
                    self.spend(data.len());
                    self.give_chunk(&mut chunks, data, cx);
                }
                ChunkPiece::Trailer { name, value } => {
                    let trailers = self.trailers.get_or_insert_default();
                    trailers.extend_from_slice(&visible[name]);
                    trailers.push(0);
                    trailers.extend_from_slice(&visible[value]);
                    trailers.push(0);
                }
                ChunkPiece::End => self.reading = Reading::Done,
                ChunkPiece::NeedMore if consumed > 0 && visible.len() < rest.len() => {}
                ChunkPiece::NeedMore => {
                    at += consumed;
                    stalled = visible.len() < rest.len();
                    break;
                }
            }
            at += consumed;
            if self.body_bytes > cx.settings.body_bytes_max {
                self.body_too_large(cx);
                return false;
            }
        }
        self.flush_gather(&mut chunks, cx);
        if at < part.len() {
            self.inbox.put_back(part.slice(at..part.len()));
        }
        stalled
    }

    fn give_chunk(&mut self, chunks: &mut Chunks, data: Part, cx: &mut Context<'_>) {
        chunks.seen += 1;
        if chunks.seen <= CHUNKS_ALONE_MAX || data.len() > GATHER_BYTES_MAX {
            self.flush_gather(chunks, cx);
            self.give_body(data, cx);
            return;
        }
        if let Some(buffer) = &mut chunks.gather
            && buffer.try_extend(data.as_slice())
        {
            return;
        }
        self.flush_gather(chunks, cx);
        if let Some(mut buffer) = cx.pool.take(PoolClass::Send)
            && buffer.try_extend(data.as_slice())
        {
            chunks.gather = Some(buffer);
            return;
        }
        self.give_body(Part::whole(Buffer::from_vec(data.as_slice().to_vec())), cx);
    }

    fn flush_gather(&mut self, chunks: &mut Chunks, cx: &mut Context<'_>) {
        if let Some(buffer) = chunks.gather.take() {
            self.give_body(Part::whole(buffer.freeze()), cx);
        }
    }

    /// Counts body bytes as soon as they are taken from the inbox, gathered or not: nobody exceeds the window.
    fn spend(&mut self, bytes: usize) {
        self.window = self.window.saturating_sub(bytes as u32);
        self.body_bytes += bytes as u64;
    }

    fn give_body(&mut self, part: Part, cx: &mut Context<'_>) {
        self.body_in_link = true;
        cx.actions.push_back(Action::WorkerBody(part));
    }

    fn request_complete(&mut self, cx: &mut Context<'_>) {
        cx.actions.push_back(Action::WorkerEnd(self.trailers.take().unwrap_or_default()));
        self.mark_ms = cx.now.ms;
        if !self.inbox.is_empty() && !matches!(self.writing, Writing::Done) {
            self.ask_back(cx);
        } else if self.inbox.is_empty() {
            // Listen on, so that a client that leaves is noticed while the worker thinks.
            cx.actions.push_back(Action::Receive(ReceiveMode::Stream));
        }
        if matches!(self.writing, Writing::Done) {
            self.exchange_complete(cx);
        }
    }

    /// The link took the bytes it was given: the next ones may be read.
    pub(super) fn body_sent(&mut self, cx: &mut Context<'_>) {
        self.body_in_link = false;
        if self.link.is_bytes() {
            // A byte connection that takes the bytes gives credit by it.
            self.window = self.link.window();
        }
        match self.phase {
            Phase::Tunnel => self.tunnel_to_worker_sent(cx),
            phase => {
                self.mark_ms = cx.now.ms;
                if phase == Phase::Exchange && !matches!(self.reading, Reading::Done) {
                    self.relay_request(cx);
                }
            }
        }
    }

    pub(super) fn worker_window(&mut self, bytes: u32, cx: &mut Context<'_>) {
        self.window =
            self.window.saturating_add(bytes).min(2 * hostler_protocol::worker::WINDOW_BYTES);
        self.mark_ms = cx.now.ms;
        if self.phase == Phase::Exchange && !matches!(self.reading, Reading::Done) {
            self.relay_request(cx);
        }
    }

    fn body_too_large(&mut self, cx: &mut Context<'_>) {
        if matches!(self.writing, Writing::AwaitHead) {
            self.answer(OwnAnswer::BodyTooLarge, cx);
        } else {
            self.abandon(cx);
        }
    }

    /// The app hears of a body that is not valid.
    fn tells_broken(&self, cx: &Context<'_>) -> bool {
        cx.settings.client_error && matches!(self.link, Link::Stream { .. })
    }

    /// The client broke its request body: nobody can use the rest of this connection.
    pub(super) fn request_broken(&mut self, status: u16, why: &'static str, cx: &mut Context<'_>) {
        if matches!(self.writing, Writing::AwaitHead) {
            self.answer(OwnAnswer::BadRequest { status, why }, cx);
        } else {
            self.abandon(cx);
        }
    }
}
