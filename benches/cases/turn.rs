//! What requests cost in a whole shard: completions, slots, dispatch, links, channels, the flush at the end of a turn.
//!
//! Owns: a shard with clients and a worker around it. Must never know: what the shard is made of.
//!
//! The driver is the one without a kernel. It is counted too, and so are the clients and the worker: a figure of these cases is
//! there to be compared with an older one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::Key;
use hostler_driver::fake::{FakeDriver, FakePeer, FakeServer};
use hostler_protocol::control::{PlainAddress, Transport, WorkerAddress, WorkerId};
use hostler_protocol::worker::peer::{greeting, put};
use hostler_protocol::worker::{
    FRAME_PREFIX_BYTES, FromWorker, PROTOCOL_VERSION, StreamTag, ToWorker,
};
use hostler_proxy::clock::Now;
use hostler_proxy::shard::ShardParts;
use hostler_proxy::stats::WorkerGauge;
use hostler_proxy::{Shard, ShardCommand};

use super::rig::settings;
use super::wire::{NODE_ANSWER, TWO_FIELDS};
use super::{Amount, Case};

/// Clients, each with one request.
const CLIENTS: usize = 16;
/// The shard's names for its listeners.
const CLIENT_LISTENER: Key = Key(0);
const CHANNEL_LISTENER: Key = Key(1 << 29);
const PLAIN_PATH: &str = "/run/bench/worker.sock";

pub(super) fn add(cases: &mut Vec<Case>) {
    for (name, transport) in [("frames", Transport::Frames), ("http", Transport::Http)] {
        let prepare = move || {
            let mut world = World::new(transport);
            move || world.round()
        };
        let name = format!("{CLIENTS}_requests_{name}");
        cases.push(Case::new("turn", &name, prepare).of(Amount::Elements(CLIENTS)));
    }
}

struct World {
    shard: Shard<FakeDriver>,
    now_ms: u64,
    clients: Vec<FakePeer>,
    worker: Worker,
    bytes: Vec<u8>,
    answers: Vec<u8>,
}

/// The worker's side of its connections.
struct Worker {
    channel: FakePeer,
    server: FakeServer,
    plains: Vec<FakePeer>,
}

impl World {
    fn new(transport: Transport) -> Self {
        let settings = settings();
        let (driver, net) = FakeDriver::new(&settings.driver_config()).expect("memory");
        let parts = ShardParts {
            settings,
            client_listeners: vec![net.listener_fd().expect("a descriptor")],
            channel_listener: net.listener_fd().expect("a descriptor"),
            commands: sync_channel(1).1,
            events: Box::new(|_| {}),
            seed: 1,
        };
        let mut shard = Shard::new(driver, parts, now(0)).expect("listeners");
        let gauge: Arc<WorkerGauge> = Arc::default();
        shard.command(ShardCommand::WorkerReady { address: address(transport), gauge });
        let worker = Worker {
            channel: net.client(CHANNEL_LISTENER).expect("the shard listens"),
            server: net.serve(PLAIN_PATH),
            plains: Vec::new(),
        };
        worker.channel.write(&greeting(PROTOCOL_VERSION, 1));
        let clients = (0..CLIENTS).map(|_| net.client(CLIENT_LISTENER).expect("it listens"));
        let clients = clients.collect();
        let (bytes, answers) = (Vec::new(), Vec::new());
        let mut world = Self { shard, now_ms: 0, clients, worker, bytes, answers };
        (0..4).for_each(|_| world.turn());
        world
    }

    fn turn(&mut self) {
        self.now_ms += 1;
        let moment = now(self.now_ms);
        let goes_on = self.shard.turn(Some(Duration::ZERO), || moment);
        assert!(goes_on.expect("it never fails"));
    }

    /// Every client asks and is answered.
    fn round(&mut self) {
        for client in &self.clients {
            assert_eq!(client.write(black_box(TWO_FIELDS)), TWO_FIELDS.len());
        }
        let mut answered = 0;
        while answered < CLIENTS {
            self.turn();
            answered += self.worker.answer(&mut self.bytes, &mut self.answers);
        }
        self.turn();
        self.turn();
        for client in &self.clients {
            self.bytes.clear();
            client.read(&mut self.bytes);
            assert!(self.bytes.ends_with(b"Hello, world!\n"));
        }
    }
}

impl Worker {
    /// Answers what has come, over whichever way, and says how many requests that were.
    fn answer(&mut self, bytes: &mut Vec<u8>, answers: &mut Vec<u8>) -> usize {
        let mut count = 0;
        while let Some(plain) = self.server.accept() {
            self.plains.push(plain);
        }
        for plain in &self.plains {
            bytes.clear();
            plain.read(bytes);
            if !bytes.is_empty() {
                plain.write(NODE_ANSWER);
                count += 1;
            }
        }
        bytes.clear();
        answers.clear();
        self.channel.read(bytes);
        let mut rest = &bytes[..];
        while let Some((prefix, behind)) = rest.split_first_chunk::<FRAME_PREFIX_BYTES>() {
            let [len @ .., kind, stream_0, stream_1, stream_2, generation] = *prefix;
            if kind == ToWorker::Head as u8 {
                let stream = u32::from_le_bytes([stream_0, stream_1, stream_2, 0]);
                put(answers, FromWorker::End, StreamTag { stream, generation }, NODE_ANSWER);
                count += 1;
            }
            let [low, middle, high] = len;
            rest = &behind[u32::from_le_bytes([low, middle, high, 0]) as usize..];
        }
        self.channel.write(answers);
        count
    }
}

fn now(ms: u64) -> Now {
    Now { ms, unix_ms: 1_700_000_000_000 + ms }
}

fn address(transport: Transport) -> WorkerAddress {
    WorkerAddress {
        worker: WorkerId(1),
        app: "web".into(),
        slot: 0,
        pid: 1,
        core: None,
        transport,
        plain: PlainAddress::Unix(PLAIN_PATH.into()),
        plain_idle_ms_max: 4_000,
    }
}
