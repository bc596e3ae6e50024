//! Counters of one shard and the gauges that shards share about a worker.
//!
//! Owns: what is counted. Must never know: who asks. Written by the stages, read by `control`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hostler_protocol::control::WorkerLoad;

/// Counters of one shard; only its own thread writes and reads them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Responses finished.
    pub requests: u64,
    /// Own answers with a 4xx status.
    pub refused: u64,
    /// Own answers with a 5xx status.
    pub failed: u64,
    /// Those of them to requests that no worker took: the queue was full, or the wait in it too long.
    pub shed: u64,
    /// Requests sent to a second worker.
    pub retried: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Bytes on the heap at this moment because slow clients would otherwise hold receive buffers.
    pub spilled_bytes: u64,
}

/// What all shards know about one worker. A cache line of its own, so that two workers' counters never
/// share one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerGauge {
    in_flight: AtomicU32,
    upgraded: AtomicU32,
    trials: AtomicU32,
    loop_delay_us: AtomicU32,
    loop_utilisation: AtomicU32,
    heap_kib: AtomicU32,
    heartbeat_ms: AtomicU64,
    requests: AtomicU64,
}

impl WorkerGauge {
    /// Requests in flight over all shards. Relaxed: dispatch only needs a good guess.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Those of them that keep the app busy: an upgraded connection may say nothing for hours.
    pub fn busy(&self) -> u32 {
        // Another shard may have counted one half of a change.
        self.in_flight().saturating_sub(self.upgraded.load(Ordering::Relaxed))
    }

    /// A request in flight has become an upgraded connection.
    pub fn upgrade_begin(&self) {
        self.upgraded.fetch_add(1, Ordering::Relaxed);
    }

    /// An upgraded connection is about to end, as a request in flight.
    pub fn upgrade_end(&self) {
        self.upgraded.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight that are suspected of having ended a worker.
    pub fn trials(&self) -> u32 {
        self.trials.load(Ordering::Relaxed)
    }

    /// One of them begins.
    pub fn trial_begin(&self) {
        self.trials.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them has ended.
    pub fn trial_end(&self) {
        self.trials.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was given to the worker.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request left the worker.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that left the worker, over all shards.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A heartbeat came in at `now_unix_ms`.
    pub fn heartbeat(&self, delay_us: u32, utilisation: u32, heap_kib: u32, now_unix_ms: u64) {
        self.loop_delay_us.store(delay_us, Ordering::Relaxed);
        self.loop_utilisation.store(utilisation, Ordering::Relaxed);
        self.heap_kib.store(heap_kib, Ordering::Relaxed);
        self.heartbeat_ms.store(now_unix_ms, Ordering::Relaxed);
    }

    /// The figures for `status`.
    pub fn load(&self, worker: u32, now_unix_ms: u64) -> WorkerLoad {
        let beat = self.heartbeat_ms.load(Ordering::Relaxed);
        let age = if beat == 0 { 0 } else { now_unix_ms.saturating_sub(beat) };
        WorkerLoad {
            worker,
            in_flight: self.in_flight(),
            upgraded: self.upgraded.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            loop_delay_us: self.loop_delay_us.load(Ordering::Relaxed),
            loop_utilisation: self.loop_utilisation.load(Ordering::Relaxed),
            heap_kib: self.heap_kib.load(Ordering::Relaxed),
            heartbeat_age_ms: u32::try_from(age).unwrap_or(u32::MAX),
        }
    }
}
