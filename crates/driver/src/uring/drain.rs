//! The end of a driver: nothing may be freed that the kernel still works on.
//!
//! Owns: the order of the end. Must never know: what the operations were for. Runs when the driver
//! is dropped.

use std::mem::ManuallyDrop;
use std::time::Duration;

use super::UringDriver;
use super::provided::group;
use crate::{ListenerId, net};

/// Waits for the last completions. Cancelled operations complete within the first; the others are
/// for a machine that is busy with something else.
const ROUNDS: u32 = 100;

/// How long each may take.
const ROUND: Duration = Duration::from_millis(10);

impl UringDriver {
    /// Gives up everything in flight and waits until it is back. Says whether all of it came.
    fn drain(&mut self) -> bool {
        self.ending = true;
        for socket in self.sockets.values_mut() {
            socket.closing = true;
        }
        for number in 0..self.listeners.len() {
            self.listeners[number].closing = true;
            self.settle_listener(ListenerId(number as u32));
        }
        self.submit_cancel_any();
        let mut out = Vec::new();
        for round in 0..ROUNDS {
            if self.ring.enter(!self.is_drained(), Some(ROUND)).is_err() {
                return false;
            }
            self.take_completions(&mut out, usize::MAX);
            if self.is_drained() {
                // Hands over the last closes.
                return self.ring.enter(false, None).is_ok();
            }
            if round == ROUNDS / 2 {
                for socket in self.sockets.values_mut() {
                    net::shutdown_both(&socket.fd);
                }
            }
        }
        false
    }

    fn is_drained(&self) -> bool {
        self.sockets.operations() == 0 && self.listener_operations == 0 && !self.wake_armed
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        let drained = self.drain();
        debug_assert!(drained || std::thread::panicking(), "operations never came back");
        if !drained {
            // The kernel may still write into the buffers and read the sends. Memory that is never
            // freed is the lesser evil: `self.memory` is not dropped.
            return;
        }
        for ring in self.memory.offered.iter().flatten() {
            let _unregistered = self.ring.submitter().unregister_buf_ring(group(ring.class()));
        }
        // SAFETY: dropped only here, and `self` is not used afterwards. No operation is in flight
        // and the buffer rings are unregistered, so the kernel works on none of it.
        unsafe { ManuallyDrop::drop(&mut self.memory) };
    }
}
