//! Chunked transfer coding (RFC 9112 section 7.1).
//!
//! Owns: the decoder (for bodies that are re-encoded), the scanner (for bodies that are forwarded as
//! they are) and the encoder's chunk head. Must never know: buffers, back-pressure. Called by the
//! proxy's `relay_request` (decode, encode) and `relay_response` (scan) stages.
//!
//! Stricter than the RFC where readers are known to disagree: no white space around a size or in an
//! extension, no bare LF, at most 16 digits.

mod resume;

use std::ops::Range;

use super::{FieldName, is_token, is_token_byte, trim_ows};

/// What the parts of a chunked body that are not content may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkLimits {
    /// Bytes of the extensions of one chunk.
    pub extension_bytes_max: u16,
    /// Bytes of all trailer lines.
    pub trailer_bytes_max: u16,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { extension_bytes_max: 512, trailer_bytes_max: 8_192 }
    }
}

macro_rules! chunk_errors {
    ($($(#[$doc:meta])+ $variant:ident = $explain:literal;)+) => {
        /// Why a chunked body is refused; a client's is answered with 400.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        pub enum ChunkError {
            $($(#[$doc])+ #[error($explain)] $variant,)+
        }

        impl ChunkError {
            /// One sentence that says what is wrong.
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$variant => $explain,)+
                }
            }
        }
    };
}

chunk_errors! {
    /// Not `1*16HEXDIG` up to 2^63-1.
    Size = "a chunk size is not a valid hexadecimal number";
    /// Not `*( ";" name [ "=" value ] )`.
    Extension = "a chunk extension has a byte that is not allowed";
    /// More than the limit.
    ExtensionTooLong = "the extensions of a chunk are longer than the limit";
    /// A chunk's content or a line that does not end in CR LF.
    LineEnd = "a chunk does not end in CR LF";
    /// A trailer line that is not a field line.
    Trailer = "a trailer field is not valid";
    /// More than the limit.
    TrailersTooLong = "the trailer fields are longer than the limit";
}

/// A step of decoding; ranges are within the bytes given to [`ChunkedDecoder::next`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChunkPiece {
    /// Content.
    Data(Range<usize>),
    /// A trailer field that may be forwarded.
    Trailer {
        /// Its name as sent.
        name: Range<usize>,
        /// Its value without surrounding white space.
        value: Range<usize>,
    },
    /// The last chunk, the trailers and the last CR LF are consumed.
    End,
    /// The bytes are used up, or the rest of them is a trailer line that is not whole: the caller
    /// presents what was not consumed again, joined with what comes.
    NeedMore,
}

/// How much of some bytes belongs to a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkScan {
    /// Bytes that belong to it.
    pub len: usize,
    /// It ends with them.
    pub done: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size,
    ExtensionNameStart,
    ExtensionName,
    ExtensionValueStart,
    ExtensionValue,
    ExtensionQuoted,
    ExtensionQuotedPair,
    ExtensionQuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Reads one chunked body, in pieces of any size. A body is read with one of [`Self::next`],
/// [`Self::scan`] and [`Self::content`], not with two of them.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    /// The size being read, then what is left of the content.
    left: u64,
    extension_bytes: u16,
    trailer_bytes: u16,
    limits: ChunkLimits,
    digits: u8,
    keeps_trailers: bool,
    state: State,
}

const _: () = assert!(size_of::<ChunkedDecoder>() <= 32);

impl ChunkedDecoder {
    /// Before the first chunk.
    pub const fn new(limits: ChunkLimits) -> Self {
        Self {
            left: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            limits,
            digits: 0,
            keeps_trailers: false,
            state: State::Size,
        }
    }

    /// For an app that must see what Node's own parser would show it: [`Self::next`] hands out all trailers. The two that
    /// llhttp takes for framing even there (`Content-Length`, `Transfer-Encoding`) are errors, as they are for it.
    #[must_use]
    pub const fn with_all_trailers(mut self) -> Self {
        self.keeps_trailers = true;
        self
    }

    /// The body is over.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The next piece and how many bytes it took; call it again with the rest. Trailers that must
    /// not be forwarded (RFC 9110 section 6.5.1) are checked and dropped, unless all are wanted.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, ChunkPiece), ChunkError> {
        let mut at = 0;
        loop {
            if self.state == State::Done {
                return Ok((at, ChunkPiece::End));
            }
            let Some(&byte) = bytes.get(at) else {
                return Ok((at, ChunkPiece::NeedMore));
            };
            match self.state {
                State::Data => {
                    let data = at..at + self.take_data(bytes.len() - at);
                    return Ok((data.end, ChunkPiece::Data(data)));
                }
                State::TrailerStart if byte != b'\r' => {
                    let Some(line) = self.take_trailer_line(&bytes[at..])? else {
                        return Ok((at, ChunkPiece::NeedMore));
                    };
                    let start = at;
                    at += line.len;
                    if !line.forbidden {
                        let name = start..start + line.name_len;
                        let value = start + line.value.start..start + line.value.end;
                        return Ok((at, ChunkPiece::Trailer { name, value }));
                    }
                }
                _ => {
                    self.step(byte)?;
                    at += 1;
                }
            }
        }
    }

    /// For a body that is forwarded as it is: how many of these bytes belong to it, and is it over?
    pub fn scan(&mut self, bytes: &[u8]) -> Result<ChunkScan, ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            let Some(&byte) = bytes.get(at) else { break };
            if self.state == State::Data {
                at += self.take_data(bytes.len() - at);
            } else {
                self.step(byte)?;
                at += 1;
            }
        }
        Ok(ChunkScan { len: at, done: self.is_done() })
    }

    /// For a body whose content goes to somebody who does not know the coding: the next content in
    /// these bytes (it may be empty) and how many bytes that took. Call it again with the rest until
    /// nothing is left or [`Self::is_done`]. Trailers are checked and dropped.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            let Some(&byte) = bytes.get(at) else { break };
            if self.state == State::Data {
                let data = at..at + self.take_data(bytes.len() - at);
                return Ok((data.end, data));
            }
            self.step(byte)?;
            at += 1;
        }
        Ok((at, at..at))
    }

    #[inline]
    fn take_data(&mut self, there: usize) -> usize {
        let taken = self.left.min(there as u64);
        self.left -= taken;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        taken as usize
    }

    /// One byte that is not content.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, b';') if self.digits > 0 => State::ExtensionNameStart,
            (State::Size, _) => return self.add_digit(byte),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.extension_bytes = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Done,
            (State::SizeLf | State::DataCr | State::DataLf | State::EndLf, _) => {
                return Err(ChunkError::LineEnd);
            }
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _)
            | (State::TrailerLf, _) => self.step_trailer(byte)?,
            (State::Data | State::Done, _) => unreachable!("content is never stepped through"),
            _ => self.step_extension(byte)?,
        };
        Ok(())
    }

    #[inline]
    fn add_digit(&mut self, byte: u8) -> Result<(), ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            // A bare LF behind a size is the classic disagreement: give it its own name.
            b'\n' if self.digits > 0 => return Err(ChunkError::LineEnd),
            _ => return Err(ChunkError::Size),
        };
        // 16 digits fit; the top bit must stay clear so that no sum of sizes overflows an i64.
        if self.digits == 16 || self.left > (i64::MAX as u64) >> 4 {
            return Err(ChunkError::Size);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    #[cold]
    fn step_extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.limits.extension_bytes_max {
            return Err(ChunkError::ExtensionTooLong);
        }
        let text = matches!(byte, b'\t' | b' '..=0x7e | 0x80..);
        Ok(match (self.state, byte) {
            (State::ExtensionName | State::ExtensionValue | State::ExtensionQuotedEnd, b'\r') => {
                State::SizeLf
            }
            (State::ExtensionName | State::ExtensionValue | State::ExtensionQuotedEnd, b';') => {
                State::ExtensionNameStart
            }
            (State::ExtensionName, b'=') => State::ExtensionValueStart,
            (State::ExtensionValueStart, b'"') => State::ExtensionQuoted,
            (State::ExtensionQuoted, b'"') => State::ExtensionQuotedEnd,
            (State::ExtensionQuoted, b'\\') => State::ExtensionQuotedPair,
            (State::ExtensionQuoted | State::ExtensionQuotedPair, _) if text => {
                State::ExtensionQuoted
            }
            (State::ExtensionNameStart | State::ExtensionName, _) if is_token_byte(byte) => {
                State::ExtensionName
            }
            (State::ExtensionValueStart | State::ExtensionValue, _) if is_token_byte(byte) => {
                State::ExtensionValue
            }
            _ => return Err(ChunkError::Extension),
        })
    }

    #[cold]
    fn step_trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.limits.trailer_bytes_max {
            return Err(ChunkError::TrailersTooLong);
        }
        Ok(match (self.state, byte) {
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                State::TrailerName
            }
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | b' '..=0x7e | 0x80..) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerLf, _) | (_, b'\n') => return Err(ChunkError::LineEnd),
            _ => return Err(ChunkError::Trailer),
        })
    }

    /// A whole trailer line at the start of `bytes`, `None` when its end is not there.
    #[cold]
    fn take_trailer_line(&mut self, bytes: &[u8]) -> Result<Option<TrailerLine>, ChunkError> {
        let end = memchr::memchr(b'\n', bytes);
        let len = end.map_or(bytes.len(), |at| at + 1);
        if usize::from(self.trailer_bytes) + len > usize::from(self.limits.trailer_bytes_max) {
            return Err(ChunkError::TrailersTooLong);
        }
        if end.is_none() {
            return Ok(None);
        }
        let line = bytes[..len].strip_suffix(b"\r\n").ok_or(ChunkError::LineEnd)?;
        let name_len = memchr::memchr(b':', line).ok_or(ChunkError::Trailer)?;
        let (name, value) = (&line[..name_len], &line[name_len + 1..]);
        let text = value.iter().all(|&byte| matches!(byte, b'\t' | b' '..=0x7e | 0x80..));
        if !is_token(name) || !text {
            return Err(ChunkError::Trailer);
        }
        self.trailer_bytes += len as u16;
        let field = FieldName::look_up(name).0;
        let framing = matches!(field, FieldName::ContentLength | FieldName::TransferEncoding);
        if framing && self.keeps_trailers {
            return Err(ChunkError::Trailer);
        }
        let value = trim_ows(value);
        let value_start = if value.is_empty() {
            line.len()
        } else {
            value.as_ptr().addr() - bytes.as_ptr().addr()
        };
        Ok(Some(TrailerLine {
            len,
            name_len,
            value: value_start..value_start + value.len(),
            forbidden: !self.keeps_trailers && field.forbidden_in_trailers(),
        }))
    }
}

struct TrailerLine {
    len: usize,
    name_len: usize,
    value: Range<usize>,
    forbidden: bool,
}

/// A chunk head is never longer.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// The line in front of a chunk's content, `"1f\r\n"`. A length of 0 gives the line of the last
/// chunk, so the caller skips empty chunks.
#[inline]
pub fn encode_chunk_head(out: &mut [u8; CHUNK_HEAD_BYTES_MAX], len: usize) -> &[u8] {
    let mut at = CHUNK_HEAD_BYTES_MAX - 2;
    out[at..].copy_from_slice(b"\r\n");
    let mut rest = len;
    loop {
        at -= 1;
        out[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return &out[at..];
        }
    }
}
