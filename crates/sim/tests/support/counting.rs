//! An allocator that counts: allocations of threads that are watched, and the bytes that the process holds.
//!
//! Owns: the counters. Must never know: what is measured. Used by the test binaries `allocations` and `floods`,
//! each with an allocator of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The system's allocator, and counters.
pub(crate) struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Counts the allocations of this thread from now on, or no longer.
#[allow(dead_code, reason = "each binary uses a part")]
pub(crate) fn watch(on: bool) {
    WATCHED.set(on);
}

/// Allocations of watched threads so far.
#[allow(dead_code, reason = "each binary uses a part")]
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes held now; the peak begins here again.
#[allow(dead_code, reason = "each binary uses a part")]
pub(crate) fn restart_peak() -> usize {
    let held = HELD.load(Ordering::Relaxed);
    PEAK.store(held, Ordering::Relaxed);
    held
}

/// Most bytes held since [`restart_peak`].
#[allow(dead_code, reason = "each binary uses a part")]
pub(crate) fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

fn grow(bytes: usize) {
    // A thread that is ending has no flag any more.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came; counting does not touch memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is ours too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` by the methods here, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        grow(size);
        // SAFETY: `pointer` came from `System` by the methods here, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
