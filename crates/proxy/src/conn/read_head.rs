//! Stage read_head: bytes become a request, or a refusal.
//!
//! Owns: the whole head in one buffer (the usual case, no copy) and the gathering of heads that come
//! in pieces. Must never know: workers. Called by `conn`.

use hostler_driver::{Buffer, Part};
use hostler_protocol::http1::{
    BodyFraming, ChunkLimits, ChunkedDecoder, HeadScanner, Method, Parsed, RequestError,
};

use super::{Action, Conn, Context, Phase, Reading, Request};
use crate::request_id::RequestId;
use crate::respond::OwnAnswer;

/// A head that comes in pieces. It does not hold a receive buffer, so that slow clients cannot empty the pool.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) bytes: Vec<u8>,
    pub(super) scanner: HeadScanner,
}

impl Conn {
    pub(super) fn read_head(&mut self, part: Part, cx: &mut Context<'_>) {
        if let Some(mut gather) = self.gather.take() {
            gather.bytes.extend_from_slice(part.as_slice());
            let ends_line = part.as_slice().contains(&b'\n');
            drop(part);
            match gather.scanner.scan(&gather.bytes) {
                Ok(Some(_)) => self.parse(Part::whole(Buffer::from_vec(gather.bytes)), cx),
                // The parser says which limit it is.
                Ok(None) if gather.bytes.len() >= cx.settings.head_limits.head_bytes() => {
                    self.parse(Part::whole(Buffer::from_vec(gather.bytes)), cx);
                }
                Ok(None) if ends_line => self.check_gathered(gather, cx),
                Ok(None) => self.gather = Some(gather),
                Err(error) => self.refuse(error, gather.bytes, cx),
            }
            return;
        }
        self.parse(part, cx);
    }

    fn parse(&mut self, part: Part, cx: &mut Context<'_>) {
        match cx.request_head.parse(part.as_slice(), &cx.settings.head_limits) {
            Ok(Parsed::Complete) if self.is_for_node(cx) => {
                self.give_back(part.as_slice().to_vec(), cx);
            }
            Ok(Parsed::Complete) => self.begin_request(part, cx),
            Ok(Parsed::Partial) => self.gather_head(part, cx),
            Err(error) => self.refuse(error, part.as_slice().to_vec(), cx),
        }
    }

    /// A line of the head is whole: what is wrong in it is said now, as it would be had everything come at once. No head
    /// has many lines, so this stays cheap however it is cut.
    fn check_gathered(&mut self, gather: Box<Gather>, cx: &mut Context<'_>) {
        match cx.request_head.parse(&gather.bytes, &cx.settings.head_limits) {
            Ok(_) => self.gather = Some(gather),
            Err(error) => self.refuse(error, gather.bytes, cx),
        }
    }

    /// An offered connection brought what frames cannot carry, or what its server may find too large.
    fn is_for_node(&self, cx: &Context<'_>) -> bool {
        let head = &*cx.request_head;
        self.offered.is_some_and(|offered| {
            head.upgrade || head.method == Method::Connect || head.head_len > offered.head_bytes_max
        })
    }

    fn gather_head(&mut self, part: Part, cx: &mut Context<'_>) {
        if self.phase == Phase::Idle {
            self.set_phase(Phase::Head, cx);
        }
        let mut gather =
            Box::new(Gather { bytes: part.as_slice().to_vec(), scanner: HeadScanner::new() });
        match gather.scanner.scan(&gather.bytes) {
            Ok(_) => self.gather = Some(gather),
            Err(error) => self.refuse(error, gather.bytes, cx),
        }
    }

    /// `read` is what came of the head.
    fn refuse(&mut self, error: RequestError, read: Vec<u8>, cx: &mut Context<'_>) {
        if self.offered.is_some() {
            // Node has its own words for it, and the app may listen to 'clientError'.
            self.give_back(read, cx);
            return;
        }
        let answer = OwnAnswer::BadRequest { status: error.status(), why: error.explain() };
        if cx.settings.client_error && error.is_nodes_too() {
            self.ask_app(answer, read, cx);
            return;
        }
        self.request = Request { started_ms: cx.now.ms, ..Request::NONE };
        self.answer(answer, cx);
    }

    /// The head is whole and valid.
    fn begin_request(&mut self, part: Part, cx: &mut Context<'_>) {
        let bytes = part.as_slice();
        let head = &*cx.request_head;
        let id = head
            .request_id
            .and_then(|span| RequestId::from_client(span.of(bytes)))
            .unwrap_or_else(|| cx.ids.make(cx.now.unix_ms));
        self.request = Request {
            method: head.method,
            version: head.version,
            keep_alive: head.keep_alive,
            upgrade: head.upgrade || head.method == Method::Connect,
            framing: head.framing,
            id,
            started_ms: cx.now.ms,
            ..Request::NONE
        };
        if let Some(sticky) = &cx.settings.sticky {
            self.route = sticky.read(bytes, head);
        }
        self.close_after = !head.keep_alive && self.offered.is_none();
        self.body_bytes = 0;
        let head_len = head.head_len as usize;
        self.reading = match head.framing {
            // Nothing follows, so nothing would ever turn a zero into `Done`.
            BodyFraming::Length(0) => Reading::Done,
            BodyFraming::Length(length) => Reading::Length(length),
            BodyFraming::Chunked => {
                let decoder = ChunkedDecoder::new(ChunkLimits::default());
                // An app under exec sees what Node's own parser shows it.
                let exact = self.offered.is_some();
                Reading::Chunked(if exact { decoder.with_all_trailers() } else { decoder })
            }
            BodyFraming::None | BodyFraming::UntilClose => Reading::Done,
        };
        if head_len < part.len() {
            self.inbox.put_back(part.slice(head_len..part.len()));
        }
        self.head = Some(part.slice(0..head_len));
        self.set_phase(Phase::Queued, cx);
        if matches!(self.reading, Reading::Length(length) if length > cx.settings.body_bytes_max) {
            self.answer(OwnAnswer::BodyTooLarge, cx);
            return;
        }
        cx.actions.push_back(Action::Dispatch);
    }
}
