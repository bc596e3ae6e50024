//! Finds the end of a head that arrives in pieces.
//!
//! Owns: line ends and control bytes of a head that is not whole yet. Must never know: what the
//! lines mean. Called by the proxy when `parse` said `Partial`, so that a client which sends one
//! byte at a time costs linear time, and one that sends garbage is refused at once.

use super::RequestError;

/// Remembers how far the head has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    /// Every byte before it has been looked at.
    seen: u32,
    /// Where the current line begins.
    line: u32,
}

impl HeadScanner {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self { seen: 0, line: 0 }
    }

    /// The length of the head once it is whole. `bytes` is everything received so far, the bytes of
    /// earlier calls included. How long a head may be is for the caller to check
    /// ([`HeadLimits::head_bytes`](super::HeadLimits::head_bytes)); `parse` checks everything else.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, RequestError> {
        loop {
            let fresh = &bytes[self.seen as usize..];
            let Some(at) = memchr::memchr(b'\n', fresh) else {
                // A CR at the very end may be half of a line end: look at it again.
                let whole = fresh.strip_suffix(b"\r").unwrap_or(fresh);
                refuse_controls(whole)?;
                self.seen += whole.len() as u32;
                return Ok(None);
            };
            let end = self.seen as usize + at;
            let line = &bytes[self.line as usize..end];
            let Some((b'\r', _)) = line.split_last() else {
                return Err(RequestError::LineEnd);
            };
            refuse_controls(&fresh[..at - 1])?;
            let (begin, empty) = (self.line, line.len() == 1);
            self.seen = end as u32 + 1;
            self.line = self.seen;
            match (empty, begin) {
                (false, _) | (true, 0) => {}
                // One empty line before the request line is skipped (RFC 9112 section 2.2).
                (true, 2) => return Err(RequestError::RequestLine),
                (true, _) => return Ok(Some(end + 1)),
            }
        }
    }
}

/// No control byte but HTAB is allowed anywhere in a head outside line ends. A plain fold without an
/// early exit, because the compiler turns that into vector code.
#[inline]
fn refuse_controls(bytes: &[u8]) -> Result<(), RequestError> {
    let bad = bytes
        .iter()
        .fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f));
    if !bad {
        return Ok(());
    }
    Err(if bytes.contains(&b'\r') { RequestError::LineEnd } else { RequestError::FieldValue })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scanned = Result<Option<usize>, RequestError>;

    fn drip(bytes: &[u8]) -> Scanned {
        let mut scanner = HeadScanner::new();
        for end in 0..=bytes.len() {
            if let Some(len) = scanner.scan(&bytes[..end])? {
                return Ok(Some(len));
            }
        }
        Ok(None)
    }

    #[test]
    fn finds_the_end_whole_and_byte_by_byte() {
        let cases: &[(&[u8], Scanned)] = &[
            (b"GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
            (b"GET / HTTP/1.1\r\na: b\r\n\r\nmore\n", Ok(Some(24))),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(20))),
            (b"GET / HTTP/1.1\r\na: b\r\n", Ok(None)),
            (b"GET / HTTP/1.1\r\na: b\r\n\r", Ok(None)),
            (b"", Ok(None)),
            (b"\r\n", Ok(None)),
            (b"\r\n\r\n", Err(RequestError::RequestLine)),
            (b"\n", Err(RequestError::LineEnd)),
            (b"GET / HTTP/1.1\n", Err(RequestError::LineEnd)),
            (b"GET / HTTP/1.1\r\na: b\r\n\n", Err(RequestError::LineEnd)),
            (b"GET / HTTP/1.1\r\na: b\rc", Err(RequestError::LineEnd)),
            (b"GET / HTTP/1.1\r\na: b\r\r\n", Err(RequestError::LineEnd)),
            (b"GET / HTTP/1.1\r\na: \0", Err(RequestError::FieldValue)),
            (b"GET /\x7f", Err(RequestError::FieldValue)),
            (b"a\tb\x80\xff", Ok(None)),
        ];
        for (bytes, want) in cases {
            assert_eq!(HeadScanner::new().scan(bytes), *want, "{}", bytes.escape_ascii());
            assert_eq!(drip(bytes), *want, "dripped {}", bytes.escape_ascii());
        }
    }
}
