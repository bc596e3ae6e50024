//! Signals as data.
//!
//! Owns: reading the signalfd. Must never know: what a signal means.

use std::os::fd::AsFd;

/// Size of the kernel's `struct signalfd_siginfo`; its first field is the signal's number.
const RECORD_BYTES: usize = 128;

/// The numbers of the signals that wait.
pub(super) fn read(fd: impl AsFd) -> Vec<i32> {
    let mut signals = Vec::new();
    let mut buffer = [0_u8; RECORD_BYTES * 8];
    while let Ok(count @ 1..) = rustix::io::read(&fd, &mut buffer[..]) {
        for record in buffer[..count].chunks_exact(RECORD_BYTES) {
            let number = [record[0], record[1], record[2], record[3]];
            signals.push(i32::from_ne_bytes(number));
        }
    }
    signals
}
