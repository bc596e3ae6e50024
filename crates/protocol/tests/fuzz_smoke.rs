//! Runs the bodies of the fuzz targets on seeded random mutations of a small corpus: what a machine
//! without libFuzzer can do. `HOSTLER_FUZZ_ROUNDS` sets how many.

use hostler_protocol::fuzzing;
use hostler_protocol::worker::peer;
use hostler_protocol::worker::{FromWorker, Heartbeat, Settings, StreamTag};

/// xorshift64*: the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// Pieces that matter to one parser or the other.
const DICTIONARY: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0\r\n",
    b"\r\n\r\n",
    b"chunked",
    b"#",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"Connection: close, x\r\n",
    b"\xff\xff\xff",
    b"\x7f",
    b"\xe9",
    b"HTTP/1.0",
    b"HTTP/1.1 ",
    b"ffffffffffffffff",
    b"=\"\\\"\"",
    b"%41",
    b"[::1]",
];

fn mutate(random: &mut Random, corpus: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at).min(12) + 1);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, random.pick(DICTIONARY).iter().copied())),
            4 => {
                let other = random.pick(corpus);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes
}

fn run(seed: u64, corpus: &[&[u8]], body: impl Fn(&[u8], u64)) {
    let rounds = std::env::var("HOSTLER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut random = Random(seed);
    for bytes in corpus {
        (0..16).for_each(|cuts| body(bytes, cuts));
    }
    for _ in 0..rounds.unwrap_or(20_000) {
        let bytes = mutate(&mut random, corpus);
        body(&bytes, random.next());
    }
}

#[test]
fn request_head() {
    run(
        1,
        &[
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\nPOST /a?b=c HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"PUT /e HTTP/1.1\r\nhost: a.b:1\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nhello",
            b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive, x-a\r\nX-A: \t b\t \r\nEmpty:\r\n\r\n",
            b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"GET http://a.b/c HTTP/1.1\r\nHost: c\r\nsec-ch-ua: \"x\"\r\nSec-Fetch-Mode: y\r\n\r\n",
        ],
        fuzzing::request_head,
    );
}

#[test]
fn response_head() {
    run(
        2,
        &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
            b"HTTP/1.1 200 caf\xe9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.0 304 \r\nContent-Length: 5, 5\r\n\r\n",
            b"HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nA:\r\n\r\n",
        ],
        fuzzing::response_head,
    );
}

#[test]
fn chunked() {
    run(
        3,
        &[
            b"5\r\nhello\r\n0\r\n\r\n",
            b"A;a=b;c=\"d\\\"e\"\r\n0123456789\r\n1\r\n\n\r\n000\r\nX-Sum: 1\r\nHost: b\r\nc:\r\n\r\nGET",
            b"0\r\nX: y\r\nA-much-longer-name-of-a-trailer-field: with a longer value too\r\n\r\n",
            b"7fffffffffffffff\r\nabc",
        ],
        fuzzing::chunked,
    );
}

#[test]
fn frames() {
    let tag = StreamTag { stream: 7, generation: 9 };
    let mut a = Vec::new();
    peer::put(&mut a, FromWorker::Data, tag, b"HTTP/1.1 200 OK\r\n\r\n");
    peer::put(&mut a, FromWorker::End, tag, b"");
    peer::put_window(&mut a, tag, 65_536);
    peer::put(&mut a, FromWorker::EndClose, tag, b"bye");
    let mut b = Vec::new();
    peer::put_json(&mut b, FromWorker::Settings, &Settings::default());
    peer::put_heartbeat(&mut b, &Heartbeat { heap_kib: 5, ..Heartbeat::default() });
    peer::put_reset(&mut b, tag);
    peer::put(&mut b, FromWorker::Hello, StreamTag::CHANNEL, b"{\"protocol\":1}");
    run(4, &[&a, &b], fuzzing::frames);
}
