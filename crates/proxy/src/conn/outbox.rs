//! Bytes on their way to one socket.
//!
//! Owns: their order, the open buffer that small writes are gathered in, and the choice between copying a slice
//! and sending it by reference. Must never know: HTTP, sockets. Used by `conn` (towards the client) and by
//! `worker` (towards a worker).

use std::collections::VecDeque;
use std::ops::Range;

use hostler_driver::{Buffer, BufferMut, Part, Parts, Pool, PoolClass};

/// Slices up to this size are copied into the open buffer: a copy of 1 KiB costs less than one more
/// entry in a `sendmsg` and the longer life of a 64 KiB receive buffer.
const COPY_BYTES_MAX: usize = 1024;
/// Parts handed to one send.
pub const PARTS_PER_SEND_MAX: usize = 32;

/// Ordered output of one socket.
#[derive(Debug, Default)]
pub struct Outbox {
    parts: VecDeque<Part>,
    tail: Option<BufferMut>,
    bytes: u32,
    sending: u32,
    /// Bytes in `parts` that live on the heap because receive buffers were short.
    spilled: u32,
}

impl Outbox {
    /// Bytes waiting, the ones in flight not counted.
    pub fn waiting(&self) -> u32 {
        self.bytes
    }

    /// Is a send in flight?
    pub fn is_sending(&self) -> bool {
        self.sending > 0
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.sending == 0
    }

    /// Bytes that wait on the heap.
    pub fn spilled(&self) -> u32 {
        self.spilled
    }

    /// Appends a copy of `bytes`.
    pub fn write(&mut self, pool: &Pool, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u32;
        if let Some(tail) = &mut self.tail
            && tail.try_extend(bytes)
        {
            return;
        }
        self.seal();
        if let Some(mut buffer) = pool.take(PoolClass::Send)
            && buffer.try_extend(bytes)
        {
            self.tail = Some(buffer);
            return;
        }
        // Out of buffers, or a write larger than one: rare, and the heap is bounded by the caller's limits.
        self.spilled += bytes.len() as u32;
        self.parts.push_back(Part::whole(Buffer::from_vec(bytes.to_vec())));
    }

    /// Appends copies of all `pieces`. In line, so that short pieces that the caller knows become single stores.
    #[inline]
    pub fn write_all<const N: usize>(&mut self, pool: &Pool, pieces: [&[u8]; N]) {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        if let Some(tail) = &mut self.tail
            && let Some(mut room) = tail.spare_mut().get_mut(..bytes)
        {
            for piece in pieces {
                let (here, behind) = room.split_at_mut(piece.len());
                here.copy_from_slice(piece);
                room = behind;
            }
            tail.advance(bytes);
            self.bytes += bytes as u32;
            return;
        }
        for piece in pieces {
            self.write(pool, piece);
        }
    }

    /// Appends `range` of a received buffer: small slices by copy, larger ones by reference. With `scarce`
    /// receive buffers they are copied to the heap, all of them: one held buffer each of a few dozen slow readers would
    /// leave none to hear the workers with.
    pub fn push(&mut self, pool: &Pool, buffer: &Buffer, range: Range<usize>, scarce: bool) {
        let len = range.len();
        if len <= COPY_BYTES_MAX {
            self.write(pool, &buffer[range]);
            return;
        }
        self.seal();
        self.bytes += len as u32;
        if scarce {
            self.spilled += len as u32;
            self.parts.push_back(Part::whole(Buffer::from_vec(buffer[range].to_vec())));
        } else {
            self.parts.push_back(Part::new(buffer.clone(), range));
        }
    }

    /// What the next send should carry; `None` when a send is in flight or nothing waits.
    pub fn take(&mut self) -> Option<Parts> {
        if self.sending > 0 || self.bytes == 0 {
            return None;
        }
        self.seal();
        let mut parts = Parts::new();
        for _ in 0..PARTS_PER_SEND_MAX {
            let Some(part) = self.parts.pop_front() else {
                break;
            };
            self.sending += part.len() as u32;
            parts.push(part);
        }
        self.bytes -= self.sending;
        if self.parts.is_empty() {
            self.spilled = 0;
        }
        Some(parts)
    }

    /// All that was written, for another way than a send.
    pub fn into_parts(mut self) -> VecDeque<Part> {
        self.seal();
        self.parts
    }

    /// The send is complete; returns its size in bytes.
    pub fn sent(&mut self) -> u32 {
        std::mem::take(&mut self.sending)
    }

    /// Drops everything that has not been handed to a send.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.tail = None;
        self.bytes = 0;
        self.spilled = 0;
    }

    fn seal(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.parts.push_back(Part::whole(tail.freeze()));
        }
    }
}

#[cfg(test)]
mod tests;
