//! Any operations on a shard without a kernel: clients, workers, faults, time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| hostler_sim::fuzz_step(data));
