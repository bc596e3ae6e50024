//! Buffers: all payload memory of the data plane, allocated once at start.
//!
//! Owns: the areas of memory, who holds which buffer, the sizes. Must never know: sockets, rings,
//! what the bytes mean. Used by the drivers (to receive into) and by the proxy (to compose output
//! and to hold input).
//!
//! Every class of buffers has one area of anonymous memory. A buffer is in exactly one of four
//! places: in the free list of its class, with the kernel (`offered`), with one writer
//! ([`BufferMut`]), or with one or more readers ([`Buffer`]). The last reader to go gives it back.
//! Pools belong to one thread.

mod handle;
mod lease;
mod memory;
mod pool;

pub use handle::{Buffer, BufferMut};
pub(crate) use memory::Memory;
pub use pool::Pool;

/// What a buffer is for. Classes never lend to each other: a flood of client reads cannot take the
/// buffers that the answers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PoolClass {
    /// Receiving request heads from clients.
    Head = 0,
    /// Receiving request and response bodies.
    Body = 1,
    /// Receiving from the framed channels of the workers.
    Channel = 2,
    /// Composing heads and small answers.
    Send = 3,
    /// Composing batches of frames.
    Batch = 4,
}

impl PoolClass {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Head, Self::Body, Self::Channel, Self::Send, Self::Batch];

    /// The classes that sockets receive into.
    pub const RECEIVE: [Self; 3] = [Self::Head, Self::Body, Self::Channel];

    /// The number of the class, for tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether sockets receive into this class.
    #[must_use]
    pub const fn is_receive(self) -> bool {
        matches!(self, Self::Head | Self::Body | Self::Channel)
    }
}

/// How many buffers a class has and how long each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Number of buffers; at most 32 768 for the classes that sockets receive into.
    pub count: u32,
    /// Bytes of each buffer; rounded up to a multiple of 64 (one cache line).
    pub bytes: u32,
}

/// The sizes of all pools of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSizes {
    /// [`PoolClass::Head`]
    pub head: PoolSize,
    /// [`PoolClass::Body`]
    pub body: PoolSize,
    /// [`PoolClass::Channel`]
    pub channel: PoolSize,
    /// [`PoolClass::Send`]
    pub send: PoolSize,
    /// [`PoolClass::Batch`]
    pub batch: PoolSize,
}

impl PoolSizes {
    /// The sizes of one class.
    #[must_use]
    pub const fn of(&self, class: PoolClass) -> PoolSize {
        match class {
            PoolClass::Head => self.head,
            PoolClass::Body => self.body,
            PoolClass::Channel => self.channel,
            PoolClass::Send => self.send,
            PoolClass::Batch => self.batch,
        }
    }

    /// Every class with the number and the length of its buffers, for `hostler check`.
    pub fn iter(&self) -> impl Iterator<Item = (PoolClass, u32, u32)> + '_ {
        PoolClass::ALL.into_iter().map(|class| {
            let size = self.of(class);
            (class, size.count, size.bytes)
        })
    }

    /// The sum of all classes in bytes: what the pools take when every buffer has been touched.
    #[must_use]
    pub fn bytes_total(&self) -> u64 {
        self.iter().map(|(_, count, bytes)| u64::from(count) * u64::from(bytes)).sum()
    }
}

impl Default for PoolSizes {
    /// 13 MiB in all. Memory is touched only as concurrency grows, so an idle proxy holds a small
    /// part of it.
    fn default() -> Self {
        const KIB: u32 = 1024;
        Self {
            // One head in flight per active client; nearly all heads are below 2 KiB.
            head: PoolSize { count: 2048, bytes: 2 * KIB },
            // Bodies being relayed at one time; one receive per 64 KiB keeps calls rare.
            body: PoolSize { count: 32, bytes: 64 * KIB },
            // A read of a worker's channel carries many answers; a handful of channels per shard.
            channel: PoolSize { count: 32, bytes: 64 * KIB },
            // One rewritten head or own answer per exchange that is being sent.
            send: PoolSize { count: 1024, bytes: 4 * KIB },
            // One batch being filled and one in flight per channel.
            batch: PoolSize { count: 16, bytes: 64 * KIB },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_in_order() {
        for (number, class) in PoolClass::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), number);
        }
        assert!(PoolClass::RECEIVE.into_iter().all(PoolClass::is_receive));
        assert!(!PoolClass::Send.is_receive());
        assert!(!PoolClass::Batch.is_receive());
    }

    #[test]
    fn default_sizes_add_up() {
        let sizes = PoolSizes::default();
        assert_eq!(sizes.bytes_total(), 13 * 1024 * 1024);
        assert_eq!(sizes.iter().count(), PoolClass::ALL.len());
    }
}
