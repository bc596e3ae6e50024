//! Connections that Node accepted: taken from the process that offers them, and given back.
//!
//! Owns: the processes under `hostler exec`, the short wait of each connection for its first head. Must never know: what
//! the bytes mean. Part of the shard; `docs/worker-protocol.md` has the protocol ("Under `hostler exec`").

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use hostler_driver::{Driver, ReceiveMode};
use hostler_protocol::worker::{Offer, StreamTag};

use super::Shard;
use super::links::{mark_dirty, stream_of};
use super::owner::Owner;
use crate::accept;
use crate::conn::{Conn, Event, Leaving, Link, Offered, OpenStream, ResponseEnd};

/// How long a client may take for a whole head before Node has the connection back. Long enough for a head in two packets,
/// short against everything that Node measures.
const HEAD_WAIT_MS: u64 = 20;

/// What `hostler exec --summary` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferCounts {
    /// Servers that listened.
    pub servers: u64,
    /// Requests that went over frames.
    pub frames: u64,
    /// Requests that Node read itself.
    pub native: u64,
    /// Connections that could not be taken.
    pub refused: u64,
    /// Why the last of them could not.
    pub why: Option<String>,
}

/// Connections waiting for a whole head, in the order in which their wait ends.
#[derive(Debug, Default)]
pub(super) struct HeadWaits {
    waits: VecDeque<HeadWait>,
}

#[derive(Debug)]
struct HeadWait {
    slot: u32,
    offer: u32,
    until_ms: u64,
}

impl<D: Driver> Shard<D> {
    /// A process offers a connection.
    pub(super) fn offered(&mut self, index: u16, offer: Offer) {
        let Some(channel) = self.channels[usize::from(index)].as_ref() else {
            return;
        };
        let taken = match &channel.peer {
            Some(peer) => peer.duplicate(offer.fd),
            None => Err(rustix::io::Errno::PERM),
        };
        let taken = taken.map_err(|error| error.to_string()).and_then(|fd| {
            if self.conns.next().is_none() {
                return Err("all connections of the proxy are in use".to_owned());
            }
            Ok(fd)
        });
        match taken {
            Ok(fd) => self.offered_accepted(index, offer, fd),
            Err(why) => {
                tracing::debug!(why, "an offered connection stays with Node");
                self.offers.refused += 1;
                self.offers.why = Some(why);
                self.write_give_back(index, StreamTag::CHANNEL, offer.offer, 0, &[]);
            }
        }
    }

    /// A connection of the channel `index` is ours to read.
    pub fn offered_accepted(&mut self, index: u16, offer: Offer, fd: OwnedFd) {
        let Some(slot) = self.conns.next() else { return };
        let address = accept::client_address(&fd);
        let Ok(socket) = self.driver.adopt(fd, Owner::Client(slot).key()) else {
            self.write_give_back(index, StreamTag::CHANNEL, offer.offer, 0, &[]);
            return;
        };
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        self.stats.accepted += 1;
        let mut conn = Conn::new(socket, address, 0, self.generations[slot as usize], self.now);
        conn.offered = Some(Offered {
            offer: offer.offer,
            channel: index,
            head_bytes_max: offer.header_bytes_max,
            waits: false,
        });
        self.conns.insert(conn);
        self.driver.receive(socket, ReceiveMode::Stream);
        self.await_head(slot);
    }

    /// Starts the wait of an offered connection that has no whole head, unless it has begun.
    pub(super) fn await_head(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| conn.may_go_back()) else {
            return;
        };
        if let Some(offered) = &mut conn.offered
            && !std::mem::replace(&mut offered.waits, true)
        {
            let until_ms = self.now.ms + HEAD_WAIT_MS;
            self.head_waits.waits.push_back(HeadWait { slot, offer: offered.offer, until_ms });
        }
    }

    /// Milliseconds until the next wait is over.
    pub(super) fn head_wait_ms(&self) -> Option<u64> {
        let first = self.head_waits.waits.front()?;
        Some(first.until_ms.saturating_sub(self.now.ms))
    }

    /// Gives back what has waited long enough.
    pub(super) fn end_head_waits(&mut self) {
        while let Some(wait) = self.head_waits.waits.front() {
            if wait.until_ms > self.now.ms {
                return;
            }
            let HeadWait { slot, offer, .. } = *wait;
            self.head_waits.waits.pop_front();
            let offered = self.conns.get_mut(slot).and_then(|conn| conn.offered.as_mut());
            let Some(offered) = offered.filter(|offered| offered.offer == offer) else {
                continue;
            };
            offered.waits = false;
            self.step(slot, Event::GiveBackDue);
        }
    }

    /// Binds the request of `slot` to the process that offered its connection: there is no choice to make, and no limit,
    /// because under Node alone there is none either.
    pub(super) fn grant_offered(&mut self, slot: u32, offered: Offered) {
        let Some(channel) = self.channels[usize::from(offered.channel)].as_ref() else {
            self.step_only(slot, Event::WorkerReset);
            return;
        };
        self.offers.frames += 1;
        let link =
            Link::Stream { worker: u16::MAX, channel: offered.channel, batch: channel.batch() };
        self.step_only(slot, Event::Granted(link));
        let generation = self.conns.get(slot).map_or(0, |conn| conn.generation);
        self.generations[slot as usize] = generation;
    }

    /// Tells the worker that its offer is served as the stream of `slot`, in front of the first HEAD.
    pub(super) fn open_offered(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Some(offered) = conn.offered.filter(|_| conn.streams.is_empty()) else {
            return;
        };
        let Some(entry) = self.channels[usize::from(offered.channel)].as_mut() else {
            return;
        };
        let generation = conn.generation;
        conn.streams.push(OpenStream { channel: entry.serial, generation });
        let tag = StreamTag { stream: stream_of(slot), generation };
        entry.write_always(self.driver.pool(), |out| out.open(tag, offered.offer));
        mark_dirty(&mut self.dirty, entry, offered.channel);
    }

    /// Asks the worker to write no more to the stream of `slot`.
    pub(super) fn worker_hold(&mut self, slot: u32) {
        let Some(offered) = self.conns.get(slot).and_then(|conn| conn.offered) else { return };
        self.write_stream(slot, offered.channel, |out, tag| out.hold(tag));
    }

    /// The offered connection that gets bytes which the app wrote to the socket itself, behind an answer: no request is in
    /// hand there, or the HEAD of the next one has crossed them.
    pub(super) fn raw_slot(
        &self,
        index: u16,
        tag: StreamTag,
        end: ResponseEnd,
    ) -> Option<(u32, ResponseEnd)> {
        let slot = tag.stream.checked_sub(1)?;
        let conn = self.conns.get(slot)?;
        let of_it = conn.offered.is_some_and(|offered| offered.channel == index);
        if !of_it || conn.streams.is_empty() {
            return None;
        }
        if conn.generation == tag.generation {
            return Some((slot, end));
        }
        // The one before belongs to this connection, and not to the last in its slot, if it has had a request.
        let crossed = conn.requests > 1 && conn.generation.wrapping_sub(1) == tag.generation;
        crossed.then_some((slot, ResponseEnd::Open))
    }

    /// The worker writes no more to a stream.
    pub(super) fn held(&mut self, index: u16, tag: StreamTag) {
        let Some(slot) = tag.stream.checked_sub(1) else { return };
        let current = self.conns.get(slot).is_some_and(|conn| {
            conn.generation == tag.generation
                && conn.offered.is_some_and(|offered| offered.channel == index)
        });
        // Late: a new request is on its way to the worker, which will say it again; or the connection is gone.
        if current {
            self.step(slot, Event::WorkerHeld);
            self.note_leaving(slot);
        }
    }

    /// A connection may be ready to go back when this turn's completions are done: bytes of it may be among them.
    pub(super) fn note_leaving(&mut self, slot: u32) {
        if self.conns.get(slot).is_some_and(|conn| conn.leaving == Leaving::Agreed) {
            self.leaving.push(slot);
        }
    }

    /// Lets those go that have nothing left to send.
    pub(super) fn end_leaving(&mut self) {
        while let Some(slot) = self.leaving.pop() {
            if self.conns.get(slot).is_some_and(|conn| conn.leaving == Leaving::Agreed) {
                self.step(slot, Event::GoBackDue);
            }
        }
    }

    /// Hands the connection in `slot` back to Node, with what was read from it.
    pub(super) fn give_back(&mut self, slot: u32, lead: usize, read: &[u8]) {
        let Some(conn) = self.conns.remove(slot) else { return };
        self.timers.disarm(slot);
        self.stats.spilled_bytes -= u64::from(conn.spill_counted);
        // Our descriptor is closed before the worker can hear of it: only one of us may read.
        match self.driver.release(conn.socket) {
            Some(fd) => drop(fd),
            None => self.close_socket(conn.socket),
        }
        let Some(offered) = conn.offered else { return };
        let tag = match conn.streams.first() {
            Some(open) => StreamTag { stream: stream_of(slot), generation: open.generation },
            None => StreamTag::CHANNEL,
        };
        self.write_give_back(offered.channel, tag, offered.offer, lead, read);
    }

    fn write_give_back(
        &mut self,
        index: u16,
        tag: StreamTag,
        offer: u32,
        lead: usize,
        read: &[u8],
    ) {
        let Some(entry) = self.channels[usize::from(index)].as_mut() else {
            return;
        };
        let bytes_max = hostler_protocol::worker::FRAME_PREFIX_BYTES + 8 + read.len();
        entry.write_at_most(self.driver.pool(), bytes_max, |out| {
            out.give_back(tag, offer, lead, read)
        });
        mark_dirty(&mut self.dirty, entry, index);
    }

    /// The channel `index` is gone, and with it the process that had offered these connections.
    pub(super) fn offers_lost(&mut self, index: u16) {
        for slot in 0..self.conns.end() {
            let of_it = |conn: &Conn| conn.offered.is_some_and(|offered| offered.channel == index);
            if self.conns.get(slot).is_some_and(of_it) {
                self.step(slot, Event::WorkerLost { unsent: false });
            }
        }
    }

    /// What the offers came to.
    pub fn offer_counts(&self) -> &OfferCounts {
        &self.offers
    }

    /// Channels that are open.
    pub fn channels_open(&self) -> usize {
        self.channels.iter().flatten().count()
    }
}
