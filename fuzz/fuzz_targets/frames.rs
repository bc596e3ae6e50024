//! Frames from a worker: well-formed ones in any order, then any bytes; cut in any way.
#![no_main]

use arbitrary::Arbitrary;
use hostler_protocol::fuzzing;
use hostler_protocol::worker::{FromWorker, StreamTag, peer};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    cuts: u64,
    frames: Vec<(u8, u8, u8, Vec<u8>)>,
    rest: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let mut bytes = Vec::new();
    for (kind, stream, generation, payload) in &input.frames {
        let kind = FromWorker::ALL[usize::from(*kind) % FromWorker::ALL.len()];
        let tag = StreamTag {
            stream: u32::from(*stream),
            generation: *generation,
        };
        peer::put(&mut bytes, kind, tag, payload);
    }
    bytes.extend_from_slice(&input.rest);
    fuzzing::frames(&bytes, input.cuts);
});
