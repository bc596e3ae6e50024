//! A request that is refused, where the app answers client errors itself.
//!
//! Owns: its way to a worker's own parser over a plain connection of its own, as the raw bytes that they are, and the answer
//! that comes back. Must never know: what is wrong with it; which bytes make Node raise `'clientError'`. Called by `conn`.
//!
//! Nothing is smuggled: the loader lets Node's parser see the bytes only if it refuses them too (`refusal.cjs`), else it gives
//! them back and the answer is ours; and the connection serves this client alone and ends with it.

use std::ops::Range;

use hostler_driver::{Buffer, Part, ReceiveMode};
use hostler_protocol::http1::ChunkedDecoder;

use super::{Action, Conn, Context, Link, Phase, Reading, Request, Writing};
use crate::forward::REFUSAL_RETURNED;
use crate::respond::OwnAnswer;

/// How far a refused request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not refused, or we answer.
    No,
    /// The app is asked; we answer if it cannot be reached.
    Asked(OwnAnswer),
    /// The app answers. What it writes and how it ends is its own business.
    Answered,
}

impl Refusal {
    /// The app has, or is to have, the request.
    pub fn is_with_app(self) -> bool {
        self != Self::No
    }
}

impl Conn {
    /// Asks the app to answer in the place of `answer`; `read` is what came of the request.
    pub(super) fn ask_app(&mut self, answer: OwnAnswer, mut read: Vec<u8>, cx: &mut Context<'_>) {
        if let Some(more) = self.inbox.take() {
            read.extend_from_slice(more.as_slice());
        }
        self.gather = None;
        self.reading = Reading::Done;
        self.writing = Writing::Done;
        self.close_after = true;
        self.must_linger = true;
        self.request = Request {
            started_ms: cx.now.ms,
            upgrade: true,
            refusal: Refusal::Asked(answer),
            ..Request::NONE
        };
        self.inbox.put_back(Part::whole(Buffer::from_vec(read)));
        self.set_phase(Phase::Queued, cx);
        cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        cx.actions.push_back(Action::Dispatch);
    }

    /// A worker has a connection for it: from here on it is a tunnel.
    pub(super) fn begin_refused(&mut self, link: Link, cx: &mut Context<'_>) {
        self.link = link;
        self.worker_held = false;
        self.set_phase(Phase::Tunnel, cx);
        cx.actions.push_back(Action::WorkerHead);
        if let Some(read) = self.inbox.take() {
            self.tunnel_from_client(read, cx);
        } else if self.receive_ended {
            cx.actions.push_back(Action::WorkerHalfClose);
        }
    }

    /// The body is not valid from `read` on; `decoder` stands in front of it. Over frames the app has the request, and its
    /// parser is told (as onParserExecuteCommon of _http_server.js does it for a parser that reads): what the app then writes
    /// is the answer, or the end of it.
    pub(super) fn ask_app_about_body(
        &mut self,
        answer: OwnAnswer,
        decoder: &ChunkedDecoder,
        read: &[u8],
        cx: &mut Context<'_>,
    ) {
        let lead = self.resume_text(decoder);
        cx.actions.push_back(Action::WorkerBroken { lead, read: read.to_vec() });
        cx.actions.push_back(Action::Receive(ReceiveMode::Paused));
        self.must_linger = true;
        self.close_after = true;
        if matches!(self.writing, Writing::Done) {
            self.abandon(cx);
            return;
        }
        self.reading = Reading::Done;
        self.request.refusal = Refusal::Asked(answer);
    }

    /// The first bytes that come back; they may be no answer, or the first bytes of none.
    pub(super) fn refusal_answered(
        &mut self,
        answer: OwnAnswer,
        buffer: &Buffer,
        range: Range<usize>,
        cx: &mut Context<'_>,
    ) {
        let mut bytes = self.response_gather.take().unwrap_or_default();
        bytes.extend_from_slice(&buffer[range]);
        if bytes == REFUSAL_RETURNED {
            self.answer(answer, cx);
        } else if REFUSAL_RETURNED.starts_with(&bytes) {
            self.response_gather = Some(bytes);
            cx.actions.push_back(Action::WorkerCredit(0));
        } else {
            self.refusal_over(status_of(&bytes).unwrap_or_else(|| answer.status()), cx);
            self.outbox.write(cx.pool, &bytes);
        }
    }

    /// The worker closed without a word, as an app may do, or in the middle of a word that was for us.
    pub(super) fn refusal_ended(&mut self, answer: OwnAnswer, cx: &mut Context<'_>) {
        if self.response_gather.take().is_some() {
            self.answer(answer, cx);
        } else {
            self.tunnel_worker_ended(cx);
        }
    }

    /// It has its answer, or will never have one.
    pub(super) fn refusal_over(&mut self, status: u16, cx: &mut Context<'_>) {
        if matches!(self.request.refusal, Refusal::Asked(_)) {
            self.request.refusal = Refusal::Answered;
            self.request.status = status;
            cx.stats.requests += 1;
            self.log(cx);
        }
    }
}

/// The status in the first bytes of an answer, for the log; an app may write anything.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status_of;

    #[test]
    fn a_status_is_read_where_there_is_one() {
        assert_eq!(status_of(b"HTTP/1.1 431 Too large\r\n"), Some(431));
        assert_eq!(status_of(b"HTTP/1.0 400"), Some(400));
        for text in ["", "HTTP/1.1 4", "HTTP/1.1 abc d", "no HTTP at all"] {
            assert_eq!(status_of(text.as_bytes()), None, "{text}");
        }
    }
}
