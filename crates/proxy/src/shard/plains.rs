//! Plain HTTP/1.1 connections to workers: one request at a time on each, kept alive between them.
//!
//! Owns: connecting, the pool of idle ones and the proof that one of them is clean. Must never know: what the bytes
//! mean. Part of the shard.
//!
//! An idle connection is used again only if the worker has said nothing on it since its last answer: no surplus bytes (they
//! would become the next client's answer), no FIN. What the kernel has handed over already is looked at before a turn hands
//! out connections; what waits in the kernel is looked for when a connection is taken; and what is reported before the send
//! condemns the connection too.

use std::io;

use hostler_driver::{Buffer, Completion, Driver, Operation, PoolClass, ReceiveMode};
use hostler_protocol::control::Transport;

use super::Shard;
use super::owner::Owner;
use crate::conn::{Conn, Event, Keep, ResponseEnd};
use crate::dispatch::{Suspicion, WorkerPhase};
use crate::worker::plain::{Plain, PlainPhase, peer};

/// Idle connections to one worker: as many as answers that may end in one moment. More than these are closed.
const IDLE_PER_WORKER_MAX: usize = 256;

impl<D: Driver> Shard<D> {
    /// A connection to this worker for the client in `conn`: an idle one, or a new one.
    pub(super) fn plain_for(&mut self, index: u16, conn: u32) -> Option<u32> {
        if let Some(slot) = self.reuse_plain(index, conn) {
            return Some(slot);
        }
        if self.plains.next().is_none() {
            self.drop_idle_plain();
        }
        let slot = self.plains.next()?;
        let worker = self.dispatch.get(index)?;
        let address = &worker.address.plain;
        match self.driver.connect(peer(address), Owner::Plain(slot).key()) {
            Ok(socket) => Some(self.plains.insert(Plain::new(socket, index, conn))),
            Err(error) => {
                tracing::warn!(%error, %address, "cannot connect to a worker");
                None
            }
        }
    }

    /// The idle connection used last, for it is the least likely to be closed at this moment.
    fn reuse_plain(&mut self, index: u16, conn: u32) -> Option<u32> {
        loop {
            let slot = self.dispatch.get_mut(index)?.plain_idle.pop()?;
            let plain = self.plains.get_mut(slot)?;
            // A turn that comes late finds the request before the timer.
            if plain.idle_until_ms <= self.now.ms || self.driver.has_input(plain.socket) {
                self.drop_plain(slot);
                continue;
            }
            plain.take(conn);
            self.timers.disarm(self.settings.conns_max + slot);
            return Some(slot);
        }
    }

    /// Idle connections of which the completions of this turn have something to tell are not used again: the event of another
    /// connection, handled first, must not take one of them.
    pub(super) fn drop_idle_that_spoke(&mut self, completions: &[Completion]) {
        if self.plains.used() == 0 {
            return;
        }
        for completion in completions {
            let (Completion::Received { key, socket, .. }
            | Completion::ReceiveEnded { key, socket }
            | Completion::Failed { key, socket, .. }) = completion
            else {
                continue;
            };
            if let Owner::Plain(slot) = Owner::from_key(*key)
                && self
                    .plains
                    .get(slot)
                    .is_some_and(|plain| plain.socket == *socket && plain.phase == PlainPhase::Idle)
            {
                self.drop_plain(slot);
            }
        }
    }

    /// There is one slot per client, so when none is free for a client, an idle connection of another worker has it.
    fn drop_idle_plain(&mut self) {
        let is_idle = |slot: &u32| {
            self.plains.get(*slot).is_some_and(|plain| plain.phase == PlainPhase::Idle)
        };
        if let Some(slot) = (0..self.plains.end()).find(is_idle) {
            self.drop_plain(slot);
        }
    }

    pub(super) fn plain_connected(&mut self, slot: u32) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        if let PlainPhase::Connecting { conn } = plain.phase {
            plain.phase = PlainPhase::Busy { conn };
        }
        self.plain_receive(slot);
        self.flush_plain(slot);
    }

    /// Lets the worker send on. Small buffers first: most answers and messages fit, and there are many of them.
    pub(super) fn plain_receive(&mut self, slot: u32) {
        let Some(plain) = self.plains.get(slot) else {
            return;
        };
        if matches!(plain.phase, PlainPhase::Connecting { .. }) {
            return;
        }
        let class = if plain.last_full { PoolClass::Channel } else { PoolClass::Head };
        self.driver.receive(plain.socket, ReceiveMode::Once(class));
    }

    pub(super) fn flush_plain(&mut self, slot: u32) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        if matches!(plain.phase, PlainPhase::Connecting { .. }) {
            return;
        }
        if let Some(parts) = plain.outbox.take() {
            self.driver.send(plain.socket, parts);
        } else if plain.half_close && plain.outbox.is_empty() {
            plain.half_close = false;
            self.driver.shutdown_write(plain.socket);
        }
    }

    /// Part of what is being sent has left.
    pub(super) fn plain_progress(&mut self, slot: u32) {
        if let Some(plain) = self.plains.get_mut(slot) {
            plain.asked = true;
        }
    }

    pub(super) fn plain_sent(&mut self, slot: u32) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        plain.outbox.sent();
        plain.asked = true;
        if plain.ended {
            self.plain_ended(slot);
            return;
        }
        let conn = plain.conn();
        self.flush_plain(slot);
        if let Some(conn) = conn
            && self.plains.get(slot).is_some_and(|plain| plain.outbox.is_empty())
        {
            self.step(conn, Event::BodySent);
        }
    }

    pub(super) fn plain_received(&mut self, slot: u32, buffer: &Buffer) {
        let head_bytes = self.driver.pool().buffer_bytes(PoolClass::Head) as usize;
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        plain.last_full = buffer.len() >= head_bytes;
        match plain.conn() {
            // Said before the worker was asked: no answer, and no word of this worker on it can be trusted. The request may
            // have left since.
            Some(conn) if !plain.asked => {
                tracing::warn!(worker = plain.worker, "a worker wrote without being asked");
                self.step(conn, Event::WorkerLost { unsent: false });
            }
            Some(conn) => {
                let range = 0..buffer.len();
                let end = ResponseEnd::Open;
                let pool = self.driver.pool();
                let scarce =
                    buffer.class().is_some_and(|class| pool.free(class) < pool.capacity(class) / 4);
                self.step(conn, Event::WorkerBytes { buffer, range, end, scarce });
            }
            // Bytes nobody asked for (Node answers 408 to a connection it gives up): not to be trusted again.
            None => self.drop_plain(slot),
        }
    }

    pub(super) fn plain_ended(&mut self, slot: u32) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        let worker = plain.worker;
        let Some(conn) = plain.conn() else {
            self.drop_plain(slot);
            return;
        };
        if !plain.asked && plain.outbox.is_sending() {
            plain.ended = true;
            return;
        }
        if self.conns.get(conn).is_some_and(Conn::is_unanswered) {
            self.dispatch.suspect(worker, Suspicion::Unanswered, self.now.ms);
            self.judge_request(conn, worker);
        }
        let cut_short =
            self.conns.get(conn).is_some_and(Conn::ends_with_worker) && self.is_ending(worker);
        if cut_short {
            self.step(conn, Event::WorkerLost { unsent: false });
        } else {
            self.step(conn, Event::WorkerEnded);
        }
    }

    /// Is the worker's process on its way out? Its connections end in order then, as if its answers were whole.
    fn is_ending(&self, worker: u16) -> bool {
        let pid = self.dispatch.get(worker).map(|worker| worker.address.pid);
        pid.is_some_and(self.settings.is_ending)
    }

    pub(super) fn plain_failed(&mut self, slot: u32, operation: Operation, error: &io::Error) {
        let Some(plain) = self.plains.get(slot) else {
            return;
        };
        let unsent = match operation {
            Operation::Connect => true,
            // A send that fails has sent nothing of what it had left; nothing at all before the first progress.
            Operation::Send => !plain.asked,
            _ => false,
        };
        let (worker, conn) = (plain.worker, plain.conn());
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                self.dispatch.suspect(worker, Suspicion::Refused, self.now.ms);
            }
            // EAGAIN of a unix socket is different: a full backlog, so the worker is there.
            io::ErrorKind::WouldBlock if operation == Operation::Connect => {
                self.dispatch.suspect(worker, Suspicion::Full, self.now.ms);
                self.forgive_attempt(conn);
            }
            _ if conn.is_some() && !unsent => {
                self.dispatch.suspect(worker, Suspicion::Unanswered, self.now.ms);
            }
            _ => {}
        }
        if let Some(conn) = conn.filter(|_| !unsent) {
            self.judge_request(conn, worker);
        }
        match conn {
            Some(conn) => self.step(conn, Event::WorkerLost { unsent }),
            None => self.drop_plain(slot),
        }
    }

    /// An attempt that met a full backlog does not count, as long as the request might as well have waited in the queue.
    fn forgive_attempt(&mut self, conn: Option<u32>) {
        let Some(conn) = conn.and_then(|slot| self.conns.get_mut(slot)) else {
            return;
        };
        if self.now.ms < conn.request.started_ms + self.settings.queue_ms_max {
            conn.request.retries = conn.request.retries.saturating_sub(1);
        }
    }

    /// The client is done with it.
    pub(super) fn release_plain(&mut self, slot: u32, keep: Keep, worker_idle_ms: Option<u32>) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        let idle_ms = self.dispatch.get(plain.worker).map_or(0, |worker| {
            if worker.address.transport == Transport::Frames {
                // It bears this client's address, and the next refused request is another client's.
                return 0;
            }
            if worker.phase != WorkerPhase::Ready {
                return 0;
            }
            let full = worker.plain_idle.len() >= IDLE_PER_WORKER_MAX;
            if full { 0 } else { idle_ms_max(worker.address.plain_idle_ms_max, worker_idle_ms) }
        });
        let usable = plain.outbox.is_empty() && !plain.ended && self.draining.is_none();
        if keep == Keep::Cancel || !usable || idle_ms == 0 {
            self.drop_plain(slot);
            return;
        }
        plain.phase = PlainPhase::Idle;
        plain.idle_until_ms = self.now.ms + idle_ms;
        plain.last_full = false;
        let (worker, socket, until_ms) = (plain.worker, plain.socket, plain.idle_until_ms);
        // Listen on, to notice when the worker closes it.
        self.driver.receive(socket, ReceiveMode::Once(PoolClass::Head));
        self.timers.arm(self.settings.conns_max + slot, until_ms);
        if let Some(worker) = self.dispatch.get_mut(worker) {
            worker.plain_idle.push(slot);
        }
    }

    pub(super) fn plain_deadline(&mut self, slot: u32) {
        let Some(plain) = self.plains.get(slot) else {
            return;
        };
        if plain.phase != PlainPhase::Idle {
            return;
        }
        let until_ms = plain.idle_until_ms;
        if until_ms <= self.now.ms {
            self.drop_plain(slot);
        } else {
            self.timers.arm(self.settings.conns_max + slot, until_ms);
        }
    }

    pub(super) fn drop_plain(&mut self, slot: u32) {
        let Some(plain) = self.plains.remove(slot) else {
            return;
        };
        self.timers.disarm(self.settings.conns_max + slot);
        self.close_socket(plain.socket);
        if let Some(worker) = self.dispatch.get_mut(plain.worker) {
            worker.plain_idle.retain(|idle| *idle != slot);
        }
    }

    /// The worker is gone: so are its plain connections.
    pub(super) fn plains_lost(&mut self, index: u16) {
        for slot in 0..self.plains.end() {
            let Some(plain) = self.plains.get(slot) else {
                continue;
            };
            if plain.worker != index {
                continue;
            }
            if let Some(conn) = plain.conn() {
                let unsent = matches!(plain.phase, PlainPhase::Connecting { .. });
                if !unsent {
                    self.judge_request(conn, index);
                }
                self.step(conn, Event::WorkerLost { unsent });
            }
            // The step gave this connection back; a retry on another worker may have taken the slot since.
            if self.plains.get(slot).is_some_and(|plain| plain.worker == index) {
                self.drop_plain(slot);
            }
        }
    }
}

/// How long a connection may stay idle: we go before the worker does, so that no request is written into a connection that is
/// being closed. `told_ms`: what the worker's last answer said about it.
fn idle_ms_max(known_ms: u32, told_ms: Option<u32>) -> u64 {
    let told_ms = told_ms.map_or(u64::MAX, |ms| u64::from(ms) * 3 / 4);
    u64::from(known_ms).min(told_ms)
}

#[cfg(test)]
mod tests {
    use super::idle_ms_max;

    #[test]
    fn we_go_first() {
        assert_eq!(idle_ms_max(4_000, None), 4_000);
        assert_eq!(idle_ms_max(4_000, Some(72_000)), 4_000);
        assert_eq!(idle_ms_max(4_000, Some(5_000)), 3_750);
        assert_eq!(idle_ms_max(4_000, Some(1_000)), 750);
        assert_eq!(idle_ms_max(4_000, Some(0)), 0, "used once");
    }
}
