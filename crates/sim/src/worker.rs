//! A worker process: its channel, its plain connections, its death.
//!
//! Owns: what one process holds. Must never know: when a process is replaced (`world` is the supervisor). Called by
//! `world`.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use hostler_driver::Key;
use hostler_driver::fake::{FakeNet, FakePeer, FakeServer};
use hostler_protocol::control::{PlainAddress, Transport, WorkerAddress, WorkerId};
use hostler_proxy::stats::WorkerGauge;

use crate::app::AppWishes;
use crate::frames::{Fate, FramesSide};
use crate::oracle::Ledger;
use crate::plain::PlainSide;
use crate::rng::Rng;
use crate::wire::Wire;

thread_local! {
    /// Processes of the world on this thread that have died.
    static ENDED: RefCell<HashSet<u32>> = RefCell::default();
}

/// What `/proc` would say.
pub fn is_ending(pid: u32) -> bool {
    ENDED.with_borrow(|ended| ended.contains(&pid))
}

/// A new world has no dead.
pub fn forget_the_dead() {
    ENDED.with_borrow_mut(HashSet::clear);
}

/// One worker process.
pub struct Worker {
    /// Its number.
    pub number: u32,
    /// What the shards count about it.
    pub gauge: Arc<WorkerGauge>,
    /// It runs.
    pub alive: bool,
    /// Its event loop stands still.
    frozen: bool,
    transport: Transport,
    wishes: AppWishes,
    rng: Rng,
    channel: Option<FramesSide>,
    /// When to connect (again).
    connect_ms: u64,
    server: Option<FakeServer>,
    plains: Vec<PlainSide>,
}

impl Worker {
    /// A process that has just started and listens on its plain path.
    pub fn new(
        number: u32,
        transport: Transport,
        wishes: AppWishes,
        net: &FakeNet,
        now_ms: u64,
        mut rng: Rng,
    ) -> Self {
        Self {
            number,
            gauge: Arc::default(),
            alive: true,
            frozen: false,
            transport,
            wishes,
            connect_ms: now_ms + rng.ms(0, 30),
            rng,
            channel: None,
            server: Some(net.serve(path(number))),
            plains: Vec::new(),
        }
    }

    /// What the supervisor tells the proxy about it.
    pub fn address(&self) -> WorkerAddress {
        WorkerAddress {
            worker: WorkerId(self.number),
            app: "web".into(),
            slot: 0,
            pid: 1_000 + self.number,
            core: None,
            transport: self.transport,
            plain: PlainAddress::Unix(path(self.number)),
            plain_idle_ms_max: 4_000,
        }
    }

    /// Can it take requests, as far as it knows?
    pub fn is_open(&self, now_ms: u64) -> bool {
        // What it has just said takes a while to be heard.
        let heard = now_ms > self.connect_ms + 200;
        self.alive
            && !self.frozen
            && heard
            && (self.transport == Transport::Http
                || self.channel.as_ref().is_some_and(|channel| channel.is_listening()))
    }

    /// One of its connections, for faults.
    pub fn some_peer(&mut self, rng: &mut Rng) -> Option<FakePeer> {
        let channels = self.channel.iter().map(FramesSide::peer);
        let peers: Vec<&FakePeer> =
            channels.chain(self.plains.iter().filter_map(|plain| plain.peer().socket())).collect();
        (!peers.is_empty()).then(|| peers[rng.below(peers.len())].clone())
    }

    /// Its channel may have been reset from outside.
    pub fn expect_loss(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.expect_loss();
        }
    }

    /// Its event loop stands still, or goes on.
    pub fn freeze(&mut self, on: bool) {
        self.frozen = on;
    }

    /// The app's server closes, or listens again.
    pub fn listen(&mut self, on: bool) {
        if let Some(channel) = &mut self.channel {
            channel.listen(on);
        }
    }

    /// Does what it wants to do now. True when something happened.
    pub fn act(&mut self, net: &FakeNet, channels: Key, ledger: &mut Ledger) -> bool {
        if !self.alive {
            return false;
        }
        if self.frozen {
            ledger.frozen_ms = Some(ledger.now_ms);
            return false;
        }
        let mut happened = self.connect(net, channels, ledger);
        if let Some(channel) = &mut self.channel {
            let (fate, did) = channel.act(ledger);
            happened |= did;
            match fate {
                Fate::Lives => {}
                Fate::WorkerDies => {
                    self.die(ledger);
                    return true;
                }
                Fate::Broken | Fate::ClosedByProxy => self.lose_channel(ledger),
            }
        }
        happened | self.act_plain(ledger)
    }

    fn connect(&mut self, net: &FakeNet, channels: Key, ledger: &Ledger) -> bool {
        let mut happened = false;
        if self.transport == Transport::Frames
            && self.channel.is_none()
            && ledger.now_ms >= self.connect_ms
        {
            if let Some(peer) = net.client(channels) {
                if self.rng.chance(15) {
                    peer.short_sends(self.rng.within(1_000, 60_000));
                }
                ledger.note(|| format!("worker {} opens its channel", self.number));
                self.connect_ms = ledger.now_ms;
                self.channel =
                    Some(FramesSide::new(peer, self.number, self.wishes, self.rng.fork()));
            } else {
                self.connect_ms = ledger.now_ms + 500;
            }
            happened = true;
        }
        while let Some(peer) = self.server.as_ref().and_then(FakeServer::accept) {
            let rng = self.rng.fork();
            let framed = self.transport == Transport::Frames;
            let wire = Wire::Socket(peer);
            let plain = PlainSide::new(wire, self.number, framed, self.wishes, rng, ledger.now_ms);
            self.plains.push(plain);
            happened = true;
        }
        for end in self.channel.as_mut().map(FramesSide::take_opened).into_iter().flatten() {
            let (wire, rng) = (Wire::Tunnel(end), self.rng.fork());
            let plain = PlainSide::new(wire, self.number, false, self.wishes, rng, ledger.now_ms);
            self.plains.push(plain);
            happened = true;
        }
        happened
    }

    fn act_plain(&mut self, ledger: &mut Ledger) -> bool {
        let mut happened = false;
        let mut dies = false;
        self.plains.retain_mut(|plain| {
            let (fate, did) = plain.act(ledger);
            happened |= did;
            match fate {
                Fate::Lives => true,
                Fate::WorkerDies => {
                    dies = true;
                    true
                }
                Fate::Broken | Fate::ClosedByProxy => {
                    plain.lose(ledger);
                    plain.peer().close();
                    false
                }
            }
        });
        if dies {
            self.die(ledger);
        }
        happened
    }

    /// The channel is gone; it is opened again after a while.
    pub fn lose_channel(&mut self, ledger: &mut Ledger) {
        if let Some(mut channel) = self.channel.take() {
            ledger.note(|| format!("worker {} has lost its channel", self.number));
            ledger.note_loss();
            channel.lose(ledger);
            channel.peer().close();
            self.connect_ms = ledger.now_ms + self.rng.ms(0, 400);
        }
    }

    /// The process ends, as by SIGKILL.
    pub fn die(&mut self, ledger: &mut Ledger) {
        if !self.alive {
            return;
        }
        ledger.note(|| format!("worker {} dies", self.number));
        ledger.note_loss();
        self.alive = false;
        ENDED.with_borrow_mut(|ended| ended.insert(self.address().pid));
        if let Some(mut channel) = self.channel.take() {
            channel.dies(ledger);
            channel.peer().close();
        }
        for plain in &mut self.plains {
            plain.dies(ledger);
            plain.peer().close();
        }
        self.plains.clear();
        if let Some(server) = self.server.take() {
            while let Some(peer) = server.accept() {
                peer.close();
            }
            server.stop();
        }
    }

    /// Connections to its plain path fail with this error number.
    pub fn refuse(&mut self, errno: Option<i32>, ledger: &mut Ledger) {
        if let Some(server) = &self.server {
            ledger.note_loss();
            server.refuse(errno);
        }
    }

    /// Connections it holds open to the proxy.
    pub fn connections(&self) -> usize {
        let plains = self.plains.iter().filter(|plain| plain.peer().socket().is_some());
        usize::from(self.channel.is_some()) + plains.count()
    }

    /// Connections to its plain path that the proxy holds open.
    pub fn connections_open(&self) -> usize {
        let sockets = self.plains.iter().filter_map(|plain| plain.peer().socket());
        sockets.filter(|peer| !peer.is_closed()).count()
    }

    /// Bytes of it that the proxy has not received.
    pub fn unread(&self) -> usize {
        let channel = self.channel.as_ref().map_or(0, |channel| channel.peer().unread());
        channel + self.plains.iter().map(|plain| plain.peer().unread()).sum::<usize>()
    }

    /// Has it nothing in hand?
    pub fn is_idle(&self) -> bool {
        !self.channel.as_ref().is_some_and(FramesSide::is_busy)
            && !self.plains.iter().any(PlainSide::is_busy)
    }

    /// When it wants to act by itself.
    pub fn wakes_ms(&self, now_ms: u64) -> u64 {
        if !self.alive || self.frozen {
            return u64::MAX;
        }
        let mut at = match &self.channel {
            Some(channel) => channel.wakes_ms(now_ms),
            None if self.transport == Transport::Frames => self.connect_ms,
            None => u64::MAX,
        };
        for plain in &self.plains {
            at = at.min(plain.wakes_ms(now_ms));
        }
        at
    }
}

fn path(number: u32) -> PathBuf {
    PathBuf::from(format!("/run/sim/web.{number}.sock"))
}
