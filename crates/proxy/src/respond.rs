//! The answers that the proxy makes itself.
//!
//! Owns: their heads and texts. Must never know: connections. Called by `conn`.

use hostler_driver::Pool;

use crate::conn::outbox::Outbox;

/// Why the proxy answers instead of the app. `id` travels in `X-Hostler-Error`, so that a dashboard can tell
/// the proxy's 503 from the app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnAnswer {
    /// The request is not acceptable; status and text come from the codec.
    BadRequest {
        /// 400, 414, 431, 501 or 505.
        status: u16,
        /// One sentence.
        why: &'static str,
    },
    /// The request body is larger than allowed.
    BodyTooLarge,
    /// The client did not finish its request in time.
    ClientTimeout,
    /// The worker went away before it answered.
    WorkerLost,
    /// The worker's answer is not valid HTTP.
    WorkerBroken,
    /// The worker did not answer in time.
    WorkerTimeout,
    /// The request has taken longer than any may.
    RequestTimeout,
    /// The worker's event loop does not turn any more.
    WorkerHangs,
    /// The queue is full or the wait in it was too long.
    Overload,
    /// No worker is ready.
    NoWorker,
    /// No worker ran, and those that were started for the request ended before they were ready.
    StartFailed,
    /// The same, but they were not ready in time.
    StartTimeout,
    /// The request has ended two workers.
    Poison {
        /// For how long it is refused, seconds.
        retry_after_s: u32,
    },
    /// The server is stopping.
    Draining,
}

impl OwnAnswer {
    /// FIN in the middle of a head.
    pub const CUT_HEAD: Self =
        Self::BadRequest { status: 400, why: "the request ends in the middle of its head" };

    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest { status, .. } => status,
            Self::BodyTooLarge => 413,
            Self::ClientTimeout => 408,
            Self::WorkerLost | Self::WorkerBroken => 502,
            Self::WorkerTimeout | Self::RequestTimeout | Self::WorkerHangs => 504,
            Self::Overload
            | Self::NoWorker
            | Self::StartFailed
            | Self::StartTimeout
            | Self::Poison { .. }
            | Self::Draining => 503,
        }
    }

    /// The word in `X-Hostler-Error`.
    pub fn id(self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad-request",
            Self::BodyTooLarge => "body-too-large",
            Self::ClientTimeout => "client-timeout",
            Self::WorkerLost => "worker-lost",
            Self::WorkerBroken => "worker-broken",
            Self::WorkerTimeout => "worker-timeout",
            Self::RequestTimeout => "request-timeout",
            Self::WorkerHangs => "worker-hangs",
            Self::Overload => "overload",
            Self::NoWorker => "no-worker",
            Self::StartFailed => "start-failed",
            Self::StartTimeout => "start-timeout",
            Self::Poison { .. } => "poison",
            Self::Draining => "draining",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::BadRequest { why, .. } => why,
            Self::BodyTooLarge => "The request body is larger than this server allows.",
            Self::ClientTimeout => "The request did not arrive in time.",
            Self::WorkerLost => "The app process went away before it answered.",
            Self::WorkerBroken => "The app sent an invalid response.",
            Self::WorkerTimeout => "The app did not answer in time.",
            Self::RequestTimeout => "The app took too long to answer.",
            Self::WorkerHangs => "The app process does not react.",
            Self::Overload => "The server is busy. Please try again.",
            Self::NoWorker => "The app is not running at the moment. Please try again.",
            Self::StartFailed => "The app does not start. Please try again later.",
            Self::StartTimeout => "The app takes too long to start. Please try again later.",
            Self::Poison { .. } => "Requests like this one have made the app fail.",
            Self::Draining => "The server is stopping. Please try again.",
        }
    }

    /// Seconds for `Retry-After`, where a retry makes sense.
    fn retry_after_s(self, random: u64) -> Option<u64> {
        if let Self::Poison { retry_after_s } = self {
            return Some(retry_after_s.into());
        }
        // Spread over a few seconds, or all refused clients come back at the same moment.
        (self.status() == 503).then_some(1 + random % 4)
    }
}

/// What an own answer says beside its kind.
#[derive(Clone, Copy, Debug)]
pub struct AnswerFacts<'a> {
    /// Echoed if not empty.
    pub request_id: &'a [u8],
    /// Answer to HEAD: no body.
    pub head_only: bool,
    /// The connection ends after it.
    pub close: bool,
    /// The client speaks HTTP/1.0 and must be told that the connection stays.
    pub announce_keep_alive: bool,
    /// For `Date`.
    pub unix_ms: u64,
    /// Any number, for the spread of `Retry-After`.
    pub random: u64,
}

/// Writes the whole answer.
pub fn write_answer(out: &mut Outbox, pool: &Pool, answer: OwnAnswer, facts: &AnswerFacts<'_>) {
    let status = answer.status();
    let text = answer.text();
    let mut head = HeadText::default();
    head.push(format_args!("HTTP/1.1 {status} {}\r\n", reason(status)));
    head.push(format_args!("Date: {}\r\n", http_date(facts.unix_ms)));
    head.push(format_args!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
        text.len() + 1
    ));
    head.push(format_args!("Cache-Control: no-store\r\nX-Hostler-Error: {}\r\n", answer.id()));
    if let Some(seconds) = answer.retry_after_s(facts.random) {
        head.push(format_args!("Retry-After: {seconds}\r\n"));
    }
    out.write(pool, head.as_bytes());
    if !facts.request_id.is_empty() {
        out.write(pool, b"X-Request-Id: ");
        out.write(pool, facts.request_id);
        out.write(pool, b"\r\n");
    }
    if facts.close {
        out.write(pool, b"Connection: close\r\n");
    } else if facts.announce_keep_alive {
        out.write(pool, b"Connection: keep-alive\r\n");
    }
    out.write(pool, b"\r\n");
    if !facts.head_only {
        out.write(pool, text.as_bytes());
        out.write(pool, b"\n");
    }
}

/// Text of bounded size on the stack: an own answer must not depend on the allocator.
struct HeadText {
    bytes: [u8; 384],
    len: usize,
}

impl Default for HeadText {
    fn default() -> Self {
        Self { bytes: [0; 384], len: 0 }
    }
}

impl HeadText {
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        self.write_fmt(text).expect("own answers have bounded heads");
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Write for HeadText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The reason phrase of the statuses the proxy uses.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

fn http_date(unix_ms: u64) -> httpdate::HttpDate {
    (std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms)).into()
}

#[cfg(test)]
mod tests;
