//! Which process has which session, for all shards.
//!
//! Owns: a table of fixed size. Must never know: what a session is. Part of `sticky`.
//!
//! A session's requests come over any connection, so to any shard, and the next one may follow the handshake within microseconds: the
//! shards share the table. Its parts have a lock each, held for the look at one cache line or two; only requests of sessions
//! ever take one. Where a bucket is full, the session that has been silent for longest is forgotten: its client gets 400 from
//! another worker and begins anew.

use std::sync::{Mutex, PoisonError};

use super::SessionId;

/// Sessions that share a place.
const WAYS: usize = 8;
/// Locks; more than there are shards on most machines.
const PARTS: usize = 64;
/// Twice as much room as there are clients keeps full buckets rare.
const ROOM_PER_CLIENT: usize = 2;
/// 16 MiB.
const ENTRIES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0 is nothing.
    session: u64,
    worker: u32,
    /// When it was last asked for, in units of 1024 ms.
    used: u32,
}

type Bucket = [Entry; WAYS];

/// The table.
#[derive(Debug)]
pub(super) struct Sessions {
    parts: Box<[Mutex<Box<[Bucket]>>]>,
}

impl Sessions {
    /// Room for the sessions of so many clients; a larger number is served as far as 16 MiB go.
    pub(super) fn new(clients: u32) -> Self {
        let entries = (clients as usize).saturating_mul(ROOM_PER_CLIENT);
        let entries = entries.clamp(PARTS * WAYS, ENTRIES_MAX).next_power_of_two();
        let buckets = entries / WAYS / PARTS;
        let part = || Mutex::new(vec![Bucket::default(); buckets].into_boxed_slice());
        Self { parts: (0..PARTS).map(|_| part()).collect() }
    }

    /// The process that has it. It counts as used.
    pub(super) fn find(&self, session: SessionId, now_ms: u64) -> Option<u32> {
        self.with_bucket(session, |bucket| {
            let entry = bucket.iter_mut().find(|entry| entry.session == session.get())?;
            entry.used = stamp(now_ms);
            Some(entry.worker)
        })
    }

    /// A process has it from now on.
    pub(super) fn insert(&self, session: SessionId, worker: u32, now_ms: u64) {
        self.with_bucket(session, |bucket| {
            let known = bucket.iter().position(|entry| entry.session == session.get());
            let oldest = || (0..WAYS).min_by_key(|at| (bucket[*at].session != 0, bucket[*at].used));
            if let Some(at) = known.or_else(oldest) {
                bucket[at] = Entry { session: session.get(), worker, used: stamp(now_ms) };
            }
        });
    }

    fn with_bucket<T>(&self, session: SessionId, look: impl FnOnce(&mut Bucket) -> T) -> T {
        let hash = session.get() as usize;
        // A shard that panicked has left no entry half written.
        let mut part = self.parts[hash % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = part.len();
        look(&mut part[hash / PARTS % buckets])
    }
}

fn stamp(now_ms: u64) -> u32 {
    (now_ms >> 10) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u64) -> SessionId {
        SessionId::new(number).expect("not zero")
    }

    #[test]
    fn what_was_inserted_is_found() {
        let table = Sessions::new(1_000);
        for number in 1..=1_000 {
            table.insert(
                session(u64::wrapping_mul(number, 0x9E37_79B9_7F4A_7C15)),
                number as u32,
                number,
            );
        }
        let found = (1..=1_000_u64)
            .filter(|number| {
                let found = table.find(session(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)), 0);
                found == Some(*number as u32)
            })
            .count();
        assert_eq!(found, 1_000);
        assert_eq!(table.find(session(7), 0), None);
        table.insert(session(7), 1, 0);
        table.insert(session(7), 2, 0);
        assert_eq!(table.find(session(7), 0), Some(2), "once in the table");
    }

    #[test]
    fn the_one_that_was_silent_for_longest_goes() {
        let table = Sessions::new(0);
        // One bucket: equal in the bits that choose it.
        let same = |number: u64| session(number << 40 | 1);
        for number in 0..WAYS as u64 {
            table.insert(same(number), number as u32, 10_000 + number * 2_000);
        }
        assert_eq!(table.find(same(0), 60_000), Some(0));
        table.insert(same(99), 99, 61_000);
        assert_eq!(table.find(same(1), 61_000), None, "the oldest");
        for number in [0, 2, 3, 4, 5, 6, 7, 99] {
            assert_eq!(table.find(same(number), 61_000), Some(number as u32));
        }
    }

    #[test]
    fn its_size_is_bounded() {
        for (clients, entries) in [(0, 512), (20_000, 65_536), (u32::MAX, ENTRIES_MAX)] {
            let table = Sessions::new(clients);
            let count: usize =
                table.parts.iter().map(|part| part.lock().expect("sound").len() * WAYS).sum();
            assert_eq!(count, entries, "{clients}");
        }
    }
}
