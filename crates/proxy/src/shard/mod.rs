//! The loop of one core: completions in, steps, operations out.
//!
//! Owns: all that lives on this core (connections, channels, timers) and the order of things within a turn. Must never
//! know: what bytes mean; it takes no protocol decision. The only caller of the driver.
//!
//! A turn: wait for completions, give each to its owner as an event, fulfil the wishes of that step, then fire timers, serve the
//! queue, and flush what was written to workers in one send per channel.

mod bodies;
mod channels;
mod clients;
mod commands;
mod drains;
mod grants;
mod links;
mod offers;
mod own;
mod owner;
mod plains;
mod silence;
mod slab;
mod succession;
mod suspects;
mod tunnels;
mod wanted;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use hostler_driver::{Completion, Driver, Key, ListenerId, Operation, SocketId};
use hostler_protocol::http1::{RequestHead, ResponseHead};
use hostler_protocol::worker;

pub use self::commands::{ShardCommand, ShardEvent};
use self::offers::HeadWaits;
pub use self::offers::OfferCounts;
use self::owner::Owner;
use self::slab::Slab;
use self::wanted::Wanted;
use crate::access_log::AccessLog;
use crate::clock::Now;
use crate::conn::{Action, Conn, Ending};
use crate::dispatch::queue::Queue;
use crate::dispatch::{Dispatch, Home};
use crate::quarantine::View;
use crate::request_id::RequestIds;
use crate::settings::{PLAIN_CONNS_PER_CLIENT, Settings};
use crate::stats::Stats;
use crate::timers::Wheel;
use crate::worker::channel::Channel;
use crate::worker::plain::Plain;

/// Pause after the kernel refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A callback for what the shard has to tell the control thread.
pub type EventSink = Box<dyn FnMut(ShardEvent)>;

/// All of one core.
pub struct Shard<D: Driver> {
    driver: D,
    settings: Settings,
    /// Before an app had its say.
    base_settings: Box<Settings>,
    /// What the app said last; it outlives the worker that said it.
    app_settings: worker::Settings,
    now: Now,
    conns: Slab<Conn>,
    /// Generation of each slot's last request: survives the connection, so that late frames are known as such.
    generations: Vec<u8>,
    channels: Vec<Option<Channel>>,
    channel_serial: u32,
    plains: Slab<Plain>,
    dispatch: Dispatch,
    timers: Wheel,
    request_head: Box<RequestHead>,
    response_head: Box<ResponseHead>,
    ids: RequestIds,
    stats: Stats,
    listeners: Vec<ListenerId>,
    /// Listeners that wait for descriptors, and until when.
    accept_paused: Vec<(ListenerId, u64)>,
    /// When to look for workers that hang.
    look_ms: u64,
    /// Requests that ended workers, as far as this shard knows.
    suspects: View,
    /// When to look for requests that have waited long enough for their own worker.
    own_look_ms: u64,
    /// Clients that were given a worker of their own: whose turn is next.
    sessions_begun: u32,
    /// All that wait in the queue do so for a worker of their own: others pass them.
    only_own_wait: bool,
    /// Client listeners are off because all connection slots are taken.
    accept_full: bool,
    /// Connections that were accepted in the same turn as the last free slot was taken; the next free slots are
    /// theirs. Bounded by what the kernel hands over before it hears that accepting is off.
    accepted: VecDeque<(OwnedFd, u32)>,
    /// Connections that have asked for a large buffer and not got it yet.
    bodies_asked: u32,
    offers: OfferCounts,
    head_waits: HeadWaits,
    /// Offered connections on their way back that may have nothing left to send.
    leaving: Vec<u32>,
    log: Option<AccessLog>,
    draining: Option<Draining>,
    /// Where the workers of this shard find the one that takes its place.
    moved_to: Option<PathBuf>,
    commands: Receiver<ShardCommand>,
    events: EventSink,
    /// Scratch, kept to avoid allocation.
    completions: Vec<Completion>,
    actions: VecDeque<Action>,
    dirty: Vec<u16>,
    owners: Vec<u32>,
    /// The queue should be served at the end of this turn.
    pump: bool,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
struct Draining {
    deadline_ms: u64,
    /// Idle connections stay until then; none if they do not.
    idle_until_ms: Option<u64>,
    cut: u32,
    /// Turns until the listeners are closed.
    listen_turns: u8,
}

impl Draining {
    fn of_conns(self) -> Ending {
        if self.idle_until_ms.is_some() { Ending::Retiring } else { Ending::Stopping }
    }
}

/// What a shard starts with.
pub struct ShardParts {
    /// Limits and time-outs.
    pub settings: Settings,
    /// Listeners for clients, in the order of `settings.listeners`.
    pub client_listeners: Vec<OwnedFd>,
    /// The listener for workers' channels.
    pub channel_listener: OwnedFd,
    /// Orders of the control thread; a [`hostler_driver::Waker`] makes the shard look.
    pub commands: Receiver<ShardCommand>,
    /// Where the shard's own news go.
    pub events: EventSink,
    /// For request ids.
    pub seed: u64,
}

impl<D: Driver> Shard<D> {
    /// A shard that accepts from now on.
    pub fn new(mut driver: D, parts: ShardParts, now: Now) -> io::Result<Self> {
        let settings = parts.settings;
        let mut listeners = Vec::new();
        for (index, fd) in parts.client_listeners.into_iter().enumerate() {
            listeners.push(driver.listen(fd, Owner::ClientListener(index as u32).key())?);
        }
        driver.listen(parts.channel_listener, Owner::ChannelListener.key())?;
        let plains_max = settings.conns_max * PLAIN_CONNS_PER_CLIENT;
        Ok(Self {
            now,
            conns: Slab::new(settings.conns_max),
            generations: Vec::with_capacity(settings.conns_max as usize),
            channels: Vec::new(),
            channel_serial: 0,
            plains: Slab::new(plains_max),
            dispatch: Dispatch::new(
                Home { core: settings.core, shard: settings.shard, shards: settings.shards },
                settings.worker_requests_max,
                Queue::new(settings.queue_requests_max, settings.queue_ms_max),
            ),
            timers: Wheel::new(settings.conns_max + plains_max),
            request_head: Box::new(RequestHead::new()),
            response_head: Box::new(ResponseHead::new()),
            ids: RequestIds::new(parts.seed),
            stats: Stats::default(),
            listeners,
            accept_paused: Vec::new(),
            look_ms: u64::MAX,
            suspects: View::default(),
            own_look_ms: 0,
            sessions_begun: 0,
            only_own_wait: false,
            accept_full: false,
            bodies_asked: 0,
            accepted: VecDeque::new(),
            offers: OfferCounts::default(),
            head_waits: HeadWaits::default(),
            leaving: Vec::new(),
            log: settings.access_log.then(|| AccessLog::new(settings.log_json)),
            draining: None,
            moved_to: None,
            commands: parts.commands,
            events: parts.events,
            completions: Vec::with_capacity(hostler_driver::COMPLETIONS_PER_TURN),
            actions: VecDeque::with_capacity(64),
            dirty: Vec::with_capacity(64),
            owners: Vec::with_capacity(64),
            pump: false,
            wanted: Wanted::default(),
            driver,
            base_settings: Box::new(settings.clone()),
            app_settings: worker::Settings::default(),
            settings,
        })
    }

    /// The driver, for leak checks and wakers.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Counters so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Every client connection in a line, for when one of them hangs.
    pub fn dump(&self) -> String {
        let slots = (0..self.conns.end()).filter_map(|slot| Some((slot, self.conns.get(slot)?)));
        slots.map(|(slot, conn)| format!("{slot}: {conn:?}\n")).collect()
    }

    /// Client connections open.
    pub fn conns_open(&self) -> u32 {
        self.conns.used()
    }

    /// Waits for something to happen (at most `wait_max`) and handles it. False when the shard has drained.
    pub fn turn(
        &mut self,
        wait_max: Option<Duration>,
        clock: impl FnOnce() -> Now,
    ) -> io::Result<bool> {
        let mut completions = std::mem::take(&mut self.completions);
        let waited_for_suspect = self.dispatch.suspect_wait_ms(self.now.ms).is_some();
        let wait = match (self.next_deadline(), wait_max) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.driver.turn(wait, &mut completions)?;
        self.now = clock();
        self.drop_idle_that_spoke(&completions);
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.end_leaving();
        // A wait for a suspected worker may be over; looking is cheap and happens only while requests wait.
        self.pump |= waited_for_suspect;
        self.look_for_own();
        if self.pump {
            self.serve_queue();
        }
        self.expire_queue();
        self.expire();
        if self.pump {
            self.serve_queue();
        }
        self.want_worker();
        self.give_turns();
        self.flush_channels();
        self.stop_listening();
        let drained = self.has_drained();
        self.hand_over_log(drained);
        if drained {
            self.report_drained();
        }
        Ok(!drained)
    }

    fn hand_over_log(&mut self, all: bool) {
        if let Some(lines) = self.log.as_mut().and_then(|log| log.take(self.now.ms, all)) {
            (self.events)(ShardEvent::Log(lines));
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        if self.draining.is_some() && !self.listeners.is_empty() {
            return Some(Duration::ZERO);
        }
        let timers = self.timers.wait_ms(self.now.ms);
        let accept = self.accept_paused.first().map(|(_, until)| until.saturating_sub(self.now.ms));
        let drain = self.draining.map(|drain| {
            let next_ms = drain.idle_until_ms.unwrap_or(u64::MAX).min(drain.deadline_ms);
            next_ms.saturating_sub(self.now.ms)
        });
        let log = self.log.as_ref().and_then(|log| log.wait_ms(self.now.ms));
        let suspect = self.dispatch.suspect_wait_ms(self.now.ms);
        let queue = self.dispatch.queue.expires_in_ms(self.now.ms);
        let head = self.head_wait_ms();
        let look = (self.look_ms < u64::MAX).then(|| self.look_ms.saturating_sub(self.now.ms));
        let own = self.own_wait_ms();
        [timers, accept, drain, log, suspect, queue, head, look, own]
            .into_iter()
            .flatten()
            .min()
            .map(Duration::from_millis)
    }

    /// Does the slot that `key` names still hold this socket? The driver reports nothing about a socket after its
    /// `close`, but the list of this turn may hold more of it, and its slot may have a new owner by now.
    fn is_current(&self, key: Key, socket: SocketId) -> bool {
        let current = match Owner::from_key(key) {
            Owner::Client(slot) => self.conns.get(slot).map(|conn| conn.socket),
            Owner::Channel(index) => {
                self.channels[index as usize].as_ref().map(|channel| channel.socket)
            }
            Owner::Plain(slot) => self.plains.get(slot).map(|plain| plain.socket),
            Owner::ClientListener(_) | Owner::ChannelListener => None,
        };
        current == Some(socket)
    }

    fn complete(&mut self, completion: Completion) {
        match completion {
            Completion::Received { socket, key, .. }
            | Completion::Sent { socket, key }
            | Completion::SendProgress { socket, key }
            | Completion::ReceiveEnded { socket, key }
            | Completion::Connected { socket, key }
            | Completion::Failed { socket, key, .. }
                if !self.is_current(key, socket) => {}
            Completion::Accepted { listener, fd } => match Owner::from_key(listener) {
                Owner::ChannelListener => self.channel_accepted(fd),
                Owner::ClientListener(index) => self.client_accepted(fd, index),
                owner => unreachable!("{owner:?} does not listen"),
            },
            Completion::AcceptFailed { id, error, .. } => {
                tracing::warn!(%error, "accepting paused for {ACCEPT_PAUSE_MS} ms");
                self.accept_paused.push((id, self.now.ms + ACCEPT_PAUSE_MS));
            }
            Completion::Received { key, buffer, .. } => match Owner::from_key(key) {
                Owner::Client(slot) => self.client_received(slot, buffer),
                Owner::Channel(index) => self.channel_received(index as u16, &buffer),
                Owner::Plain(slot) => self.plain_received(slot, &buffer),
                owner => unreachable!("{owner:?} does not receive"),
            },
            Completion::Sent { key, .. } => match Owner::from_key(key) {
                Owner::Client(slot) => self.client_sent(slot),
                Owner::Channel(index) => self.channel_sent(index as u16),
                Owner::Plain(slot) => self.plain_sent(slot),
                owner => unreachable!("{owner:?} does not send"),
            },
            Completion::SendProgress { key, .. } => match Owner::from_key(key) {
                Owner::Client(slot) => self.client_progress(slot),
                Owner::Plain(slot) => self.plain_progress(slot),
                _ => {}
            },
            Completion::ReceiveEnded { key, .. } => match Owner::from_key(key) {
                Owner::Client(slot) => self.client_ended(slot),
                Owner::Channel(index) => self.channel_lost(index as u16, "the worker closed it"),
                Owner::Plain(slot) => self.plain_ended(slot),
                owner => unreachable!("{owner:?} does not receive"),
            },
            Completion::Connected { key, .. } => {
                if let Owner::Plain(slot) = Owner::from_key(key) {
                    self.plain_connected(slot);
                }
            }
            Completion::Failed { key, operation, error, .. } => self.failed(key, operation, &error),
            Completion::Woken => self.run_commands(),
        }
    }

    fn failed(&mut self, key: Key, operation: Operation, error: &io::Error) {
        match Owner::from_key(key) {
            Owner::Client(slot) => self.client_failed(slot, error),
            Owner::Channel(index) => self.channel_lost(index as u16, &error.to_string()),
            Owner::Plain(slot) => self.plain_failed(slot, operation, error),
            owner => unreachable!("{owner:?} has no operations of its own"),
        }
    }

    fn expire(&mut self) {
        self.end_head_waits();
        self.look_for_silence();
        while let Some(timer) = self.timers.expire(self.now.ms) {
            if timer < self.settings.conns_max {
                self.client_deadline(timer);
            } else {
                self.plain_deadline(timer - self.settings.conns_max);
            }
        }
        while let Some((listener, until)) = self.accept_paused.first().copied() {
            if until > self.now.ms {
                break;
            }
            self.accept_paused.remove(0);
            if self.draining.is_none() && !self.accept_full {
                self.driver.accept(listener, true);
            }
        }
        self.end_idle_time();
        if self.draining.is_some_and(|drain| drain.deadline_ms <= self.now.ms) {
            self.cut_all();
        }
    }

    /// Sends with a closed socket are ignored by the driver; nothing to check here.
    fn close_socket(&mut self, socket: SocketId) {
        self.driver.close(socket);
    }
}
