//! The strict HTTP/1.1 codec: heads, body framing, chunked coding, limits.
//!
//! Owns: which bytes are a message and where it ends (RFC 9112), for both directions. Must never
//! know: connections, time, what the proxy does with a message. Called by the proxy's stages and by
//! the simulator.
//!
//! Nothing here allocates. A parsed head is a set of [`Span`]s into the caller's receive buffer.
//! What a byte string means never depends on how it was cut: a head or a body that is refused whole
//! is refused in pieces too.

mod chunked;
mod error;
mod field;
mod field_name;
mod framing;
mod host;
mod method;
mod request;
mod request_line;
mod response;
mod scanner;

#[cfg(test)]
mod chunked_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod response_tests;

pub use chunked::{
    CHUNK_HEAD_BYTES_MAX, ChunkError, ChunkLimits, ChunkPiece, ChunkScan, ChunkedDecoder,
    encode_chunk_head,
};
pub use error::{RequestError, ResponseError};
pub use field::{Field, REQUEST_FIELDS_CAP, RESPONSE_FIELDS_CAP};
pub use field_name::FieldName;
pub use framing::BodyFraming;
pub use method::Method;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use scanner::HeadScanner;

/// No head is ever longer, whatever the configured limit says: a [`Span`] holds `u16` offsets, and
/// the worker's HEAD frame has `u16` lengths. The difference to 65,535 leaves room for what the
/// proxy appends to a field value (`X-Forwarded-For`) or to the head.
pub const HEAD_BYTES_CAP: u32 = 61_440;

/// What a head may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head, empty line included; more is 431. At most [`HEAD_BYTES_CAP`].
    pub head_bytes_max: u32,
    /// Bytes of the request target; more is 414.
    pub target_bytes_max: u32,
    /// Field lines; more is 431. At most [`REQUEST_FIELDS_CAP`] or [`RESPONSE_FIELDS_CAP`].
    pub fields_max: u32,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16_384, target_bytes_max: 8_192, fields_max: 100 }
    }
}

impl HeadLimits {
    /// The limit on the whole head that is in force.
    #[inline]
    pub fn head_bytes(&self) -> usize {
        self.head_bytes_max.min(HEAD_BYTES_CAP) as usize
    }

    /// For responses: as much as the codec can hold. What an app may answer is not ours to limit.
    pub const RESPONSE: Self = Self {
        head_bytes_max: HEAD_BYTES_CAP,
        target_bytes_max: 0,
        fields_max: RESPONSE_FIELDS_CAP as u32,
    };
}

/// A range of a head, relative to the first byte given to `parse`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u16,
    /// Offset behind the last byte.
    pub end: u16,
}

impl Span {
    /// The bytes it covers; `bytes` is what was parsed.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Bytes covered.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Covers nothing.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The span of `part`, a slice of `whole`.
    #[inline]
    pub(crate) fn locate(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        debug_assert!(start + part.len() <= whole.len());
        Self { start: start as u16, end: (start + part.len()) as u16 }
    }
}

/// The minor version; no other major version reaches the parser's callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Version {
    /// `HTTP/1.0`.
    Http10,
    /// `HTTP/1.1`.
    Http11,
}

/// What a parse came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The head is whole and valid.
    Complete,
    /// More bytes are needed; nothing wrong so far.
    Partial,
}

/// `tchar` of RFC 9110 section 5.6.2.
#[inline]
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// At least one byte, all of them `tchar`.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Without leading and trailing SP and HTAB (OWS, RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            | b'`' | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        byte += 1;
    }
    table
};
