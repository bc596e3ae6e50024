//! Whose socket a completion is about.
//!
//! Owns: the packing of owner and index into the driver's opaque key. Must never know: what owners do.

use hostler_driver::Key;

/// The owner of a socket or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The listener with this index, for clients.
    ClientListener(u32),
    /// The listener for channels.
    ChannelListener,
    /// The client connection in this slot.
    Client(u32),
    /// The channel with this index.
    Channel(u32),
    /// The plain worker connection in this slot.
    Plain(u32),
}

const KIND_SHIFT: u32 = 29;
const INDEX_MASK: u32 = (1 << KIND_SHIFT) - 1;

impl Owner {
    /// As the driver's key.
    pub(super) fn key(self) -> Key {
        let (kind, index) = match self {
            Self::ClientListener(index) => (0, index),
            Self::ChannelListener => (1, 0),
            Self::Client(slot) => (2, slot),
            Self::Channel(index) => (3, index),
            Self::Plain(slot) => (4, slot),
        };
        debug_assert!(index <= INDEX_MASK);
        Key(kind << KIND_SHIFT | index)
    }

    /// From the driver's key, which only [`Owner::key`] makes.
    pub(super) fn from_key(key: Key) -> Self {
        let index = key.0 & INDEX_MASK;
        match key.0 >> KIND_SHIFT {
            0 => Self::ClientListener(index),
            1 => Self::ChannelListener,
            2 => Self::Client(index),
            3 => Self::Channel(index),
            _ => Self::Plain(index),
        }
    }
}
