//! Workers that have gone silent: noticed, told to the supervisor, and what becomes of their clients.
//!
//! Owns: when to look, and whom to tell. Must never know: what silence means (`dispatch/pulse.rs`), what becomes of the process.
//! Part of the shard.

use hostler_driver::Driver;
use hostler_protocol::control::Transport;

use super::{Shard, ShardEvent};
use crate::conn::{Event, Link};
use crate::dispatch::pulse::Look;

impl<D: Driver> Shard<D> {
    /// The worker with this index listens, and its beats are waited for from now on; or it does so no more.
    pub(super) fn watch(&mut self, index: u16, listens: bool) {
        let Some(worker) = self.dispatch.get_mut(index) else { return };
        if !listens || worker.address.transport == Transport::Http {
            worker.pulse.rest();
        } else {
            worker.pulse.beat(0, self.now.ms);
            self.look_ms = self.look_ms.min(self.now.ms);
        }
    }

    /// The worker with this index has said something.
    pub(super) fn hear(&mut self, index: u16) {
        let Some(worker) = self.dispatch.get_mut(index) else { return };
        if worker.pulse.is_stuck(self.now.ms) {
            // It may have been told of, and is watched again. Requests reach it with its next beat.
            self.look_ms = self.look_ms.min(self.now.ms);
        }
        if worker.pulse.hear(self.now.ms) {
            let worker = worker.address.worker.0;
            (self.events)(ShardEvent::WorkerBack { worker });
        }
    }

    /// The request of `slot` has taken longer than any may. If its worker has said nothing meanwhile, nobody else need wait for it.
    pub(super) fn timed_out(&mut self, slot: u32, waited_ms: u64) {
        let Some(conn) = self.conns.get(slot) else { return };
        let (Link::Stream { worker, .. } | Link::Tunnel { worker, .. }) = conn.link else {
            return;
        };
        if let Some(worker) = self.dispatch.get_mut(worker) {
            worker.pulse.time_out(waited_ms, self.now.ms);
            // Not here: this step's other wishes come first.
            self.look_ms = self.look_ms.min(self.now.ms);
        }
    }

    /// Looks for workers that hang, when it is time.
    pub(super) fn look_for_silence(&mut self) {
        if self.now.ms < self.look_ms {
            return;
        }
        self.look_ms = u64::MAX;
        for index in 0..self.dispatch.end() {
            let Some(worker) = self.dispatch.get_mut(index) else { continue };
            match worker.pulse.look(self.settings.hang_ms_max, self.now.ms) {
                Look::Again(at_ms) => self.look_ms = self.look_ms.min(at_ms),
                Look::Hangs => self.worker_hangs(index),
                Look::Never => {}
            }
        }
    }

    /// Tells it, and lets nobody wait for this worker any more.
    fn worker_hangs(&mut self, index: u16) {
        let Some(worker) = self.dispatch.get(index) else { return };
        let silent_ms = worker.pulse.silent_ms(self.now.ms);
        let in_flight = worker.gauge.in_flight();
        let worker = worker.address.worker.0;
        (self.events)(ShardEvent::WorkerSilent { worker, silent_ms, in_flight });
        for slot in 0..self.conns.end() {
            if let Some(conn) = self.conns.get(slot)
                && let Link::Stream { worker, .. }
                | Link::Tunnel { worker, .. }
                | Link::Plain { worker, .. } = conn.link
                && worker == index
            {
                self.suspect_request(slot, index);
                self.step(slot, Event::WorkerHangs);
            }
        }
    }
}
