//! One holder of a pooled buffer.
//!
//! Owns: the reference and the access to the bytes. Must never know: whether the holder may write;
//! that is decided by `handle`, the only user.

use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;

use super::PoolClass;
use super::pool::Shared;

/// A buffer of a pool, held. Dropping it gives it up; a clone is a second holder.
pub(super) struct Lease {
    /// Keeps the memory mapped, also when the driver is gone.
    shared: Rc<Shared>,
    /// INVARIANT: points to the first of the buffer's `capacity` bytes, all initialised (the
    /// mapping starts zeroed), mapped as long as `shared` lives, and written by nobody else while
    /// this lease exists.
    data: NonNull<u8>,
    /// INVARIANT: at most the capacity.
    pub(super) len: u32,
    /// Class in the upper 8 bits, number of the buffer in the lower 24.
    id: u32,
}

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

impl Lease {
    /// Takes over one reference that the caller has counted.
    pub(super) fn new(
        shared: Rc<Shared>,
        class: PoolClass,
        index: u32,
        data: NonNull<u8>,
        len: u32,
    ) -> Self {
        assert!(index <= INDEX_MASK, "more than 2^24 buffers in a class");
        let id = (class.index() as u32) << INDEX_BITS | index;
        Self { shared, data, len, id }
    }

    pub(super) fn class(&self) -> PoolClass {
        PoolClass::ALL[(self.id >> INDEX_BITS) as usize]
    }

    pub(super) fn index(&self) -> u32 {
        self.id & INDEX_MASK
    }

    pub(super) fn capacity(&self) -> usize {
        self.shared.area(self.class()).bytes as usize
    }

    pub(super) fn filled(&self) -> &[u8] {
        // SAFETY: by the invariants of `data` and `len` these bytes are initialised and mapped;
        // nobody writes them while `&self` is borrowed, since a writer needs `&mut` on the only
        // lease.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }

    /// The whole buffer for writing.
    ///
    /// # Safety
    /// This must be the only lease of the buffer.
    pub(super) unsafe fn whole_mut(&mut self) -> &mut [u8] {
        let capacity = self.capacity();
        // SAFETY: `capacity` bytes are initialised and mapped by the invariant of `data`; the
        // caller promises that there is no other lease, and this one is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), capacity) }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        self.shared.area(self.class()).retain(self.index());
        Self { shared: Rc::clone(&self.shared), ..*self }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.area(self.class()).release(self.index());
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the contents: they are other people's data.
        write!(formatter, "{:?} {} ({} bytes)", self.class(), self.index(), self.len)
    }
}
