//! The sends in flight: their parts, how far they are, and the vectors the kernel reads.
//!
//! Owns: the parts from `send` until the last byte has left, at addresses that do not move. Must
//! never know: how they are sent. Used by the ring and by epoll.
//!
//! A socket that sends nothing has no slot here, so idle sockets carry no send memory.

use std::num::NonZeroU32;
use std::ptr;

use super::Parts;

/// A send in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendId(NonZeroU32);

impl SendId {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What is left of a send, as the kernel wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remainder {
    /// Nothing: all has left.
    Nothing,
    /// One run of bytes, for `send`.
    One {
        /// First byte. Valid until the slot is removed.
        start: *const u8,
        /// Number of bytes.
        len: usize,
    },
    /// Several, for `sendmsg`. Valid until the slot changes.
    Many(*const libc::msghdr),
}

/// Vectors of one `sendmsg`; longer lists go in several.
const VECTORS: usize = 32;

/// Slots that are allocated together.
const CHUNK: usize = 16;

/// All sends in flight of a driver. Grows when more sockets send at one time than ever before.
#[derive(Default)]
pub(crate) struct SendSlots {
    /// Boxed, so that a slot stays where it is when the slab grows: the kernel has its address.
    chunks: Vec<Box<[SendSlot; CHUNK]>>,
    free: Vec<SendId>,
}

impl SendSlots {
    pub(crate) fn insert(&mut self, parts: Parts) -> SendId {
        if self.free.is_empty() {
            self.grow();
        }
        let id = self.free.pop().expect("just grown");
        let slot = self.slot(id);
        slot.parts = parts;
        slot.part = 0;
        slot.offset = 0;
        id
    }

    /// Drops the parts. No operation may use them any more.
    pub(crate) fn remove(&mut self, id: SendId) {
        drop(std::mem::take(&mut self.slot(id).parts));
        self.free.push(id);
    }

    /// What is left to be sent.
    pub(crate) fn remainder(&mut self, id: SendId) -> Remainder {
        self.slot(id).remainder()
    }

    /// Counts `sent` bytes as gone and says whether that was all.
    pub(crate) fn advance(&mut self, id: SendId, sent: usize) -> bool {
        self.slot(id).advance(sent)
    }

    fn slot(&mut self, id: SendId) -> &mut SendSlot {
        &mut self.chunks[id.index() / CHUNK][id.index() % CHUNK]
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK + 1;
        self.chunks.push(Box::new(std::array::from_fn(|_| SendSlot::new())));
        let numbers = (first..first + CHUNK).rev();
        let ids = numbers.filter_map(|number| NonZeroU32::new(number as u32).map(SendId));
        self.free.extend(ids);
        self.free.reserve(self.chunks.len() * CHUNK - self.free.len());
    }
}

struct SendSlot {
    parts: Parts,
    /// The first part that has not left completely.
    part: usize,
    /// Bytes of that part that have left.
    offset: usize,
    vectors: [libc::iovec; VECTORS],
    header: libc::msghdr,
}

impl SendSlot {
    fn new() -> Self {
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: all zeroes is a valid msghdr (no name, no vectors, no control data), and the only
        // way to make one on every libc, some of which have private padding.
        let header = unsafe { std::mem::zeroed() };
        Self { parts: Parts::new(), part: 0, offset: 0, vectors: [empty; VECTORS], header }
    }

    fn remainder(&mut self) -> Remainder {
        let mut count = 0;
        let mut offset = self.offset;
        for part in &self.parts[self.part..] {
            let bytes = &part.as_slice()[offset..];
            offset = 0;
            if bytes.is_empty() {
                continue;
            }
            self.vectors[count] =
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            count += 1;
            if count == VECTORS {
                break;
            }
        }
        match count {
            0 => Remainder::Nothing,
            1 => Remainder::One {
                start: self.vectors[0].iov_base.cast_const().cast(),
                len: self.vectors[0].iov_len,
            },
            _ => {
                self.header.msg_iov = self.vectors.as_mut_ptr();
                self.header.msg_iovlen = count;
                Remainder::Many(&raw const self.header)
            }
        }
    }

    fn advance(&mut self, sent: usize) -> bool {
        let mut sent = sent;
        while let Some(part) = self.parts.get(self.part) {
            let left = part.len() - self.offset;
            if sent < left {
                self.offset += sent;
                return false;
            }
            sent -= left;
            self.part += 1;
            self.offset = 0;
        }
        assert_eq!(sent, 0, "the kernel sent more than it was given");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffer, Part};

    fn parts(texts: &[&str]) -> Parts {
        let buffers = texts.iter().map(|text| Buffer::from_vec(text.as_bytes().to_vec()));
        buffers.map(Part::whole).collect()
    }

    /// The bytes a remainder stands for.
    fn bytes(remainder: Remainder) -> (usize, Vec<u8>) {
        match remainder {
            Remainder::Nothing => (0, Vec::new()),
            Remainder::One { start, len } => {
                // SAFETY: the slot holds the buffer; nothing writes it.
                let bytes = unsafe { std::slice::from_raw_parts(start, len) };
                (1, bytes.to_vec())
            }
            Remainder::Many(header) => {
                // SAFETY: the slot has not changed since.
                let header = unsafe { &*header };
                // SAFETY: `remainder` filled this many vectors.
                let vectors =
                    unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen) };
                let mut all = Vec::new();
                for vector in vectors {
                    let start = vector.iov_base.cast_const().cast::<u8>();
                    // SAFETY: the slot holds the buffer; nothing writes it.
                    all.extend(unsafe { std::slice::from_raw_parts(start, vector.iov_len) });
                }
                (vectors.len(), all)
            }
        }
    }

    #[test]
    fn every_short_send_leaves_the_rest() {
        let texts = ["ab", "", "cde", "f", "", "ghij"];
        let whole = texts.concat();
        let mut slots = SendSlots::default();
        for first in 0..whole.len() {
            for second in 0..whole.len() - first {
                let id = slots.insert(parts(&texts));
                assert!(!slots.advance(id, first));
                assert!(!slots.advance(id, second));
                let (_, rest) = bytes(slots.remainder(id));
                assert_eq!(rest, whole.as_bytes()[first + second..]);
                assert!(slots.advance(id, rest.len()));
                assert!(matches!(slots.remainder(id), Remainder::Nothing));
                slots.remove(id);
            }
        }
    }

    #[test]
    fn one_part_needs_no_vectors() {
        let mut slots = SendSlots::default();
        let id = slots.insert(parts(&["", "only", ""]));
        assert_eq!(bytes(slots.remainder(id)), (1, b"only".to_vec()));
    }

    #[test]
    fn long_lists_go_in_several_messages() {
        let texts: Vec<&str> = std::iter::repeat_n("xy", VECTORS + 8).collect();
        let mut slots = SendSlots::default();
        let id = slots.insert(parts(&texts));
        assert_eq!(bytes(slots.remainder(id)).0, VECTORS);
        assert!(!slots.advance(id, VECTORS * 2));
        assert_eq!(bytes(slots.remainder(id)).0, 8);
        assert!(slots.advance(id, 16));
    }

    #[test]
    fn slots_stay_where_they_are() {
        let mut slots = SendSlots::default();
        let first = slots.insert(parts(&["a", "b"]));
        let Remainder::Many(before) = slots.remainder(first) else {
            panic!("two parts");
        };
        let more: Vec<SendId> = (0..CHUNK * 3).map(|_| slots.insert(parts(&["c"]))).collect();
        assert_eq!(bytes(Remainder::Many(before)), (2, b"ab".to_vec()));
        let heap = Buffer::heap_count();
        for id in more {
            slots.remove(id);
        }
        assert_eq!(Buffer::heap_count(), heap - 3 * CHUNK as u32);
    }
}
