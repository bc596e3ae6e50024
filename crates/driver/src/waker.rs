//! Ending a driver's wait from another thread.
//!
//! Owns: the event descriptor and the flag that merges many wakes into one. Must never know: what
//! the wake is about. Used by control threads; the drivers watch [`WakeSource`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Ends the wait of a driver on another thread. Clones wake the same driver.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A wake is on its way and has not been reported.
    pending: AtomicBool,
    event: OwnedFd,
}

impl Waker {
    /// Wakes the driver. Until the driver has reported [`crate::Completion::Woken`], further wakes
    /// cost one atomic operation and no system call.
    pub fn wake(&self) {
        if self.shared.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        // The counter grows by one per reported wake and holds 2^64-2, so this write cannot block
        // or fail while the descriptor is open; EINTR cannot happen to a write that does not block.
        let written = rustix::io::write(&self.shared.event, &1_u64.to_ne_bytes());
        debug_assert!(written.is_ok(), "write to an own eventfd: {written:?}");
    }
}

/// The driver's side.
#[derive(Debug)]
pub(crate) struct WakeSource {
    waker: Waker,
}

impl WakeSource {
    pub(crate) fn new() -> io::Result<Self> {
        // Blocking on purpose: the ring answers EAGAIN instead of waiting for descriptors that do
        // not block. Nobody ever reads the counter: both backends watch for the edge that every
        // write makes.
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared { pending: AtomicBool::new(false), event });
        Ok(Self { waker: Waker { shared } })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// To be called when the descriptor has become readable, before `Woken` is reported: a wake
    /// after this point makes a new event.
    pub(crate) fn acknowledge(&self) -> bool {
        self.waker.shared.pending.swap(false, Ordering::AcqRel)
    }
}

impl AsFd for WakeSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.shared.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_merge_until_acknowledged() {
        let source = WakeSource::new().expect("eventfd");
        source.waker().wake();
        source.waker().wake();
        let mut counter = [0; 8];
        rustix::io::read(&source, &mut counter).expect("readable");
        assert_eq!(u64::from_ne_bytes(counter), 1);
        assert!(source.acknowledge());
        assert!(!source.acknowledge());
    }
}
