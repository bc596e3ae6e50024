//! Drained workers that may serve on, and the end of upgraded connections.
//!
//! Owns: what the supervisor asks for at random moments, and what the shard owes it then: one report of each drain, no connection that
//! is kept, no upgraded connection that stays. Must never know: requests. Part of `world`.

use hostler_proxy::ShardCommand;

use super::{Plan, World};
use crate::oracle::Closing;
use crate::worker::Worker;

/// Longest time of a drain that is taken back: shorter than what a request waits for a worker.
const STANDBY_MS_MAX: u64 = 1_500;
/// Longest time within which upgraded connections are to end.
const CLOSING_MS_MAX: u64 = 2_000;
/// How much longer it may take: a second for the client's answer, and what stalls and jumps of the clock add.
const CLOSED_LATE_MS: u64 = 6_000;

/// A drain as the supervisor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drained {
    number: u32,
    reported: bool,
    /// Its upgraded connections were to end by then.
    closes_ms: Option<u64>,
    /// How many there were, and when one was last agreed to.
    upgraded: u32,
    agreed_ms: u64,
}

impl World {
    /// Drains a worker, in the place of whatever drain there was.
    pub(super) fn drain_worker(&mut self, number: u32) {
        self.drains_begun += 1;
        let before = self.drains.get(&number);
        let drained = Drained {
            number: self.drains_begun,
            reported: false,
            closes_ms: before.and_then(|before| before.closes_ms),
            upgraded: 0,
            agreed_ms: 0,
        };
        self.ledger.note(|| format!("worker {number} is drained: {drained:?}"));
        self.drains.insert(number, drained);
        self.shard.command(ShardCommand::WorkerDrain { worker: number, drain: self.drains_begun });
    }

    /// The worker takes requests again.
    pub(super) fn resume(&mut self, number: u32) {
        self.ledger.note(|| format!("worker {number} serves on"));
        self.drains.remove(&number);
        self.shard.command(ShardCommand::WorkerResume { worker: number });
    }

    fn close_upgraded(&mut self, number: u32) {
        let within_ms = self.rng.pick(&[0, 200, 500, CLOSING_MS_MAX]);
        let until_ms = self.turned_ms + within_ms;
        self.ledger.note(|| format!("upgraded connections of {number} end by {until_ms}"));
        self.ledger.closings.push(Closing { worker: number, until_ms });
        if let Some(drained) = self.drains.get_mut(&number) {
            drained.closes_ms = Some(until_ms);
        }
        let within_ms = within_ms as u32;
        self.shard.command(ShardCommand::CloseUpgraded { worker: number, within_ms });
    }

    /// What the supervisor may do at any moment.
    pub(super) fn standby(&mut self, index: usize) {
        let number = self.workers[index].number;
        match (self.plans[index], self.rng.below(6)) {
            (Plan::Running, 0) => self.close_upgraded(number),
            (Plan::Running, what) => {
                let until_ms = self.ledger.now_ms + self.rng.ms(0, STANDBY_MS_MAX);
                self.plans[index] = Plan::Standby(until_ms);
                self.drain_worker(number);
                if what < 4 {
                    self.close_upgraded(number);
                }
            }
            (Plan::Standby(_), 0 | 1) => {
                self.resume(number);
                self.plans[index] = Plan::Running;
            }
            (Plan::Standby(_), 2) => self.drain_worker(number),
            (Plan::Standby(_) | Plan::Draining, _) => self.close_upgraded(number),
            _ => {}
        }
    }

    /// The shard says that a worker is drained.
    pub(super) fn hear_drained(&mut self, worker: u32, number: u32) {
        let Some(index) = self.workers.iter().position(|entry| entry.number == worker) else {
            return;
        };
        let Some(drained) = self.drains.get_mut(&worker).filter(|drain| drain.number == number)
        else {
            // Said before the last order came.
            return;
        };
        let mut problems = Vec::new();
        if std::mem::replace(&mut drained.reported, true) {
            problems.push(format!("worker {worker} is called drained twice"));
        }
        if self.workers[index].gauge.in_flight() > 0 {
            problems.push(format!("worker {worker} is called drained with requests in flight"));
        }
        problems.into_iter().for_each(|problem| self.ledger.violation(problem));
        if self.plans[index] == Plan::Draining {
            self.workers[index].die(&mut self.ledger);
            self.plans[index] = Plan::SayGone(self.ledger.now_ms + self.rng.ms(0, 50));
        }
    }

    /// What must hold after every turn.
    pub(super) fn check_drains(&mut self) {
        let now_ms = self.ledger.now_ms;
        let mut problems = Vec::new();
        for worker in self.workers.iter().filter(|worker| worker.alive) {
            let Some(drained) = self.drains.get_mut(&worker.number) else { continue };
            let upgraded = worker.gauge.in_flight() - worker.gauge.busy();
            if upgraded > drained.upgraded {
                drained.agreed_ms = now_ms;
            }
            drained.upgraded = upgraded;
            let moments = [drained.closes_ms, Some(drained.agreed_ms), self.ledger.jumped_ms];
            let latest_ms = moments.into_iter().flatten().max().unwrap_or(0) + CLOSED_LATE_MS;
            if drained.closes_ms.is_some() && upgraded > 0 && now_ms > latest_ms {
                problems.push(format!("{} keeps upgraded connections: {drained:?}", worker.number));
            }
            problems.extend(what_is_wrong(worker, drained));
        }
        problems.into_iter().for_each(|problem| self.ledger.violation(problem));
    }
}

fn what_is_wrong(worker: &Worker, drained: &Drained) -> Option<String> {
    let number = worker.number;
    if drained.reported && worker.connections_open() > 0 {
        return Some(format!("worker {number} is drained, and connections to it are kept"));
    }
    let idle = worker.gauge.in_flight() == 0;
    (idle && !drained.reported).then(|| format!("worker {number} is idle and not called drained"))
}
