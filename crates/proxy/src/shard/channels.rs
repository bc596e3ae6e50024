//! Channels: frames in, batches out.
//!
//! Owns: which channel belongs to which worker. Must never know: what response bytes mean. Part of the shard.

use std::os::fd::OwnedFd;

use hostler_driver::{Buffer, Driver, PoolClass, ReceiveMode};
use hostler_protocol::worker::{
    BodyEnd, Count, FromWorker, Heartbeat, Incoming, Listen, ListenerAddress, Offer,
    PROTOCOL_VERSION, ProxyHello, Settings as AppSettings, StreamTag, ToWorker, Unlisten,
    WINDOW_BYTES, WorkerHello,
};

use super::links::mark_dirty;
use super::owner::Owner;
use super::{Shard, ShardEvent};
use crate::accept;
use crate::app_settings::with_app;
use crate::conn::{Event, Link, Phase, ResponseEnd};
use crate::settings::ListenerInfo;
use crate::worker::channel::{Channel, ChannelPhase};
use crate::worker::peer::Peer;

/// One frame's meaning, free of the buffer it was in.
enum Frame {
    Body { tag: StreamTag, range: std::ops::Range<usize>, end: ResponseEnd },
    Window { tag: StreamTag, bytes: u32 },
    Tunnel { tag: StreamTag, range: std::ops::Range<usize> },
    TunnelEnd { tag: StreamTag },
    TunnelWindow { tag: StreamTag, bytes: u32 },
    Reset { tag: StreamTag },
    Held { tag: StreamTag },
    Heartbeat(Heartbeat),
    Hello(WorkerHello),
    Listen { server: Option<u32> },
    Unlisten { server: Option<u32> },
    Offer(Offer),
    Count(Count),
    Settings(AppSettings),
}

impl<D: Driver> Shard<D> {
    pub(super) fn channel_accepted(&mut self, fd: OwnedFd) {
        let index = match self.channels.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.channels.push(None);
                self.channels.len() - 1
            }
        };
        accept::widen_channel(&fd);
        let peer = self.settings.takes_offers.then(|| Peer::of(&fd));
        let Ok(socket) = self.driver.adopt(fd, Owner::Channel(index as u32).key()) else {
            return;
        };
        self.channel_serial += 1;
        let mut channel = Channel::new(socket, self.channel_serial);
        channel.peer = peer.and_then(|peer| {
            peer.inspect_err(|error| tracing::debug!(%error, "a process cannot be named")).ok()
        });
        self.channels[index] = Some(channel);
        self.driver.receive(socket, ReceiveMode::Once(PoolClass::Channel));
    }

    pub(super) fn channel_received(&mut self, index: u16, buffer: &Buffer) {
        let Some(channel) = self.channels[usize::from(index)].as_mut() else {
            return;
        };
        let socket = channel.socket;
        if let Some(worker) = channel.worker.and_then(|id| self.dispatch.find(id)) {
            self.hear(worker);
        }
        let pool = self.driver.pool();
        let scarce = pool.free(PoolClass::Channel) < pool.capacity(PoolClass::Channel) / 4;
        let mut at = 0;
        loop {
            let Some(channel) = self.channels[usize::from(index)].as_mut() else {
                return;
            };
            let frame = match channel.reader.next(buffer, &mut at) {
                Ok(Some(incoming)) => read_frame(incoming),
                Ok(None) => break,
                Err(error) => Err(error.to_string()),
            };
            match frame {
                Ok(frame) => self.frame(index, frame, buffer, scarce),
                Err(why) => {
                    self.channel_lost(index, &format!("broken frame: {why}"));
                    return;
                }
            }
        }
        self.driver.receive(socket, ReceiveMode::Once(PoolClass::Channel));
    }

    fn frame(&mut self, index: u16, frame: Frame, buffer: &Buffer, scarce: bool) {
        match frame {
            Frame::Body { tag, range, end } => {
                if let Some(slot) = self.stream_slot(index, tag) {
                    self.step(slot, Event::WorkerBytes { buffer, range, end, scarce });
                } else if let Some((slot, end)) = self.raw_slot(index, tag, end) {
                    self.step(slot, Event::WorkerBytes { buffer, range, end, scarce });
                }
            }
            Frame::Window { tag, bytes } => {
                if let Some(slot) = self.stream_slot(index, tag) {
                    self.step(slot, Event::WorkerWindow(bytes));
                }
            }
            Frame::Tunnel { tag, range } => self.tunnel_bytes(index, tag, buffer, range, scarce),
            Frame::TunnelEnd { tag } => self.tunnel_ended(index, tag),
            Frame::TunnelWindow { tag, bytes } => self.tunnel_window(index, tag, bytes),
            Frame::Reset { tag } => match self.stream_slot(index, tag) {
                Some(slot) => self.step(slot, Event::WorkerReset),
                None => self.idle_stream_reset(index, tag),
            },
            Frame::Held { tag } => self.held(index, tag),
            Frame::Heartbeat(beat) => self.heartbeat(index, beat),
            Frame::Hello(hello) => self.channel_hello(index, &hello),
            // Under exec a process has any number of servers, and none of them makes it a worker.
            Frame::Listen { server: Some(_) } => self.offers.servers += 1,
            Frame::Unlisten { server: Some(_) } => {}
            Frame::Listen { server: None } => self.channel_listens(index, true),
            Frame::Unlisten { server: None } => self.channel_listens(index, false),
            Frame::Offer(offer) if self.settings.takes_offers => self.offered(index, offer),
            Frame::Offer(_) => self.channel_lost(index, "OFFER outside of exec"),
            Frame::Count(count) => self.offers.native += count.http,
            Frame::Settings(told) => self.app_says(told),
        }
    }

    /// The connection that a stream's frame is for, unless the frame is late.
    fn stream_slot(&self, index: u16, tag: StreamTag) -> Option<u32> {
        let slot = tag.stream.checked_sub(1)?;
        let conn = self.conns.get(slot)?;
        let current = conn.generation == tag.generation
            && matches!(conn.link, Link::Stream { channel, .. } if channel == index);
        current.then_some(slot)
    }

    /// The app destroyed the socket of a connection that has no request in hand there. The stream is free; the client
    /// goes too if this worker had its last request, unless the app only closes its server, or the worker drains: other
    /// workers serve on.
    fn idle_stream_reset(&mut self, index: u16, tag: StreamTag) {
        let Some(channel) = self.channels[usize::from(index)].as_ref() else {
            return;
        };
        let Some(slot) = tag.stream.checked_sub(1) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let streams = conn.streams.len();
        conn.streams
            .retain(|open| open.channel != channel.serial || open.generation != tag.generation);
        let freed = conn.streams.len() < streams;
        let last = conn.generation == tag.generation;
        let idle = match conn.phase() {
            Phase::Idle => true,
            // The next request had begun to come.
            Phase::Head => conn.offered.is_some(),
            _ => false,
        };
        let worker = channel.worker.and_then(|id| self.dispatch.find(id));
        let worker = worker.and_then(|index| self.dispatch.get(index));
        let drains = worker.is_some_and(|worker| worker.phase.drain().is_some());
        if freed && last && channel.phase == ChannelPhase::Open && !drains && idle {
            self.step(slot, Event::WorkerReset);
        }
    }

    fn heartbeat(&mut self, index: u16, beat: Heartbeat) {
        let id = self.channels[usize::from(index)].as_ref().and_then(|channel| channel.worker);
        let Some(worker) = id.and_then(|id| self.dispatch.find(id)) else {
            return;
        };
        // The limit may have grown.
        self.pump |= !self.dispatch.queue.is_empty();
        if let Some(worker) = self.dispatch.get_mut(worker) {
            worker.pulse.beat(beat.in_flight, self.now.ms);
            worker.measure(beat.utilisation_permille, beat.loop_delay_us, self.now.ms);
            worker.gauge.heartbeat(
                beat.loop_delay_us,
                beat.utilisation_permille,
                beat.heap_kib,
                self.now.unix_ms,
            );
        }
    }

    fn channel_hello(&mut self, index: u16, hello: &WorkerHello) {
        if hello.protocol != PROTOCOL_VERSION {
            let why = format!(
                "the worker speaks protocol {}, this proxy {PROTOCOL_VERSION}; restart the worker",
                hello.protocol
            );
            self.channel_lost(index, &why);
            return;
        }
        let answer = ProxyHello {
            protocol: PROTOCOL_VERSION,
            shard: self.settings.shard,
            shards: self.settings.shards,
            window: WINDOW_BYTES,
            listeners: self.settings.listeners.iter().map(listener_address).collect(),
        };
        let Some(channel) = self.channels[usize::from(index)].as_mut() else {
            return;
        };
        if hello.exec {
            channel.phase = ChannelPhase::Open;
        } else {
            channel.worker = Some(hello.worker);
        }
        channel.write_always(self.driver.pool(), |out| out.json(ToWorker::Hello, &answer));
        mark_dirty(&mut self.dirty, channel, index);
        self.move_worker(index);
    }

    /// The app's own time-outs and limits. Workers of one app say the same; the last one wins. Deadlines that are set already
    /// stay until their connection moves.
    fn app_says(&mut self, told: AppSettings) {
        // Under exec Node has them.
        if self.settings.takes_offers || told == self.app_settings {
            return;
        }
        self.app_settings = told;
        self.settings = with_app(&self.base_settings, &told);
    }

    fn channel_listens(&mut self, index: u16, listens: bool) {
        let Some(channel) = self.channels[usize::from(index)].as_mut() else {
            return;
        };
        channel.phase = if listens { ChannelPhase::Open } else { ChannelPhase::Silent };
        self.attach(index);
    }

    /// Joins an open channel with the worker that the supervisor has announced, once both are there.
    pub(super) fn attach(&mut self, index: u16) {
        let Some(channel) = self.channels[usize::from(index)].as_ref() else {
            return;
        };
        let Some(found) = channel.worker.and_then(|id| self.dispatch.find(id)) else {
            return;
        };
        let phase = channel.phase;
        let Some(worker) = self.dispatch.get_mut(found) else {
            return;
        };
        if phase == ChannelPhase::Greeting {
            return;
        }
        let is_new = worker.channel != Some(index);
        worker.channel = Some(index);
        worker.silent = phase == ChannelPhase::Silent;
        self.pump = true;
        if is_new {
            let worker = worker.address.worker.0;
            (self.events)(ShardEvent::WorkerServing { worker });
        }
        self.hear(found);
        self.watch(found, phase == ChannelPhase::Open);
    }

    /// Index of the open channel of the process with this number.
    pub(super) fn channel_of(&self, worker: u32) -> Option<u16> {
        let belongs = |channel: &Option<Channel>| {
            channel.as_ref().is_some_and(|channel| channel.worker == Some(worker))
        };
        self.channels.iter().position(belongs).map(|index| index as u16)
    }

    pub(super) fn channel_sent(&mut self, index: u16) {
        let mut owners = std::mem::take(&mut self.owners);
        if let Some(channel) = self.channels[usize::from(index)].as_mut() {
            channel.sent(&mut owners);
            if channel.has_output() {
                mark_dirty(&mut self.dirty, channel, index);
            }
        }
        for slot in owners.drain(..) {
            match self.conns.get(slot).map(|conn| conn.link) {
                Some(Link::Stream { channel, .. }) if channel == index => {
                    self.step(slot, Event::BodySent);
                }
                Some(Link::Tunnel { channel, .. }) if channel == index => self.tunnel_sent(slot),
                _ => {}
            }
        }
        self.owners = owners;
        self.pump |= !self.dispatch.queue.is_empty();
    }

    /// The end of a channel: its requests are lost or go elsewhere.
    pub(super) fn channel_lost(&mut self, index: u16, why: &str) {
        let Some(channel) = self.channels[usize::from(index)].take() else {
            return;
        };
        self.close_socket(channel.socket);
        let worker = channel.worker.and_then(|id| self.dispatch.find(id));
        if let Some(entry) = worker.and_then(|worker| self.dispatch.get_mut(worker))
            && entry.channel == Some(index)
        {
            entry.channel = None;
            entry.pulse.rest();
        }
        if let Some(worker) = channel.worker {
            (self.events)(ShardEvent::WorkerLost { worker, why: why.to_owned() });
        } else if self.settings.takes_offers {
            tracing::debug!(why, "the channel of a process ended");
            self.offers_lost(index);
        } else {
            // The supervisor makes a worker's channels; a worker that serves over http never says a word on them.
            tracing::debug!(why, "a channel ended before it said who it was");
        }
        let judged = worker.map(|worker| (self.judge(worker), worker));
        for slot in 0..self.conns.end() {
            let Some(conn) = self.conns.get(slot) else {
                continue;
            };
            if let Link::Stream { channel: of, batch, .. } | Link::Tunnel { channel: of, batch, .. } =
                conn.link
                && of == index
            {
                let unsent = !channel.has_sent(batch);
                if let Some((verdict, worker)) = judged.filter(|_| !unsent) {
                    self.apply(verdict, slot, worker);
                }
                self.step(slot, Event::WorkerLost { unsent });
            }
        }
    }

    pub(super) fn flush_channels(&mut self) {
        for at in (0..self.dirty.len()).rev() {
            let index = self.dirty[at];
            if let Some(channel) = self.channels[usize::from(index)].as_mut() {
                // A worker whose answers wait to be read has no use for credit yet; each piece of it would only wake the worker.
                // What waits comes in the next turn.
                if !channel.urgent && self.driver.more_waits(channel.socket) {
                    continue;
                }
                channel.dirty = false;
                channel.urgent = false;
                if let Some(parts) = channel.take() {
                    self.driver.send(channel.socket, parts);
                }
            }
            self.dirty.swap_remove(at);
        }
    }
}

fn read_frame(incoming: Incoming<'_>) -> Result<Frame, String> {
    Ok(match incoming {
        Incoming::Body { tag, end: BodyEnd::Tunnel, range, .. } => Frame::Tunnel { tag, range },
        Incoming::Body { tag, end, range, last } => {
            let end = match end {
                BodyEnd::End if last => ResponseEnd::End,
                BodyEnd::EndClose if last => ResponseEnd::EndClose,
                _ => ResponseEnd::Open,
            };
            Frame::Body { tag, range, end }
        }
        Incoming::Window { tag, bytes } => Frame::Window { tag, bytes },
        Incoming::TunnelEnd { tag } => Frame::TunnelEnd { tag },
        Incoming::TunnelWindow { tag, bytes } => Frame::TunnelWindow { tag, bytes },
        Incoming::Reset { tag } => Frame::Reset { tag },
        Incoming::Held { tag } => Frame::Held { tag },
        Incoming::Heartbeat(beat) => Frame::Heartbeat(beat),
        Incoming::Offer(offer) => Frame::Offer(offer),
        Incoming::Json { kind, bytes } => match kind {
            FromWorker::Hello => Frame::Hello(json(bytes)?),
            FromWorker::Listen => Frame::Listen { server: json::<Listen>(bytes)?.server },
            FromWorker::Unlisten => Frame::Unlisten { server: json::<Unlisten>(bytes)?.server },
            FromWorker::Count => Frame::Count(json(bytes)?),
            FromWorker::Settings => Frame::Settings(json(bytes)?),
            _ => return Err(format!("{kind:?} is no JSON")),
        },
    })
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn listener_address(listener: &ListenerInfo) -> ListenerAddress {
    match &listener.tcp {
        Some((address, port)) => ListenerAddress::Tcp {
            address: address.clone(),
            port: *port,
            family: if address.contains(':') { "IPv6" } else { "IPv4" }.to_owned(),
        },
        None => ListenerAddress::Unix {
            path: listener.display.strip_prefix("unix:").unwrap_or(&listener.display).to_owned(),
        },
    }
}
