//! Frames in both directions and the chunked coding.

#![allow(missing_docs, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hostler_protocol::http1::{ChunkLimits, ChunkedDecoder, HeadLimits, RequestHead};
use hostler_protocol::worker::{FrameReader, FrameWriter, FromWorker, StreamTag, peer};
use hostler_proxy::conn::ClientAddress;
use hostler_proxy::forward::Forwarding;
use hostler_proxy::settings::ListenerInfo;

mod common;

use common::{BROWSER, MINIMAL, NODE_ANSWER, TWO_FIELDS};

/// A HEAD frame from a parsed head: what the proxy drops and adds included.
fn head_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_frame");
    let listener = ListenerInfo::parse("127.0.0.1:3000");
    let client = ClientAddress::new("192.0.2.1:4000".parse().expect("valid"));
    for (name, bytes) in [("minimal", MINIMAL), ("2_fields", TWO_FIELDS), ("browser", BROWSER)] {
        let mut head = RequestHead::new();
        head.parse(bytes, &HeadLimits::default()).expect("valid");
        let forwarding = Forwarding {
            bytes,
            head: &head,
            client: &client,
            listener: &listener,
            verbatim: false,
            listener_index: 0,
            request_id: b"01912345-6789-7abc-8def-0123456789ab",
        };
        let mut room = vec![0; 4096];
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut writer = FrameWriter::new(&mut room);
                let tag = StreamTag { stream: 7, generation: 1 };
                black_box(&forwarding).write_frame(&mut writer, tag, false).expect("room");
                writer.len()
            });
        });
    }
    group.finish();
}

/// A full read of a channel: as many small answers as fit into 64 KiB.
fn reader(criterion: &mut Criterion) {
    let mut bytes = Vec::new();
    let mut frames = 0;
    while bytes.len() + NODE_ANSWER.len() + 8 <= 65_536 {
        frames += 1;
        let tag = StreamTag { stream: frames, generation: 1 };
        peer::put(&mut bytes, FromWorker::End, tag, NODE_ANSWER);
    }
    let mut group = criterion.benchmark_group("frame_reader");
    group.throughput(Throughput::Elements(frames.into()));
    group.bench_function(format!("{frames}_small_ends"), |bencher| {
        let mut reader = FrameReader::new();
        bencher.iter(|| {
            let (mut at, mut seen) = (0, 0);
            while let Some(incoming) = reader.next(black_box(&bytes), &mut at).expect("valid") {
                black_box(&incoming);
                seen += 1;
            }
            assert_eq!(seen, frames);
        });
    });
    group.finish();
}

/// Following a chunked response that is forwarded as it is.
fn chunked(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked_scan");
    for size in [64, 4_096] {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let mut body = chunk.repeat(65_536 / chunk.len());
        body.push_str("0\r\n\r\n");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("chunks_of_{size}"), |bencher| {
            bencher.iter(|| {
                let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
                let scan = decoder.scan(black_box(body.as_bytes())).expect("valid");
                assert!(scan.done);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = head_frames, reader, chunked
}
criterion_main!(benches);
