//! The worker's end of a framed channel.
//!
//! Owns: its streams, windows and batches; every frame of the proxy is checked against `docs/worker-protocol.md`
//! here. Must never know: why an app answers as it does. Called by `worker`.

mod answering;
mod incoming;
mod tunnels;

use std::collections::{BTreeMap, VecDeque};

use hostler_driver::fake::{FakePeer, FakeRead};
use hostler_protocol::worker::peer::{PeerReader, put_heartbeat, put_json};
use hostler_protocol::worker::{
    FromWorker, Heartbeat, Listen, PROTOCOL_VERSION, Settings, Unlisten, WorkerHello,
};

use crate::app::{AppWishes, Exchange};
use crate::oracle::Ledger;
use crate::rng::Rng;
use crate::wire::TunnelEnd;

/// What became of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Lives,
    /// The proxy closed it.
    ClosedByProxy,
    /// The worker broke it.
    Broken,
    /// The worker process ends.
    WorkerDies,
}

/// One client connection as the worker sees it.
struct Stream {
    generation: u8,
    exchange: Option<Exchange>,
    /// Response bytes that may be sent, and those that are not acknowledged.
    credit: i64,
    unacknowledged: i64,
    /// Request bytes that the proxy may send.
    window: i64,
    half_closed: bool,
}

/// The worker's end of a channel.
pub struct FramesSide {
    peer: FakePeer,
    worker: u32,
    rng: Rng,
    wishes: AppWishes,
    reader: PeerReader,
    out: VecDeque<u8>,
    queued: u64,
    flushed: u64,
    /// Offsets in the output at which an answer is whole.
    ends: VecDeque<(u64, usize, usize)>,
    streams: BTreeMap<u32, Stream>,
    /// Streams that the app has destroyed, by RESET; late frames for them are no mistake.
    reset: BTreeMap<u32, u8>,
    tunnels: BTreeMap<u32, tunnels::Tunnel>,
    /// Tunnels that have begun and nobody serves yet.
    opened: Vec<TunnelEnd>,
    /// Streams whose last tunnel the app has ended, and its generation; late frames for them are no mistake.
    ended: BTreeMap<u32, u8>,
    greeted: bool,
    beat_ms: u64,
    nonsense: bool,
    broken: bool,
    listening: bool,
}

impl FramesSide {
    /// Greets the proxy and listens.
    pub fn new(peer: FakePeer, worker: u32, wishes: AppWishes, rng: Rng) -> Self {
        let mut this = Self {
            peer,
            worker,
            rng,
            wishes,
            reader: PeerReader::default(),
            out: VecDeque::new(),
            queued: 0,
            flushed: 0,
            ends: VecDeque::new(),
            streams: BTreeMap::new(),
            reset: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            opened: Vec::new(),
            ended: BTreeMap::new(),
            greeted: false,
            beat_ms: 0,
            nonsense: false,
            broken: false,
            listening: true,
        };
        let hello = WorkerHello {
            protocol: PROTOCOL_VERSION,
            worker,
            app: "web".into(),
            slot: 0,
            pid: 1_000 + worker,
            node: "24.0.0".into(),
            exec: false,
        };
        let mut bytes = Vec::new();
        put_json(&mut bytes, FromWorker::Hello, &hello);
        put_json(&mut bytes, FromWorker::Listen, &Listen::default());
        let settings = Settings {
            client_error: wishes.client_errors,
            // More than anybody sends: the end of a count is Node's business.
            requests_per_connection_max: wishes.counts.then_some(1_000_000),
            ..Settings::default()
        };
        put_json(&mut bytes, FromWorker::Settings, &settings);
        this.put(&bytes);
        this
    }

    /// For faults.
    pub fn peer(&self) -> &FakePeer {
        &self.peer
    }

    /// The channel has been reset from outside: that the proxy closes it is no mistake.
    pub fn expect_loss(&mut self) {
        self.nonsense = true;
    }

    /// Has the app's server not been closed?
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// The app's server closes, or listens again.
    pub fn listen(&mut self, on: bool) {
        let mut bytes = Vec::new();
        if on {
            put_json(&mut bytes, FromWorker::Listen, &Listen::default());
        } else {
            put_json(&mut bytes, FromWorker::Unlisten, &Unlisten::default());
        }
        self.listening = on;
        self.put(&bytes);
    }

    /// Are requests in hand?
    pub fn is_busy(&self) -> bool {
        self.streams.values().any(|stream| stream.exchange.is_some())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.queued += bytes.len() as u64;
        self.out.extend(bytes);
    }

    /// Reads, works, writes. The second value: something happened.
    pub fn act(&mut self, ledger: &mut Ledger) -> (Fate, bool) {
        let mut bytes = Vec::new();
        let most = if self.rng.chance(80) { usize::MAX } else { self.rng.within(1, 5_000) };
        let mut happened = false;
        match self.peer.read_at_most(most, &mut bytes) {
            FakeRead::Bytes => {
                happened = true;
                // Work makes an idle worker beat faster.
                self.beat_ms = self.beat_ms.min(ledger.now_ms + 100);
                self.reader.push(&bytes);
                if let Err(why) = self.frames(ledger) {
                    ledger.violation(format!(
                        "worker {}: the proxy broke the protocol: {why}",
                        self.worker
                    ));
                    return (Fate::Broken, true);
                }
            }
            FakeRead::End | FakeRead::Reset => {
                if !self.nonsense && ledger.drained_ms.is_none() && ledger.retired_ms.is_none() {
                    ledger.violation(format!(
                        "the proxy closed the channel of worker {}",
                        self.worker
                    ));
                }
                return (Fate::ClosedByProxy, true);
            }
            FakeRead::Nothing => {}
        }
        let fate = self.work(ledger, &mut happened);
        self.work_tunnels(&mut happened);
        self.heartbeat(ledger);
        happened |= self.flush(ledger);
        if self.broken && self.out.is_empty() && fate == Fate::Lives {
            return (Fate::Broken, true);
        }
        (fate, happened)
    }

    /// When it wants to act by itself.
    pub fn wakes_ms(&self, now_ms: u64) -> u64 {
        let exchanges = self.streams.values().filter_map(|stream| stream.exchange.as_ref());
        exchanges
            .map(|exchange| exchange.wakes_ms(now_ms))
            .min()
            .unwrap_or(u64::MAX)
            .min(self.beat_ms)
    }

    /// The process ends.
    pub fn dies(&mut self, ledger: &mut Ledger) {
        for stream in self.streams.values() {
            if let Some(exchange) = &stream.exchange {
                exchange.dies(ledger);
            }
        }
        self.lose(ledger);
    }

    /// All requests in hand are lost.
    pub fn lose(&mut self, ledger: &mut Ledger) {
        for stream in self.streams.values() {
            if let Some(exchange) = &stream.exchange {
                exchange.lost(ledger);
            }
        }
        self.lose_tunnels(ledger);
        // What is written and not flushed is lost too.
        for (_, id, delivery) in &self.ends {
            ledger.records[*id].deliveries[*delivery].lost = true;
        }
    }

    fn heartbeat(&mut self, ledger: &Ledger) {
        if ledger.now_ms < self.beat_ms {
            return;
        }
        self.beat_ms = ledger.now_ms + if self.is_busy() { 100 } else { 1_000 };
        let mut bytes = Vec::new();
        put_heartbeat(
            &mut bytes,
            &Heartbeat {
                loop_delay_us: self.rng.pick(&[5, 5_000, 300_000]),
                utilisation_permille: self.rng.pick(&[1, 500, 1_000]),
                in_flight: 0,
                heap_kib: 1,
            },
        );
        self.put(&bytes);
    }

    fn flush(&mut self, ledger: &mut Ledger) -> bool {
        let mut happened = false;
        while !self.out.is_empty() {
            let most = if self.rng.chance(70) { 1 << 20 } else { self.rng.within(1, 3_000) };
            let piece: Vec<u8> = self.out.iter().take(most).copied().collect();
            let count = self.peer.write(&piece);
            if count == 0 {
                break;
            }
            happened = true;
            self.out.drain(..count);
            self.flushed += count as u64;
        }
        while let Some(&(end, id, delivery)) = self.ends.front() {
            if self.flushed < end {
                break;
            }
            self.ends.pop_front();
            ledger.records[id].deliveries[delivery].finished = true;
        }
        happened
    }
}
