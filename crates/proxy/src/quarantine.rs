//! Requests that have ended two workers.
//!
//! Owns: what makes two requests the same, who is suspected, who is refused and until when. Must never know: workers beyond their numbers,
//! connections. Asked by the shard (`shard/suspects.rs`); one list for all shards.
//!
//! A worker dies or hangs with many requests in hand, and one of them did it. All that were unanswered are *suspects*. Whoever is
//! answered once more is acquitted: a request that kills does not come so far. A suspect that is in hand when a second worker
//! goes is *poison* and is refused for a while.
//!
//! The same request is one with the same method, target and body length. A path alone would let one bad body close `POST /graphql` to
//! everybody; bodies are not read before a worker has the request, but their lengths differ. The client's address says nothing: a
//! balancer in front is one client, and a retry may come from elsewhere. Whoever varies the query can kill again and again, as without
//! all this; who wants to see another's route refused has to be able to kill workers while that route answers nobody.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostler_protocol::http1::{BodyFraming, RequestHead};

/// Between the first worker and the second at most.
const SUSPICION_MS: u64 = 600_000;
/// Suspects and refused ones; the oldest is forgotten.
const ENTRIES_MAX: usize = 64;

/// Names a request.
pub type RequestKey = NonZeroU64;

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unknown,
    /// One worker went with it.
    Suspect,
    /// Two did: it is refused for so many milliseconds more.
    Poison {
        /// Milliseconds.
        left_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: RequestKey,
    /// The worker that went first.
    worker: u32,
    /// It has ended a second one.
    is_poison: bool,
    until_ms: u64,
}

/// The list of one instance.
#[derive(Debug)]
pub struct Quarantine {
    entries: Mutex<Vec<Entry>>,
    /// Grows with each change.
    version: AtomicU64,
    refuse_ms: u64,
    hash: RandomState,
}

impl Quarantine {
    /// Poison is refused for so many milliseconds.
    pub fn new(refuse_ms: u32) -> Self {
        Self {
            entries: Mutex::new(Vec::with_capacity(ENTRIES_MAX)),
            version: AtomicU64::new(0),
            refuse_ms: refuse_ms.into(),
            hash: RandomState::new(),
        }
    }

    /// The name of this request; `None` if it has none: a body of unknown length could be anybody's, and an upgrade is half of
    /// an app's life.
    pub fn key(&self, bytes: &[u8], head: &RequestHead) -> Option<RequestKey> {
        let length = match head.framing {
            BodyFraming::None => 0,
            BodyFraming::Length(length) => length,
            BodyFraming::Chunked | BodyFraming::UntilClose => return None,
        };
        let named = (head.method_span.of(bytes), head.target.of(bytes), length);
        (!head.upgrade)
            .then(|| NonZeroU64::new(self.hash.hash_one(named)).unwrap_or(NonZeroU64::MIN))
    }

    /// This worker went with the request unanswered. True if that makes it poison.
    pub fn report(&self, key: RequestKey, worker: u32, now_ms: u64) -> bool {
        let mut entries = self.lock();
        entries.retain(|entry| entry.until_ms > now_ms);
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) {
            // One worker counts once, however many requests and shards it took along.
            if entry.is_poison || entry.worker == worker {
                return false;
            }
            (entry.is_poison, entry.until_ms) = (true, now_ms.saturating_add(self.refuse_ms));
            return true;
        }
        if entries.len() == ENTRIES_MAX {
            // Suspects first: they are many after a death, and nearly all are innocent.
            let oldest = entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| (entry.is_poison, entry.until_ms));
            if let Some((at, _)) = oldest {
                entries.swap_remove(at);
            }
        }
        let until_ms = now_ms.saturating_add(SUSPICION_MS);
        entries.push(Entry { key, worker, is_poison: false, until_ms });
        false
    }

    /// It was answered: whoever it was, it was not this one. Poison stays what it is; answers that come late are of others in hand.
    pub fn acquit(&self, key: RequestKey) {
        self.lock().retain(|entry| entry.key != key || entry.is_poison);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A shard that panicked has left no entry half written.
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Release);
        entries
    }
}

/// What one shard knows of the list: its requests look here, and take no lock.
#[derive(Debug, Default)]
pub struct View {
    version: u64,
    entries: Vec<Entry>,
}

impl View {
    /// Catches up with the list. Is there anything in it?
    #[inline]
    pub fn has_any(&mut self, list: &Quarantine, now_ms: u64) -> bool {
        if list.version.load(Ordering::Acquire) != self.version {
            self.catch_up(list);
        }
        !self.entries.is_empty() && self.forget_old(now_ms)
    }

    /// Was there nothing when it was looked at last?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cold]
    fn catch_up(&mut self, list: &Quarantine) {
        // Read under the lock, which every change holds.
        let entries = list.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.version = list.version.load(Ordering::Acquire);
        self.entries.clone_from(&entries);
    }

    fn forget_old(&mut self, now_ms: u64) -> bool {
        self.entries.retain(|entry| entry.until_ms > now_ms);
        !self.entries.is_empty()
    }

    /// What is known of this request.
    pub fn standing(&self, key: RequestKey, now_ms: u64) -> Standing {
        match self.entries.iter().find(|entry| entry.key == key && entry.until_ms > now_ms) {
            None => Standing::Unknown,
            Some(entry) if entry.is_poison => Standing::Poison { left_ms: entry.until_ms - now_ms },
            Some(_) => Standing::Suspect,
        }
    }
}

#[cfg(test)]
mod tests;
