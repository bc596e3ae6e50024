//! One area of anonymous memory.
//!
//! Owns: the mapping and its length. Must never know: what lies where in it. Used by the pool and
//! by the buffer rings.

use std::io;
use std::ptr::NonNull;

/// Page-aligned, zeroed, writable memory that stays at its address until dropped.
pub(crate) struct Memory {
    /// INVARIANT: points to `len` bytes that were mapped (under Miri: allocated) by `new` and are
    /// mapped until drop.
    start: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// The address of the first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(not(miri))]
impl Memory {
    /// Maps `len` bytes. The kernel gives pages only when they are touched.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

        let len = len.max(1);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no existing
        // memory.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        // With transparent huge pages set to "always" the first byte touched would cost 2 MiB of
        // resident memory. A refusal is harmless (kernels without huge pages say EINVAL). SAFETY:
        // the range is the mapping just made; this advice does not change its contents.
        let _advice = unsafe { madvise(start, len, Advice::LinuxNoHugepage) };
        let start = NonNull::new(start.cast()).expect("mmap never gives address zero");
        Ok(Self { start, len })
    }
}

#[cfg(not(miri))]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: by the invariant of `start` the range is our mapping; whoever lends pointers into
        // it (the pool's handles, the buffer rings) keeps this value alive as long as they exist.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping");
    }
}

#[cfg(miri)]
impl Memory {
    /// Miri knows no anonymous mappings; the allocator gives memory with the same properties.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let len = len.max(1);
        // SAFETY: the layout has a size above zero.
        let start = unsafe { std::alloc::alloc_zeroed(Self::layout(len)) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    fn layout(len: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(len, 4096).expect("sizes of pools fit")
    }
}

#[cfg(miri)]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with the same layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.len)) };
    }
}
