//! The bytes of `bad_input`: what must be refused.
//!
//! Owns: tables of requests and the statuses that are a right answer. Must never know: how they are sent.

/// Heads that are no HTTP/1.1: name, bytes, allowed answers. `{host}` is a good Host line.
pub(crate) const MALFORMED: &[(&str, &str, &[u16])] = &[
    ("garbage", "\x16\x03\x01\x02garbage\r\n\r\n", &[400]),
    ("HTTP/0.9", "GET /evil\r\n\r\n", &[400, 505]),
    ("HTTP/2.0 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505]),
    ("version 2.0", "GET /evil HTTP/2.0\r\n{host}\r\n", &[400, 505]),
    ("version 1.2", "GET /evil HTTP/1.2\r\n{host}\r\n", &[400, 505]),
    ("version 9.9", "GET /evil HTTP/9.9\r\n{host}\r\n", &[400, 505]),
    ("lower-case version", "GET /evil http/1.1\r\n{host}\r\n", &[400, 505]),
    ("no target", "GET HTTP/1.1\r\n{host}\r\n", &[400]),
    ("space in target", "GET /evil x HTTP/1.1\r\n{host}\r\n", &[400]),
    ("tab for space", "GET\t/evil\tHTTP/1.1\r\n{host}\r\n", &[400]),
    ("NUL in target", "GET /evil\0 HTTP/1.1\r\n{host}\r\n", &[400]),
    ("unknown method", "EVIL /evil HTTP/1.1\r\n{host}\r\n", &[400, 501]),
    ("lower-case method", "get /evil HTTP/1.1\r\n{host}\r\n", &[400, 501]),
    ("no host", "GET /evil HTTP/1.1\r\n\r\n", &[400]),
    ("two hosts", "GET /evil HTTP/1.1\r\n{host}{host}\r\n", &[400]),
    ("bad host", "GET /evil HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
    ("host with path", "GET /evil HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
    ("host with user", "GET /evil HTTP/1.1\r\nHost: a@b\r\n\r\n", &[400]),
    ("bare LF everywhere", "GET /evil HTTP/1.1\nHost: test\n\n", &[400]),
    ("bare LF in the middle", "GET /evil HTTP/1.1\r\n{host}A: b\nC: d\r\n\r\n", &[400]),
    ("bare CR in a value", "GET /evil HTTP/1.1\r\n{host}A: b\rC: d\r\n\r\n", &[400]),
    ("bare CR for CRLF", "GET /evil HTTP/1.1\rHost: test\r\r", &[400]),
    ("NUL in a value", "GET /evil HTTP/1.1\r\n{host}A: b\0c\r\n\r\n", &[400]),
    ("BEL in a value", "GET /evil HTTP/1.1\r\n{host}A: b\x07c\r\n\r\n", &[400]),
    ("DEL in a value", "GET /evil HTTP/1.1\r\n{host}A: b\x7fc\r\n\r\n", &[400]),
    ("space before colon", "GET /evil HTTP/1.1\r\n{host}A : b\r\n\r\n", &[400]),
    ("space in name", "GET /evil HTTP/1.1\r\n{host}A b: c\r\n\r\n", &[400]),
    ("brackets in name", "GET /evil HTTP/1.1\r\n{host}A[b]: c\r\n\r\n", &[400]),
    ("empty name", "GET /evil HTTP/1.1\r\n{host}: c\r\n\r\n", &[400]),
    ("no colon", "GET /evil HTTP/1.1\r\n{host}nothing\r\n\r\n", &[400]),
    ("folded line", "GET /evil HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n", &[400]),
    ("first line folded", "GET /evil HTTP/1.1\r\n {host}\r\n", &[400]),
];

/// Requests that two parsers could read differently: name, field lines, body. `{cl}` and `{te}` are good lines.
pub(crate) const SMUGGLING: &[(&str, &str, &str)] = &[
    ("CL.TE", "{cl}{te}", CHUNKED),
    ("TE.CL", "{te}{cl}", CHUNKED),
    ("CL.TE, odd case", "{cl}tRANSFER-eNCODING: cHUNKED\r\n", CHUNKED),
    ("TE with space before colon", "{cl}Transfer-Encoding : chunked\r\n", CHUNKED),
    ("TE with vertical tab", "{cl}Transfer-Encoding:\x0bchunked\r\n", CHUNKED),
    ("TE folded", "{cl}Transfer-Encoding:\r\n chunked\r\n", CHUNKED),
    ("TE behind bare LF", "{cl}A: b\nTransfer-Encoding: chunked\r\n", CHUNKED),
    ("TE behind bare CR", "{cl}A: b\rTransfer-Encoding: chunked\r\n", CHUNKED),
    ("TE xchunked", "Transfer-Encoding: xchunked\r\n", CHUNKED),
    ("TE identity", "Transfer-Encoding: identity\r\n", CHUNKED),
    ("TE chunked, identity", "Transfer-Encoding: chunked, identity\r\n", CHUNKED),
    ("TE chunked twice", "{te}{te}", CHUNKED),
    ("TE chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n", CHUNKED),
    ("TE quoted", "Transfer-Encoding: \"chunked\"\r\n", CHUNKED),
    ("TE empty", "Transfer-Encoding:\r\n", CHUNKED),
    ("two CL", "Content-Length: 5\r\nContent-Length: 6\r\n", PLAIN),
    ("two equal CL", "Content-Length: 5\r\nContent-Length: 5\r\n", PLAIN),
    ("CL list", "Content-Length: 5, 5\r\n", PLAIN),
    ("CL +5", "Content-Length: +5\r\n", PLAIN),
    ("CL -5", "Content-Length: -5\r\n", PLAIN),
    ("CL hex", "Content-Length: 0x5\r\n", PLAIN),
    ("CL with space", "Content-Length: 5 5\r\n", PLAIN),
    ("CL empty", "Content-Length:\r\n", PLAIN),
    ("CL with space before colon", "Content-Length : 5\r\n", PLAIN),
    ("CL overflow", "Content-Length: 18446744073709551616\r\n", PLAIN),
    ("CL fraction", "Content-Length: 5.0\r\n", PLAIN),
];

/// What the attacker wants to be taken for a request of its own.
const PLAIN: &str = "GET /evil HTTP/1.1\r\nHost: test\r\n\r\n";
/// The same behind the end of a chunked body.
pub(crate) const CHUNKED: &str = "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: test\r\n\r\n";

/// Chunked bodies that are none: name, bytes.
pub(crate) const BAD_CHUNKS: &[(&str, &str)] = &[
    ("not hexadecimal", "xyz\r\nabc\r\n0\r\n\r\n"),
    ("0x prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("sign", "+3\r\nabc\r\n0\r\n\r\n"),
    ("minus", "-3\r\nabc\r\n0\r\n\r\n"),
    ("underscore", "1_0\r\nabc\r\n0\r\n\r\n"),
    ("empty size", "\r\nabc\r\n0\r\n\r\n"),
    ("leading space", " 3\r\nabc\r\n0\r\n\r\n"),
    ("overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("bare LF after size", "3\nabc\r\n0\r\n\r\n"),
    ("bare CR after size", "3\rabc\r\n0\r\n\r\n"),
    ("too long for its size", "3\r\nabcdef\r\n0\r\n\r\n"),
    ("bare LF after data", "3\r\nabc\n0\r\n\r\n"),
    ("bare LF in extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("NUL in size", "3\0\r\nabc\r\n0\r\n\r\n"),
    ("bad trailer name", "3\r\nabc\r\n0\r\nA b: c\r\n\r\n"),
    ("bare LF in trailer", "3\r\nabc\r\n0\r\nA: b\nC: d\r\n\r\n"),
];
