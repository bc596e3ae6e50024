//! Sessions of Engine.IO, the protocol below Socket.IO.
//!
//! Owns: where a request names its session, and where the answer to a handshake names a new one. Must never know: who has it. Part of
//! `sticky`.
//!
//! A client begins with a GET whose query has `EIO` (the version) and no `sid`. The body of the answer is a packet `open`, JSON with
//! the id that the worker has chosen; all that follows, long polls, posts and the WebSocket, has it in the query as `sid`. The path
//! is the app's choice. Version 4 sends `0{"sid":"ID",...`, version 3 has a length in front, and JSONP quotes all of it once more.

use std::hash::{DefaultHasher, Hasher};

use super::{SessionId, not_zero};

/// More than any handshake needs for its id: it comes first.
const BODY_BYTES_MAX: usize = 256;
/// Longer ids are nobody's.
const SID_BYTES_MAX: usize = 128;

/// What a target asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing of Engine.IO's.
    Nothing,
    /// A new session, by polling: with the WebSocket as the only transport nothing follows.
    Handshake,
    /// This session.
    Session(SessionId),
}

/// Reads a target.
pub(super) fn read(target: &[u8], hasher: DefaultHasher) -> Asked {
    let Some(mark) = memchr::memchr(b'?', target) else { return Asked::Nothing };
    let (mut versioned, mut polls, mut sid) = (false, false, None);
    for pair in target[mark + 1..].split(|&byte| byte == b'&') {
        if pair.starts_with(b"EIO=") {
            versioned = true;
        } else if pair == b"transport=polling" {
            polls = true;
        } else if let Some(value) = pair.strip_prefix(b"sid=") {
            sid = sid.or(Some(value));
        }
    }
    match sid {
        _ if !versioned => Asked::Nothing,
        // As engine.io, to which an empty one is none.
        None | Some([]) if polls => Asked::Handshake,
        None | Some([]) => Asked::Nothing,
        Some(sid) => Asked::Session(id_in_target(sid, hasher)),
    }
}

/// Apps may choose ids that a target cannot hold as they are.
fn id_in_target(sid: &[u8], mut hasher: DefaultHasher) -> SessionId {
    let mut rest = sid;
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).filter(|_| *first == b'%');
        let decoded = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match decoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                hasher.write_u8(byte);
                rest = &behind[2..];
            }
            None => {
                hasher.write_u8(*first);
                rest = behind;
            }
        }
    }
    not_zero(hasher.finish())
}

/// The session of an id as it is.
pub(super) fn id(sid: &[u8], mut hasher: DefaultHasher) -> SessionId {
    for byte in sid {
        hasher.write_u8(*byte);
    }
    not_zero(hasher.finish())
}

/// The beginning of an answer's body, until the id in it is whole.
#[derive(Debug, Default)]
pub struct HandshakeBody {
    bytes: Vec<u8>,
}

impl HandshakeBody {
    /// More of it has come. Gives the id once it is whole; `None` for ever if the body is something else.
    pub fn push(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let room = BODY_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        sid_in_body(&self.bytes)
    }

    /// There is no use in waiting for more.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BODY_BYTES_MAX
    }
}

fn sid_in_body(body: &[u8]) -> Option<&[u8]> {
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\\');
    let start = memchr::memmem::find(body, b"sid")? + b"sid".len();
    // `":"`, each quote perhaps escaped; JSON's white space is not what JSON.stringify writes.
    let behind = body[start..].iter().position(|byte| *byte != b':' && !is_quote(byte))?;
    let value = &body[start + behind..];
    let end = value.iter().position(is_quote)?;
    (1..=SID_BYTES_MAX).contains(&end).then(|| &value[..end])
}
