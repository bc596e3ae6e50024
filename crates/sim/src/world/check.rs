//! What must hold in a shard after every turn, and what must be left at the end.
//!
//! Owns: counts. Must never know: single requests (`oracle`). Part of `world`.

use hostler_driver::{Driver, PoolClass};
use hostler_protocol::control::Transport;

use super::{CLIENT_LISTENER, Plan, World};
use crate::worker::Worker;

impl World {
    /// What must hold after every turn.
    pub(super) fn check(&mut self) {
        self.check_drains();
        let status = self.shard.status();
        let gauges: u32 = self.workers.iter().map(|worker| worker.gauge.in_flight()).sum();
        let adapts = self.scenario.setup.worker_requests_max.is_none();
        let limit = self.scenario.setup.worker_requests_max.unwrap_or(u32::MAX);
        let mut problems = Vec::new();
        if status.in_flight != gauges {
            problems.push(format!("{} in flight, and the gauges say {gauges}", status.in_flight));
        }
        if status.conns > self.scenario.setup.conns_max
            || status.queued > self.scenario.setup.queue_requests_max
        {
            problems.push(format!("limits exceeded: {status:?}"));
        }
        if self.workers.iter().any(|worker| worker.gauge.busy() > limit) {
            problems.push("more requests in a worker than allowed".into());
        }
        for problem in problems {
            self.ledger.violation(problem);
        }
        let takes = |(worker, plan): (&Worker, &Plan)| {
            worker.is_open(self.ledger.now_ms)
                && *plan == Plan::Running
                && worker.gauge.busy() < limit
        };
        let open = self.workers.iter().zip(&self.plans).any(takes);
        let batches = self.shard.driver().pool().free(PoolClass::Batch) > 0;
        // What the loop says about itself is chance here.
        if adapts || !open || !batches || self.faults.is_holding() {
            self.ledger.short_ms = Some(self.ledger.now_ms);
        }
    }

    pub(super) fn after_drain(&mut self) {
        for _ in 0..5_000 {
            for client in &mut self.clients {
                client.act(&self.net, CLIENT_LISTENER, &mut self.ledger);
            }
            self.ledger.now_ms += 20;
        }
        let status = self.shard.status();
        let left = self.clients.iter().filter(|client| !client.finished).count();
        if status.conns > 0 || status.in_flight > 0 || left > 0 {
            self.ledger.violation(format!("after the drain {left} clients wait: {status:?}"));
        }
    }

    pub(super) fn check_rest(&mut self) {
        let status = self.shard.status();
        let alive = self.workers.iter().filter(|worker| worker.alive);
        let frames =
            alive.filter(|worker| worker.address().transport == Transport::Frames).count() as u32;
        let mut problems = Vec::new();
        if status.conns > 0 || status.in_flight > 0 || status.queued > 0 {
            problems.push(format!("work is left over: {status:?}"));
        }
        if status.buffers_out > 0 {
            problems.push(format!(
                "{} buffers leaked: {:?}",
                status.buffers_out,
                self.shard.driver().pool()
            ));
        }
        if status.sockets != frames {
            problems.push(format!("{} sockets instead of {frames}", status.sockets));
        }
        let connections: usize = self.workers.iter().map(Worker::connections).sum();
        if connections != frames as usize || self.workers.iter().any(|worker| !worker.is_idle()) {
            problems.push("a worker holds requests or connections of clients that are gone".into());
        }
        for problem in problems {
            self.ledger.violation(problem);
        }
    }
}
