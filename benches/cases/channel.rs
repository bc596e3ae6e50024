//! Frames in both directions.
//!
//! Owns: what of `protocol::worker` is measured, and the encoding of a request with what the proxy drops and adds. Must
//! never know: connections.

use std::hint::black_box;

use hostler_protocol::http1::{HeadLimits, RequestHead};
use hostler_protocol::websocket::FrameBounds;
use hostler_protocol::worker::{FrameReader, FrameWriter, FromWorker, StreamTag, peer};
use hostler_proxy::conn::ClientAddress;
use hostler_proxy::forward::Forwarding;
use hostler_proxy::settings::ListenerInfo;

use super::wire::{NODE_ANSWER, requests};
use super::{Amount, Case};

/// Answers in one read of a channel.
const ANSWERS: u32 = 100;

pub(super) fn add(cases: &mut Vec<Case>) {
    for (name, bytes) in requests() {
        cases.push(head_frame(name, bytes));
    }
    cases.push(reader());
    cases.push(websocket("small_message", &[b"\x81\x0d", &b"Hello, world!"[..]].concat()));
    cases.push(websocket("100_small_messages", &b"\x81\x0dHello, world!".repeat(100)));
    cases
        .push(websocket("64_kib_in_one_frame", &[&b"\x82\x7e\xff\xff"[..], &[7; 65_535]].concat()));
}

/// What following the frames of a WebSocket adds to each piece of an app's bytes.
fn websocket(name: &str, bytes: &[u8]) -> Case {
    let bytes = bytes.to_vec();
    let amount = Amount::Bytes(bytes.len());
    let prepare = move || {
        let mut frames = FrameBounds::default();
        move || {
            frames.follow(black_box(&bytes));
            assert!(frames.is_at_boundary());
        }
    };
    Case::new("websocket_frames", name, prepare).of(amount)
}

/// A HEAD frame from a parsed head.
fn head_frame(name: &str, bytes: Vec<u8>) -> Case {
    let amount = Amount::Bytes(bytes.len());
    let prepare = move || {
        let listener = ListenerInfo::parse("127.0.0.1:3000");
        let client = ClientAddress::new("192.0.2.1:4000".parse().expect("valid"));
        let mut head = RequestHead::new();
        head.parse(&bytes, &HeadLimits::default()).expect("valid");
        let mut room = vec![0; 16 * 1024];
        move || {
            let forwarding = Forwarding {
                bytes: &bytes,
                head: &head,
                client: &client,
                listener: &listener,
                verbatim: false,
                listener_index: 0,
                request_id: b"01912345-6789-7abc-8def-0123456789ab",
            };
            let mut writer = FrameWriter::new(&mut room);
            let tag = StreamTag { stream: 7, generation: 1 };
            black_box(&forwarding).write_frame(&mut writer, tag, false).expect("room");
            black_box(writer.len());
        }
    };
    Case::new("head_frame", name, prepare).of(amount)
}

/// A read that brought many small answers.
fn reader() -> Case {
    let prepare = || {
        let mut bytes = Vec::new();
        for stream in 1..=ANSWERS {
            let tag = StreamTag { stream, generation: 1 };
            peer::put(&mut bytes, FromWorker::End, tag, NODE_ANSWER);
        }
        let mut reader = FrameReader::new();
        move || {
            let (mut at, mut seen) = (0, 0);
            while let Some(incoming) = reader.next(black_box(&bytes), &mut at).expect("valid") {
                black_box(&incoming);
                seen += 1;
            }
            assert_eq!(seen, ANSWERS);
        }
    };
    let name = format!("{ANSWERS}_small_ends");
    Case::new("frame_reader", &name, prepare).of(Amount::Elements(ANSWERS as usize))
}
