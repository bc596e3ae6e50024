//! A shard on the fake driver, with clients and workers that a test plays by hand.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hostler_driver::fake::{FakeDriver, FakeNet, FakePeer, FakeRead, FakeServer};
use hostler_driver::{DriverConfig, Key};
use hostler_protocol::control::{
    IoChoice, PlainAddress, ProxySetup, Transport, Typed, WorkerAddress, WorkerId,
};
use hostler_protocol::worker::peer::{self, PeerBody, PeerFrame, PeerHead, PeerReader};
use hostler_protocol::worker::{
    FromWorker, Heartbeat, Listen, Offer, PROTOCOL_VERSION, Settings as AppSettings, StreamTag,
    Unlisten, WorkerHello,
};
use hostler_proxy::clock::Now;
use hostler_proxy::shard::ShardParts;
use hostler_proxy::stats::WorkerGauge;
use hostler_proxy::{Settings, Shard, ShardCommand, ShardEvent};

use crate::ordered::{Order, Ordered};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// How often workers beat.
const BEAT_MS: u64 = 100;
const CLIENTS: Key = Key(0);
const CHANNELS: Key = Key(1 << 29);

/// A shard and what is around it.
pub(crate) struct World {
    pub(crate) shard: Shard<Ordered>,
    pub(crate) net: FakeNet,
    pub(crate) events: Rc<RefCell<Vec<ShardEvent>>>,
    pub(crate) now_ms: u64,
    /// Workers whose event loops turn.
    beating: Vec<(u32, FakePeer)>,
    /// Set for the next turn only.
    pub(crate) order: Order,
    _commands: mpsc::SyncSender<ShardCommand>,
}

impl World {
    pub(crate) fn new(change: impl FnOnce(&mut ProxySetup)) -> Self {
        Self::with_ending(change, |_| false)
    }

    /// A world in which `is_ending` says which processes are dying.
    pub(crate) fn with_ending(
        change: impl FnOnce(&mut ProxySetup),
        is_ending: fn(u32) -> bool,
    ) -> Self {
        let mut setup = ProxySetup {
            shards: 1,
            cores: vec![None],
            listeners: vec!["127.0.0.1:3000".into()],
            io: IoChoice::Epoll,
            conns_max: 8,
            worker_requests_max: Some(64),
            queue_requests_max: 8,
            queue_ms_max: 5_000,
            start_ms_max: 60_000,
            head_ms_max: 10_000,
            idle_ms_max: 75_000,
            client_silence_ms_max: 30_000,
            worker_silence_ms_max: 60_000,
            answer_ms_max: None,
            hang_ms_max: Some(10_000),
            sticky: None,
            quarantine_ms: Some(300_000),
            head_bytes_max: 16_384,
            body_bytes_max: None,
            access_log: None,
            log_json: false,
            typed: Typed::default(),
            keeps: false,
        };
        change(&mut setup);
        Self::with(Settings { is_ending, ..Settings::from_setup(&setup, 0) })
    }

    /// The shard of `hostler exec`.
    pub(crate) fn under_exec() -> Self {
        Self::with(Settings { conns_max: 8, ..Settings::for_exec() })
    }

    fn with(settings: Settings) -> Self {
        let config: DriverConfig = settings.driver_config();
        let (driver, net) = FakeDriver::new(&config).expect("memory");
        let order = Order::default();
        let (commands, receiver) = mpsc::sync_channel(1);
        let events = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&events);
        let parts = ShardParts {
            settings,
            client_listeners: vec![net.listener_fd().expect("a descriptor")],
            channel_listener: net.listener_fd().expect("a descriptor"),
            commands: receiver,
            events: Box::new(move |event| sink.borrow_mut().push(event)),
            seed: 1,
        };
        let driver = Ordered { driver, order: Rc::clone(&order) };
        let shard = Shard::new(driver, parts, now(0)).expect("a shard");
        Self { shard, net, events, now_ms: 0, beating: Vec::new(), order, _commands: commands }
    }

    /// One turn; false when the shard has drained.
    pub(crate) fn turn(&mut self) -> bool {
        let now = now(self.now_ms);
        self.shard.turn(Some(Duration::ZERO), || now).expect("the fake driver does not fail")
    }

    /// Turns until nothing more can happen.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            self.turn();
        }
    }

    /// Time passes, and the workers beat.
    pub(crate) fn later(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = until_ms.min(self.now_ms + BEAT_MS);
            let mut beat = Vec::new();
            peer::put_heartbeat(&mut beat, &Heartbeat { in_flight: 1, ..Heartbeat::default() });
            for (_, peer) in &self.beating {
                peer.write(&beat);
            }
            self.settle();
        }
        self.settle();
    }

    /// The event loop of a worker stands still.
    pub(crate) fn block(&mut self, number: u32) {
        self.beating.retain(|(beating, _)| *beating != number);
    }

    /// It turns again.
    pub(crate) fn unblock(&mut self, number: u32, worker: &Framed) {
        self.beating.push((number, worker.peer.clone()));
    }

    pub(crate) fn client(&mut self) -> Client {
        Client { peer: self.net.client(CLIENTS).expect("the shard listens") }
    }

    /// A client that has sent these bytes.
    pub(crate) fn client_with(&mut self, bytes: &str) -> Client {
        let client = self.client();
        client.write(bytes);
        self.settle();
        client
    }

    pub(crate) fn announce(&mut self, number: u32, transport: Transport) {
        self.announce_at(number, transport, PlainAddress::Unix(plain_path(number).into()));
    }

    fn announce_at(&mut self, number: u32, transport: Transport, plain: PlainAddress) {
        self.announce_in(number, number, transport, plain);
    }

    fn announce_in(&mut self, number: u32, slot: u32, transport: Transport, plain: PlainAddress) {
        let address = WorkerAddress {
            worker: WorkerId(number),
            app: "web".into(),
            slot,
            pid: number,
            core: None,
            transport,
            plain,
            plain_idle_ms_max: 4_000,
        };
        let gauge = Arc::new(WorkerGauge::default());
        self.shard.command(ShardCommand::WorkerReady { address, gauge });
    }

    /// A worker with an open channel.
    pub(crate) fn framed(&mut self, number: u32) -> Framed {
        self.framed_in(number, number)
    }

    /// The same in a slot that another process may have, too.
    pub(crate) fn framed_in(&mut self, number: u32, slot: u32) -> Framed {
        let plain = PlainAddress::Unix(plain_path(number).into());
        self.announce_in(number, slot, Transport::Frames, plain);
        let worker = self.channel(number);
        worker.listen();
        self.settle();
        self.unblock(number, &worker);
        worker
    }

    /// A channel that has said HELLO.
    pub(crate) fn channel(&mut self, number: u32) -> Framed {
        self.channel_of(number, false)
    }

    /// The channel of a process under exec.
    pub(crate) fn process(&mut self) -> Framed {
        self.channel_of(0, true)
    }

    /// A connection that the first process accepted and offered, as the proxy holds it.
    pub(crate) fn offered(&mut self, offer: Offer) -> Client {
        let (fd, peer) = self.net.pair().expect("a descriptor");
        self.shard.offered_accepted(0, offer, fd);
        Client { peer }
    }

    fn channel_of(&mut self, number: u32, exec: bool) -> Framed {
        let mut framed = self.greet(number, exec);
        assert!(matches!(framed.frames()[..], [PeerFrame { body: PeerBody::Hello(_), .. }]));
        framed
    }

    /// A channel that has said who it is; the answer is not read.
    pub(crate) fn greeted(&mut self, number: u32) -> Framed {
        self.greet(number, false)
    }

    fn greet(&mut self, number: u32, exec: bool) -> Framed {
        let peer = self.net.client(CHANNELS).expect("the shard listens");
        let hello = WorkerHello {
            protocol: PROTOCOL_VERSION,
            worker: number,
            app: "web".into(),
            slot: number,
            pid: number,
            node: "22.0.0".into(),
            exec,
        };
        let mut bytes = Vec::new();
        peer::put_json(&mut bytes, FromWorker::Hello, &hello);
        peer.write(&bytes);
        self.settle();
        Framed { peer, reader: PeerReader::default() }
    }

    /// A worker with a plain path.
    pub(crate) fn plain(&mut self, number: u32) -> FakeServer {
        let server = self.net.serve(plain_path(number));
        self.announce(number, Transport::Http);
        server
    }

    /// A worker on a port.
    pub(crate) fn plain_tcp(&mut self, number: u32, port: u16) -> FakeServer {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = self.net.serve_tcp(address);
        self.announce_at(number, Transport::Http, PlainAddress::Tcp(address));
        server
    }

    pub(crate) fn command(&mut self, command: ShardCommand) {
        self.shard.command(command);
        self.settle();
    }

    /// What the shard had to tell, without the good news.
    pub(crate) fn bad_news(&self) -> Vec<ShardEvent> {
        let events = self.events.borrow();
        let bad = |event: &&ShardEvent| {
            !matches!(event, ShardEvent::WorkerServing { .. } | ShardEvent::WorkerWanted)
        };
        events.iter().filter(bad).cloned().collect()
    }

    /// Nothing is left of clients and requests; `sockets` are the channels and idle plain connections.
    pub(crate) fn assert_no_leak(&mut self, sockets: u32) {
        self.settle();
        let status = self.shard.status();
        let left = (status.conns, status.in_flight, status.queued, status.buffers_out);
        assert_eq!(left, (0, 0, 0, 0), "{status:?}");
        assert_eq!(status.sockets, sockets, "{status:?}");
    }
}

fn now(ms: u64) -> Now {
    Now { ms: 1_000 + ms, unix_ms: 1_700_000_000_000 + ms }
}

pub(crate) fn plain_path(number: u32) -> String {
    format!("/run/web.{number}")
}

pub(crate) struct Client {
    pub(crate) peer: FakePeer,
}

impl Client {
    pub(crate) fn write(&self, bytes: &str) {
        assert_eq!(self.peer.write(bytes.as_bytes()), bytes.len());
    }

    /// What has come since the last time.
    pub(crate) fn read(&self) -> String {
        read(&self.peer)
    }
}

pub(crate) fn read(peer: &FakePeer) -> String {
    let mut bytes = Vec::new();
    while peer.read(&mut bytes) == FakeRead::Bytes {}
    String::from_utf8(bytes).expect("ASCII")
}

/// A worker at the other end of a channel.
pub(crate) struct Framed {
    pub(crate) peer: FakePeer,
    reader: PeerReader,
}

impl Framed {
    fn json(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        put(&mut bytes);
        self.peer.write(&bytes);
    }

    pub(crate) fn listen(&self) {
        self.json(|out| peer::put_json(out, FromWorker::Listen, &Listen::default()));
    }

    pub(crate) fn settings(&self, told: &AppSettings) {
        self.json(|out| peer::put_json(out, FromWorker::Settings, told));
    }

    pub(crate) fn beat(&self, beat: Heartbeat) {
        self.json(|out| peer::put_heartbeat(out, &beat));
    }

    pub(crate) fn unlisten(&self) {
        self.json(|out| peer::put_json(out, FromWorker::Unlisten, &Unlisten::default()));
    }

    pub(crate) fn frames(&mut self) -> Vec<PeerFrame> {
        let mut bytes = Vec::new();
        while self.peer.read(&mut bytes) == FakeRead::Bytes {}
        self.reader.push(&bytes);
        let frames = std::iter::from_fn(|| self.reader.next_frame().expect("valid frames"));
        frames.collect()
    }

    /// The only new frame, which is a HEAD.
    pub(crate) fn head(&mut self) -> (StreamTag, PeerHead) {
        let mut frames = self.frames();
        assert_eq!(frames.len(), 1, "{frames:?}");
        let frame = frames.remove(0);
        let PeerBody::Head(head) = frame.body else { panic!("no HEAD but {frame:?}") };
        (frame.tag, head)
    }

    /// The new HEAD frames; others are passed over.
    pub(crate) fn heads(&mut self) -> Vec<(StreamTag, PeerHead)> {
        let frames = self.frames().into_iter();
        let heads = frames.filter_map(|frame| match frame.body {
            PeerBody::Head(head) => Some((frame.tag, head)),
            _ => None,
        });
        heads.collect()
    }

    pub(crate) fn put(&self, kind: FromWorker, tag: StreamTag, payload: &str) {
        let mut bytes = Vec::new();
        peer::put(&mut bytes, kind, tag, payload.as_bytes());
        assert_eq!(self.peer.write(&bytes), bytes.len());
    }

    /// A whole small answer.
    pub(crate) fn answer(&self, tag: StreamTag, body: &str) {
        self.put(FromWorker::End, tag, &ok(body));
    }
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
