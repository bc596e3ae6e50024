//! Plain HTTP/1.1 connections to workers: one request at a time on each, kept alive between them.
//!
//! Owns: connecting, the pool of idle ones. Must never know: what the bytes mean. Part of the shard.

use std::io;

use hostler_driver::{Buffer, Driver, Operation, PoolClass, ReceiveMode};

use super::Shard;
use super::owner::Owner;
use crate::conn::{Conn, Event, Keep, ResponseEnd};
use crate::dispatch::Suspicion;
use crate::worker::plain::{Plain, PlainPhase};

/// Node closes an idle connection after 5 s by default (`server.keepAliveTimeout`). We go first, so that no request is
/// written into a connection that is being closed.
const IDLE_MS_MAX: u64 = 4_000;

impl<D: Driver> Shard<D> {
    /// A connection to this worker for the client in `conn`: an idle one, or a new one.
    pub(super) fn plain_for(&mut self, index: u16, conn: u32) -> Option<u32> {
        let worker = self.dispatch.get_mut(index)?;
        if let Some(slot) = worker.plain_idle.pop() {
            let plain = self.plains.get_mut(slot)?;
            plain.phase = PlainPhase::Busy { conn };
            plain.reused = true;
            return Some(slot);
        }
        let path = worker.address.plain.clone();
        if self.plains.next().is_none() {
            self.drop_idle_plain();
        }
        let slot = self.plains.next()?;
        match self.driver.connect(&path, Owner::Plain(slot).key()) {
            Ok(socket) => Some(self.plains.insert(Plain::new(socket, index, conn))),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot connect to a worker");
                None
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

    pub(super) fn plain_sent(&mut self, slot: u32) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        plain.outbox.sent();
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
        match self.plains.get(slot).map(Plain::conn) {
            Some(Some(conn)) => {
                if self.conns.get(conn).is_some_and(Conn::is_unanswered)
                    && let Some(plain) = self.plains.get(slot)
                {
                    self.dispatch.suspect(plain.worker, Suspicion::Unanswered, self.now.ms);
                }
                self.step(conn, Event::WorkerEnded);
            }
            Some(None) => self.drop_plain(slot),
            None => {}
        }
    }

    pub(super) fn plain_failed(&mut self, slot: u32, operation: Operation, error: &io::Error) {
        let Some(plain) = self.plains.get(slot) else {
            return;
        };
        let unsent = operation == Operation::Connect;
        // EAGAIN is different: a full backlog, so the worker is there.
        if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
            self.dispatch.suspect(plain.worker, Suspicion::Refused, self.now.ms);
        } else if plain.conn().is_some() && !unsent {
            self.dispatch.suspect(plain.worker, Suspicion::Unanswered, self.now.ms);
        }
        match plain.conn() {
            Some(conn) => self.step(conn, Event::WorkerLost { unsent }),
            None => self.drop_plain(slot),
        }
    }

    /// The client is done with it.
    pub(super) fn release_plain(&mut self, slot: u32, keep: Keep) {
        let Some(plain) = self.plains.get_mut(slot) else {
            return;
        };
        if keep == Keep::Cancel || !plain.outbox.is_empty() || self.draining.is_some() {
            self.drop_plain(slot);
            return;
        }
        plain.phase = PlainPhase::Idle;
        plain.idle_ms = self.now.ms;
        plain.last_full = false;
        let (worker, socket) = (plain.worker, plain.socket);
        // Listen on, to notice when the worker closes it.
        self.driver.receive(socket, ReceiveMode::Once(PoolClass::Head));
        self.timers.arm(self.settings.conns_max + slot, self.now.ms + IDLE_MS_MAX);
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
        let until = plain.idle_ms + IDLE_MS_MAX;
        if until <= self.now.ms {
            self.drop_plain(slot);
        } else {
            self.timers.arm(self.settings.conns_max + slot, until);
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
                self.step(conn, Event::WorkerLost { unsent });
            }
            // The step gave this connection back; a retry on another worker may have taken the slot since.
            if self.plains.get(slot).is_some_and(|plain| plain.worker == index) {
                self.drop_plain(slot);
            }
        }
    }
}
