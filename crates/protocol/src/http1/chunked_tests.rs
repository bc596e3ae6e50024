//! Chunked bodies: one rule a row, bytes -> result, for the decoder and the scanner alike.

use super::*;

/// Content, trailers and consumed bytes.
type Decoded = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize);

/// Decodes a whole body that is given at once; `None` when it is not whole.
fn decode(bytes: &[u8]) -> Result<Option<Decoded>, ChunkError> {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let (mut content, mut trailers, mut at) = (Vec::new(), Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let (consumed, piece) = decoder.next(rest)?;
        at += consumed;
        match piece {
            ChunkPiece::Data(range) => content.extend_from_slice(&rest[range]),
            ChunkPiece::Trailer { name, value } => {
                trailers.push((rest[name].to_vec(), rest[value].to_vec()));
            }
            ChunkPiece::End => return Ok(Some((content, trailers, at))),
            ChunkPiece::NeedMore => return Ok(None),
        }
    }
}

fn scan(bytes: &[u8]) -> Result<ChunkScan, ChunkError> {
    ChunkedDecoder::new(ChunkLimits::default()).scan(bytes)
}

/// As [`decode`], but without the coding: content and consumed bytes, in pieces of `step` bytes.
fn content(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let (mut content, mut consumed) = (Vec::new(), 0);
    for piece in bytes.chunks(step) {
        let mut at = 0;
        while at < piece.len() && !decoder.is_done() {
            let (used, data) = decoder.content(&piece[at..])?;
            content.extend_from_slice(&piece[at..][data]);
            at += used;
        }
        consumed += at;
    }
    Ok((content, consumed, decoder.is_done()))
}

#[test]
fn bodies() {
    let cases: &[(&str, &str)] = &[
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        ("5;a=\"b;c\\\"\r \"\r\nhello\r\n0\r\n\r\n", "!"),
        ("5;a=\"b;c\\\" \";d\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0\r\nA: b\r\nC:\r\n\r\n", ""),
    ];
    for (body, want) in cases {
        let bytes = [body.as_bytes(), b"next"].concat();
        if *want == "!" {
            assert!(decode(&bytes).is_err() && scan(&bytes).is_err(), "{body:?}");
            assert!(content(&bytes, 1).is_err() && content(&bytes, 1000).is_err(), "{body:?}");
            continue;
        }
        let decoded = decode(&bytes).expect("valid").expect("whole");
        assert_eq!(decoded.0, want.as_bytes(), "{body:?}");
        assert_eq!(decoded.2, body.len(), "{body:?}");
        assert_eq!(scan(&bytes), Ok(ChunkScan { len: body.len(), done: true }), "{body:?}");
        for step in [1, 2, 3, 1000] {
            let bare = content(&bytes, step);
            assert_eq!(
                bare,
                Ok((want.as_bytes().to_vec(), body.len(), true)),
                "{body:?} by {step}"
            );
        }
        for end in 0..body.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "{body:?} up to {end}");
            assert_eq!(scan(&bytes[..end]), Ok(ChunkScan { len: end, done: false }), "{body:?}");
        }
    }
}

#[test]
fn refused() {
    use ChunkError as E;
    let cases: &[(&[u8], E)] = &[
        (b"\r\n", E::Size),
        (b";a\r\n", E::Size),
        (b"0x5\r\n", E::Size),
        (b"+5\r\n", E::Size),
        (b"-5\r\n", E::Size),
        (b" 5\r\n", E::Size),
        (b"5 \r\n", E::Size),
        (b"5\t\r\n", E::Size),
        (b"5_0\r\n", E::Size),
        (b"5,\r\n", E::Size),
        (b"g\r\n", E::Size),
        (b"5\0\r\n", E::Size),
        (b"\n", E::Size),
        (b"00000000000000005\r\n", E::Size),
        (b"8000000000000000\r\n", E::Size),
        (b"ffffffffffffffff\r\n", E::Size),
        (b"10000000000000000\r\n", E::Size),
        (b"5\nhello\r\n", E::LineEnd),
        (b"5\rhello\r\n", E::LineEnd),
        (b"5\r\rhello\r\n", E::LineEnd),
        (b"5\r\nhello0\r\n", E::LineEnd),
        (b"5\r\nhello\n0\r\n", E::LineEnd),
        (b"5\r\nhello\r0\r\n", E::LineEnd),
        (b"5\r\nhello\r\r\n", E::LineEnd),
        (b"5\r\nhello\r\n\r\n", E::Size),
        (b"5;\r\n", E::Extension),
        (b"5;;a\r\n", E::Extension),
        (b"5; a\r\n", E::Extension),
        (b"5;a b\r\n", E::Extension),
        (b"5;a =b\r\n", E::Extension),
        (b"5;a=\r\n", E::Extension),
        (b"5;a=\"b\"c\r\n", E::Extension),
        (b"5;a\nhello\r\n", E::Extension),
        (b"5;a=\"\n\"\r\n", E::Extension),
        (b"5;a=\"\\\r\"\r\n", E::Extension),
        (b"5;a\0\r\n", E::Extension),
        (b"5;a\rhello", E::LineEnd),
        (b"0\n\r\n", E::LineEnd),
        (b"0\r\n\rX", E::LineEnd),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(*error), "{}", bytes.escape_ascii());
        assert_eq!(scan(bytes), Err(*error), "{}", bytes.escape_ascii());
    }
    // Only the reason may differ between the two for trailers, never the verdict.
    for trailers in [
        "A : b\r\n\r\n",
        ": b\r\n\r\n",
        " a: b\r\n\r\n",
        "A: b\r\n c\r\n\r\n",
        "A\r\n\r\n",
        "A: b\n\r\n",
        "A: b\r\n\n",
        "\n",
        "A: b\0\r\n\r\n",
        "A: b\rc\r\n\r\n",
        "A\u{e9}: b\r\n\r\n",
        "A: \x7f\r\n\r\n",
    ] {
        let bytes = format!("0\r\n{trailers}");
        assert!(decode(bytes.as_bytes()).is_err(), "{trailers:?}");
        assert!(scan(bytes.as_bytes()).is_err(), "{trailers:?}");
    }
}

#[test]
fn trailers_are_given_out_and_forbidden_ones_dropped() {
    let body = b"0\r\nX-Sum: \t7f \r\nContent-Length: 9\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\
        Authorization: a\r\nSet-Cookie: a\r\nTrailer: a\r\nTE: a\r\nx-empty:\r\nX-Blank:  \r\n\
        Content-Type: a\r\nContent-Encoding: a\r\nContent-Range: a\r\nCookie: a\r\nServer-Timing: db\r\n\r\n";
    let (_, trailers, len) = decode(body).expect("valid").expect("whole");
    assert_eq!(len, body.len());
    let want: [(&[u8], &[u8]); 4] =
        [(b"X-Sum", b"7f"), (b"x-empty", b""), (b"X-Blank", b""), (b"Server-Timing", b"db")];
    let got: Vec<_> = trailers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    assert_eq!(got, want);
}

#[test]
fn a_cut_trailer_line_is_not_consumed() {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    assert_eq!(
        decoder.next(b"0\r\nA: b\r\nX-Su"),
        Ok((9, ChunkPiece::Trailer { name: 3..4, value: 6..7 }))
    );
    assert_eq!(decoder.next(b"X-Su"), Ok((0, ChunkPiece::NeedMore)));
    let piece = ChunkPiece::Trailer { name: 0..5, value: 7..8 };
    assert_eq!(decoder.next(b"X-Sum: 1\r\n\r"), Ok((10, piece)));
    assert_eq!(decoder.next(b"\r"), Ok((1, ChunkPiece::NeedMore)));
    assert!(!decoder.is_done());
    assert_eq!(decoder.next(b"\nGET"), Ok((1, ChunkPiece::End)));
    assert!(decoder.is_done());
    assert_eq!(decoder.next(b"GET"), Ok((0, ChunkPiece::End)));
}

#[test]
fn limits() {
    let limits = ChunkLimits { extension_bytes_max: 4, trailer_bytes_max: 12 };
    let run = |bytes: &str| -> (Option<ChunkError>, Option<ChunkError>) {
        let mut decoder = ChunkedDecoder::new(limits);
        let mut at = 0;
        let decoded = loop {
            match decoder.next(&bytes.as_bytes()[at..]) {
                Ok((_, ChunkPiece::End | ChunkPiece::NeedMore)) => break None,
                Ok((consumed, _)) => at += consumed,
                Err(error) => break Some(error),
            }
        };
        (decoded, ChunkedDecoder::new(limits).scan(bytes.as_bytes()).err())
    };
    let both = |error| (Some(error), Some(error));
    assert_eq!(run("1;abc\r\nx\r\n1;abc\r\nx\r\n0;abc\r\n\r\n"), (None, None));
    assert_eq!(run("1;abcd\r\n"), both(ChunkError::ExtensionTooLong));
    assert_eq!(run("0\r\nA: b\r\nC: d\r\n\r\n"), (None, None));
    assert_eq!(run("0\r\nA: b\r\nC: dd\r\n\r\n"), both(ChunkError::TrailersTooLong));
    // Also while the line is not whole.
    assert_eq!(run("0\r\nA: 3456789012"), both(ChunkError::TrailersTooLong));
}

#[test]
fn chunk_heads() {
    let mut out = [0; CHUNK_HEAD_BYTES_MAX];
    let cases = [(0, "0"), (1, "1"), (15, "f"), (16, "10"), (31, "1f"), (65_536, "10000")];
    for (len, digits) in cases {
        assert_eq!(encode_chunk_head(&mut out, len), format!("{digits}\r\n").as_bytes());
    }
    let largest = format!("{:x}\r\n", usize::MAX);
    assert_eq!(encode_chunk_head(&mut out, usize::MAX), largest.as_bytes());
}

/// Cut anywhere and read on by another decoder, led there: the content is the same, but for the one byte of the lead. What the
/// first reader had of a trailer line it presents again.
#[test]
fn another_reader_goes_on_at_any_place() {
    let body = "5;a=\"b;c\\\" \";d;ee=f\r\nhello\r\n0006\r\n world\r\n00;x\r\nA: b\r\nC: d\r\n\r\n";
    let (whole, trailers, _) = decode(body.as_bytes()).unwrap().unwrap();
    assert_eq!((whole.as_slice(), trailers.len()), (&b"hello world"[..], 2));
    for cut in 0..body.len() {
        let mut first = ChunkedDecoder::new(ChunkLimits::default());
        let (mut content, mut at) = (Vec::new(), 0);
        loop {
            let rest = &body.as_bytes()[at..cut];
            let (consumed, piece) = first.next(rest).unwrap();
            at += consumed;
            match piece {
                ChunkPiece::Data(range) => content.extend_from_slice(&rest[range]),
                ChunkPiece::Trailer { .. } => {}
                ChunkPiece::End | ChunkPiece::NeedMore => break,
            }
        }
        let mut text = first.resume_text();
        text.extend_from_slice(&body.as_bytes()[at..]);
        let (rest, ..) = decode(&text)
            .unwrap_or_else(|error| panic!("cut at {cut}: {error} in {text:?}"))
            .unwrap_or_else(|| panic!("cut at {cut}: {text:?} is not whole"));
        assert_eq!(rest[0], b'X');
        content.extend_from_slice(&rest[1..]);
        assert_eq!(content, whole, "cut at {cut}");
    }
}

/// Half a line that a scanner has taken is led to as well.
#[test]
fn another_reader_goes_on_behind_a_scanner() {
    let body = "5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..body.len() {
        let mut first = ChunkedDecoder::new(ChunkLimits::default());
        first.scan(&body.as_bytes()[..cut]).unwrap();
        let mut text = first.resume_text();
        text.extend_from_slice(&body.as_bytes()[cut..]);
        assert!(scan(&text).unwrap().done, "cut at {cut}: {text:?}");
    }
}
