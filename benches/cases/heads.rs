//! The codec: heads and chunked bodies.
//!
//! Owns: what of `protocol::http1` is measured. Must never know: the proxy.

use std::hint::black_box;

use hostler_protocol::http1::{
    ChunkLimits, ChunkPiece, ChunkedDecoder, HeadLimits, HeadScanner, RequestHead, ResponseHead,
};

use super::wire::{BROWSER, EXPRESS_ANSWER, NODE_ANSWER, chunks, requests};
use super::{Amount, Case};

/// Bytes of a chunked body: a good part of a receive buffer.
const BODY_BYTES: usize = 16 * 1024;

pub(super) fn add(cases: &mut Vec<Case>) {
    for (name, bytes) in requests() {
        cases.push(request_head(name, bytes));
    }
    cases.push(scan());
    for (name, bytes) in [("node", NODE_ANSWER), ("express", EXPRESS_ANSWER)] {
        cases.push(response_head(name, bytes));
    }
    for chunk_bytes in [64, 4_096] {
        cases.push(chunked_scan(chunk_bytes));
        cases.push(chunked_decode(chunk_bytes));
    }
}

fn request_head(name: &str, bytes: Vec<u8>) -> Case {
    let amount = Amount::Bytes(bytes.len());
    let prepare = move || {
        let limits = HeadLimits::default();
        let mut head = RequestHead::new();
        move || {
            black_box(head.parse(black_box(&bytes), &limits).expect("valid"));
        }
    };
    Case::new("request_head", name, prepare).of(amount)
}

/// The search for the end of a head that came in pieces.
fn scan() -> Case {
    let prepare = || {
        || {
            black_box(HeadScanner::new().scan(black_box(BROWSER)).expect("valid"));
        }
    };
    Case::new("head_scan", "browser", prepare).of(Amount::Bytes(BROWSER.len()))
}

fn response_head(name: &str, bytes: &'static [u8]) -> Case {
    let prepare = move || {
        let mut head = ResponseHead::new();
        move || {
            let parsed = head.parse(black_box(bytes), false, &HeadLimits::RESPONSE);
            black_box(parsed.expect("valid"));
        }
    };
    Case::new("response_head", name, prepare).of(Amount::Bytes(bytes.len()))
}

/// Following a chunked response that is forwarded as it is.
fn chunked_scan(chunk_bytes: usize) -> Case {
    let body = chunks(chunk_bytes, BODY_BYTES);
    let amount = Amount::Bytes(body.len());
    let prepare = move || {
        move || {
            let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
            let scan = decoder.scan(black_box(&body)).expect("valid");
            assert!(scan.done);
        }
    };
    Case::new("chunked_scan", &format!("chunks_of_{chunk_bytes}"), prepare).of(amount)
}

/// Taking a chunked request apart.
fn chunked_decode(chunk_bytes: usize) -> Case {
    let body = chunks(chunk_bytes, BODY_BYTES);
    let amount = Amount::Bytes(body.len());
    let prepare = move || {
        move || {
            let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
            let mut rest = black_box(&body[..]);
            loop {
                let (consumed, piece) = decoder.next(rest).expect("valid");
                rest = &rest[consumed..];
                if black_box(piece) == ChunkPiece::End {
                    break;
                }
            }
        }
    };
    Case::new("chunked_decode", &format!("chunks_of_{chunk_bytes}"), prepare).of(amount)
}
