//! Request heads: one rule a row, bytes -> result.

use super::*;

/// `GET / HTTP/1.1` with a valid Host and these further field lines.
fn with_fields(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn parse(bytes: &[u8]) -> Result<RequestHead, RequestError> {
    let mut head = RequestHead::new();
    match head.parse(bytes, &HeadLimits::default())? {
        Parsed::Complete => Ok(head),
        Parsed::Partial => panic!("partial: {}", bytes.escape_ascii()),
    }
}

#[track_caller]
fn good(bytes: impl AsRef<[u8]>) -> RequestHead {
    let bytes = bytes.as_ref();
    parse(bytes).unwrap_or_else(|error| panic!("{error:?}: {}", bytes.escape_ascii()))
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, error: RequestError, status: u16) {
    let bytes = bytes.as_ref();
    assert_eq!(parse(bytes).err(), Some(error), "{}", bytes.escape_ascii());
    assert_eq!(error.status(), status, "{error:?}");
}

#[test]
fn everything_of_a_plain_request() {
    let bytes = b"POST /a?b HTTP/1.1\r\nHost: example.com:80\r\nX-Request-Id: 7\r\n\
        content-length: 5\r\nX-Mine: \t a b \t\r\nEmpty:\r\n\r\nhello";
    let head = good(bytes);
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.method_span.of(bytes), b"POST");
    assert_eq!(head.target.of(bytes), b"/a?b");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.framing, BodyFraming::Length(5));
    assert!(head.keep_alive && !head.expect_continue && !head.upgrade);
    assert_eq!(head.host.map(|span| span.of(bytes)), Some(&b"example.com:80"[..]));
    assert_eq!(head.request_id.map(|span| span.of(bytes)), Some(&b"7"[..]));
    assert_eq!(head.head_len as usize, bytes.len() - 5);
    let fields: Vec<_> = head
        .fields()
        .iter()
        .map(|field| (field.name.of(bytes), field.value.of(bytes), field.known, field.number))
        .collect();
    let host = FieldName::Host.usual_number();
    let id = FieldName::XRequestId.usual_number();
    let length = FieldName::ContentLength.usual_number();
    assert_eq!(
        fields,
        [
            (&b"Host"[..], &b"example.com:80"[..], FieldName::Host, host),
            (b"X-Request-Id", b"7", FieldName::XRequestId, id),
            (b"content-length", b"5", FieldName::ContentLength, length + 1),
            (b"X-Mine", b"a b", FieldName::Other, 0),
            (b"Empty", b"", FieldName::Other, 0),
        ]
    );
}

const BAD_REQUEST_LINES: &[(&[u8], RequestError, u16)] = {
    use RequestError as E;
    &[
        (b"GET /", E::Http09, 400),
        (b"GET", E::RequestLine, 400),
        (b"GET  / HTTP/1.1", E::RequestLine, 400),
        (b"GET /  HTTP/1.1", E::RequestLine, 400),
        (b" GET / HTTP/1.1", E::RequestLine, 400),
        (b"GET\t/ HTTP/1.1", E::RequestLine, 400),
        (b"GET /\tHTTP/1.1", E::TargetByte, 400),
        (b"GET / HTTP/1.1 ", E::RequestLine, 400),
        (b"GET / HTTP/1.10", E::RequestLine, 400),
        (b"GET / HTTP/11.1", E::RequestLine, 400),
        (b"GET / HTTP/1", E::RequestLine, 400),
        (b"GET / http/1.1", E::RequestLine, 400),
        (b"GET / HTTP /1.1", E::RequestLine, 400),
        (b"GET /a b HTTP/1.1", E::RequestLine, 400),
        (b"G@T / HTTP/1.1", E::RequestLine, 400),
        (b"\"GET\" / HTTP/1.1", E::RequestLine, 400),
        (b"GET / HTTP/1.2", E::Version, 505),
        (b"GET / HTTP/2.0", E::Version, 505),
        (b"GET / HTTP/0.9", E::Version, 505),
        (b"PRI * HTTP/2.0", E::Version, 505),
        (b"get / HTTP/1.1", E::UnknownMethod, 501),
        (b"BREW / HTTP/1.1", E::UnknownMethod, 501),
        (b"PRI * HTTP/1.1", E::UnknownMethod, 501),
        (b"GET /a#b HTTP/1.1", E::TargetByte, 400),
        (b"GET /a\x7f HTTP/1.1", E::TargetByte, 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1", E::TargetByte, 400),
        (b"GET /caf\xe9 HTTP/1.1", E::TargetByte, 400),
        (b"GET /\xe9 /x HTTP/1.1", E::TargetByte, 400),
        (b"GET \x80 HTTP/1.1", E::TargetByte, 400),
        (b"GET /a\x01 HTTP/1.1", E::TargetByte, 400),
        (b"GET /a\x00 HTTP/1.1", E::TargetByte, 400),
        (b"GET * HTTP/1.1", E::TargetForm, 400),
        (b"GET a HTTP/1.1", E::TargetForm, 400),
        (b"GET a:80 HTTP/1.1", E::TargetForm, 400),
        (b"GET ?a HTTP/1.1", E::TargetForm, 400),
        (b"GET ftp://a/ HTTP/1.1", E::TargetForm, 400),
        (b"GET http:/a HTTP/1.1", E::TargetForm, 400),
        (b"GET http:///a HTTP/1.1", E::HostInvalid, 400),
        (b"GET http://u@a/ HTTP/1.1", E::HostInvalid, 400),
        (b"OPTIONS ** HTTP/1.1", E::TargetForm, 400),
        (b"CONNECT / HTTP/1.1", E::TargetForm, 400),
        (b"CONNECT a HTTP/1.1", E::TargetForm, 400),
        (b"CONNECT http://a/ HTTP/1.1", E::TargetForm, 400),
    ]
};

fn with_line(line: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: a\r\n\r\n"].concat()
}

#[test]
fn bad_request_lines() {
    use RequestError as E;
    for (line, error, status) in BAD_REQUEST_LINES {
        refused(with_line(line), *error, *status);
    }
    // Garbage, HTTP/0.9 whole, TLS.
    refused(b"GET /\r\n", E::Http09, 400);
    refused(b"\x16\x03\x01\x02\x00\x01", E::RequestLine, 400);
    refused(b"\0", E::RequestLine, 400);
    refused(b"hello\r\n", E::RequestLine, 400);
}

#[test]
fn good_request_lines() {
    for method in Method::ALL {
        let target = if *method == Method::Connect { "a:443" } else { "/" };
        let line = format!("{} {target} HTTP/1.1", method.as_str());
        assert_eq!(good(with_line(line.as_bytes())).method, *method);
    }
    let targets: &[&[u8]] = &[
        b"/",
        b"//a",
        b"/%",
        b"/a?b?c",
        b"/<\">\\^`{|}",
        b"http://a",
        b"https://a:1/b",
        b"HTTP://A?b",
        b"http://[::1]/",
    ];
    for target in targets {
        let bytes = with_line(&[b"GET ", *target, b" HTTP/1.1"].concat());
        assert_eq!(good(&bytes).target.of(&bytes), *target);
    }
    assert_eq!(good(with_line(b"OPTIONS * HTTP/1.1")).method, Method::Options);
}

#[test]
fn field_lines() {
    use RequestError as E;
    let cases: &[(&str, E)] = &[
        ("a : b\r\n", E::FieldName),
        ("a\t: b\r\n", E::FieldName),
        (": b\r\n", E::FieldName),
        ("a\r\n", E::FieldName),
        ("a b: c\r\n", E::FieldName),
        ("a\u{e9}: c\r\n", E::FieldName),
        ("a\0: c\r\n", E::FieldName),
        ("(a): c\r\n", E::FieldName),
        (" a: b\r\n", E::FieldName),
        ("a: b\r\n c\r\n", E::FieldName),
        ("a: b\r\n\tc\r\n", E::FieldName),
        ("a: b\0\r\n", E::FieldValue),
        ("a: \0\r\n", E::FieldValue),
        ("a: b\x01\r\n", E::FieldValue),
        ("a: b\x7f\r\n", E::FieldValue),
        ("a: b\x0bc\r\n", E::FieldValue),
        ("a: b\rc\r\n", E::FieldValue),
        ("a: b\r\r\n", E::FieldValue),
        ("a: b\n", E::LineEnd),
        ("a: b\nc: d\r\n", E::LineEnd),
        ("a:\nc: d\r\n", E::LineEnd),
        ("a: b\r\n\n", E::LineEnd),
    ];
    for (lines, error) in cases {
        refused(with_fields(lines), *error, 400);
    }
    refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n", E::LineEnd, 400);
    refused(b"GET / HTTP/1.1\r\nHost: a\n\n", E::LineEnd, 400);
    refused(b"GET / HTTP/1.0\n\n", E::LineEnd, 400);
    refused(b"GET / HTTP/1.0\r\n\n", E::LineEnd, 400);
    refused(b"GET / HTTP/1.0\n\r\n", E::LineEnd, 400);
    refused(b"GET / HTTP/1.0\rX", E::LineEnd, 400);
    let long = "n".repeat(255);
    good(with_fields(&format!("{long}: v\r\n")));
    refused(with_fields(&format!("{long}n: v\r\n")), E::FieldNameTooLong, 431);
    good(with_fields("!#$%&'*+-.^_`|~09azAZ:v\r\na:\t\u{e9}\t\r\n"));
}

#[test]
fn empty_lines_before_the_request_line() {
    let head = good(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(head.head_len, 29);
    refused(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::RequestLine, 400);
    refused(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::LineEnd, 400);
    refused(b"\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::LineEnd, 400);
    refused(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::LineEnd, 400);
}

#[test]
fn hosts() {
    use RequestError as E;
    refused(b"GET / HTTP/1.1\r\n\r\n", E::HostMissing, 400);
    refused(with_fields("Host: a\r\n"), E::HostRepeated, 400);
    refused(with_fields("hOST: b\r\n"), E::HostRepeated, 400);
    let with_host = |host: &str| format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n");
    for host in
        ["", " ", " a b", " a,b@c", " a/", " http://a", " a:b", " a:80:80", " [::1", " \u{e9}"]
    {
        refused(with_host(host), E::HostInvalid, 400);
    }
    for host in ["a", " a", "\ta", " \t a \t", " a:80", " [::1]:80"] {
        good(with_host(host));
    }
    // HTTP/1.0 may go without, but not with two or with a bad one.
    assert_eq!(good(b"GET / HTTP/1.0\r\n\r\n").host, None);
    refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", E::HostRepeated, 400);
    refused(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", E::HostInvalid, 400);
    // Empty where there is no authority to name.
    good(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n");
    refused(b"OPTIONS / HTTP/1.1\r\nHost:\r\n\r\n", E::HostInvalid, 400);
    // An absolute target wins over Host.
    let bytes = b"GET http://b:1/c HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(good(bytes).host.map(|span| span.of(bytes)), Some(&b"b:1"[..]));
    refused(b"GET http://b/ HTTP/1.1\r\n\r\n", E::HostMissing, 400);
}

#[test]
fn persistence_upgrade_and_expect() {
    // (version, lines, keep_alive, upgrade, expect_continue)
    let cases = [
        ("1.1", "", true, false, false),
        ("1.1", "Connection: close\r\n", false, false, false),
        ("1.1", "Connection: CLOSE\r\n", false, false, false),
        ("1.1", "Connection: keep-alive, close\r\n", false, false, false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false),
        ("1.1", "Connection: closed\r\n", true, false, false),
        ("1.1", "Proxy-Connection: close\r\n", true, false, false),
        ("1.0", "", false, false, false),
        ("1.0", "Connection: keep-alive\r\n", true, false, false),
        ("1.0", "Connection: x, Keep-Alive\r\n", true, false, false),
        ("1.0", "Connection: keep-alive, close\r\n", false, false, false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true, false),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n", true, true, false),
        ("1.1", "Upgrade: websocket\r\n", true, false, false),
        ("1.1", "Connection: Upgrade\r\n", true, false, false),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false, false, false),
        ("1.1", "Expect: 100-continue\r\n", true, false, true),
        ("1.1", "expect: 100-Continue\r\n", true, false, true),
        ("1.1", "Expect: 100-continued\r\n", true, false, false),
        ("1.0", "Expect: 100-continue\r\n", false, false, false),
    ];
    for (version, lines, keep_alive, upgrade, expect) in cases {
        let head = good(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(
            (head.keep_alive, head.upgrade, head.expect_continue),
            (keep_alive, upgrade, expect),
            "{version} {lines}"
        );
    }
}

#[test]
fn hop_by_hop_fields() {
    let dropped = |lines: &str| -> Vec<String> {
        let bytes = with_fields(lines);
        let head = good(&bytes);
        let fields = head.fields().iter().filter(|field| head.is_hop_by_hop(&bytes, field));
        fields.map(|field| String::from_utf8_lossy(field.name.of(&bytes)).into_owned()).collect()
    };
    assert_eq!(dropped("A: b\r\nCookie: c\r\n"), [""; 0]);
    assert_eq!(
        dropped("Connection: x\r\nKeep-Alive: x\r\nProxy-Connection: x\r\nTE: x\r\nUpgrade: x\r\n"),
        ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade"]
    );
    assert_eq!(dropped("Connection: close, x-a\r\nX-A: 1\r\nX-AB: 2\r\n"), ["Connection", "X-A"]);
    assert_eq!(
        dropped("X-A: 1\r\nConnection: a\r\nA: 2\r\nConnection: X-A\r\nCookie: 3\r\n"),
        ["X-A", "Connection", "A", "Connection"]
    );
    // What another reader needs to find the same message cannot be taken away.
    assert_eq!(
        dropped("Connection: Host, Content-Length\r\nContent-Length: 1\r\n"),
        ["Connection"]
    );
    assert_eq!(dropped("Transfer-Encoding: chunked\r\n"), ["Transfer-Encoding"]);
}

#[test]
fn limits_hold_for_whole_and_partial_heads() {
    let limits = HeadLimits { head_bytes_max: 100, target_bytes_max: 20, fields_max: 3 };
    let mut head = RequestHead::new();
    let mut parse = |bytes: &[u8]| head.parse(bytes, &limits);
    let fill = |len: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nx: ";
        format!("{start}{}\r\n\r\n", "v".repeat(len - start.len() - 4))
    };
    assert_eq!(parse(fill(100).as_bytes()), Ok(Parsed::Complete));
    assert_eq!(parse(fill(101).as_bytes()), Err(RequestError::HeadTooLong));
    assert_eq!(parse(&fill(101).as_bytes()[..99]), Ok(Parsed::Partial));
    assert_eq!(parse(&fill(101).as_bytes()[..100]), Err(RequestError::HeadTooLong));
    // The body does not count.
    assert_eq!(parse(&[fill(100).as_bytes(), &[b'x'; 500]].concat()), Ok(Parsed::Complete));

    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 1));
    assert_eq!(parse(target(20).as_bytes()), Ok(Parsed::Complete));
    assert_eq!(parse(target(21).as_bytes()), Err(RequestError::TargetTooLong));
    assert_eq!(parse(&target(200).as_bytes()[..24]), Ok(Parsed::Partial));
    assert_eq!(parse(&target(200).as_bytes()[..25]), Err(RequestError::TargetTooLong));
    assert_eq!(parse(target(200).as_bytes()), Err(RequestError::TargetTooLong));

    let fields = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(parse(fields(3).as_bytes()), Ok(Parsed::Complete));
    assert_eq!(parse(fields(4).as_bytes()), Err(RequestError::TooManyFields));
    assert_eq!(
        parse(fields(4).strip_suffix("\r\n").unwrap().as_bytes()),
        Err(RequestError::TooManyFields)
    );
}

#[test]
fn limits_never_exceed_what_the_codec_holds() {
    let limits =
        HeadLimits { head_bytes_max: u32::MAX, target_bytes_max: u32::MAX, fields_max: u32::MAX };
    let mut head = RequestHead::new();
    let fields = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(head.parse(fields(REQUEST_FIELDS_CAP).as_bytes(), &limits), Ok(Parsed::Complete));
    assert_eq!(head.fields().len(), REQUEST_FIELDS_CAP);
    let over = fields(REQUEST_FIELDS_CAP + 1);
    assert_eq!(head.parse(over.as_bytes(), &limits), Err(RequestError::TooManyFields));
    let long = format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(61_000));
    assert_eq!(head.parse(long.as_bytes(), &limits), Ok(Parsed::Complete));
    let longer = format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(100_000));
    assert_eq!(head.parse(longer.as_bytes(), &limits), Err(RequestError::HeadTooLong));
}

#[test]
fn partial_heads_are_partial_until_they_can_only_be_wrong() {
    let limits = HeadLimits::default();
    let mut head = RequestHead::new();
    let whole = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\nA:  b\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(head.parse(&whole[..end], &limits), Ok(Parsed::Partial), "{end}");
    }
    for early in
        ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\na: b\n", "GET /\r\n", "PRI * HTTP/2.0", "\n"]
    {
        assert!(head.parse(early.as_bytes(), &limits).is_err(), "{early:?}");
    }
}

#[test]
fn every_error_has_a_status_and_a_sentence() {
    for error in RequestError::ALL {
        assert!(matches!(error.status(), 400 | 414 | 431 | 501 | 505), "{error:?}");
        assert_eq!(error.to_string(), error.explain());
    }
}
