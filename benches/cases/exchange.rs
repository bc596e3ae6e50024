//! What one request costs in its connection: the state machine, both heads, both encodings.
//!
//! Owns: the kinds of exchanges. Must never know: who fulfils a connection's wishes; that is `rig`.

use std::hint::black_box;

use hostler_driver::PoolClass;
use hostler_proxy::conn::ResponseEnd;

use super::Case;
use super::rig::{Piece, Rig, Way};
use super::wire::{BROWSER, EXPRESS_ANSWER, NODE_ANSWER, TWO_FIELDS, chunks, upload};

/// Requests in one delivery.
const PIPELINED: usize = 4;

/// A chunked answer of this many pieces, the one with the last chunk not counted.
const PIECES: usize = 3;

pub(super) fn add(cases: &mut Vec<Case>) {
    let whole = |answer: &[u8]| vec![(answer.to_vec(), ResponseEnd::End)];
    let node = whole(NODE_ANSWER);
    let express = whole(EXPRESS_ANSWER);
    let pipelined = vec![node[0].clone(); PIPELINED];
    // On the plain path only the bytes tell where an answer ends.
    let plain = vec![(NODE_ANSWER.to_vec(), ResponseEnd::Open)];
    for (name, way, request, answers) in [
        ("hello", Way::Frames, TWO_FIELDS.to_vec(), node.clone()),
        ("browser", Way::Frames, BROWSER.to_vec(), express),
        ("upload", Way::Frames, upload(), node),
        ("answer_in_pieces", Way::Frames, TWO_FIELDS.to_vec(), in_pieces()),
        ("4_pipelined", Way::Frames, TWO_FIELDS.repeat(PIPELINED), pipelined),
        ("plain_hello", Way::Plain, TWO_FIELDS.to_vec(), plain.clone()),
        ("plain_browser", Way::Plain, BROWSER.to_vec(), plain),
    ] {
        cases.push(Case::new("exchange", name, move || {
            let mut rig = Rig::new(way);
            let pieces: Vec<Piece> = answers
                .iter()
                .map(|(bytes, end)| Piece {
                    buffer: rig.received(PoolClass::Channel, bytes),
                    end: *end,
                })
                .collect();
            move || rig.exchange(black_box(&request), &pieces)
        }));
    }
}

/// An app that writes its answer bit by bit.
fn in_pieces() -> Vec<(Vec<u8>, ResponseEnd)> {
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\
Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    let last = b"0\r\n\r\n";
    let chunk = chunks(4_096, 4_200);
    let chunk = chunk.strip_suffix(last).expect("a chunked body").to_vec();
    head.extend_from_slice(&chunk);
    let mut pieces = vec![(head, ResponseEnd::Open)];
    pieces.resize(PIECES, (chunk, ResponseEnd::Open));
    pieces.push((last.to_vec(), ResponseEnd::End));
    pieces
}
