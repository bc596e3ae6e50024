//! Requests as clients send them, and the time each bench may take.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::Duration;

use criterion::Criterion;

/// The least that is valid.
pub(crate) const MINIMAL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A load generator's request.
pub(crate) const TWO_FIELDS: &[u8] =
    b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nUser-Agent: oha/1.4\r\n\r\n";

/// A browser's request: 14 header fields.
pub(crate) const BROWSER: &[u8] = b"GET /articles/2024/11/a-longer-title?page=2&sort=new HTTP/1.1\r\n\
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
pub(crate) const NODE_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nHello, world!\n";

/// Short: figures that differ by a few per cent are not what these are for.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(900))
        .without_plots()
}
