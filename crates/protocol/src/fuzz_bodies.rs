//! What must hold for any bytes: the bodies of the fuzz targets in `fuzz/`, as plain functions, so
//! that ordinary tests run them too.
//!
//! Owns: the invariants of the codecs. Must never know: where the bytes come from. `cuts` decides
//! how the bytes are cut into pieces; the outcome must not depend on it.

use crate::http1::{
    BodyFraming, ChunkError, ChunkLimits, ChunkPiece, ChunkScan, ChunkedDecoder, HeadLimits,
    HeadScanner, Parsed, RequestError, RequestHead, ResponseHead, Version,
};
use crate::worker::{FrameError, FrameReader, Incoming};

/// A seed for `cuts` that depends on the bytes only.
pub fn cuts_of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Ends of the pieces, the last one being the end of the bytes.
fn piece_ends(len: usize, cuts: u64) -> impl Iterator<Item = usize> {
    const PIECE_BYTES_MAX: [u64; 4] = [1, 4, 32, 400];
    let largest = PIECE_BYTES_MAX[(cuts & 3) as usize];
    let mut state = cuts | 1;
    let mut end = 0;
    std::iter::from_fn(move || {
        if end == len {
            return None;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        end = len.min(end + 1 + (state % largest) as usize);
        Some(end)
    })
}

/// Request heads: the verdict does not depend on cuts, and what is accepted is canonical.
pub fn request_head(bytes: &[u8], cuts: u64) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::new();
    let verdict = head.parse(bytes, &limits);
    let mut part = RequestHead::new();
    for end in piece_ends(bytes.len(), cuts) {
        match part.parse(&bytes[..end], &limits) {
            Ok(Parsed::Complete) => {
                assert_eq!(verdict, Ok(Parsed::Complete));
                assert_eq!(part.head_len, head.head_len);
            }
            Ok(Parsed::Partial) => {
                assert!(verdict != Ok(Parsed::Complete) || end < head.head_len as usize);
            }
            Err(_) => assert!(verdict.is_err(), "a prefix is refused, the whole is not"),
        }
    }
    let scanned = HeadScanner::new().scan(bytes);
    let dripped = scan_in_pieces(bytes, cuts);
    assert_eq!(scanned.ok(), dripped.ok());
    match verdict {
        Ok(Parsed::Complete) => {
            assert_eq!(scanned, Ok(Some(head.head_len as usize)));
            check_request(bytes, &head);
        }
        Ok(Parsed::Partial) => assert_eq!(scanned, Ok(None)),
        Err(error) => assert!((400..=505).contains(&error.status())),
    }
}

fn scan_in_pieces(bytes: &[u8], cuts: u64) -> Result<Option<usize>, RequestError> {
    let mut scanner = HeadScanner::new();
    for end in piece_ends(bytes.len(), cuts) {
        if let Some(len) = scanner.scan(&bytes[..end])? {
            return Ok(Some(len));
        }
    }
    Ok(None)
}

fn check_request(bytes: &[u8], head: &RequestHead) {
    let raw = &bytes[..head.head_len as usize];
    check_line_ends(raw);
    assert!(head.framing != BodyFraming::UntilClose);
    assert!(head.framing != BodyFraming::Chunked || head.version == Version::Http11);
    assert!(head.version == Version::Http10 || head.host.is_some());
    // Encoding it anew, as the proxy does, gives a request that reads the same.
    let version: &[u8] =
        if head.version == Version::Http10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" };
    let mut again = [head.method_span.of(raw), b" ", head.target.of(raw), version].concat();
    for field in head.fields() {
        again.extend([field.name.of(raw), b": ", field.value.of(raw), b"\r\n"].concat());
    }
    again.extend_from_slice(b"\r\n");
    let mut second = RequestHead::new();
    // A space after every colon may push it over the limit.
    let limits = HeadLimits { head_bytes_max: u32::MAX, ..HeadLimits::default() };
    assert_eq!(second.parse(&again, &limits), Ok(Parsed::Complete));
    assert_eq!(
        (second.method, second.framing, second.keep_alive, second.upgrade, second.expect_continue),
        (head.method, head.framing, head.keep_alive, head.upgrade, head.expect_continue)
    );
    assert_eq!(second.fields().len(), head.fields().len());
    for (a, b) in head.fields().iter().zip(second.fields()) {
        assert_eq!((a.known, a.number), (b.known, b.number));
        assert_eq!(a.name.of(raw), b.name.of(&again));
        assert_eq!(a.value.of(raw), b.value.of(&again));
    }
}

/// Every LF follows a CR, every CR is followed by an LF, and the only other control byte is HTAB.
fn check_line_ends(head: &[u8]) {
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r', "bare LF"),
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n'), "bare CR"),
            b'\t' => {}
            _ => assert!(byte >= b' ' && byte != 0x7f, "control byte"),
        }
    }
}

/// Response heads: the verdict does not depend on cuts.
pub fn response_head(bytes: &[u8], cuts: u64) {
    let request_is_head = cuts & 4 != 0;
    let limits = HeadLimits::RESPONSE;
    let mut head = ResponseHead::new();
    let verdict = head.parse(bytes, request_is_head, &limits);
    let mut part = ResponseHead::new();
    for end in piece_ends(bytes.len(), cuts) {
        match part.parse(&bytes[..end], request_is_head, &limits) {
            Ok(Parsed::Complete) => {
                assert_eq!(verdict, Ok(Parsed::Complete));
                assert_eq!((part.head_len, part.framing), (head.head_len, head.framing));
            }
            Ok(Parsed::Partial) => {
                assert!(verdict != Ok(Parsed::Complete) || end < head.head_len as usize);
            }
            Err(_) => assert!(verdict.is_err(), "a prefix is refused, the whole is not"),
        }
    }
    if verdict == Ok(Parsed::Complete) {
        let raw = &bytes[..head.head_len as usize];
        check_line_ends(raw);
        assert!((100..=999).contains(&head.status));
        assert!(head.reason.of(raw).iter().all(|byte| !b"\r\n".contains(byte)));
        assert!(!head.keep_alive || head.framing != BodyFraming::UntilClose);
        assert!(!request_is_head || head.framing == BodyFraming::None);
    }
}

/// What decoding a chunked body came to.
#[derive(PartialEq, Debug, Default)]
struct Decoded {
    content: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the body, once it is over.
    len: Option<usize>,
    error: Option<ChunkError>,
}

/// Chunked bodies: neither content nor verdict depends on cuts, and decoder and scanner agree.
pub fn chunked(bytes: &[u8], cuts: u64) {
    let limits = ChunkLimits { extension_bytes_max: 64, trailer_bytes_max: 200 };
    let whole = decode(bytes, limits, std::iter::once(bytes.len()));
    let pieces = decode(bytes, limits, piece_ends(bytes.len(), cuts));
    assert_eq!(whole, pieces);

    let scanned = ChunkedDecoder::new(limits).scan(bytes);
    assert_eq!(scanned, scan_chunked(bytes, limits, cuts));
    match (scanned, whole) {
        (Ok(ChunkScan { len, done: true }), decoded) => assert_eq!(decoded.len, Some(len)),
        (Ok(ChunkScan { len, done: false }), decoded) => {
            assert_eq!((len, decoded.len, decoded.error), (bytes.len(), None, None));
        }
        // The decoder looks at a trailer line only once it is whole, so it may not have refused yet.
        (Err(_), decoded) => assert_eq!(decoded.len, None),
    }
}

fn decode(bytes: &[u8], limits: ChunkLimits, ends: impl Iterator<Item = usize>) -> Decoded {
    let mut decoder = ChunkedDecoder::new(limits);
    let mut decoded = Decoded::default();
    let mut at = 0;
    for end in ends {
        loop {
            let rest = &bytes[at..end];
            let (consumed, piece) = match decoder.next(rest) {
                Ok(step) => step,
                Err(error) => {
                    return Decoded { error: Some(error), ..decoded };
                }
            };
            assert!(consumed <= rest.len());
            at += consumed;
            match piece {
                ChunkPiece::Data(range) => {
                    assert!(!range.is_empty());
                    decoded.content.extend_from_slice(&rest[range]);
                }
                ChunkPiece::Trailer { name, value } => {
                    decoded.trailers.push((rest[name].to_vec(), rest[value].to_vec()));
                }
                ChunkPiece::End => {
                    assert!(decoder.is_done());
                    return Decoded { len: Some(at), ..decoded };
                }
                ChunkPiece::NeedMore => break,
            }
        }
    }
    decoded
}

fn scan_chunked(bytes: &[u8], limits: ChunkLimits, cuts: u64) -> Result<ChunkScan, ChunkError> {
    let mut decoder = ChunkedDecoder::new(limits);
    let mut at = 0;
    for end in piece_ends(bytes.len(), cuts) {
        let scan = decoder.scan(&bytes[at..end])?;
        at += scan.len;
        if scan.done {
            break;
        }
        assert_eq!(at, end);
    }
    Ok(ChunkScan { len: at, done: decoder.is_done() })
}

/// Frames from a worker: what is read does not depend on cuts.
pub fn frames(bytes: &[u8], cuts: u64) {
    let whole = read(bytes, std::iter::once(bytes.len()));
    let pieces = read(bytes, piece_ends(bytes.len(), cuts));
    assert_eq!(whole, pieces);
}

type Read = (Vec<String>, Option<FrameError>, bool);

/// The frames as text, the pieces of a body joined.
fn read(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Read {
    let mut reader = FrameReader::new();
    let mut seen = Vec::new();
    let mut body: Vec<u8> = Vec::new();
    let mut start = 0;
    for end in ends {
        let buffer = &bytes[start..end];
        start = end;
        let mut at = 0;
        loop {
            let incoming = match reader.next(buffer, &mut at) {
                Ok(incoming) => incoming,
                Err(error) => return (seen, Some(error), false),
            };
            match incoming {
                None => break,
                Some(Incoming::Body { tag, end, range, last }) => {
                    body.extend_from_slice(&buffer[range]);
                    if last {
                        seen.push(format!("{tag:?} {end:?} {}", body.escape_ascii()));
                        body.clear();
                    }
                }
                Some(other) => seen.push(format!("{other:?}")),
            }
        }
        assert_eq!(at, buffer.len(), "a buffer is always used up");
    }
    if !body.is_empty() {
        seen.push(format!("cut {}", body.escape_ascii()));
    }
    (seen, None, reader.is_between_frames())
}
