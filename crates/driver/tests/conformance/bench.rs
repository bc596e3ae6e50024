//! One driver on the bench: turning it, and asking what happened.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hostler_driver::buffer::PoolSize;
use hostler_driver::{
    Buffer, Completion, Driver, DriverConfig, Key, Parts, PoolClass, PoolSizes, ReceiveMode,
    SocketId, Usage,
};

use crate::world::{Got, Peer, World};

/// Longer than anything here takes, also on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Bench<W: World> {
    pub(crate) world: W,
    pub(crate) driver: W::Driver,
    happened: VecDeque<Completion>,
    next_key: u32,
}

/// The key of every listener.
pub(crate) const LISTENER: Key = Key(7);

/// Small pools, so that limits are met.
pub(crate) fn config() -> DriverConfig {
    let size = |count, bytes| PoolSize { count, bytes };
    DriverConfig {
        sockets_max: 600,
        pools: PoolSizes {
            head: size(64, 2048),
            body: size(8, 65536),
            channel: size(8, 65536),
            send: size(64, 4096),
            batch: size(40, 65536),
        },
    }
}

impl<W: World + Default> Bench<W> {
    /// `None` when the backend is not to be had here.
    pub(crate) fn new(config: &DriverConfig) -> Option<Self> {
        let mut world = W::default();
        let driver = world.driver(config)?;
        Some(Self { world, driver, happened: VecDeque::new(), next_key: 100 })
    }
}

impl<W: World> Bench<W> {
    /// A connected socket and its peer.
    pub(crate) fn pair(&mut self) -> (SocketId, Box<dyn Peer>) {
        let (fd, peer) = self.world.pair();
        self.next_key += 1;
        let socket = self.driver.adopt(fd, Key(self.next_key)).expect("room");
        (socket, peer)
    }

    /// One turn of at most a few milliseconds.
    pub(crate) fn turn(&mut self) {
        let mut out = Vec::new();
        self.driver.turn(Some(Duration::from_millis(2)), &mut out).expect("turn");
        self.happened.extend(out);
    }

    /// One turn that does not wait.
    pub(crate) fn turn_at_once(&mut self) {
        let mut out = Vec::new();
        self.driver.turn(Some(Duration::ZERO), &mut out).expect("turn");
        self.happened.extend(out);
    }

    /// Turns until the condition holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < DEADLINE, "waited too long for: {what}");
            self.turn();
        }
    }

    /// The next thing that happened.
    pub(crate) fn next(&mut self) -> Completion {
        self.until("a completion", |bench| !bench.happened.is_empty());
        self.happened.pop_front().expect("just seen")
    }

    /// Whatever has happened and was not asked for.
    pub(crate) fn take_happened(&mut self) -> Vec<Completion> {
        self.happened.drain(..).collect()
    }

    /// Nothing happens for some turns.
    pub(crate) fn quiet(&mut self) {
        for _ in 0..5 {
            self.turn();
        }
        assert!(self.happened.is_empty(), "nothing was to happen: {:?}", self.happened);
    }

    /// One turn in which nothing happens.
    pub(crate) fn quiet_for_one_turn(&mut self) {
        self.turn();
        assert!(self.happened.is_empty(), "nothing was to happen: {:?}", self.happened);
    }

    /// Nothing happens for some turns but progress of a send, which stays to be reported.
    pub(crate) fn quiet_but_progress(&mut self) {
        for _ in 0..5 {
            self.turn();
        }
        let progress =
            |completion: &Completion| matches!(completion, Completion::SendProgress { .. });
        assert!(self.happened.iter().all(progress), "only progress: {:?}", self.happened);
    }

    /// The next completion brings bytes for this socket.
    pub(crate) fn received(&mut self, socket: SocketId) -> Buffer {
        match self.next() {
            Completion::Received { socket: id, buffer, .. } if id == socket => buffer,
            other => panic!("expected bytes for {socket:?}: {other:?}"),
        }
    }

    /// Receives until `count` bytes have come.
    pub(crate) fn received_exactly(&mut self, socket: SocketId, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.extend_from_slice(&self.received(socket));
        }
        assert_eq!(bytes.len(), count);
        bytes
    }

    /// The send of this socket ends well. Says how often there was progress before.
    pub(crate) fn sent(&mut self, socket: SocketId) -> u32 {
        let mut progress = 0;
        loop {
            match self.next() {
                Completion::SendProgress { socket: id, .. } if id == socket => progress += 1,
                Completion::Sent { socket: id, .. } if id == socket => return progress,
                other => panic!("expected the end of a send: {other:?}"),
            }
        }
    }

    /// The next completion is the FIN of the peer.
    pub(crate) fn receive_ended(&mut self, socket: SocketId) {
        match self.next() {
            Completion::ReceiveEnded { socket: id, .. } if id == socket => {}
            other => panic!("expected FIN for {socket:?}: {other:?}"),
        }
    }

    /// The next completion is an accepted connection.
    pub(crate) fn accepted(&mut self) -> std::os::fd::OwnedFd {
        match self.next() {
            Completion::Accepted { fd, .. } => fd,
            other => panic!("expected a connection: {other:?}"),
        }
    }

    /// Turns until the peer has read `count` bytes.
    pub(crate) fn peer_reads(&mut self, peer: &mut dyn Peer, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("bytes at the peer", |_| {
            while bytes.len() < count && peer.read(&mut bytes) == Got::Bytes {}
            bytes.len() >= count
        });
        assert_eq!(bytes.len(), count);
        bytes
    }

    /// Turns until the connection ends for the peer, by FIN or reset.
    pub(crate) fn peer_ends(&mut self, peer: &mut dyn Peer) {
        let mut rest = Vec::new();
        self.until("the end at the peer", |_| {
            matches!(peer.read(&mut rest), Got::End | Got::Reset)
        });
    }

    /// Turns until the peer has written everything.
    pub(crate) fn peer_writes(&mut self, peer: &mut dyn Peer, bytes: &[u8]) {
        let mut written = 0;
        self.until("room at the peer", |_| {
            written += peer.write(&bytes[written..]);
            written == bytes.len()
        });
    }

    pub(crate) fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        self.driver.receive(socket, mode);
    }

    pub(crate) fn send(&mut self, socket: SocketId, bytes: &[u8]) {
        let parts = self.parts(bytes);
        self.driver.send(socket, parts);
    }

    /// The bytes in as few batch buffers as they need.
    pub(crate) fn parts(&self, bytes: &[u8]) -> Parts {
        let mut parts = Parts::new();
        for piece in bytes.chunks(65536) {
            let mut buffer = self.driver.pool().take(PoolClass::Batch).expect("free buffer");
            buffer.extend_from_slice(piece);
            parts.push(buffer.freeze().into());
        }
        parts
    }

    /// Everything was given back.
    pub(crate) fn ends_clean(&mut self) {
        self.happened.clear();
        let clean =
            |usage: Usage| (usage.sockets, usage.operations, usage.buffers_out) == (0, 0, 0);
        self.until("everything given back", |bench| {
            bench.happened.clear();
            clean(bench.driver.usage())
        });
        assert_eq!(Buffer::heap_count(), 0, "heap buffers");
    }
}
