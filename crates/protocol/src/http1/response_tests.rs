//! Response heads: one rule a row, bytes -> result.

use super::*;

fn parse(bytes: &[u8], request_is_head: bool) -> Result<ResponseHead, ResponseError> {
    let mut head = ResponseHead::new();
    match head.parse(bytes, request_is_head, &HeadLimits::RESPONSE)? {
        Parsed::Complete => Ok(head),
        Parsed::Partial => panic!("partial: {}", bytes.escape_ascii()),
    }
}

#[track_caller]
fn good(text: &str) -> ResponseHead {
    parse(text.as_bytes(), false).unwrap_or_else(|error| panic!("{error:?}: {text:?}"))
}

#[test]
fn everything_of_a_plain_response() {
    let bytes =
        b"HTTP/1.1 200 All right\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
    let head = parse(bytes, false).expect("valid");
    assert_eq!((head.version, head.status), (Version::Http11, 200));
    assert_eq!(head.reason.of(bytes), b"All right");
    assert_eq!(head.framing, BodyFraming::Length(2));
    assert!(head.keep_alive && !head.upgrade && !head.is_interim());
    assert_eq!(head.head_len as usize, bytes.len() - 2);
    assert_eq!(head.fields().len(), 2);
    assert_eq!(head.fields()[0].known, FieldName::ContentType);
}

#[test]
fn status_lines() {
    let reasons: &[(&[u8], &[u8])] = &[
        (b"HTTP/1.1 200\r\n\r\n", b""),
        (b"HTTP/1.1 200 \r\n\r\n", b""),
        (b"HTTP/1.1 200  x\r\nA: b\r\n\r\n", b" x"),
        (b"HTTP/1.1 200 caf\xe9\r\n\r\n", b"caf\xe9"),
        (b"HTTP/1.0 200\r\nA: b\r\n\r\n", b""),
    ];
    for (bytes, reason) in reasons {
        let head = parse(bytes, false).expect("valid");
        assert_eq!(head.reason.of(bytes), *reason, "{}", bytes.escape_ascii());
    }
    for (text, error) in [
        ("HTTP/2.0 200 OK", ResponseError::Version),
        ("HTTP/1.2 200 OK", ResponseError::Version),
        ("http/1.1 200 OK", ResponseError::Version),
        ("garbage", ResponseError::Version),
        ("HTTP/1.1  200 OK", ResponseError::StatusLine),
        ("HTTP/1.1 20 OK", ResponseError::StatusLine),
        ("HTTP/1.1 2000 OK", ResponseError::StatusLine),
        ("HTTP/1.1 2x0 OK", ResponseError::StatusLine),
        ("HTTP/1.1 099 OK", ResponseError::Status),
        ("HTTP/1.1 000 OK", ResponseError::Status),
        ("\r\nHTTP/1.1 200 OK", ResponseError::StatusLine),
    ] {
        let bytes = format!("{text}\r\n\r\n");
        assert_eq!(parse(bytes.as_bytes(), false).err(), Some(error), "{text}");
    }
    assert_eq!(good("HTTP/1.1 999 x\r\n\r\n").status, 999);
}

#[test]
fn line_ends_and_fields() {
    for (text, error) in [
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", ResponseError::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", ResponseError::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\r\n\n", ResponseError::LineEnd),
        ("HTTP/1.1 200 OK\n\n", ResponseError::LineEnd),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", ResponseError::FieldValue),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", ResponseError::FieldValue),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ResponseError::FieldName),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ResponseError::FieldName),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", ResponseError::FieldName),
    ] {
        assert_eq!(parse(text.as_bytes(), false).err(), Some(error), "{text:?}");
    }
    let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(good(&many(RESPONSE_FIELDS_CAP)).fields().len(), RESPONSE_FIELDS_CAP);
    let over = many(RESPONSE_FIELDS_CAP + 1);
    assert_eq!(parse(over.as_bytes(), false).err(), Some(ResponseError::TooManyFields));
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(70_000));
    assert_eq!(parse(long.as_bytes(), false).err(), Some(ResponseError::HeadTooLong));
}

#[test]
fn framing_and_persistence() {
    use BodyFraming::{Chunked, Length, None, UntilClose};
    let cases = [
        ("HTTP/1.1 200", "Content-Length: 5", Length(5), true),
        ("HTTP/1.1 200", "Content-Length: 5, 5", Length(5), true),
        ("HTTP/1.1 200", "Content-Length: 5\r\nContent-Length: 5", Length(5), true),
        ("HTTP/1.1 200", "Content-Length: 5\r\nConnection: close", Length(5), false),
        ("HTTP/1.1 200", "Transfer-Encoding: chunked", Chunked, true),
        ("HTTP/1.1 200", "Transfer-Encoding: Chunked", Chunked, true),
        ("HTTP/1.1 200", "A: b", UntilClose, false),
        ("HTTP/1.1 200", "Connection: keep-alive", UntilClose, false),
        ("HTTP/1.0 200", "Content-Length: 5", Length(5), false),
        ("HTTP/1.0 200", "Content-Length: 5\r\nConnection: keep-alive", Length(5), true),
        ("HTTP/1.0 200", "Connection: keep-alive", UntilClose, false),
        ("HTTP/1.1 204", "A: b", None, true),
        ("HTTP/1.1 204", "Content-Length: 5", None, true),
        ("HTTP/1.1 304", "Content-Length: 5", None, true),
        ("HTTP/1.1 304", "Transfer-Encoding: chunked", None, true),
        ("HTTP/1.1 100", "A: b", None, true),
        ("HTTP/1.1 103", "Link: x", None, true),
        ("HTTP/1.1 101", "Upgrade: x\r\nConnection: upgrade", None, true),
    ];
    for (line, lines, framing, keep_alive) in cases {
        let head = good(&format!("{line} x\r\n{lines}\r\n\r\n"));
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{line} {lines}");
        assert_eq!(head.upgrade, head.status == 101);
    }
    let head = parse(b"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n", true).expect("valid");
    assert_eq!((head.framing, head.keep_alive), (None, true));
    let head = parse(b"HTTP/1.1 200 x\r\n\r\n", true).expect("valid");
    assert_eq!((head.framing, head.keep_alive), (None, true));
    assert!(good("HTTP/1.1 100 x\r\n\r\n").is_interim());
    assert!(!good("HTTP/1.1 101 x\r\n\r\n").is_interim());
}

#[test]
fn doubtful_framing_is_refused() {
    for (version, lines, error) in [
        ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked", ResponseError::LengthAndCoding),
        ("1.1", "Content-Length: 5\r\nContent-Length: 6", ResponseError::ContentLengthDiffers),
        ("1.1", "Content-Length: 5, 6", ResponseError::ContentLengthDiffers),
        ("1.1", "Content-Length: 5,", ResponseError::ContentLengthInvalid),
        ("1.1", "Content-Length: -5", ResponseError::ContentLengthInvalid),
        ("1.1", "Content-Length:", ResponseError::ContentLengthInvalid),
        ("1.1", "Transfer-Encoding: gzip, chunked", ResponseError::UnknownCoding),
        ("1.1", "Transfer-Encoding: gzip", ResponseError::UnknownCoding),
        ("1.1", "Transfer-Encoding: identity", ResponseError::UnknownCoding),
        (
            "1.1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ResponseError::UnknownCoding,
        ),
        ("1.0", "Transfer-Encoding: chunked", ResponseError::CodingInHttp10),
    ] {
        let text = format!("HTTP/{version} 200 OK\r\n{lines}\r\n\r\n");
        assert_eq!(parse(text.as_bytes(), false).err(), Some(error), "{lines}");
    }
}

#[test]
fn hop_by_hop_fields() {
    let text = "HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nKeep-Alive: a\r\nX-A: b\r\nX-B: c\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let head = good(text);
    let dropped: Vec<bool> =
        head.fields().iter().map(|field| head.is_hop_by_hop(text.as_bytes(), field)).collect();
    assert_eq!(dropped, [true, true, true, false, true]);
}

#[test]
fn a_worker_may_say_how_long_it_keeps_the_connection() {
    let told = |field: &str| {
        let text = format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n");
        good(&text).keep_alive_s(text.as_bytes())
    };
    assert_eq!(told(""), None);
    assert_eq!(told("Keep-Alive: timeout=5\r\n"), Some(5));
    assert_eq!(told("keep-alive: max=200, Timeout=72\r\n"), Some(72));
    for unusable in ["max=5", "timeout=", "timeout=-1", "timeout=99999999999", "x", ""] {
        assert_eq!(told(&format!("Keep-Alive: {unusable}\r\n")), None, "{unusable}");
    }
}
