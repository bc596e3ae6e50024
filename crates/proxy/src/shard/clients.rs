//! Client connections: their events in, their wishes out.
//!
//! Owns: the fulfilment of [`Action`]s. Must never know: what a connection wants them for. Part of the shard.

use std::io;
use std::os::fd::OwnedFd;

use hostler_driver::{Buffer, Driver, ReceiveMode};
use hostler_protocol::worker::StreamTag;

use super::links::{mark_dirty, stream_of};
use super::owner::Owner;
use super::{Conn, Draining, Shard};
use crate::accept;
use crate::conn::{Action, Context, Ending, Event, Keep};

impl<D: Driver> Shard<D> {
    pub(super) fn client_accepted(&mut self, fd: OwnedFd, listener: u32) {
        let Some(slot) = self.conns.next() else {
            // The listeners are off; this one was already on its way.
            self.stop_accepting();
            self.accepted.push_back((fd, listener));
            return;
        };
        let address = accept::client_address(&fd);
        let Ok(socket) = self.driver.adopt(fd, Owner::Client(slot).key()) else {
            self.stop_accepting();
            return;
        };
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        let generation = self.generations[slot as usize];
        self.stats.accepted += 1;
        let mut conn = Conn::new(socket, address, listener as u8, generation, self.now);
        if self.draining.is_some_and(|drain| drain.idle_until_ms.is_none()) {
            conn.hurry(&self.settings);
        }
        self.timers.arm(slot, conn.deadline_ms(&self.settings));
        self.conns.insert(conn);
        self.driver.receive(socket, ReceiveMode::Stream);
        if self.conns.next().is_none() {
            self.stop_accepting();
        }
    }

    fn stop_accepting(&mut self) {
        if !self.accept_full {
            tracing::warn!(conns = self.conns.used(), "all connections are in use; new ones wait");
        }
        self.accept_full = true;
        for listener in &self.listeners {
            self.driver.accept(*listener, false);
        }
    }

    pub(super) fn client_received(&mut self, slot: u32, buffer: Buffer) {
        self.body_received(slot);
        self.step(slot, Event::Received(buffer));
    }

    pub(super) fn client_sent(&mut self, slot: u32) {
        self.step(slot, Event::Sent);
        self.note_leaving(slot);
    }

    pub(super) fn client_progress(&mut self, slot: u32) {
        self.step(slot, Event::SendProgress);
    }

    pub(super) fn client_ended(&mut self, slot: u32) {
        self.step(slot, Event::ReceiveEnded);
    }

    pub(super) fn client_failed(&mut self, slot: u32, error: &io::Error) {
        let why = match error.kind() {
            io::ErrorKind::ConnectionReset => "ECONNRESET",
            io::ErrorKind::BrokenPipe => "EPIPE",
            io::ErrorKind::TimedOut => "ETIMEDOUT",
            _ => "",
        };
        self.step(slot, Event::Failed(why));
    }

    pub(super) fn client_deadline(&mut self, slot: u32) {
        self.step(slot, Event::Deadline);
    }

    /// One event for one connection, and everything that follows from it.
    pub(super) fn step(&mut self, slot: u32, event: Event<'_>) {
        self.step_only(slot, event);
        self.settle(slot);
    }

    /// The wishes of the last step, then the flush and the deadline.
    pub(super) fn settle(&mut self, slot: u32) {
        while let Some(action) = self.actions.pop_front() {
            self.perform(slot, action);
        }
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        conn.unpin_head(self.driver.pool());
        if let Some(parts) = conn.outbox.take() {
            self.driver.send(conn.socket, parts);
        }
        let deadline_ms = conn.deadline_ms(&self.settings);
        self.timers.arm(slot, deadline_ms);
        self.await_head(slot);
    }

    pub(super) fn step_only(&mut self, slot: u32, event: Event<'_>) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let mut cx = Context {
            now: self.now,
            settings: &self.settings,
            pool: self.driver.pool(),
            request_head: &mut self.request_head,
            response_head: &mut self.response_head,
            actions: &mut self.actions,
            stats: &mut self.stats,
            ids: &mut self.ids,
            log: self.log.as_mut(),
            ending: self.draining.map_or(Ending::No, Draining::of_conns),
        };
        conn.step(event, &mut cx);
    }

    fn perform(&mut self, slot: u32, action: Action) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match action {
            Action::Receive(mode) => {
                let socket = conn.socket;
                let mode = self.afford(slot, mode);
                self.driver.receive(socket, mode);
            }
            Action::ShutdownWrite => self.driver.shutdown_write(conn.socket),
            Action::Close => self.close_client(slot),
            Action::Reset => {
                self.driver.reset(conn.socket);
                self.close_client(slot);
            }
            Action::Dispatch => {
                let fresh = conn.request.retries == 0;
                self.dispatch_request(slot, fresh);
            }
            Action::Undispatch => self.dispatch.queue.leave(slot),
            Action::WorkerHead => self.worker_head(slot),
            Action::WorkerBody(part) => self.worker_body(slot, part),
            Action::WorkerEnd(trailers) => self.worker_end(slot, &trailers),
            Action::WorkerHalfClose => self.worker_half_close(slot),
            Action::WorkerCredit(bytes) => self.worker_credit(slot, bytes),
            Action::Release(keep) => self.release_link(slot, keep),
            Action::WorkerBroken { lead, read } => self.worker_broken(slot, &lead, &read),
            Action::Acquit => self.acquit(slot),
            Action::LearnSession(sid) => self.learn_session(slot, &sid),
            Action::TimedOut(waited_ms) => self.timed_out(slot, waited_ms),
            Action::Upgraded => self.upgraded(slot),
            Action::WorkerHold => self.worker_hold(slot),
            Action::GiveBack { lead, read } => self.give_back(slot, lead, &read),
        }
    }

    fn close_client(&mut self, slot: u32) {
        self.release_link(slot, Keep::Cancel);
        self.body_received(slot);
        let Some(conn) = self.conns.remove(slot) else {
            return;
        };
        self.timers.disarm(slot);
        self.stats.spilled_bytes -= u64::from(conn.spill_counted);
        match conn.offered.and_then(|_| self.driver.release(conn.socket)) {
            // Nothing may watch it any more while the worker still holds its own.
            Some(fd) => drop(fd),
            None => self.close_socket(conn.socket),
        }
        for index in 0..self.channels.len() {
            let Some(entry) = self.channels[index].as_mut() else {
                continue;
            };
            if let Some(open) = conn.streams.iter().find(|open| open.channel == entry.serial) {
                // A worker drops what is not of the last generation that it knows.
                let tag = StreamTag { stream: stream_of(slot), generation: open.generation };
                entry.write_always(self.driver.pool(), |out| out.close(tag, conn.broken));
                mark_dirty(&mut self.dirty, entry, index as u16);
            }
        }
        if let Some((fd, listener)) = self.accepted.pop_front() {
            self.client_accepted(fd, listener);
        } else if self.accept_full && self.draining.is_none() {
            self.accept_full = false;
            for listener in &self.listeners {
                self.driver.accept(*listener, true);
            }
        }
    }
}
