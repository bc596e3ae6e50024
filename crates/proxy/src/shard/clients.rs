//! Client connections: their events in, their wishes out.
//!
//! Owns: the fulfilment of [`Action`]s. Must never know: what a connection wants them for. Part of the shard.

use std::os::fd::OwnedFd;

use hostler_driver::{Buffer, Driver, Operation, Part, PoolClass, ReceiveMode};
use hostler_protocol::control::Transport;
use hostler_protocol::http1::{BodyFraming, Parsed, encode_chunk_head};
use hostler_protocol::worker::StreamTag;

use super::owner::Owner;
use super::{Conn, Shard};
use crate::accept;
use crate::conn::{Action, Context, Event, Keep, Link, OpenStream, Phase};
use crate::dispatch::Busy;
use crate::forward::Forwarding;
use crate::respond::OwnAnswer;

/// The stream number of a connection slot; 0 is the channel itself.
pub(super) fn stream_of(slot: u32) -> u32 {
    slot + 1
}

/// Room that the proxy's own fields may need in a HEAD frame beside the client's head.
const HEAD_FRAME_EXTRA: usize = 1024;

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
        if self.draining.is_some() {
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
    }

    pub(super) fn client_progress(&mut self, slot: u32) {
        self.step(slot, Event::SendProgress);
    }

    pub(super) fn client_ended(&mut self, slot: u32) {
        self.step(slot, Event::ReceiveEnded);
    }

    pub(super) fn client_failed(&mut self, slot: u32, operation: Operation) {
        self.step(slot, Event::Failed(operation));
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
    fn settle(&mut self, slot: u32) {
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
    }

    fn step_only(&mut self, slot: u32, event: Event<'_>) {
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
            draining: self.draining.is_some(),
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
            Action::Dispatch => {
                let fresh = conn.request.retries == 0;
                self.dispatch_request(slot, fresh);
            }
            Action::Undispatch => self.dispatch.leave_queue(slot),
            Action::WorkerHead => self.worker_head(slot),
            Action::WorkerBody(part) => self.worker_body(slot, part),
            Action::WorkerEnd(trailers) => self.worker_end(slot, &trailers),
            Action::WorkerHalfClose => self.worker_half_close(slot),
            Action::WorkerCredit(bytes) => self.worker_credit(slot, bytes),
            Action::Release(keep) => self.release_link(slot, keep),
        }
    }

    /// Large buffers are for many uploads: what is asked for and has not come counts as taken, and when a quarter is left,
    /// small ones have to do. A stuck worker or a few dozen slow apps then slow the others down instead of stopping them.
    fn afford(&mut self, slot: u32, mode: ReceiveMode) -> ReceiveMode {
        self.body_received(slot);
        if mode != ReceiveMode::Once(PoolClass::Body) {
            return mode;
        }
        let pool = self.driver.pool();
        let free = pool.free(PoolClass::Body);
        if free < pool.capacity(PoolClass::Body) / 4 + self.bodies_asked {
            return ReceiveMode::Once(PoolClass::Head);
        }
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.body_asked = true;
            self.bodies_asked += 1;
        }
        mode
    }

    /// The large buffer that the connection in `slot` asked for has come, or is no longer wanted.
    fn body_received(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get_mut(slot)
            && std::mem::take(&mut conn.body_asked)
        {
            self.bodies_asked -= 1;
        }
    }

    /// Finds a worker for the request of `slot`, or a place in the queue, or refuses it. `fresh`: the head was
    /// parsed in this very step.
    fn dispatch_request(&mut self, slot: u32, fresh: bool) {
        if self.dispatch.queued() == 0 && self.grant(slot, fresh).is_ok() {
            return;
        }
        if self.dispatch.enqueue(slot) {
            self.pump = true;
        } else {
            let answer = match self.choose(slot) {
                Err(Busy::NoWorker) => OwnAnswer::NoWorker,
                _ => OwnAnswer::Overload,
            };
            self.step_only(slot, Event::Refused(answer));
        }
    }

    fn choose(&self, slot: u32) -> Result<u16, Busy> {
        let conn = self.conns.get(slot);
        let upgrade = conn.is_some_and(|conn| conn.request.upgrade);
        let head_bytes = conn.and_then(|conn| conn.head.as_ref()).map_or(0, Part::len);
        self.dispatch.choose(self.now.ms, |worker| {
            if upgrade || worker.address.transport == Transport::Http {
                return true;
            }
            let channel =
                worker.channel.and_then(|index| self.channels[usize::from(index)].as_ref());
            channel.is_some_and(|channel| {
                channel.has_room(self.driver.pool(), head_bytes + HEAD_FRAME_EXTRA)
            })
        })
    }

    /// Gives the request of `slot` to a worker.
    fn grant(&mut self, slot: u32, fresh: bool) -> Result<(), Busy> {
        let index = self.choose(slot)?;
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
        if worker.in_flight == 0 {
            // An idle worker beats once a second only: its silence counts from now on.
            worker.heard_ms = self.now.ms;
        }
        worker.in_flight += 1;
        worker.gauge.begin();
        conn.request.worker = Some(worker.address.worker.0);
        let link = match (worker.address.transport, worker.channel) {
            (Transport::Frames, Some(channel)) if !upgrade => {
                let batch = self.channels[usize::from(channel)]
                    .as_ref()
                    .map_or(0, crate::worker::channel::Channel::batch);
                Link::Stream { worker: index, channel, batch }
            }
            _ => match self.plain_for(index, slot) {
                Some(plain) => Link::Plain { worker: index, plain },
                None => {
                    self.unload(index);
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
        while let Some(slot) = self.dispatch.dequeue() {
            if self.conns.get(slot).is_none_or(|conn| conn.phase() != Phase::Queued) {
                continue;
            }
            if self.grant(slot, false).is_err() {
                self.dispatch.requeue_first(slot);
                return;
            }
            self.settle(slot);
        }
    }

    fn worker_head(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let Some(head) = &conn.head else { return };
        let forwarding = Forwarding {
            bytes: head.as_slice(),
            head: &self.request_head,
            client: &conn.address,
            listener: &self.settings.listeners[usize::from(conn.listener)],
            listener_index: conn.listener,
            request_id: conn.request.id.as_bytes(),
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let serial = entry.serial;
                let open = conn.streams.iter_mut().find(|open| open.channel == serial);
                let new_connection = open.is_none();
                if let Some(open) = open {
                    open.generation = conn.generation;
                }
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                let pool = self.driver.pool();
                // Dispatch looked for room, but a long `Host` is written up to twice more than it is in the head.
                let bytes_max = 3 * head.len() + HEAD_FRAME_EXTRA;
                entry.write_at_most(pool, bytes_max, |out| {
                    forwarding.write_frame(out, tag, new_connection)
                });
                mark_dirty(&mut self.dirty, entry, channel);
                if new_connection {
                    self.stream_opened(slot, serial);
                }
            }
            Link::Plain { plain, .. } => {
                let Some(entry) = self.plains.get_mut(plain) else {
                    return;
                };
                forwarding.write_text(&mut entry.outbox, self.driver.pool());
                entry.chunked = self.request_head.framing == BodyFraming::Chunked;
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    /// Notes the new stream; the ones on channels that are gone are forgotten, or a client that outlives many workers
    /// would collect them.
    fn stream_opened(&mut self, slot: u32, channel: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.streams.len() == conn.streams.inline_size() {
            let channels = &self.channels;
            conn.streams
                .retain(|open| channels.iter().flatten().any(|entry| entry.serial == open.channel));
        }
        conn.streams.push(OpenStream { channel, generation: conn.generation });
    }

    fn worker_body(&mut self, slot: u32, part: Part) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                entry.body(self.driver.pool(), tag, part, slot);
                mark_dirty(&mut self.dirty, entry, channel);
            }
            Link::Plain { plain, .. } => {
                let tunnel = conn.phase() == Phase::Tunnel;
                let Some(entry) = self.plains.get_mut(plain) else {
                    return;
                };
                let chunked = entry.chunked && !tunnel;
                let pool = self.driver.pool();
                if chunked {
                    let mut size = [0; hostler_protocol::http1::CHUNK_HEAD_BYTES_MAX];
                    entry.outbox.write(pool, encode_chunk_head(&mut size, part.len()));
                }
                entry.outbox.push(pool, part.buffer(), part.range(), false);
                if chunked {
                    entry.outbox.write(pool, b"\r\n");
                }
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    fn worker_end(&mut self, slot: u32, trailers: &[u8]) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                entry.write_always(self.driver.pool(), |out| out.end(tag, trailers));
                mark_dirty(&mut self.dirty, entry, channel);
            }
            Link::Plain { plain, .. } => {
                let Some(entry) = self.plains.get_mut(plain).filter(|entry| entry.chunked) else {
                    return;
                };
                let pool = self.driver.pool();
                entry.outbox.write(pool, b"0\r\n");
                let mut pieces = trailers.split(|byte| *byte == 0);
                while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
                    for piece in [name, b": ", value, b"\r\n"] {
                        entry.outbox.write(pool, piece);
                    }
                }
                entry.outbox.write(pool, b"\r\n");
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    fn worker_half_close(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                entry.write_always(self.driver.pool(), |out| out.half_close(tag));
                mark_dirty(&mut self.dirty, entry, channel);
            }
            Link::Plain { plain, .. } => {
                if let Some(entry) = self.plains.get_mut(plain) {
                    entry.half_close = true;
                }
                self.flush_plain(plain);
            }
            Link::None => {}
        }
    }

    fn worker_credit(&mut self, slot: u32, bytes: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match conn.link {
            Link::Stream { channel, .. } => {
                let Some(entry) = self.channels[usize::from(channel)].as_mut() else {
                    return;
                };
                let tag = StreamTag { stream: stream_of(slot), generation: conn.generation };
                entry.write_always(self.driver.pool(), |out| out.window(tag, bytes));
                mark_dirty(&mut self.dirty, entry, channel);
            }
            Link::Plain { plain, .. } => self.plain_receive(plain),
            Link::None => {}
        }
    }

    /// The request left its worker.
    pub(super) fn release_link(&mut self, slot: u32, keep: Keep) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let link = std::mem::replace(&mut conn.link, Link::None);
        match link {
            Link::None => return,
            Link::Stream { worker, channel, .. } => {
                if keep == Keep::Cancel
                    && let Some(entry) = self.channels[usize::from(channel)].as_mut()
                    && let Some(at) =
                        conn.streams.iter().position(|open| open.channel == entry.serial)
                {
                    // Not the connection's generation: the HEAD may have been given up before it was written.
                    let open = conn.streams.remove(at);
                    let tag = StreamTag { stream: stream_of(slot), generation: open.generation };
                    entry.write_always(self.driver.pool(), |out| out.close(tag));
                    mark_dirty(&mut self.dirty, entry, channel);
                }
                self.unload(worker);
            }
            Link::Plain { worker, plain } => {
                self.release_plain(plain, keep);
                self.unload(worker);
            }
        }
        self.pump |= self.dispatch.queued() > 0;
    }

    fn unload(&mut self, index: u16) {
        if let Some(worker) = self.dispatch.get_mut(index) {
            worker.in_flight -= 1;
            worker.gauge.end();
        }
        self.report_if_drained(index);
    }

    fn close_client(&mut self, slot: u32) {
        self.release_link(slot, Keep::Cancel);
        self.body_received(slot);
        let Some(conn) = self.conns.remove(slot) else {
            return;
        };
        self.timers.disarm(slot);
        self.stats.spilled_bytes -= u64::from(conn.spill_counted);
        self.close_socket(conn.socket);
        for index in 0..self.channels.len() {
            let Some(entry) = self.channels[index].as_mut() else {
                continue;
            };
            if let Some(open) = conn.streams.iter().find(|open| open.channel == entry.serial) {
                // A worker drops what is not of the last generation that it knows.
                let tag = StreamTag { stream: stream_of(slot), generation: open.generation };
                entry.write_always(self.driver.pool(), |out| out.close(tag));
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

/// Marks a channel for the flush at the end of the turn.
pub(super) fn mark_dirty(
    dirty: &mut Vec<u16>,
    channel: &mut crate::worker::channel::Channel,
    index: u16,
) {
    if !channel.dirty {
        channel.dirty = true;
        dirty.push(index);
    }
}
