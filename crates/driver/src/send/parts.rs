//! The list of parts that a caller hands to a send.
//!
//! Owns: how a list of any length is kept without allocating in steady state. Must never know: the
//! kernel. Used by the proxy.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Deref, Range};

use smallvec::SmallVec;

use crate::Buffer;

/// A range of a buffer to be sent.
#[derive(Clone, Debug)]
pub struct Part {
    buffer: Buffer,
    start: u32,
    end: u32,
}

impl Part {
    /// A range of the buffer; the numbers may be `usize` or `u32`.
    ///
    /// # Panics
    /// When the range does not lie inside the buffer.
    #[must_use]
    pub fn new<N>(buffer: Buffer, range: Range<N>) -> Self
    where
        N: TryInto<u32, Error: Debug>,
    {
        let start = range.start.try_into().expect("start of a part");
        let end = range.end.try_into().expect("end of a part");
        assert!(start <= end && end as usize <= buffer.len(), "part lies inside its buffer");
        Self { buffer, start, end }
    }

    /// All of the buffer.
    #[must_use]
    pub fn whole(buffer: Buffer) -> Self {
        let end = buffer.len() as u32;
        Self { buffer, start: 0, end }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing to send in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end as usize]
    }

    /// A range of this part's bytes, in the same buffer.
    ///
    /// # Panics
    /// When the range does not lie inside the part.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "slice lies inside its part");
        let start = self.start + range.start as u32;
        Self { buffer: self.buffer.clone(), start, end: start + range.len() as u32 }
    }

    /// Where in its buffer the part lies.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The buffer the bytes are in.
    #[must_use]
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }
}

impl From<Buffer> for Part {
    fn from(buffer: Buffer) -> Self {
        Self::whole(buffer)
    }
}

/// Parts that a list holds without a separate block: head, body, and two to spare.
const INLINE: usize = 4;

/// Room of a separate block: what one `sendmsg` carries.
const BLOCK: usize = 32;

/// Blocks kept for reuse by each thread: one per channel to a worker being filled, and some.
const SPARE_BLOCKS_MAX: usize = 64;

/// Parts in the order in which they are sent. Up to four lie in the list itself; longer lists
/// borrow a block that is reused, so that building one does not allocate after warm-up.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    list: SmallVec<[Part; INLINE]>,
}

impl Parts {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a part.
    pub fn push(&mut self, part: Part) {
        if self.list.len() == INLINE && !self.list.spilled() {
            self.move_into_block();
        }
        self.list.push(part);
    }

    /// The number of bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.list.iter().map(Part::len).sum()
    }

    /// Removes all parts; a borrowed block stays with the list.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    #[cold]
    fn move_into_block(&mut self) {
        let spare = SPARE_BLOCKS.try_with(|blocks| blocks.borrow_mut().pop());
        let mut block = spare.ok().flatten().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        block.extend(self.list.drain(..));
        self.list = SmallVec::from_vec(block);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if !self.list.spilled() {
            return;
        }
        let mut block = std::mem::take(&mut self.list).into_vec();
        block.clear();
        // The thread may be ending, then the block is simply freed.
        let _kept = SPARE_BLOCKS.try_with(|blocks| {
            let mut blocks = blocks.borrow_mut();
            if blocks.len() < SPARE_BLOCKS_MAX {
                blocks.push(block);
            }
        });
    }
}

impl Deref for Parts {
    type Target = [Part];

    fn deref(&self) -> &[Part] {
        &self.list
    }
}

impl From<Part> for Parts {
    fn from(part: Part) -> Self {
        let mut parts = Self::new();
        parts.list.push(part);
        parts
    }
}

impl From<Buffer> for Parts {
    fn from(buffer: Buffer) -> Self {
        Self::from(Part::whole(buffer))
    }
}

impl Extend<Part> for Parts {
    fn extend<I: IntoIterator<Item = Part>>(&mut self, parts: I) {
        for part in parts {
            self.push(part);
        }
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        let mut list = Self::new();
        list.extend(parts);
        list
    }
}

thread_local! {
    static SPARE_BLOCKS: RefCell<Vec<Vec<Part>>> =
        const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Part {
        Part::whole(Buffer::from_vec(text.as_bytes().to_vec()))
    }

    #[test]
    fn ranges() {
        let buffer = Buffer::from_vec(b"0123456789".to_vec());
        let middle = Part::new(buffer.clone(), 2..5);
        assert_eq!((middle.len(), middle.as_slice()), (3, &b"234"[..]));
        assert!(Part::new(buffer.clone(), 10_usize..10).is_empty());
        assert_eq!(Part::from(buffer).len(), 10);
    }

    #[test]
    #[should_panic(expected = "inside its buffer")]
    fn range_outside_is_refused() {
        let _part = Part::new(Buffer::from_vec(vec![0; 4]), 2_u32..5);
    }

    #[test]
    fn long_lists_reuse_their_block() {
        let list: Parts = (0..20).map(|number| part(&number.to_string())).collect();
        assert_eq!((list.len(), list.bytes()), (20, 30));
        let block = list.as_ptr();
        drop(list);
        let again: Parts = (0..5).map(|_| part("x")).collect();
        assert_eq!(again.as_ptr(), block);
        assert_eq!(again.iter().map(Part::len).sum::<usize>(), 5);
    }
}
