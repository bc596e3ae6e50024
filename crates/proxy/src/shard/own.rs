//! Requests that belong to a worker: which one that is, how long they wait for it, what is learnt of it.
//!
//! Owns: the wait, and the token of each worker. Must never know: what a request says about its worker (`sticky`). Part of the shard.
//!
//! A request waits for its own worker while that is full or late, for it may have nowhere else to go: the session is in the memory
//! of that process. But stickiness is a preference: after half of the time that the queue gives, any worker will do.

use hostler_driver::Driver;
use hostler_protocol::control::WorkerAddress;

use super::Shard;
use crate::conn::Conn;
use crate::dispatch::own::Own;
use crate::sticky::Token;

/// While requests wait in a sticky app, how often it is looked whether one has waited long enough.
const LOOK_MS: u64 = 20;

impl<D: Driver> Shard<D> {
    /// To whom the request belongs, as long as it may wait for that.
    pub(super) fn own_of(&self, conn: &Conn) -> Option<Own> {
        let sticky = self.settings.sticky.as_ref()?;
        let late_ms = conn.request.started_ms.saturating_add(self.settings.queue_ms_max / 2);
        if conn.route.is_free() || self.now.ms >= late_ms {
            return None;
        }
        let session = conn.route.session.and_then(|id| sticky.worker_of(id, self.now.ms));
        session.map(Own::Process).or(conn.route.cookie.map(Own::Slot))
    }

    /// Who gets the next session. They are dealt out in turn: whoever is least busy at this moment, or at home in this shard, would
    /// keep all of them for hours.
    pub(super) fn next_for_session(&self, conn: &Conn) -> Option<u32> {
        if self.begins_session(conn) { self.dispatch.in_turn(self.sessions_begun) } else { None }
    }

    /// Whether a request that no worker of its own takes binds what comes later to whoever takes it.
    fn begins_session(&self, conn: &Conn) -> bool {
        let sticky = self.settings.sticky.as_ref();
        sticky.is_some_and(|sticky| conn.route.handshake || sticky.sets_cookies())
    }

    /// The request of `slot` is given to this worker: does its client get a cookie?
    pub(super) fn assign(&mut self, slot: u32, index: u16) {
        if self.settings.sticky.is_none() {
            return;
        }
        let Some(conn) = self.conns.get(slot) else { return };
        let Some(worker) = self.dispatch.get(index) else { return };
        // Who comes by its session keeps the cookie that it has.
        let own = self.own_of(conn);
        let by_session = own == Some(Own::Process(worker.address.worker.0));
        let keeps =
            conn.route.cookie.is_some_and(|cookie| by_session || Some(cookie) == worker.token);
        let assigned = worker.token.filter(|_| !keeps);
        let is_own = by_session || worker.token.is_some_and(|token| own == Some(Own::Slot(token)));
        if !is_own && self.begins_session(conn) {
            self.sessions_begun = self.sessions_begun.wrapping_add(1);
        }
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.route.assigned = assigned;
        }
    }

    /// Rather another worker than none.
    pub(super) fn grant_elsewhere(&mut self, slot: u32, fresh: bool) -> bool {
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.route.given_up = true;
        }
        self.grant(slot, fresh).is_ok()
    }

    /// Milliseconds until it is looked again who has waited long enough.
    pub(super) fn own_wait_ms(&self) -> Option<u64> {
        let may_wait = self.settings.sticky.is_some() || !self.suspects.is_empty();
        let waits = may_wait && !self.dispatch.queue.is_empty();
        waits.then(|| self.own_look_ms.saturating_sub(self.now.ms))
    }

    pub(super) fn look_for_own(&mut self) {
        if self.own_wait_ms() == Some(0) {
            self.own_look_ms = self.now.ms + LOOK_MS;
            self.pump = true;
        }
    }

    /// The name of a worker in cookies.
    pub(super) fn token_of(&self, address: &WorkerAddress) -> Option<Token> {
        self.settings.sticky.as_ref().map(|sticky| sticky.token(address.slot))
    }

    /// The worker of `slot` has opened the session of this id.
    pub(super) fn learn_session(&self, slot: u32, sid: &[u8]) {
        // The request itself may be over by now.
        let worker = self.conns.get(slot).and_then(|conn| conn.last_worker);
        if let (Some(sticky), Some(worker)) = (&self.settings.sticky, worker) {
            sticky.learn(sid, worker, self.now.ms);
        }
    }
}
