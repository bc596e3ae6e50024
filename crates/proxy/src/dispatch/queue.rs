//! The requests of one shard that wait for a worker: first come, first served.
//!
//! Owns: their order, how long each may wait, and whether one more is taken. Must never know: workers, connections. Called by
//! the shard.
//!
//! A queue that only has a length is of no use in overload: it is full all the time, and whoever is served has waited through
//! all of it. So it is bounded by its *standing delay*, as CoDel bounds a router's (RFC 8289): a burst may fill it, but while
//! the wait that a newcomer faces has been above the target for a whole interval, newcomers are refused. CoDel drops at the
//! head, for senders that must hear of it soon. Here the one who is refused must hear of it soon, so it is the newest: it has lost
//! nothing yet, and who is in the queue was promised an answer. Serving the newest first (adaptive LIFO) would give some of them a
//! better time and the others none; with the delay bounded there is nothing left to gain by it.

use std::collections::VecDeque;

/// A wait above the target counts as standing after this time (RFC 8289 section 3.2: the slowest round trip to be expected).
const INTERVAL_MS: u64 = 100;
/// The target is this part of the longest wait.
const TARGET_PART: u64 = 20;
/// Fewer than this many are no overload, however long each takes (RFC 8289 section 4.2 spares the last packet).
const SPARED: usize = 8;
/// A refused client hears of it after this time. A client that asks again at once would otherwise take the CPU that the
/// workers need; the wait costs it nothing that it could have had.
const REFUSAL_MS: u64 = 25;

/// What becomes of a request that no worker takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It waits.
    Waiting,
    /// It is refused, and hears of it in a moment.
    Shed,
    /// It is refused at once: there is no room at all.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    conn: u32,
    /// When it is over, milliseconds.
    until_ms: u64,
}

/// Requests that left for a worker, or that workers have done, and the time in which they did.
#[derive(Clone, Copy, Debug)]
struct Pace {
    served: u64,
    ms: u64,
}

/// The interval under way.
#[derive(Clone, Copy, Debug)]
struct Counting {
    since_ms: u64,
    /// Requests that left the queue.
    served: u64,
    /// Requests that workers have done meanwhile: at first all of them are such that never waited here. A flood fills Node before
    /// its loop is known to be late, and then nothing leaves the queue until that is worked off.
    done: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    /// Refused, and not told yet.
    shed: VecDeque<Waiting>,
    len_max: usize,
    wait_ms_max: u64,
    /// The last whole interval in which some waited all the time.
    pace: Option<Pace>,
    counting: Counting,
    /// Since when newcomers face a wait above the target.
    above_since_ms: Option<u64>,
    /// Workers start: until then nobody has waited long enough.
    held_until_ms: u64,
}

impl Queue {
    /// Room for `len_max` requests, each for at most `wait_ms_max` milliseconds.
    pub fn new(len_max: u32, wait_ms_max: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            shed: VecDeque::new(),
            len_max: len_max as usize,
            wait_ms_max,
            pace: None,
            counting: Counting { since_ms: 0, served: 0, done: 0 },
            above_since_ms: None,
            held_until_ms: 0,
        }
    }

    /// Workers start: nobody's wait ends before that moment.
    pub fn hold(&mut self, until_ms: u64) {
        self.held_until_ms = until_ms;
    }

    /// They are there, or will not come: who was held has a whole wait before it.
    pub fn release(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.held_until_ms) == 0 {
            return;
        }
        let until_ms = now_ms.saturating_add(self.wait_ms_max);
        for waiting in &mut self.waiting {
            waiting.until_ms = until_ms;
        }
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A connection's request comes to the end of the queue, or is refused.
    pub fn enqueue(&mut self, conn: u32, now_ms: u64) -> Place {
        if self.waiting.len() >= self.len_max {
            return Place::Full;
        }
        if self.waiting.is_empty() {
            // What was long ago says nothing about this time.
            self.pace = None;
            self.above_since_ms = None;
            self.counting = Counting { since_ms: now_ms, served: 0, done: 0 };
        }
        if self.sheds(now_ms) {
            if self.shed.len() >= self.len_max {
                return Place::Full;
            }
            self.shed.push_back(Waiting { conn, until_ms: now_ms + REFUSAL_MS });
            return Place::Shed;
        }
        let until_ms = now_ms.saturating_add(self.wait_ms_max);
        self.waiting.push_back(Waiting { conn, until_ms });
        Place::Waiting
    }

    /// Has the wait of newcomers been too long for a whole interval?
    fn sheds(&mut self, now_ms: u64) -> bool {
        let target_ms = self.wait_ms_max / TARGET_PART;
        let Some(wait_ms) = self.wait_ms() else { return false };
        if wait_ms <= target_ms / 2 {
            self.above_since_ms = None;
        } else if wait_ms > target_ms {
            let since_ms = *self.above_since_ms.get_or_insert(now_ms);
            let spared = self.waiting.len() < SPARED && wait_ms < self.wait_ms_max;
            return now_ms.saturating_sub(since_ms) >= INTERVAL_MS && !spared;
        }
        false
    }

    /// How long a newcomer would wait at the pace of the last interval, milliseconds; `None` before it is known, above all while
    /// there is no worker: then all wait until one is back.
    fn wait_ms(&self) -> Option<u64> {
        let Pace { served, ms } = self.pace?;
        (self.waiting.len() as u64 * ms).checked_div(served)
    }

    /// The connection at `place`, counted from the one that has waited longest.
    pub fn get(&self, place: usize) -> Option<u32> {
        self.waiting.get(place).map(|waiting| waiting.conn)
    }

    /// The one at `place` goes to a worker.
    pub fn serve(&mut self, place: usize, now_ms: u64) {
        if self.waiting.remove(place).is_none() {
            return;
        }
        self.counting.served += 1;
        self.count(now_ms);
    }

    /// A worker has done a request, whether that had waited here or not.
    pub fn done(&mut self, now_ms: u64) {
        if !self.waiting.is_empty() {
            self.counting.done += 1;
            self.count(now_ms);
        }
    }

    fn count(&mut self, now_ms: u64) {
        let Counting { since_ms, served, done } = self.counting;
        let ms = now_ms.saturating_sub(since_ms);
        if ms >= INTERVAL_MS {
            // Streams are given away and not done for hours; at a worker that shall have less, more is done than given.
            self.pace = Some(Pace { served: served.max(done), ms });
            self.counting = Counting { since_ms: now_ms, served: 0, done: 0 };
        }
    }

    /// Takes a connection out, wherever it is.
    pub fn leave(&mut self, conn: u32) {
        for list in [&mut self.waiting, &mut self.shed] {
            if let Some(place) = list.iter().position(|waiting| waiting.conn == conn) {
                list.remove(place);
                return;
            }
        }
    }

    /// The next connection whose wait is over, taken out.
    pub fn expire(&mut self, now_ms: u64) -> Option<u32> {
        for (list, held_ms) in [(&mut self.waiting, self.held_until_ms), (&mut self.shed, 0)] {
            if list.front().is_some_and(|first| first.until_ms.max(held_ms) <= now_ms) {
                return list.pop_front().map(|waiting| waiting.conn);
            }
        }
        None
    }

    /// Milliseconds until [`Queue::expire`] has something to give.
    pub fn expires_in_ms(&self, now_ms: u64) -> Option<u64> {
        let waits = self.waiting.front().map(|first| first.until_ms.max(self.held_until_ms));
        let shed = self.shed.front().map(|first| first.until_ms);
        waits.into_iter().chain(shed).map(|until_ms| until_ms.saturating_sub(now_ms)).min()
    }
}

#[cfg(test)]
mod tests;
