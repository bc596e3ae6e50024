//! Any bytes as a chunked body; what must hold is in `hostler_protocol::fuzzing`.
#![no_main]

use hostler_protocol::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::chunked(bytes, fuzzing::cuts_of(bytes)));
