//! Stage dispatch: which worker gets a request.
//!
//! Owns: the shard's table of workers, the choice among them; [`queue`] is what waits in front of them. Must never know: sockets,
//! frames. Called by the shard.
//!
//! Requests are balanced, not connections. A shard prefers the workers that are at home with it: on its own core, because the
//! request's bytes are in that core's caches, or else those whose turn it is; for batches stay large where shards do not share
//! workers. It looks elsewhere as soon as a request would wait noticeably longer there than at the least busy worker, or the
//! event loop there is not ticking.

pub mod limit;
pub mod own;
pub mod pulse;
pub mod queue;

use std::sync::Arc;

use hostler_protocol::control::{Transport, WorkerAddress};

use self::limit::{Beat, Limit};
use self::pulse::Pulse;
use self::queue::Queue;
use crate::stats::WorkerGauge;
use crate::sticky::Token;
use crate::worker::drain::Drain;

/// How much longer a request may wait at home than elsewhere. Less would tear batches apart for nothing; more would be
/// noticed.
const PREFERENCE_US: u32 = 100;
/// The same in requests, before it is known how long one takes.
const PREFERENCE: u32 = 4;
/// Requests by which a worker at home may be ahead, however short they are.
const PREFERENCE_MAX: u32 = 32;

/// What makes a worker suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It refused a connection.
    Refused,
    /// A connection ended where an answer was due.
    Unanswered,
    /// Its backlog is full: it is there, and will accept again in a moment.
    Full,
}

/// How long a worker that refused a connection is left alone: its process is gone, and the news of that on its way.
const REFUSED_MS: u64 = 500;
/// The same for one that ended a connection: perhaps it only closed an idle one at the wrong moment, so not for
/// longer than the news of a death takes.
const UNANSWERED_MS: u64 = 50;

/// A server that accepts at all works off a connection of its backlog in such a time.
const FULL_MS: u64 = 5;

/// How far a worker is in this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerPhase {
    /// Announced; its channel to this shard is not open yet.
    Expected,
    /// Takes requests.
    Ready,
    /// Takes no new requests.
    Draining(Drain),
    /// Its process has ended; what it had is being given to others.
    Gone {
        /// It was to end.
        drained: bool,
    },
}

impl WorkerPhase {
    /// The drain, if it drains.
    pub fn drain(self) -> Option<Drain> {
        if let Self::Draining(drain) = self { Some(drain) } else { None }
    }
}

/// A worker as this shard sees it.
#[derive(Debug)]
pub struct Worker {
    /// Who and where.
    pub address: WorkerAddress,
    /// How far it is.
    pub phase: WorkerPhase,
    /// Index of its channel, for the `frames` transport.
    pub channel: Option<u16>,
    /// The app's server is closed for now.
    pub silent: bool,
    /// Requests of this shard in flight.
    pub in_flight: u32,
    /// Those of them that are upgraded connections: they hold a place for hours, and none among the requests.
    pub upgraded: u32,
    /// Its slot's name in cookies, in a sticky app.
    pub token: Option<Token>,
    /// Shared by all shards.
    pub gauge: Arc<WorkerGauge>,
    /// Idle plain connections, most recently used last.
    pub plain_idle: Vec<u32>,
    /// How many requests it may have.
    pub limit: Limit,
    /// Whether its event loop turns.
    pub pulse: Pulse,
    /// It is at home with this shard.
    at_home: bool,
    /// Requests by which it may be ahead of the least busy worker, if it is.
    ahead: u32,
    /// When that was last looked at, milliseconds, and the requests that all shards had had answered by then.
    measured: (u64, u64),
    /// Its plain path refused a connection: no requests before this moment.
    pub suspect_until_ms: u64,
}

impl Worker {
    fn takes_requests(&self) -> bool {
        self.phase == WorkerPhase::Ready
            && !self.silent
            && (self.address.transport == Transport::Http || self.channel.is_some())
    }

    /// Has it room for a request?
    #[inline]
    fn can_take(&self, now_ms: u64, open: impl Fn(&Self) -> bool) -> bool {
        let has_room = self.limit.has_room(self.in_flight - self.upgraded, now_ms)
            && !(self.limit.adapts() && self.pulse.is_saturated(now_ms));
        // What a stuck loop is given it cannot take, and in the queue it may still go elsewhere.
        has_room && !self.pulse.is_stuck(now_ms) && open(self)
    }

    /// Its loop was busy for that share (in 1/1000) of the time since the last heartbeat, and that much late with this one.
    pub fn measure(&mut self, utilisation_permille: u32, late_us: u32, now_ms: u64) {
        let (since_ms, before) = self.measured;
        let answered = self.gauge.requests().saturating_sub(before);
        let elapsed_ms = now_ms.saturating_sub(since_ms);
        self.limit.beat(Beat { utilisation_permille, late_us, elapsed_ms }, now_ms);
        // A worker that has nothing to do says nothing about requests; one that answers none has long ones.
        if answered > 0 || self.gauge.busy() > 0 {
            // Milliseconds times 1/1000 are microseconds.
            let busy_us = elapsed_ms.saturating_mul(utilisation_permille.into());
            let mean_us = u32::try_from(busy_us / answered.max(1)).unwrap_or(u32::MAX);
            let service_us = mean_us.max(1);
            self.ahead = (PREFERENCE_US / service_us).min(PREFERENCE_MAX);
        }
        self.measured = (now_ms, self.gauge.requests());
    }
}

/// Why no worker takes a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// There is none that takes requests.
    NoWorker,
    /// All are at their limit.
    AllFull,
    /// The one that the request belongs to is; others may have room.
    Own,
}

/// The workers of one shard and the requests that wait for them.
#[derive(Debug)]
pub struct Dispatch {
    /// Slots are kept while requests refer to them.
    workers: Vec<Option<Worker>>,
    /// The requests that wait for one of them.
    pub queue: Queue,
    requests_max: Option<u32>,
    home: Home,
}

/// Where a shard is, among how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The core it is pinned to.
    pub core: Option<u32>,
    /// Its number.
    pub shard: u32,
    /// How many there are.
    pub shards: u32,
}

impl Home {
    /// Is a worker at home with this shard?
    fn has(self, worker: &WorkerAddress) -> bool {
        match (self.core, worker.core) {
            (Some(own), Some(core)) => own == core,
            _ => worker.slot % self.shards.max(1) == self.shard,
        }
    }
}

impl Dispatch {
    /// No workers yet. `requests_max` is for each of them; `None` is as many as its loop can take.
    pub fn new(home: Home, requests_max: Option<u32>, queue: Queue) -> Self {
        Self { workers: Vec::new(), queue, requests_max, home }
    }

    /// There is a worker that takes requests, or will soon.
    pub fn has_workers(&self) -> bool {
        let stays =
            |worker: &Worker| matches!(worker.phase, WorkerPhase::Expected | WorkerPhase::Ready);
        self.workers.iter().flatten().any(stays)
    }

    /// Adds a worker and gives its index.
    pub fn add(&mut self, address: WorkerAddress, gauge: Arc<WorkerGauge>, now_ms: u64) -> u16 {
        let worker = Worker {
            at_home: self.home.has(&address),
            address,
            phase: WorkerPhase::Expected,
            channel: None,
            silent: false,
            in_flight: 0,
            upgraded: 0,
            token: None,
            gauge,
            plain_idle: Vec::new(),
            limit: Limit::new(self.requests_max),
            pulse: Pulse::none(),
            ahead: PREFERENCE,
            measured: (now_ms, 0),
            suspect_until_ms: 0,
        };
        let index = match self.workers.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.workers.push(None);
                self.workers.len() - 1
            }
        };
        self.workers[index] = Some(worker);
        index as u16
    }

    /// Forgets a worker; nothing may refer to it any more.
    pub fn remove(&mut self, index: u16) -> Option<Worker> {
        self.workers.get_mut(usize::from(index))?.take()
    }

    /// The worker with this index.
    pub fn get(&self, index: u16) -> Option<&Worker> {
        self.workers.get(usize::from(index))?.as_ref()
    }

    /// The worker with this index.
    pub fn get_mut(&mut self, index: u16) -> Option<&mut Worker> {
        self.workers.get_mut(usize::from(index))?.as_mut()
    }

    /// The index of the process with this number.
    pub fn find(&self, worker: u32) -> Option<u16> {
        self.iter().find(|(_, entry)| entry.address.worker.0 == worker).map(|(index, _)| index)
    }

    /// One more than the highest index.
    pub fn end(&self) -> u16 {
        self.workers.len() as u16
    }

    /// All workers with their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Worker)> {
        self.workers
            .iter()
            .enumerate()
            .filter_map(|(index, worker)| Some((index as u16, worker.as_ref()?)))
    }

    /// The worker for the next request, or for the next upgraded connection. `open` says whether a worker's link has room right now; `wanted` is taken whatever it
    /// has to do, if it takes requests.
    pub fn choose(
        &self,
        now_ms: u64,
        wanted: Option<u32>,
        upgrade: bool,
        open: impl Fn(&Worker) -> bool,
    ) -> Result<u16, Busy> {
        let mut best: Option<(u16, u32)> = None;
        let mut preferred: Option<(u16, u32, u32)> = None;
        let mut busy = Busy::NoWorker;
        for (index, worker) in self.iter() {
            if !worker.takes_requests() || worker.suspect_until_ms > now_ms {
                continue;
            }
            busy = Busy::AllFull;
            if !worker.can_take(now_ms, &open) {
                continue;
            }
            if Some(worker.address.worker.0) == wanted {
                return Ok(index);
            }
            // Upgraded connections are spread by their own number too.
            let gauge = &worker.gauge;
            let load = if upgrade { gauge.in_flight() } else { gauge.busy() };
            if worker.at_home && preferred.is_none_or(|(_, least, _)| load < least) {
                // Whoever stays for hours is no short request.
                let ahead = if upgrade { worker.ahead.min(PREFERENCE) } else { worker.ahead };
                preferred = Some((index, load, ahead));
            }
            if best.is_none_or(|(_, least)| load < least) {
                best = Some((index, load));
            }
        }
        match (preferred, best) {
            (Some((index, load, ahead)), Some((_, least))) if load <= least + ahead => Ok(index),
            (_, Some((index, _))) => Ok(index),
            (_, None) => Err(busy),
        }
    }

    /// A worker's process is perhaps gone. Until the supervisor says so, or time shows that it is not, requests go
    /// elsewhere or wait.
    pub fn suspect(&mut self, index: u16, why: Suspicion, now_ms: u64) {
        let wait_ms = match why {
            Suspicion::Refused => REFUSED_MS,
            Suspicion::Unanswered => UNANSWERED_MS,
            Suspicion::Full => FULL_MS,
        };
        if let Some(worker) = self.get_mut(index) {
            worker.suspect_until_ms = worker.suspect_until_ms.max(now_ms + wait_ms);
        }
    }

    /// While requests wait: milliseconds until a suspected worker may be tried again.
    pub fn suspect_wait_ms(&self, now_ms: u64) -> Option<u64> {
        if self.queue.is_empty() {
            return None;
        }
        let waits = self.iter().map(|(_, worker)| worker.suspect_until_ms);
        waits.filter(|until| *until > now_ms).map(|until| until - now_ms).min()
    }

    /// Would any worker take requests, if it had room?
    pub fn is_served(&self, now_ms: u64) -> bool {
        self.iter().any(|(_, worker)| {
            worker.takes_requests()
                && worker.suspect_until_ms <= now_ms
                && !worker.pulse.is_stuck(now_ms)
        })
    }

    /// Requests of this shard at workers.
    pub fn in_flight(&self) -> u32 {
        self.iter().map(|(_, worker)| worker.in_flight).sum()
    }

    /// Those of them that are upgraded connections.
    pub fn upgraded(&self) -> u32 {
        self.iter().map(|(_, worker)| worker.upgraded).sum()
    }
}

#[cfg(test)]
mod tests;
