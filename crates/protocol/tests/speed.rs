//! What parsing costs; prints, asserts nothing.
//! `cargo test --release -p hostler-protocol --test speed -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use hostler_protocol::http1::{
    ChunkLimits, ChunkedDecoder, HeadLimits, HeadScanner, Parsed, RequestHead, ResponseHead,
};
use hostler_protocol::worker::peer;
use hostler_protocol::worker::{
    FrameReader, FrameWriter, FromWorker, HeadFlags, HeadParts, StreamTag,
};

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nAccept: */*\r\n\r\n";
const BROWSER: &[u8] = b"GET /index.html?a=1&b=2 HTTP/1.1\r\nHost: example.com\r\n\
Connection: keep-alive\r\nCache-Control: max-age=0\r\nsec-ch-ua: \"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\"\r\n\
sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: de-DE,de;q=0.9\r\nCookie: session=0123456789abcdef; theme=dark\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
Content-Length: 14\r\n\r\nHello, world!\n";
const CHUNKED: &[u8] = b"10\r\n0123456789abcdef\r\n0\r\n\r\n";

fn time(name: &str, mut what: impl FnMut()) {
    const ROUNDS: u32 = 1_000_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| what());
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    println!("{best:8.1} ns  {name}");
}

#[test]
#[ignore = "prints numbers, wants --release and a quiet machine"]
fn speed() {
    let limits = HeadLimits::default();
    let mut request = RequestHead::new();
    for (name, bytes) in [("request, 2 fields", SMALL), ("request, 14 fields", BROWSER)] {
        time(name, || {
            assert_eq!(request.parse(black_box(bytes), &limits), Ok(Parsed::Complete));
        });
        time("  scanner", || {
            black_box(HeadScanner::new().scan(black_box(bytes))).expect("valid");
        });
        let mut buffer = [0; 4096];
        time("  HEAD frame", || {
            let mut writer = FrameWriter::new(&mut buffer);
            let parts = HeadParts {
                method: request.method,
                target: request.target.of(bytes),
                flags: HeadFlags::NO_BODY | HeadFlags::KEEP_ALIVE,
                client: None,
                listener: 0,
                fields: request.fields().len(),
            };
            let tag = StreamTag { stream: 1, generation: 0 };
            let mut head = writer.begin_head(tag, &parts).expect("room");
            for field in request.fields() {
                head.field(field.number, field.name.of(bytes), field.value.of(bytes))
                    .expect("room");
            }
            head.finish().expect("room");
            black_box(writer.written());
        });
    }
    let mut response = ResponseHead::new();
    time("response, 5 fields", || {
        let parsed = response.parse(black_box(RESPONSE), false, &HeadLimits::RESPONSE);
        assert_eq!(parsed, Ok(Parsed::Complete));
    });
    time("chunked scan, 1 small chunk and the last", || {
        let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
        assert!(decoder.scan(black_box(CHUNKED)).expect("valid").done);
    });
    let mut frames = Vec::new();
    for stream in 1..=100 {
        peer::put(&mut frames, FromWorker::End, StreamTag { stream, generation: 3 }, RESPONSE);
    }
    let mut reader = FrameReader::new();
    time("100 END frames", || {
        let mut at = 0;
        while let Some(incoming) = reader.next(black_box(&frames), &mut at).expect("valid") {
            black_box(&incoming);
        }
    });
}
