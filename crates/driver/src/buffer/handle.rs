//! Handles to buffers: one writer, or any number of readers.
//!
//! Owns: the rule that a buffer is either written by one or read by many, never both. Must never
//! know: where free buffers come from. Used by everything that touches payload.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::PoolClass;
use super::lease::Lease;

/// A buffer with one holder, who may write.
pub struct BufferMut {
    /// INVARIANT: the only lease of its buffer. It is never cloned or lent before `freeze` gives it
    /// away.
    lease: Lease,
}

impl BufferMut {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lease.len as usize
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lease.len == 0
    }

    /// Bytes that fit in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.lease.capacity()
    }

    /// Bytes that still fit.
    #[must_use]
    pub fn spare_capacity(&self) -> usize {
        self.capacity() - self.len()
    }

    /// The class it came from.
    #[must_use]
    pub fn class(&self) -> PoolClass {
        self.lease.class()
    }

    /// What has been written.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.lease.filled()
    }

    /// What has been written, to be changed.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.whole_mut()[..len]
    }

    /// The part not written yet. It holds zeroes or what an earlier user of the buffer left there:
    /// count only what was really written when calling [`Self::advance`].
    #[must_use]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.whole_mut()[len..]
    }

    /// Declares the next `count` bytes of [`Self::spare_mut`] written.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.spare_capacity(), "more bytes than were spare");
        self.lease.len += count as u32;
    }

    /// Appends the bytes.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(self.try_extend(bytes), "more bytes than fit into the buffer");
    }

    /// Appends the bytes if they all fit, and says whether they did.
    #[must_use]
    pub fn try_extend(&mut self, bytes: &[u8]) -> bool {
        let Some(target) = self.spare_mut().get_mut(..bytes.len()) else {
            return false;
        };
        target.copy_from_slice(bytes);
        self.lease.len += bytes.len() as u32;
        true
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.lease.len = 0;
    }

    /// Forgets what was written after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.lease.len = len as u32;
        }
    }

    /// Ends the writing; from now on the bytes can be shared.
    #[must_use]
    pub fn freeze(self) -> Buffer {
        Buffer::from_lease(self.lease)
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant of `lease` there is no other lease of this buffer.
        unsafe { self.lease.whole_mut() }
    }
}

impl fmt::Write for BufferMut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.try_extend(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BufferMut({:?})", self.lease)
    }
}

/// Filled bytes that no longer change. A clone is cheap: another holder of the same bytes.
#[derive(Clone)]
pub struct Buffer(Repr);

const _: () = assert!(size_of::<Buffer>() == 24, "buffers are moved a lot");

#[derive(Clone)]
enum Repr {
    Pooled(Lease),
    Heap(Rc<HeapBytes>),
}

impl Buffer {
    pub(super) fn from_lease(lease: Lease) -> Self {
        Self(Repr::Pooled(lease))
    }

    /// Bytes that outgrew the pools (a spilled head, a cached body). This is for rare paths: it
    /// allocates.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        assert!(u32::try_from(bytes.len()).is_ok(), "buffers are below 4 GiB");
        HEAP_BUFFERS.set(HEAP_BUFFERS.get() + 1);
        Self(Repr::Heap(Rc::new(HeapBytes(bytes))))
    }

    /// Heap-backed buffers alive on this thread. They are not part of [`super::Pool::out`].
    #[must_use]
    pub fn heap_count() -> u32 {
        HEAP_BUFFERS.get()
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Pooled(lease) => lease.len as usize,
            Repr::Heap(heap) => heap.0.len(),
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class it came from; `None` for heap-backed bytes.
    #[must_use]
    pub fn class(&self) -> Option<PoolClass> {
        match &self.0 {
            Repr::Pooled(lease) => Some(lease.class()),
            Repr::Heap(_) => None,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Pooled(lease) => lease.filled(),
            Repr::Heap(heap) => &heap.0,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Pooled(lease) => write!(formatter, "Buffer({lease:?})"),
            Repr::Heap(heap) => write!(formatter, "Buffer(heap ({} bytes))", heap.0.len()),
        }
    }
}

struct HeapBytes(Vec<u8>);

impl Drop for HeapBytes {
    fn drop(&mut self) {
        HEAP_BUFFERS.set(HEAP_BUFFERS.get() - 1);
    }
}

thread_local! {
    static HEAP_BUFFERS: Cell<u32> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::{Pool, PoolSizes};
    use super::*;

    fn pool() -> Pool {
        Pool::new(&PoolSizes::default()).expect("memory")
    }

    #[test]
    fn write_then_share() {
        let pool = pool();
        let mut writer = pool.take(PoolClass::Send).expect("free");
        assert_eq!((writer.capacity(), writer.spare_capacity()), (4096, 4096));
        writer.extend_from_slice(b"hello ");
        writer.spare_mut()[..5].copy_from_slice(b"world");
        writer.advance(5);
        write!(writer, "{}", 42).expect("fits");
        writer.truncate(12);
        writer.as_mut_slice()[0] = b'H';
        assert_eq!(writer.as_slice(), b"Hello world4");
        let first = writer.freeze();
        let second = first.clone();
        drop(first);
        assert_eq!((&*second, pool.out()), (&b"Hello world4"[..], 1));
        assert_eq!(second.class(), Some(PoolClass::Send));
        drop(second);
        assert_eq!(pool.out(), 0);
    }

    #[test]
    fn bounds_are_kept() {
        let pool = pool();
        let mut writer = pool.take(PoolClass::Head).expect("free");
        assert!(writer.try_extend(&[7; 2048]));
        assert!(!writer.try_extend(&[7]));
        assert!(writer.try_extend(&[]));
        writer.clear();
        assert!(writer.is_empty());
        assert_eq!(writer.class(), PoolClass::Head);
    }

    #[test]
    #[should_panic(expected = "more bytes than were spare")]
    fn advance_beyond_the_end_is_refused() {
        pool().take(PoolClass::Head).expect("free").advance(2049);
    }

    #[test]
    fn outlives_the_pool() {
        let pool = pool();
        let mut writer = pool.take(PoolClass::Batch).expect("free");
        writer.extend_from_slice(b"still here");
        let buffer = writer.freeze();
        drop(pool);
        assert_eq!(&*buffer, b"still here");
    }

    #[test]
    fn heap_bytes_are_counted_apart() {
        let before = Buffer::heap_count();
        let buffer = Buffer::from_vec(b"spilled".to_vec());
        let other = buffer.clone();
        assert_eq!(Buffer::heap_count(), before + 1);
        drop(buffer);
        assert_eq!((&*other, other.class()), (&b"spilled"[..], None));
        drop(other);
        assert_eq!(Buffer::heap_count(), before);
    }

    #[test]
    fn debug_hides_the_contents() {
        let buffer = Buffer::from_vec(b"secret".to_vec());
        assert_eq!(format!("{buffer:?}"), "Buffer(heap (6 bytes))");
        let mut writer = pool().take(PoolClass::Send).expect("free");
        writer.extend_from_slice(b"secret");
        assert_eq!(format!("{writer:?}"), "BufferMut(Send 0 (6 bytes))");
        assert_eq!(format!("{:?}", writer.freeze()), "Buffer(Send 0 (6 bytes))");
    }
}
