//! What the shards have said about workers, so that the supervisor hears it once and of all of them.
//!
//! Owns: which shards have yet to say it, which drain an answer is about. Must never know: threads, sockets. Used by
//! `control`.

use std::collections::{BTreeMap, BTreeSet};

/// What all shards have to agree on.
#[derive(Debug)]
pub struct Agreement {
    /// Shards that have not ended.
    shards: BTreeSet<u32>,
    drains: BTreeMap<u32, Drain>,
    /// Shards in which a worker serves.
    serving: BTreeMap<u32, BTreeSet<u32>>,
}

#[derive(Debug)]
struct Drain {
    number: u32,
    /// Shards that still have requests of the worker.
    left: BTreeSet<u32>,
}

impl Agreement {
    /// Nobody has said anything.
    pub fn new(shards: u32) -> Self {
        Self { shards: (0..shards).collect(), drains: BTreeMap::new(), serving: BTreeMap::new() }
    }

    /// A worker is to be drained; the number is the supervisor's. A drain of it that is under way ends unreported.
    pub fn drain(&mut self, worker: u32, number: u32) {
        self.drains.insert(worker, Drain { number, left: self.shards.clone() });
    }

    /// It takes requests again: nobody waits for its drain any more.
    pub fn resume(&mut self, worker: u32) {
        self.drains.remove(&worker);
    }

    /// Its process has ended.
    pub fn forget(&mut self, worker: u32) {
        self.drains.remove(&worker);
        self.serving.remove(&worker);
    }

    /// A shard has no request of the worker. True when it was the last one to say so of this drain.
    pub fn drained(&mut self, shard: u32, worker: u32, number: u32) -> bool {
        let Some(drain) = self.drains.get_mut(&worker).filter(|drain| drain.number == number)
        else {
            // Late: the worker serves again, or is drained anew.
            return false;
        };
        drain.left.remove(&shard);
        let all = drain.left.is_empty();
        if all {
            self.drains.remove(&worker);
        }
        all
    }

    /// A shard can send requests to the worker. True when it is the last one that can, the first time.
    pub fn serving(&mut self, shard: u32, worker: u32) -> bool {
        let serving = self.serving.entry(worker).or_default();
        serving.insert(shard) && serving.len() == self.shards.len()
    }

    /// A shard has ended, and has no requests. Gives the workers that are drained with that, and which drain it was.
    pub fn shard_ended(&mut self, shard: u32) -> Vec<(u32, u32)> {
        self.shards.remove(&shard);
        let mut drained = Vec::new();
        self.drains.retain(|worker, drain| {
            drain.left.remove(&shard);
            if drain.left.is_empty() {
                drained.push((*worker, drain.number));
            }
            !drain.left.is_empty()
        });
        drained
    }

    /// All shards have ended.
    pub fn is_over(&self) -> bool {
        self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_reported_once_all_shards_have_said_so() {
        let mut all = Agreement::new(2);
        all.drain(7, 4);
        assert!(!all.drained(1, 7, 4));
        assert!(!all.drained(1, 7, 4), "said twice");
        assert!(all.drained(0, 7, 4));
        assert!(!all.drained(0, 7, 4), "once");
    }

    #[test]
    fn late_answers_are_about_the_drain_before() {
        let mut all = Agreement::new(2);
        all.drain(7, 1);
        assert!(!all.drained(0, 7, 1));
        all.resume(7);
        assert!(!all.drained(1, 7, 1), "it serves again");
        all.drain(7, 2);
        assert!(!all.drained(1, 7, 1));
        assert!(!all.drained(0, 7, 2));
        assert!(all.drained(1, 7, 2));
        // Two in a row: the second is answered.
        all.drain(7, 3);
        all.drain(7, 4);
        assert!(!all.drained(0, 7, 3) && !all.drained(1, 7, 3));
        assert!(!all.drained(0, 7, 4) && all.drained(1, 7, 4));
    }

    #[test]
    fn drains_of_several_workers_are_apart() {
        let mut all = Agreement::new(1);
        all.drain(1, 1);
        all.drain(2, 2);
        all.forget(1);
        assert!(!all.drained(0, 1, 1));
        assert!(all.drained(0, 2, 2));
    }

    #[test]
    fn a_shard_that_has_ended_says_nothing_more() {
        let mut all = Agreement::new(2);
        all.drain(7, 1);
        all.drain(8, 2);
        assert!(!all.drained(0, 7, 1));
        assert_eq!(all.shard_ended(1), [(7, 1)]);
        assert!(!all.is_over());
        all.drain(7, 3);
        assert!(all.drained(0, 7, 3), "shard 0 is the only one");
        assert_eq!(all.shard_ended(0), [(8, 2)]);
        assert!(all.is_over());
    }

    #[test]
    fn a_worker_serves_when_all_shards_reach_it() {
        let mut all = Agreement::new(2);
        assert!(!all.serving(0, 7));
        assert!(!all.serving(0, 7), "its channel to this shard was lost and is there again");
        assert!(all.serving(1, 7));
        assert!(!all.serving(1, 7), "once");
    }
}
