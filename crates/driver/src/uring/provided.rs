//! Buffers offered to the kernel, which picks one when bytes arrive.
//!
//! Owns: one ring of offered buffers per receive class. Must never know: sockets. Used by `mod`
//! (refills once per turn) and by `complete` (takes filled buffers out).
//!
//! The kernel takes buffers in the order in which they were offered. With all of a pool on offer,
//! each receive would therefore touch the buffer that has been cold the longest. So only a part is
//! on offer, which grows when it turns out to be too small, and what comes back is offered again
//! soon, still warm.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::buffer::Memory;
use crate::{Buffer, Pool, PoolClass};

/// At first one buffer in this many is on offer.
const OFFERED_SHARE_INITIAL: u32 = 16;

/// But at least this many.
const OFFERED_MIN: u32 = 8;

/// When less than one in this many is left at the end of a turn, twice as many are offered from
/// then on.
const LOW_SHARE: u32 = 4;

/// The buffers of one class that the kernel may take.
pub(super) struct BufferRing {
    class: PoolClass,
    /// INVARIANT: `mask + 1` entries of the kernel's format. The kernel only reads it.
    memory: Memory,
    mask: u16,
    /// Entries written since the start, as the kernel counts them (modulo 2^16).
    tail: u16,
    buffer_bytes: u32,
    /// Offered and not taken yet, as far as we have seen.
    available: u32,
    /// How many should be on offer.
    target: u32,
    count: u32,
}

impl BufferRing {
    /// Registers an empty ring under the class's number. `None` when the class has no buffers.
    pub(super) fn new(ring: &Ring, pool: &Pool, class: PoolClass) -> io::Result<Option<Self>> {
        let count = pool.capacity(class);
        if count == 0 {
            return Ok(None);
        }
        // The kernel wants a power of two.
        let entries = count.next_power_of_two();
        let memory = Memory::new(entries as usize * size_of::<BufRingEntry>())?;
        let address = memory.start().as_ptr() as u64;
        let entries = entries as u16;
        // The memory is ours rather than the kernel's (IOU_PBUF_RING_MMAP), which had a
        // use-after-free (CVE-2024-0582). SAFETY: the memory holds `entries` entries, and the
        // driver keeps it until the ring is gone.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(address, entries, group(class), 0)
        }?;
        let target = (count / OFFERED_SHARE_INITIAL).max(OFFERED_MIN).min(count);
        let mut offered = Self {
            class,
            memory,
            mask: entries - 1,
            tail: 0,
            buffer_bytes: pool.buffer_bytes(class),
            available: 0,
            target,
            count,
        };
        offered.offer(pool);
        Ok(Some(offered))
    }

    /// Offers buffers in place of those the kernel has taken.
    pub(super) fn refill(&mut self, pool: &Pool) {
        if self.available * LOW_SHARE < self.target {
            self.grow();
        }
        self.offer(pool);
    }

    fn offer(&mut self, pool: &Pool) {
        let before = self.tail;
        while self.available < self.target {
            let Some((index, address)) = pool.offer(self.class) else {
                break;
            };
            self.write(index, address);
            self.available += 1;
        }
        if self.tail != before {
            // Release: the kernel must see the entries before it sees that they are there.
            self.shared_tail().store(self.tail, Ordering::Release);
        }
    }

    /// More are needed at one time than are on offer.
    pub(super) fn grow(&mut self) {
        self.target = (self.target * 2).min(self.count);
    }

    /// How many the kernel can still take.
    pub(super) fn available(&self) -> u32 {
        self.available
    }

    /// The kernel has taken this one and filled `len` bytes.
    pub(super) fn take(&mut self, pool: &Pool, index: u16, len: u32) -> Buffer {
        self.available -= 1;
        pool.claim(self.class, index.into(), len)
    }

    /// The class.
    pub(super) fn class(&self) -> PoolClass {
        self.class
    }

    fn write(&mut self, index: u32, address: NonNull<u8>) {
        let entries = self.memory.start().cast::<BufRingEntry>();
        let position = (self.tail & self.mask) as usize;
        // SAFETY: `position` is at most `mask`, so the entry lies inside the memory.
        let entry = unsafe { entries.add(position) };
        // SAFETY: the memory is initialised (it starts zeroed), only this thread writes it, and the
        // kernel reads the entry only after the tail says so. There is room: no more than `count`
        // entries are ever on offer.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address.as_ptr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(index as u16);
        self.tail = self.tail.wrapping_add(1);
    }

    /// The kernel's view of the tail: it lies over an unused field of the first entry.
    fn shared_tail(&self) -> &AtomicU16 {
        let first = self.memory.start().cast::<BufRingEntry>().as_ptr();
        // SAFETY: `first` is the first entry of the ring, initialised.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: the field is two aligned bytes inside the memory and is only ever accessed
        // through this.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }
    }
}

/// The kernel's name of the class's buffers.
pub(super) const fn group(class: PoolClass) -> u16 {
    class as u16
}
