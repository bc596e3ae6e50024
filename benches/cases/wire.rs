//! Requests as clients send them and answers as Node writes them.
//!
//! Owns: the bytes. Must never know: what is measured with them.

/// The least that is valid.
const MINIMAL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A load generator's request.
pub(super) const TWO_FIELDS: &[u8] =
    b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: oha/1.4\r\n\r\n";

/// A browser's request: 14 header fields.
pub(super) const BROWSER: &[u8] = b"GET /articles/2024/11/a-longer-title?page=2&sort=new HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=5f0c6f7b2e8d4a1c9b3e7d6a5c4b3a29; theme=dark; consent=1\r\n\r\n";

/// What Node writes for a 14-byte Buffer.
pub(super) const NODE_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nHello, world!\n";

/// What an Express app with the usual middleware answers: 17 header fields.
pub(super) const EXPRESS_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Security-Policy: default-src 'self'\r\n\
Strict-Transport-Security: max-age=15552000; includeSubDomains\r\n\
X-Content-Type-Options: nosniff\r\nX-DNS-Prefetch-Control: off\r\n\
X-Frame-Options: SAMEORIGIN\r\nReferrer-Policy: no-referrer\r\n\
Access-Control-Allow-Origin: *\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\n\
Set-Cookie: session=5f0c6f7b2e8d4a1c9b3e7d6a5c4b3a29; Path=/; HttpOnly\r\n\
Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\
ETag: W/\"2-nOO9QiTIwXgNtWtBJezz8kv3SLc\"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{}";

/// A request with 64 header fields, none of which the proxy knows by name.
fn many_fields() -> Vec<u8> {
    let mut bytes = b"GET /hello HTTP/1.1\r\nHost: www.example.com\r\n".to_vec();
    for number in 1..64 {
        bytes.extend_from_slice(format!("X-App-Field-{number}: value {number}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A form of 1 KiB, head and body in one piece, as clients send it.
pub(super) fn upload() -> Vec<u8> {
    let mut bytes = b"POST /form HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: oha/1.4\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1024\r\n\r\n"
        .to_vec();
    bytes.resize(bytes.len() + 1024, b'x');
    bytes
}

/// A chunked body of about `bytes_max` bytes.
pub(super) fn chunks(chunk_bytes: usize, bytes_max: usize) -> Vec<u8> {
    let chunk = format!("{chunk_bytes:x}\r\n{}\r\n", "x".repeat(chunk_bytes));
    let mut body = chunk.repeat(bytes_max / chunk.len());
    body.push_str("0\r\n\r\n");
    body.into_bytes()
}

/// The requests whose heads are read and encoded, by name.
pub(super) fn requests() -> [(&'static str, Vec<u8>); 4] {
    [
        ("minimal", MINIMAL.to_vec()),
        ("2_fields", TWO_FIELDS.to_vec()),
        ("browser", BROWSER.to_vec()),
        ("64_fields", many_fields()),
    ]
}
