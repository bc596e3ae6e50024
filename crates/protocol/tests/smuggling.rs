//! Every known trick to make two readers disagree about where a message ends: refused, or read in
//! the one way that is left.

use hostler_protocol::http1::{
    BodyFraming, ChunkLimits, ChunkPiece, ChunkedDecoder, HeadLimits, Parsed, RequestHead,
};

/// The framing of a POST with these bytes among its field lines, or the status it is refused with.
fn framing_of(lines: &[u8]) -> Result<BodyFraming, u16> {
    let bytes = [b"POST / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
    let mut head = RequestHead::new();
    match head.parse(&bytes, &HeadLimits::default()) {
        Ok(Parsed::Complete) => Ok(head.framing),
        Ok(Parsed::Partial) => panic!("partial: {}", bytes.escape_ascii()),
        Err(error) => Err(error.status()),
    }
}

const FRAMING_FIELDS: &[(&[u8], Result<BodyFraming, u16>)] = {
    use BodyFraming::{Chunked, Length};
    &[
        (b"Content-Length: 5\r\n", Ok(Length(5))),
        (b"CONTENT-LENGTH:5\t \r\n", Ok(Length(5))),
        (b"Content-Length: 007\r\n", Ok(Length(7))),
        (b"Content-Length: 0\r\n", Ok(Length(0))),
        (b"Content-Length: 9223372036854775807\r\n", Ok(Length(i64::MAX as u64))),
        (b"Transfer-Encoding: chunked\r\n", Ok(Chunked)),
        (b"transfer-encoding:\tCHUNKED \r\n", Ok(Chunked)),
        // Both.
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(400)),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Err(400)),
        (b"Transfer-Encoding:\r\nContent-Length: 5\r\n", Err(400)),
        // Lengths.
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", Err(400)),
        (b"Content-Length: 5\r\ncontent-length: 0\r\n", Err(400)),
        (b"Content-Length: 5, 5\r\n", Err(400)),
        (b"Content-Length: 5,6\r\n", Err(400)),
        (b"Content-Length: 5,\r\n", Err(400)),
        (b"Content-Length:\r\n", Err(400)),
        (b"Content-Length: +5\r\n", Err(400)),
        (b"Content-Length: -5\r\n", Err(400)),
        (b"Content-Length: 5 5\r\n", Err(400)),
        (b"Content-Length: 0x5\r\n", Err(400)),
        (b"Content-Length: 5e1\r\n", Err(400)),
        (b"Content-Length: 5.0\r\n", Err(400)),
        (b"Content-Length: 1_0\r\n", Err(400)),
        (b"Content-Length: \"5\"\r\n", Err(400)),
        (b"Content-Length: 5;a\r\n", Err(400)),
        (b"Content-Length: \xd9\xa5\r\n", Err(400)),
        (b"Content-Length: 9223372036854775808\r\n", Err(400)),
        (b"Content-Length: 18446744073709551621\r\n", Err(400)),
        (b"Content-Length: 99999999999999999999999999\r\n", Err(400)),
        (b"Content-Length : 5\r\n", Err(400)),
        (b"Content-Length\t: 5\r\n", Err(400)),
        (b" Content-Length: 5\r\n", Err(400)),
        (b"Content-Length: 5\r\n 6\r\n", Err(400)),
        (b"Content-Length:\r\n 5\r\n", Err(400)),
        (b"Content-Length: \x0b5\r\n", Err(400)),
        (b"Content-Length: 5\0\r\n", Err(400)),
        (b"Content-Length: 5\r\r\n", Err(400)),
        (b"Content-Length: 5\n", Err(400)),
        (b"A: b\nContent-Length: 5\r\n", Err(400)),
        (b"A: b\rContent-Length: 5\r\n", Err(400)),
        (b"A: b\0\r\nContent-Length: 5\r\n", Err(400)),
        (b"\0Content-Length: 5\r\n", Err(400)),
        // Names that only look like it are other fields.
        (b"Content_Length: 5\r\n", Ok(BodyFraming::None)),
        (b"Content-Lengt: 5\r\n", Ok(BodyFraming::None)),
        (b"Xontent-Length: 5\r\n", Ok(BodyFraming::None)),
        (b"Transfer_Encoding: chunked\r\n", Ok(BodyFraming::None)),
        // Codings.
        (b"Transfer-Encoding : chunked\r\n", Err(400)),
        (b"Transfer-Encoding\t: chunked\r\n", Err(400)),
        (b" Transfer-Encoding: chunked\r\n", Err(400)),
        (b"\tTransfer-Encoding: chunked\r\n", Err(400)),
        (b"X: y\r\n Transfer-Encoding: chunked\r\n", Err(400)),
        (b"X: y\rTransfer-Encoding: chunked\r\n", Err(400)),
        (b"X: y\nTransfer-Encoding: chunked\r\n", Err(400)),
        (b"Transfer-Encoding:\x0bchunked\r\n", Err(400)),
        (b"Transfer-Encoding:\x0cchunked\r\n", Err(400)),
        (b"Transfer-Encoding: \x00chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked\x00\r\n", Err(400)),
        (b"Transfer-Encoding: \x7fchunked\r\n", Err(400)),
        (b"Transfer-Encoding:\xa0chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunk\xe9d\r\n", Err(400)),
        (b"Transfer-Encoding:\r\n chunked\r\n", Err(400)),
        (b"Transfer-Encoding:\n chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked\r\n\tx\r\n", Err(400)),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Err(400)),
        (b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked, identity\r\n", Err(400)),
        (b"Transfer-Encoding: chunked, chunked\r\n", Err(400)),
        (b"Transfer-Encoding: chunked, gzip\r\n", Err(400)),
        (b"Transfer-Encoding: chunked,\r\n", Err(400)),
        (b"Transfer-Encoding: ,chunked\r\n", Err(400)),
        (b"Transfer-Encoding: \"chunked\"\r\n", Err(400)),
        (b"Transfer-Encoding: 'chunked'\r\n", Err(501)),
        (b"Transfer-Encoding: chunked chunked\r\n", Err(400)),
        (b"Transfer-Encoding:\r\n", Err(400)),
        (b"Transfer-Encoding: xchunked\r\n", Err(501)),
        (b"Transfer-Encoding: chunked1\r\n", Err(501)),
        (b"Transfer-Encoding: identity\r\n", Err(501)),
        (b"Transfer-Encoding: identity, chunked\r\n", Err(501)),
        (b"Transfer-Encoding: gzip, chunked\r\n", Err(501)),
        (b"Transfer-Encoding: cow\r\n", Err(501)),
        (b"Transfer-Encoding: chunked;x=y\r\n", Err(501)),
    ]
};

#[test]
fn framing_fields() {
    for (lines, want) in FRAMING_FIELDS {
        assert_eq!(framing_of(lines), *want, "{}", lines.escape_ascii());
    }
}

#[test]
fn codings_of_http10_are_refused() {
    let mut head = RequestHead::new();
    let limits = HeadLimits::default();
    let bytes = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(head.parse(bytes, &limits).map_err(|error| error.status()), Err(400));
}

/// What is left behind the message, or nothing when it is refused or not whole.
fn behind(body: &[u8]) -> Option<&[u8]> {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let mut rest = body;
    loop {
        let (consumed, piece) = decoder.next(rest).ok()?;
        rest = &rest[consumed..];
        match piece {
            ChunkPiece::End => return Some(rest),
            ChunkPiece::NeedMore => return None,
            ChunkPiece::Data(_) | ChunkPiece::Trailer { .. } => {}
        }
    }
}

#[test]
fn chunked_bodies_end_in_one_place_or_not_at_all() {
    const GET: &[u8] = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(behind(&[b"0\r\n\r\n", GET].concat()), Some(GET));
    let refused: &[&[u8]] = &[
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\n\n",
        b"0\r\r\n\r\n",
        b"0 \r\n\r\n",
        b"0\t\r\n\r\n",
        b"0\x0b\r\n\r\n",
        b" 0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"\n0\r\n\r\n",
        b"0x0\r\n\r\n",
        b"0X0\r\n\r\n",
        b"+0\r\n\r\n",
        b"-0\r\n\r\n",
        b"0_0\r\n\r\n",
        b"0,0\r\n\r\n",
        b"0.\r\n\r\n",
        b"0\0\r\n\r\n",
        b"00000000000000000\r\n\r\n",
        b"10000000000000000\r\n\r\n",
        b"1000000000000000000000000\r\n",
        b"ffffffffffffffff\r\n",
        b"8000000000000001\r\n",
        b"0;\nGET\r\n\r\n",
        b"0;a=\"\n\"\r\n\r\n",
        b"0;a\n\r\n\r\n",
        b"0;a\r\n\n",
        b"0;a\rb\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx\r0\r\n\r\n",
        b"2\r\nx\r\n0\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1\r\nx\r\n\r\n",
        b"0\r\nContent-Length : 5\r\n\r\n",
        b"0\r\n a\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA: b\r\n\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\nA: b\rC: d\r\n\r\n",
        b"0\r\nA: \0\r\n\r\n",
    ];
    for body in refused {
        let bytes = [body, GET].concat();
        assert_eq!(behind(&bytes), None, "{}", body.escape_ascii());
        // The scanner that watches responses agrees.
        let scan = ChunkedDecoder::new(ChunkLimits::default()).scan(&bytes);
        assert!(!scan.is_ok_and(|scan| scan.done), "scan {}", body.escape_ascii());
    }
}
