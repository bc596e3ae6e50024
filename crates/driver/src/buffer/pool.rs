//! The pool: which buffer of which class is where.
//!
//! Owns: the areas, the free lists, the reference counts. Must never know: what is in a buffer.
//! Used by the drivers and, through [`Pool::take`], by the proxy.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use super::handle::{Buffer, BufferMut};
use super::lease::Lease;
use super::memory::Memory;
use super::{PoolClass, PoolSize, PoolSizes};

/// Buffers are aligned to cache lines, so that two of them never share one.
const ALIGNMENT: u32 = 64;

/// The kernel's limit of entries in a buffer ring; every buffer of a receive class must fit into
/// one.
const RING_ENTRIES_MAX: u32 = 1 << 15;

/// End of a free list.
const NONE: u32 = u32::MAX;

/// In place of a reference count: the kernel may write into the buffer at any time.
const OFFERED: u32 = u32::MAX;

/// All buffers of one shard. A clone is another handle to the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

impl Pool {
    /// Maps the memory of all classes.
    pub fn new(sizes: &PoolSizes) -> io::Result<Self> {
        let [head, body, channel, send, batch] =
            PoolClass::ALL.map(|class| Area::new(class, sizes.of(class)));
        let areas = [head?, body?, channel?, send?, batch?];
        Ok(Self { shared: Rc::new(Shared { areas }) })
    }

    /// A buffer to write into, or `None` when the class is exhausted. The most recently returned
    /// buffer comes first: it is the one most likely to be in the cache.
    #[must_use]
    pub fn take(&self, class: PoolClass) -> Option<BufferMut> {
        let area = self.shared.area(class);
        let index = area.pop()?;
        area.slots[index as usize].references.set(1);
        Some(BufferMut::new(self.lease(class, index, 0)))
    }

    /// Buffers of the class that nobody holds. On the ring those offered to the kernel are counted
    /// too, although [`Self::take`] cannot give them out.
    #[must_use]
    pub fn free(&self, class: PoolClass) -> u32 {
        let area = self.shared.area(class);
        area.free.get() + area.offered.get()
    }

    /// All buffers of the class.
    #[must_use]
    pub fn capacity(&self, class: PoolClass) -> u32 {
        self.shared.area(class).count
    }

    /// The length of each buffer of the class.
    #[must_use]
    pub fn buffer_bytes(&self, class: PoolClass) -> u32 {
        self.shared.area(class).bytes
    }

    /// Buffers of all classes that somebody holds.
    #[must_use]
    pub fn out(&self) -> u32 {
        PoolClass::ALL.into_iter().map(|class| self.capacity(class) - self.free(class)).sum()
    }

    /// Buffers that could be offered to the kernel now.
    pub(crate) fn idle(&self, class: PoolClass) -> u32 {
        self.shared.area(class).free.get()
    }

    /// Takes a free buffer for the kernel to write into: its number and address. It stays with the
    /// kernel until [`Self::claim`].
    pub(crate) fn offer(&self, class: PoolClass) -> Option<(u32, NonNull<u8>)> {
        let area = self.shared.area(class);
        let index = area.pop()?;
        area.slots[index as usize].references.set(OFFERED);
        area.offered.set(area.offered.get() + 1);
        Some((index, area.address(index)))
    }

    /// Takes a buffer back from the kernel, which has written `len` bytes into it.
    ///
    /// # Panics When the buffer was not offered or is shorter: the kernel and we disagree, and to
    /// go on would corrupt memory.
    pub(crate) fn claim(&self, class: PoolClass, index: u32, len: u32) -> Buffer {
        let area = self.shared.area(class);
        let slot = &area.slots[index as usize];
        assert_eq!(slot.references.get(), OFFERED, "buffer is not with the kernel");
        assert!(len <= area.bytes, "more bytes than the buffer has");
        slot.references.set(1);
        area.offered.set(area.offered.get() - 1);
        Buffer::from_lease(self.lease(class, index, len))
    }

    fn lease(&self, class: PoolClass, index: u32, len: u32) -> Lease {
        let data = self.shared.area(class).address(index);
        Lease::new(Rc::clone(&self.shared), class, index, data, len)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        for class in PoolClass::ALL {
            let held = self.capacity(class) - self.free(class);
            map.entry(&class, &format_args!("{held}/{}", self.capacity(class)));
        }
        map.finish()
    }
}

/// What all handles of a pool keep alive.
pub(super) struct Shared {
    areas: [Area; PoolClass::ALL.len()],
}

impl Shared {
    pub(super) fn area(&self, class: PoolClass) -> &Area {
        &self.areas[class.index()]
    }
}

/// All buffers of one class.
pub(super) struct Area {
    /// INVARIANT: at least `count * stride` long.
    memory: Memory,
    pub(super) count: u32,
    pub(super) bytes: u32,
    /// From the start of one buffer to the start of the next, at least `bytes`: an odd number of cache lines. Mostly the first
    /// few lines of a buffer are used; at a power of two those of all buffers would meet in the same few sets of the caches.
    stride: u32,
    slots: Box<[Slot]>,
    first_free: Cell<u32>,
    free: Cell<u32>,
    offered: Cell<u32>,
}

struct Slot {
    /// Zero: in the free list. [`OFFERED`]: with the kernel. Otherwise the number of handles.
    references: Cell<u32>,
    /// The next in the free list.
    next: Cell<u32>,
}

impl Area {
    fn new(class: PoolClass, size: PoolSize) -> io::Result<Self> {
        if class.is_receive() && size.count > RING_ENTRIES_MAX {
            let message = format!("{class:?}: at most {RING_ENTRIES_MAX} receive buffers");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let count = size.count;
        let bytes = size.bytes.max(1).next_multiple_of(ALIGNMENT);
        let stride = bytes | ALIGNMENT;
        let memory = Memory::new(count as usize * stride as usize)?;
        let slots = (0..count)
            .map(|index| Slot {
                references: Cell::new(0),
                next: Cell::new(if index + 1 < count { index + 1 } else { NONE }),
            })
            .collect();
        Ok(Self {
            memory,
            count,
            bytes,
            stride,
            slots,
            first_free: Cell::new(if count > 0 { 0 } else { NONE }),
            free: Cell::new(count),
            offered: Cell::new(0),
        })
    }

    /// The address of a buffer.
    fn address(&self, index: u32) -> NonNull<u8> {
        assert!(index < self.count, "buffer {index} of {}", self.count);
        let offset = index as usize * self.stride as usize;
        debug_assert!(offset + self.bytes as usize <= self.memory.len());
        // SAFETY: `index < count`, so by the invariant of `memory` the offset lies inside the
        // mapping.
        unsafe { self.memory.start().add(offset) }
    }

    fn pop(&self) -> Option<u32> {
        let index = self.first_free.get();
        if index == NONE {
            return None;
        }
        let slot = &self.slots[index as usize];
        debug_assert_eq!(slot.references.get(), 0, "a free buffer has no holder");
        self.first_free.set(slot.next.get());
        self.free.set(self.free.get() - 1);
        Some(index)
    }

    fn push(&self, index: u32) {
        let slot = &self.slots[index as usize];
        debug_assert_eq!(slot.references.get(), 0, "a held buffer cannot be freed");
        slot.next.set(self.first_free.get());
        self.first_free.set(index);
        self.free.set(self.free.get() + 1);
        debug_assert!(self.free.get() + self.offered.get() <= self.count);
    }

    /// One more handle.
    pub(super) fn retain(&self, index: u32) {
        let references = &self.slots[index as usize].references;
        let count = references.get() + 1;
        // An overflow would free a buffer that is in use.
        assert!(count < OFFERED, "too many handles to one buffer");
        references.set(count);
    }

    /// One handle less; the last one puts the buffer into the free list.
    pub(super) fn release(&self, index: u32) {
        let references = &self.slots[index as usize].references;
        let count = references.get();
        debug_assert!(count != 0 && count != OFFERED, "released more often than retained");
        references.set(count - 1);
        if count == 1 {
            self.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Pool {
        let size = |count, bytes| PoolSize { count, bytes };
        Pool::new(&PoolSizes {
            head: size(2, 100),
            body: size(1, 64),
            channel: size(1, 64),
            send: size(2, 64),
            batch: size(0, 64),
        })
        .expect("memory")
    }

    #[test]
    fn exhausts_and_recovers() {
        let pool = tiny();
        let first = pool.take(PoolClass::Head).expect("first");
        let second = pool.take(PoolClass::Head).expect("second");
        assert!(pool.take(PoolClass::Head).is_none());
        assert!(pool.take(PoolClass::Batch).is_none());
        assert_eq!((pool.free(PoolClass::Head), pool.out()), (0, 2));
        drop(first);
        drop(second);
        assert_eq!((pool.free(PoolClass::Head), pool.out()), (2, 0));
        assert_eq!(pool.buffer_bytes(PoolClass::Head), 128, "rounded to cache lines");
    }

    #[test]
    fn last_returned_comes_first() {
        let pool = tiny();
        let first = pool.take(PoolClass::Send).expect("first");
        let second = pool.take(PoolClass::Send).expect("second");
        let address = first.as_slice().as_ptr();
        drop(second);
        drop(first);
        let again = pool.take(PoolClass::Send).expect("again");
        assert_eq!(again.as_slice().as_ptr(), address);
        assert_eq!(address as usize % ALIGNMENT as usize, 0);
    }

    #[test]
    fn offered_buffers_are_not_out() {
        let pool = tiny();
        let (index, _) = pool.offer(PoolClass::Body).expect("free");
        assert!(pool.take(PoolClass::Body).is_none());
        assert!(pool.offer(PoolClass::Body).is_none());
        assert_eq!((pool.free(PoolClass::Body), pool.out()), (1, 0));
        let buffer = pool.claim(PoolClass::Body, index, 3);
        assert_eq!((&*buffer, pool.out()), (&[0, 0, 0][..], 1));
        drop(buffer);
        assert_eq!((pool.idle(PoolClass::Body), pool.out()), (1, 0));
    }

    #[test]
    #[should_panic(expected = "not with the kernel")]
    fn claim_of_a_free_buffer_is_refused() {
        let _buffer = tiny().claim(PoolClass::Body, 0, 1);
    }

    #[test]
    fn too_many_receive_buffers_are_refused() {
        let size = PoolSize { count: RING_ENTRIES_MAX + 1, bytes: 64 };
        assert!(Area::new(PoolClass::Head, size).is_err());
    }
}
