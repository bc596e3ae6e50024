//! Any bytes become a list of operations on a shard.
//!
//! Owns: the reading of operations, and what must hold at the end whatever they were: nothing panics, and when everybody
//! has left nothing is left. Must never know: what answers mean. Called by the fuzz target `step` and by a test.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::fake::{FakeDriver, FakeNet, FakePeer, FakeServer};
use hostler_driver::{DriverConfig, PoolClass, PoolSizes};
use hostler_protocol::control::{
    IoChoice, PlainAddress, ProxySetup, Transport, Typed, WorkerAddress, WorkerId,
};
use hostler_protocol::worker::peer::{PeerBody, PeerReader, greeting, put};
use hostler_protocol::worker::{FromWorker, PROTOCOL_VERSION, StreamTag};
use hostler_proxy::shard::ShardParts;
use hostler_proxy::stats::WorkerGauge;
use hostler_proxy::{Settings, Shard, ShardCommand};

use crate::world::{CHANNEL_LISTENER, CLIENT_LISTENER, now};

/// Worker numbers in use.
const WORKERS: u32 = 3;
/// Connections that the bytes may open, of each kind.
const PEERS_MAX: usize = 40;

/// Requests that are worth sending.
const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Sum: 1\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
];

/// Answers that are worth giving.
const ANSWERS: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"2\r\nok\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x82\x05he",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HOSTLER\n",
    b"",
];

/// What an app may say about its server.
const SETTINGS: &[&str] = &[
    "{}",
    r#"{"client_error":true}"#,
    r#"{"client_error":true,"requests_per_connection_max":2,"headers_ms":200}"#,
    r#"{"keep_alive_ms":100,"headers_ms":0,"request_ms":500,"header_bytes_max":20}"#,
    r#"{"header_bytes_max":1000000,"keep_alive_ms":0,"requests_per_connection_max":1}"#,
];

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        let index = usize::from(self.byte());
        if from.is_empty() { None } else { Some(&from[index % from.len()]) }
    }
}

struct Channel {
    peer: FakePeer,
    reader: PeerReader,
    heads: Vec<StreamTag>,
}

struct Fuzz {
    shard: Shard<FakeDriver>,
    net: FakeNet,
    now_ms: u64,
    clients: Vec<FakePeer>,
    channels: Vec<Channel>,
    servers: Vec<FakeServer>,
    plains: Vec<FakePeer>,
    gauges: Vec<Arc<WorkerGauge>>,
}

/// Carries out the operations in `data`.
///
/// # Panics
/// When the shard does what it must never do.
pub fn fuzz_step(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut fuzz = Fuzz::new(bytes.byte());
    while !bytes.0.is_empty() {
        fuzz.operation(&mut bytes);
        if bytes.byte() & 3 != 0 {
            fuzz.turn();
        }
    }
    fuzz.end();
}

impl Fuzz {
    fn new(size: u8) -> Self {
        let setup = ProxySetup {
            shards: 1,
            cores: vec![None],
            listeners: vec!["127.0.0.1:3000".into()],
            io: IoChoice::Epoll,
            conns_max: 1 + u32::from(size & 7),
            worker_requests_max: Some(1 + u32::from(size >> 3 & 3)),
            queue_requests_max: u32::from(size >> 5 & 3),
            queue_ms_max: 1_000,
            start_ms_max: 60_000,
            head_ms_max: 2_000,
            idle_ms_max: 5_000,
            client_silence_ms_max: 3_000,
            worker_silence_ms_max: 3_000,
            answer_ms_max: None,
            hang_ms_max: Some(10_000),
            sticky: None,
            quarantine_ms: Some(300_000),
            head_bytes_max: 4_096,
            body_bytes_max: Some(200_000),
            log_json: false,
            typed: Typed::default(),
            keeps: false,
            access_log: (size & 128 != 0).then(|| PathBuf::from("/dev/null")),
        };
        let settings = Settings { tunnel_idle_ms_max: 9_000, ..Settings::from_setup(&setup, 0) };
        let mut pools = PoolSizes::default();
        (pools.head.count, pools.body.count, pools.channel.count) = (8, 2, 4);
        (pools.send.count, pools.batch.count) = (6, 3);
        let config = DriverConfig { pools, ..settings.driver_config() };
        let (driver, net) = FakeDriver::new(&config).expect("memory for the pools");
        let parts = ShardParts {
            settings,
            client_listeners: vec![net.listener_fd().expect("a descriptor")],
            channel_listener: net.listener_fd().expect("a descriptor"),
            commands: sync_channel(1).1,
            events: Box::new(|_| {}),
            seed: 1,
        };
        let shard = Shard::new(driver, parts, now(0)).expect("listeners");
        let servers = (0..WORKERS).map(|worker| net.serve(path(worker))).collect();
        let gauges = (0..WORKERS).map(|_| Arc::default()).collect();
        Self {
            shard,
            net,
            now_ms: 0,
            clients: Vec::new(),
            channels: Vec::new(),
            servers,
            plains: Vec::new(),
            gauges,
        }
    }

    fn turn(&mut self) {
        let moment = now(self.now_ms);
        let on = self.shard.turn(Some(Duration::ZERO), || moment).expect("the fake never fails");
        assert!(on, "nobody has asked it to stop");
        for channel in &mut self.channels {
            let mut bytes = Vec::new();
            channel.peer.read(&mut bytes);
            channel.reader.push(&bytes);
            while let Some(frame) =
                channel.reader.next_frame().expect("frames of the proxy are well-formed")
            {
                if matches!(frame.body, PeerBody::Head(_) | PeerBody::Tunnel { .. }) {
                    channel.heads.push(frame.tag);
                }
            }
        }
        for server in &self.servers {
            while let Some(peer) = server.accept() {
                self.plains.push(peer);
            }
        }
    }

    fn operation(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 24 {
            0..=2 if self.clients.len() < PEERS_MAX => {
                self.clients.extend(self.net.client(CLIENT_LISTENER))
            }
            3..=5 => {
                let text = bytes.pick(REQUESTS).copied().unwrap_or_default();
                let cut = usize::from(bytes.byte()).max(1);
                if let Some(client) = bytes.pick(&self.clients) {
                    client.write(&text[..text.len().min(cut)]);
                }
            }
            6 => {
                let text = bytes.take(9);
                let times = usize::from(bytes.byte()) << (bytes.byte() & 7);
                if let Some(client) = bytes.pick(&self.clients) {
                    client.write(&text.repeat(times));
                }
            }
            7 => self.leave(bytes),
            8 => {
                let how = bytes.byte();
                let peers: Vec<FakePeer> = self
                    .clients
                    .iter()
                    .chain(self.channels.iter().map(|channel| &channel.peer))
                    .cloned()
                    .collect();
                if let Some(peer) = bytes.pick(&peers) {
                    peer.stall(how & 1 == 0);
                    peer.short_sends(1 + usize::from(how) * 9);
                }
            }
            9 => {
                let mut read = Vec::new();
                if let Some(client) = bytes.pick(&self.clients) {
                    client.read_at_most(10_000, &mut read);
                }
            }
            10 | 11 if self.channels.len() < PEERS_MAX => self.open_channel(bytes),
            12..=15 => self.frame(bytes),
            16 => {
                let raw = bytes.take(12);
                if let Some(channel) = bytes.pick(&self.channels) {
                    channel.peer.write(raw);
                }
            }
            17 | 18 => {
                let text = bytes.pick(ANSWERS).copied().unwrap_or_default();
                if let Some(plain) = bytes.pick(&self.plains) {
                    plain.write(text);
                }
            }
            19 | 20 => self.command(bytes),
            21 => self.now_ms += u64::from(bytes.byte()) << (bytes.byte() & 7),
            22 => self
                .net
                .starve(PoolClass::RECEIVE[usize::from(bytes.byte()) % 3], bytes.byte() & 1 == 0),
            _ => {
                self.net.deliver_late(bytes.byte() & 1 == 0);
                // EMFILE.
                self.net.fail_accept(CLIENT_LISTENER, 24);
            }
        }
    }

    fn leave(&mut self, bytes: &mut Bytes<'_>) {
        let channels = self.channels.iter().map(|channel| &channel.peer);
        let peers: Vec<FakePeer> =
            self.clients.iter().chain(channels).chain(&self.plains).cloned().collect();
        let how = bytes.byte();
        let Some(peer) = bytes.pick(&peers) else { return };
        match how % 3 {
            0 => peer.finish(),
            1 => peer.close(),
            _ => peer.reset(),
        }
    }

    fn open_channel(&mut self, bytes: &mut Bytes<'_>) {
        let Some(peer) = self.net.client(CHANNEL_LISTENER) else { return };
        let worker = u32::from(bytes.byte()) % WORKERS;
        let protocol = if bytes.byte() == 255 { 9 } else { PROTOCOL_VERSION };
        peer.write(&greeting(protocol, worker));
        self.channels.push(Channel { peer, reader: PeerReader::default(), heads: Vec::new() });
    }

    /// A frame of a worker: mostly about a request that it has, at times about anything.
    fn frame(&mut self, bytes: &mut Bytes<'_>) {
        let kind = bytes.pick(FromWorker::ALL).copied().unwrap_or(FromWorker::End);
        let answer = bytes.pick(ANSWERS).copied().unwrap_or_default();
        let Some(channel) = bytes.pick(&self.channels) else { return };
        let wild = StreamTag { stream: u32::from(bytes.byte() & 15), generation: bytes.byte() & 7 };
        let tag = if bytes.byte() & 7 == 0 {
            wild
        } else {
            bytes.pick(&channel.heads).copied().unwrap_or(wild)
        };
        let mut out = Vec::new();
        match kind {
            FromWorker::Data | FromWorker::End | FromWorker::EndClose | FromWorker::TunnelData => {
                put(&mut out, kind, tag, answer)
            }
            FromWorker::Window | FromWorker::TunnelWindow => {
                put(&mut out, kind, tag, &[bytes.byte(), bytes.byte(), 1, 0])
            }
            FromWorker::Reset | FromWorker::TunnelEnd => put(&mut out, kind, tag, &[]),
            FromWorker::Heartbeat => put(&mut out, kind, StreamTag::CHANNEL, &[7; 20]),
            FromWorker::Settings => {
                let told = bytes.pick(SETTINGS).copied().unwrap_or("{}");
                put(&mut out, kind, StreamTag::CHANNEL, told.as_bytes());
            }
            _ => put(&mut out, kind, StreamTag::CHANNEL, b"{}"),
        }
        channel.peer.write(&out);
    }

    fn command(&mut self, bytes: &mut Bytes<'_>) {
        let worker = u32::from(bytes.byte()) % WORKERS;
        let transport = if bytes.byte() & 1 == 0 { Transport::Frames } else { Transport::Http };
        let command = match bytes.byte() % 8 {
            0 => ShardCommand::WorkerDrain { worker, drain: 1 },
            1 => ShardCommand::WorkerGone { worker },
            2 => ShardCommand::WorkerResume { worker },
            3 => ShardCommand::CloseUpgraded {
                worker,
                within_ms: u32::from(bytes.byte()) << (bytes.byte() & 7),
            },
            _ => ShardCommand::WorkerReady {
                address: WorkerAddress {
                    worker: WorkerId(worker),
                    app: "web".into(),
                    slot: worker,
                    pid: 1,
                    core: None,
                    transport,
                    plain: PlainAddress::Unix(path(worker)),
                    plain_idle_ms_max: 4_000,
                },
                gauge: Arc::clone(&self.gauges[worker as usize]),
            },
        };
        self.shard.command(command);
    }

    /// Everybody leaves; nothing may be left.
    fn end(mut self) {
        for class in PoolClass::RECEIVE {
            self.net.starve(class, false);
        }
        for _ in 0..400 {
            let channels = self.channels.iter().map(|channel| &channel.peer);
            for peer in self.clients.iter().chain(channels).chain(&self.plains) {
                peer.stall(false);
                peer.close();
            }
            self.now_ms += 100;
            self.turn();
        }
        let status = self.shard.status();
        let left =
            (status.conns, status.in_flight, status.queued, status.buffers_out, status.sockets);
        assert_eq!(left, (0, 0, 0, 0, 0), "conns, in flight, queued, buffers, sockets: {status:?}");
        assert!(self.gauges.iter().all(|gauge| gauge.in_flight() == 0), "a gauge is not zero");
    }
}

fn path(worker: u32) -> PathBuf {
    PathBuf::from(format!("/run/sim/fuzz.{worker}.sock"))
}
