//! Workers that are to end and may have to serve on: their drain, its undoing, the end of their upgraded connections.
//!
//! Owns: who is drained and when it is said; when each upgraded connection of a worker ends. Must never know: why a worker
//! is to end; how a connection ends (`conn/farewell.rs`). Part of the shard.
//!
//! A drain is between the proxy and the supervisor: the worker is not told, for it may be given requests again at any moment,
//! and clients notice nothing, for their connections are the proxy's.

use hostler_driver::Driver;

use super::{Shard, ShardEvent};
use crate::conn::Event;
use crate::dispatch::WorkerPhase;
use crate::worker::drain::{Drain, Spread};

impl<D: Driver> Shard<D> {
    pub(super) fn worker_drain(&mut self, number: u32, drain: u32) {
        let Some(index) = self.dispatch.find(number) else {
            // Never heard of it, so nothing is in flight.
            (self.events)(ShardEvent::WorkerDrained { worker: number, drain });
            return;
        };
        if let Some(worker) = self.dispatch.get_mut(index) {
            let before = worker.phase.drain().and_then(|before| before.upgraded_until_ms);
            let drain = Drain { upgraded_until_ms: before, ..Drain::new(drain) };
            worker.phase = WorkerPhase::Draining(drain);
        }
        self.drop_idle_plains(index);
        self.report_if_drained(index);
    }

    /// Kept connections would be used by nobody, and keep servers that count them from ending.
    fn drop_idle_plains(&mut self, index: u16) {
        let Some(worker) = self.dispatch.get_mut(index) else { return };
        for slot in std::mem::take(&mut worker.plain_idle) {
            self.drop_plain(slot);
        }
    }

    pub(super) fn worker_resume(&mut self, number: u32) {
        let Some(index) = self.dispatch.find(number) else { return };
        let Some(worker) = self.dispatch.get_mut(index) else { return };
        let Some(drain) = worker.phase.drain() else { return };
        worker.phase = WorkerPhase::Ready;
        self.pump = true;
        self.worker_came();
        if drain.upgraded_until_ms.is_some() {
            self.each_upgraded(index, |_| Event::KeepUpgraded);
        }
    }

    pub(super) fn report_if_drained(&mut self, index: u16) {
        let Some(worker) = self.dispatch.get_mut(index) else {
            return;
        };
        if let WorkerPhase::Draining(drain) = &mut worker.phase
            && worker.in_flight == 0
            && !std::mem::replace(&mut drain.reported, true)
        {
            let (worker, drain) = (worker.address.worker.0, drain.number);
            (self.events)(ShardEvent::WorkerDrained { worker, drain });
        }
    }

    /// Ends the upgraded connections of a worker within so many milliseconds. Other shards do the same with theirs: chance alone
    /// keeps them apart.
    pub(super) fn close_upgraded(&mut self, number: u32, within_ms: u32) {
        let Some(index) = self.dispatch.find(number) else { return };
        let Some(worker) = self.dispatch.get_mut(index) else { return };
        let (now_ms, within_ms) = (self.now.ms, u64::from(within_ms));
        let until_ms = now_ms + within_ms;
        if let WorkerPhase::Draining(drain) = &mut worker.phase {
            drain.upgraded_until_ms = Some(until_ms);
        }
        let mut spread = Spread::new(now_ms, within_ms, worker.upgraded);
        self.each_upgraded(index, |random| Event::EndUpgraded {
            at_ms: spread.next_ms(random),
            until_ms,
        });
    }

    /// A connection of a worker whose upgraded ones end has just become one.
    pub(super) fn end_if_closing(&mut self, slot: u32, worker: u16) {
        let drain = self.dispatch.get(worker).and_then(|worker| worker.phase.drain());
        let Some(until_ms) = drain.and_then(|drain| drain.upgraded_until_ms) else { return };
        let left_ms = until_ms.saturating_sub(self.now.ms);
        let at_ms = Spread::new(self.now.ms, left_ms, 1).next_ms(self.ids.random());
        let until_ms = self.now.ms + left_ms;
        self.step_only(slot, Event::EndUpgraded { at_ms, until_ms });
    }

    fn each_upgraded(&mut self, index: u16, mut event: impl FnMut(u64) -> Event<'static>) {
        for slot in 0..self.conns.end() {
            let conn = self.conns.get(slot);
            if conn.is_some_and(|conn| conn.upgraded && conn.link.worker() == Some(index)) {
                let event = event(self.ids.random());
                self.step(slot, event);
            }
        }
    }
}
