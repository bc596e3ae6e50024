//! Giving requests to workers, now or from the queue.
//!
//! Owns: the way from a request that wants a worker to a link, and back. Must never know: what travels over the link.
//! Part of the shard; the choice itself is `dispatch`'s.

use hostler_driver::{Driver, Part};
use hostler_protocol::control::Transport;
use hostler_protocol::http1::Parsed;

use super::Shard;
use super::links::HEAD_FRAME_EXTRA;
use crate::conn::{Event, Link, Phase, Refusal};
use crate::dispatch::limit::Began;
use crate::dispatch::own::Belongs;
use crate::dispatch::queue::Place;
use crate::dispatch::{Busy, Worker};
use crate::respond::OwnAnswer;

/// Requests in the queue that are passed at one time because they wait for their own worker: each look costs a little.
const OWN_LOOKS_MAX: usize = 64;

impl<D: Driver> Shard<D> {
    /// Finds a worker for the request of `slot`, or a place in the queue, or refuses it. `fresh`: the head was
    /// parsed in this very step.
    pub(super) fn dispatch_request(&mut self, slot: u32, fresh: bool) {
        if let Some(offered) = self.conns.get(slot).and_then(|conn| conn.offered) {
            self.grant_offered(slot, offered);
            return;
        }
        if let Some(Refusal::Asked(answer)) = self.conns.get(slot).map(|conn| conn.request.refusal)
        {
            // It does not wait: a worker now, or our own answer.
            if self.grant(slot, true).is_err() {
                self.step_only(slot, Event::Refused(answer));
            }
            return;
        }
        if fresh && let Some(conn) = self.conns.get_mut(slot) {
            conn.suspect = None;
        }
        if let Some(answer) = self.is_poison(slot) {
            self.step_only(slot, Event::Refused(answer));
            return;
        }
        let mut own_is_busy = false;
        if self.dispatch.queue.is_empty() || self.only_own_wait {
            match self.grant(slot, fresh) {
                Ok(()) => return,
                Err(busy) => own_is_busy = busy == Busy::Own,
            }
        }
        if self.waits_in_vain() {
            let answer = self.refusal();
            self.step_only(slot, Event::Refused(answer));
            return;
        }
        if let Some(answer) = self.start_has_failed() {
            self.stats.shed += 1;
            self.step_only(slot, Event::Refused(answer));
            return;
        }
        match self.dispatch.queue.enqueue(slot, self.now.ms) {
            Place::Waiting => {
                self.pump = true;
                self.only_own_wait &= own_is_busy;
            }
            // Others may have room.
            Place::Shed | Place::Full if own_is_busy && self.grant_elsewhere(slot, fresh) => {
                self.dispatch.queue.leave(slot);
            }
            // It hears of it in a moment.
            Place::Shed => {}
            Place::Full => {
                // A queue without any room still says that somebody has come.
                self.ask_for_worker();
                let answer = self.refusal();
                self.step_only(slot, Event::Refused(answer));
            }
        }
    }

    /// Our answer to a request that no worker takes.
    fn refusal(&mut self) -> OwnAnswer {
        self.stats.shed += 1;
        if self.draining.is_some() {
            OwnAnswer::Draining
        } else if self.dispatch.is_served(self.now.ms) {
            OwnAnswer::Overload
        } else {
            OwnAnswer::NoWorker
        }
    }

    /// During a drain no worker comes any more: without one nobody needs to wait.
    pub(super) fn refuse_in_vain(&mut self) {
        while self.waits_in_vain()
            && let Some(slot) = self.dispatch.queue.expire(u64::MAX)
        {
            let answer = self.refusal();
            self.step(slot, Event::Refused(answer));
        }
    }

    fn waits_in_vain(&self) -> bool {
        self.draining.is_some() && !self.dispatch.has_workers()
    }

    /// Answers those who have waited long enough.
    pub(super) fn expire_queue(&mut self) {
        while let Some(slot) = self.dispatch.queue.expire(self.now.ms) {
            let answer = self.refusal();
            self.step(slot, Event::Refused(answer));
        }
    }

    fn choose(&self, slot: u32) -> Result<u16, Busy> {
        let conn = self.conns.get(slot);
        let upgrade = conn.is_some_and(|conn| conn.request.upgrade);
        let refused = conn.is_some_and(|conn| conn.request.refusal.is_with_app());
        let head_bytes = conn.and_then(|conn| conn.head.as_ref()).map_or(0, Part::len);
        // The worker that has counted the requests so far; if it is gone or full, another one counts anew.
        let counts = self.settings.requests_per_connection_max.is_some();
        let counting = conn.and_then(|conn| conn.last_worker).filter(|_| counts);
        let wanted = counting.or_else(|| self.next_for_session(conn?));
        let apart = conn.is_some_and(|conn| self.keeps_apart(conn));
        let open = |worker: &Worker| {
            if apart && worker.gauge.trials() > 0 {
                return false;
            }
            if refused {
                // Only the loader keeps a request that we refused from its app.
                return worker.address.transport == Transport::Frames;
            }
            if worker.address.transport == Transport::Http {
                return true;
            }
            let channel =
                worker.channel.and_then(|index| self.channels[usize::from(index)].as_ref());
            channel.is_some_and(|channel| {
                channel.has_room(self.driver.pool(), head_bytes + HEAD_FRAME_EXTRA)
            })
        };
        if let Some(own) = conn.filter(|_| !refused).and_then(|conn| self.own_of(conn)) {
            match self.dispatch.own(own, self.now.ms, open) {
                Belongs::To(index) => return Ok(index),
                Belongs::Waits => return Err(Busy::Own),
                Belongs::ToNobody => {}
            }
        }
        let chosen = self.dispatch.choose(self.now.ms, wanted, upgrade, open);
        if apart && chosen == Err(Busy::AllFull) { Err(Busy::Own) } else { chosen }
    }

    /// Gives the request of `slot` to a worker.
    pub(super) fn grant(&mut self, slot: u32, fresh: bool) -> Result<(), Busy> {
        let index = self.choose(slot)?;
        self.assign(slot, index);
        let Some(conn) = self.conns.get_mut(slot) else {
            return Ok(());
        };
        if !fresh && let Some(head) = &conn.head {
            let parsed = self.request_head.parse(head.as_slice(), &self.settings.head_limits);
            debug_assert_eq!(parsed, Ok(Parsed::Complete), "a kept head was valid before");
        }
        let upgrade = conn.request.upgrade;
        let Some(worker) = self.dispatch.get_mut(index) else {
            return Err(Busy::NoWorker);
        };
        worker.pulse.ask(self.now.ms);
        worker.in_flight += 1;
        worker.gauge.begin();
        conn.began = worker.limit.begin(self.now.ms);
        if conn.suspect.is_some() {
            conn.trial = true;
            worker.gauge.trial_begin();
        }
        conn.request.worker = Some(worker.address.worker.0);
        conn.last_worker = conn.request.worker;
        let refused = conn.request.refusal.is_with_app();
        let channel = worker.channel.filter(|_| worker.address.transport == Transport::Frames);
        let channel = channel.and_then(|index| {
            self.channels[usize::from(index)].as_ref().map(|channel| (index, channel.batch()))
        });
        let link = match channel {
            Some((channel, batch)) if !upgrade => Link::Stream { worker: index, channel, batch },
            Some((channel, batch)) if !refused => Link::Tunnel { worker: index, channel, batch },
            _ => match self.plain_for(index, slot) {
                Some(plain) => Link::Plain { worker: index, plain },
                None => {
                    self.unload(index, slot);
                    return Err(Busy::AllFull);
                }
            },
        };
        self.step_only(slot, Event::Granted(link));
        let generation = self.conns.get(slot).map_or(0, |conn| conn.generation);
        self.generations[slot as usize] = generation;
        Ok(())
    }

    /// Serves waiting requests while workers have room.
    pub(super) fn serve_queue(&mut self) {
        self.pump = false;
        self.only_own_wait = false;
        // Those in front wait for a worker of their own, and keep nobody from theirs.
        let mut at = 0;
        while let Some(slot) = self.dispatch.queue.get(at) {
            if self.conns.get(slot).is_none_or(|conn| conn.phase() != Phase::Queued) {
                self.dispatch.queue.leave(slot);
                continue;
            }
            if self.refuse_queued_poison(slot) {
                continue;
            }
            match self.grant(slot, false) {
                Ok(()) => {
                    self.dispatch.queue.serve(at, self.now.ms);
                    self.settle(slot);
                }
                Err(Busy::Own) if at < OWN_LOOKS_MAX => at += 1,
                Err(_) => return,
            }
        }
        self.only_own_wait = at > 0;
    }

    /// The connection in `slot` has become a tunnel: it no longer takes a request's place.
    pub(super) fn upgraded(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if let Link::Plain { worker, .. } | Link::Tunnel { worker, .. } = conn.link
            && let Some(entry) = self.dispatch.get_mut(worker)
        {
            conn.upgraded = true;
            entry.limit.end(std::mem::replace(&mut conn.began, Began::LONG_AGO), self.now.ms);
            entry.upgraded += 1;
            entry.gauge.upgrade_begin();
            self.pump |= !self.dispatch.queue.is_empty();
            self.end_if_closing(slot, worker);
        }
    }

    /// The connection in `slot` takes a request's place again, for the moment in which it ends.
    pub(super) fn upgrade_over(&mut self, slot: u32, worker: u16) {
        if let Some(conn) = self.conns.get_mut(slot)
            && std::mem::take(&mut conn.upgraded)
            && let Some(entry) = self.dispatch.get_mut(worker)
        {
            entry.upgraded -= 1;
            entry.gauge.upgrade_end();
        }
    }

    /// The request of `slot` is no longer at the worker.
    pub(super) fn unload(&mut self, index: u16, slot: u32) {
        let (began, trial) = self
            .conns
            .get_mut(slot)
            .map_or((Began::LONG_AGO, false), |conn| (conn.began, std::mem::take(&mut conn.trial)));
        if let Some(worker) = self.dispatch.get_mut(index) {
            if trial {
                worker.gauge.trial_end();
            }
            worker.limit.end(began, self.now.ms);
            worker.in_flight -= 1;
            worker.gauge.end();
        }
        self.report_if_drained(index);
    }
}
