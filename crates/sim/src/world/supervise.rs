//! The supervisor's part in a world.
//!
//! Owns: when workers are announced, replaced and buried, and what follows from the shard's news. Must never know:
//! requests. Part of `world`.

use hostler_proxy::{ShardCommand, ShardEvent};

use super::{Plan, RESTARTS_MAX, World};
use crate::faults::Order;
use crate::worker::Worker;

/// How long the news of a loss may take.
const JUST_MS: u64 = 500;

impl World {
    pub(super) fn start_worker(&mut self, index: usize) -> Worker {
        self.worker_numbers += 1;
        let transport = self.scenario.workers[index % self.scenario.workers.len()];
        let rng = self.rng.fork();
        Worker::new(
            self.worker_numbers,
            transport,
            self.scenario.apps,
            &self.net,
            self.ledger.now_ms,
            rng,
        )
    }

    pub(super) fn hear_events(&mut self) {
        let events: Vec<ShardEvent> = self.events.borrow_mut().drain(..).collect();
        for event in events {
            match event {
                ShardEvent::WorkerDrained { worker, drain } => self.hear_drained(worker, drain),
                ShardEvent::WorkerLost { worker, why } => {
                    self.ledger.note(|| {
                        format!("the proxy says: worker {worker} lost its channel: {why}")
                    });
                }
                ShardEvent::Drained { cut } => self.ledger.note(|| format!("drained, {cut} cut")),
                _ => {}
            }
        }
    }

    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Jump(ms) => {
                self.ledger.note(|| format!("the clock jumps by {ms} ms"));
                let before_ms = self.ledger.now_ms;
                self.ledger.now_ms += ms;
                self.ledger.jumped_ms = Some(self.ledger.now_ms);
                // The proxy hears of what happened just before only after it.
                if self.ledger.lost_ms.is_some_and(|lost_ms| lost_ms + JUST_MS >= before_ms) {
                    self.ledger.note_loss();
                }
            }
            Order::Drain => {
                self.ledger.note(|| "the server stops".to_owned());
                self.ledger.drained_ms = Some(self.ledger.now_ms);
                let deadline_ms = self.rng.ms(0, 10_000) as u32;
                self.shard.command(ShardCommand::Drain { deadline_ms });
            }
            Order::Retire => {
                self.ledger.note(|| "another proxy takes over".to_owned());
                self.ledger.retired_ms = Some(self.ledger.now_ms);
                // Longer than any client's patience: nothing that is here may be lost.
                let (idle_ms, deadline_ms) = (120_000, 600_000);
                self.shard.command(ShardCommand::Retire { idle_ms, deadline_ms });
            }
            Order::Reload(index) => {
                let serves = matches!(self.plans[index], Plan::Running | Plan::Standby(_));
                if !serves || self.restarts >= RESTARTS_MAX {
                    return;
                }
                self.restarts += 1;
                let old = self.workers[index].number;
                self.ledger.note(|| format!("worker {old} is replaced"));
                let worker = self.start_worker(index);
                self.workers.push(worker);
                self.plans.push(Plan::Announce(self.ledger.now_ms));
                self.plans[index] = Plan::Draining;
                self.drain_worker(old);
            }
            Order::Standby(index) => self.standby(index),
        }
    }

    /// The supervisor's part: announces, buries and replaces workers.
    pub(super) fn supervise(&mut self) -> bool {
        let now_ms = self.ledger.now_ms;
        let mut happened = false;
        for index in 0..self.workers.len() {
            let number = self.workers[index].number;
            let alive = self.workers[index].alive;
            let plan = match self.plans[index] {
                Plan::Announce(_) | Plan::Running | Plan::Standby(_) | Plan::Draining if !alive => {
                    Plan::SayGone(now_ms + self.rng.ms(0, 300))
                }
                Plan::Standby(until) if until <= now_ms => {
                    self.resume(number);
                    Plan::Running
                }
                Plan::Announce(at) if at <= now_ms => {
                    let address = self.workers[index].address();
                    let gauge = self.workers[index].gauge.clone();
                    self.shard.command(ShardCommand::WorkerReady { address, gauge });
                    Plan::Running
                }
                Plan::SayGone(at) if at <= now_ms => {
                    self.drains.remove(&number);
                    self.shard.command(ShardCommand::WorkerGone { worker: number });
                    Plan::Restart(now_ms + self.rng.ms(0, 800))
                }
                Plan::Restart(at) if at <= now_ms => {
                    let enough = self.workers.iter().filter(|worker| worker.alive).count()
                        >= self.scenario.workers.len();
                    if enough {
                        Plan::Nothing
                    } else {
                        self.restarts += 1;
                        if self.restarts >= RESTARTS_MAX {
                            self.scenario.apps.deadly = false;
                            self.faults.stop(&self.net, &mut self.workers, &mut self.ledger);
                        }
                        self.workers[index] = self.start_worker(index);
                        Plan::Announce(now_ms + self.rng.ms(0, 60))
                    }
                }
                unchanged => unchanged,
            };
            happened |= plan != self.plans[index];
            self.plans[index] = plan;
        }
        happened
    }
}
