//! Slots with generations, and the 64-bit tokens that name an operation on one of them.
//!
//! Owns: which slot is in use, how many of its operations the kernel still has, and the encoding of
//! tokens. Must never know: what a slot holds. Used by all drivers.
//!
//! A slot is taken again only after its last operation has come back, and then with the next
//! generation. A late completion or a stale [`SocketId`] therefore never reaches a newer socket,
//! whatever its descriptor number is.

use crate::{Full, SocketId};

/// What an operation does. Zero is no operation, so that a zeroed completion decodes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// Accepting on a listener (epoll: events of a listener).
    Accept = 1,
    /// Cancelling an accept.
    CancelAccept = 2,
    /// Receiving on a socket (epoll: events of a socket).
    Receive = 3,
    /// Cancelling a receive.
    CancelReceive = 4,
    /// Sending on a socket.
    Send = 5,
    /// Cancelling whatever a closing socket has in flight.
    CancelAll = 6,
    /// Closing a descriptor.
    Close = 7,
    /// Watching the waker.
    Wake = 8,
    /// Cancelling everything when the driver ends.
    CancelAny = 9,
    /// Waiting for a connection to be made.
    Connect = 10,
    /// Cancelling one operation of a closing socket; reported only if it failed.
    CancelOne = 11,
}

impl Op {
    const fn decode(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Accept,
            2 => Self::CancelAccept,
            3 => Self::Receive,
            4 => Self::CancelReceive,
            5 => Self::Send,
            6 => Self::CancelAll,
            7 => Self::Close,
            8 => Self::Wake,
            9 => Self::CancelAny,
            10 => Self::Connect,
            11 => Self::CancelOne,
            _ => return None,
        })
    }
}

/// One operation of one slot: op in 8 bits, slot in 24, generation in 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) op: Op,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// One more than the largest slot number that fits into a token.
pub(crate) const SLOTS_MAX: u32 = 1 << 24;

const OP_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 32;

impl Token {
    pub(crate) const fn new(op: Op, slot: u32, generation: u32) -> Self {
        assert!(slot < SLOTS_MAX, "slot numbers have 24 bits");
        Self { op, slot, generation }
    }

    pub(crate) const fn of(op: Op, socket: SocketId) -> Self {
        Self::new(op, socket.slot, socket.generation)
    }

    pub(crate) const fn encode(self) -> u64 {
        (self.op as u64) << OP_SHIFT | (self.slot as u64) << SLOT_SHIFT | self.generation as u64
    }

    pub(crate) const fn decode(bits: u64) -> Option<Self> {
        let Some(op) = Op::decode((bits >> OP_SHIFT) as u8) else {
            return None;
        };
        Some(Self {
            op,
            slot: (bits >> SLOT_SHIFT) as u32 & (SLOTS_MAX - 1),
            generation: bits as u32,
        })
    }

    pub(crate) const fn socket(self) -> SocketId {
        SocketId { slot: self.slot, generation: self.generation }
    }
}

/// All slots of a driver. Memory for `max` slots is reserved at start and touched as slots are
/// used.
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    /// Slots that were used before; the last one freed comes first, for it is the one most likely
    /// in the cache.
    free: Vec<u32>,
    max: u32,
    operations: u32,
}

pub(crate) struct Slot<T> {
    generation: u32,
    /// Operations the kernel has not given back.
    pending: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    /// Room for `max` slots.
    pub(crate) fn new(max: u32) -> Self {
        let max = max.min(SLOTS_MAX);
        Self {
            slots: Vec::with_capacity(max as usize),
            free: Vec::with_capacity(max as usize),
            max,
            operations: 0,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Result<SocketId, Full> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            debug_assert!(slot.value.is_none() && slot.pending == 0, "a free slot is empty");
            slot.value = Some(value);
            return Ok(SocketId { slot: index, generation: slot.generation });
        }
        let index = self.slots.len() as u32;
        if index == self.max {
            return Err(Full { max: self.max });
        }
        let generation = 1;
        self.slots.push(Slot { generation, pending: 0, value: Some(value) });
        Ok(SocketId { slot: index, generation })
    }

    /// Ends a slot. Its id is stale from now on.
    ///
    /// # Panics When the kernel still has an operation of the slot: its completion would reach the
    /// next user.
    pub(crate) fn remove(&mut self, id: SocketId) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        assert_eq!(slot.pending, 0, "a slot ends after its last operation");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// The kernel has one more operation of this slot.
    pub(crate) fn begin(&mut self, id: SocketId) {
        let slot = &mut self.slots[id.slot as usize];
        debug_assert_eq!(slot.generation, id.generation, "operation on a stale socket");
        slot.pending += 1;
        self.operations += 1;
    }

    /// The kernel has given an operation back for good.
    pub(crate) fn finish(&mut self, id: SocketId) {
        let slot = &mut self.slots[id.slot as usize];
        debug_assert_eq!(slot.generation, id.generation, "completion of a stale socket");
        assert!(slot.pending > 0, "more completions than operations");
        slot.pending -= 1;
        self.operations -= 1;
    }

    /// Operations of this slot that the kernel has.
    pub(crate) fn pending(&self, id: SocketId) -> u32 {
        self.slots[id.slot as usize].pending
    }

    /// Operations of all slots that the kernel has.
    pub(crate) fn operations(&self) -> u32 {
        self.operations
    }

    /// Slots in use.
    pub(crate) fn used(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// Everything in use.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip() {
        let edges = [0, 1, 255, 256, SLOTS_MAX / 2, SLOTS_MAX - 1];
        for op in (0..=u8::MAX).filter_map(Op::decode) {
            for slot in edges {
                for generation in [0, 1, u32::MAX / 2, u32::MAX] {
                    let token = Token::new(op, slot, generation);
                    assert_eq!(Token::decode(token.encode()), Some(token));
                }
            }
        }
    }

    #[test]
    fn zero_and_unknown_operations_decode_to_nothing() {
        assert_eq!(Token::decode(0), None);
        assert_eq!(Token::decode(u64::MAX), None);
        assert_eq!((0..=u8::MAX).filter_map(Op::decode).count(), 11);
    }

    #[test]
    fn stale_ids_find_nothing() {
        let mut table = Table::new(2);
        let first = table.insert('a').expect("room");
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b').expect("room");
        assert_eq!(first.slot, second.slot, "the slot is used again");
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(second), Some(&mut 'b'));
    }

    #[test]
    fn full_is_an_error() {
        let mut table = Table::new(1);
        let only = table.insert(1).expect("room");
        assert_eq!(table.insert(2).expect_err("full").max, 1);
        table.remove(only);
        assert!(table.insert(3).is_ok());
        assert_eq!(table.used(), 1);
    }

    #[test]
    #[should_panic(expected = "after its last operation")]
    fn a_slot_with_operations_cannot_end() {
        let mut table = Table::new(1);
        let id = table.insert(()).expect("room");
        table.begin(id);
        assert_eq!((table.operations(), table.pending(id)), (1, 1));
        table.remove(id);
    }
}
