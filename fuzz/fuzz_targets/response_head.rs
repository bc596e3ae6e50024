//! Any bytes as a response head; what must hold is in `hostler_protocol::fuzzing`.
#![no_main]

use hostler_protocol::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::response_head(bytes, fuzzing::cuts_of(bytes)));
