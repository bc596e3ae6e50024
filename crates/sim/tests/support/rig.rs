//! A shard without a kernel and one worker, for tests that say themselves what happens.
//!
//! Owns: the set-up. Must never know: what is tested.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::DriverConfig;
use hostler_driver::fake::{FakeDriver, FakeNet, FakePeer, FakeServer};
use hostler_protocol::control::{
    IoChoice, PlainAddress, ProxySetup, Transport, Typed, WorkerAddress, WorkerId,
};
use hostler_protocol::worker::peer::{
    PeerBody, PeerFrame, PeerReader, greeting, put, put_heartbeat,
};
use hostler_protocol::worker::{FromWorker, Heartbeat, PROTOCOL_VERSION, StreamTag};
use hostler_proxy::shard::ShardParts;
use hostler_proxy::stats::WorkerGauge;
use hostler_proxy::{Settings, Shard, ShardCommand};
use hostler_sim::world::{CHANNEL_LISTENER, CLIENT_LISTENER, now};

/// Limits as they are by default, more or less.
pub(crate) fn setup() -> ProxySetup {
    ProxySetup {
        shards: 1,
        cores: vec![None],
        listeners: vec!["127.0.0.1:3000".into()],
        io: IoChoice::Epoll,
        conns_max: 256,
        worker_requests_max: Some(256),
        queue_requests_max: 256,
        queue_ms_max: 10_000,
        start_ms_max: 60_000,
        head_ms_max: 10_000,
        idle_ms_max: 75_000,
        client_silence_ms_max: 60_000,
        worker_silence_ms_max: 60_000,
        answer_ms_max: None,
        hang_ms_max: Some(10_000),
        sticky: None,
        quarantine_ms: Some(300_000),
        head_bytes_max: 16_384,
        body_bytes_max: None,
        log_json: false,
        typed: Typed::default(),
        keeps: false,
        access_log: None,
    }
}

/// What the supervisor says about worker number 1.
pub(crate) fn address(transport: Transport) -> WorkerAddress {
    WorkerAddress {
        worker: WorkerId(1),
        app: "web".into(),
        slot: 0,
        pid: 1,
        core: None,
        transport,
        plain: PlainAddress::Unix("/run/sim/rig.sock".into()),
        plain_idle_ms_max: 4_000,
    }
}

/// A shard, a network, one worker.
pub(crate) struct Rig {
    /// Under test.
    pub(crate) shard: Shard<FakeDriver>,
    /// Around it.
    pub(crate) net: FakeNet,
    /// The worker's channel.
    pub(crate) channel: FakePeer,
    /// The worker's plain path.
    #[allow(dead_code, reason = "not every test uses it")]
    pub(crate) server: FakeServer,
    reader: PeerReader,
    now_ms: u64,
}

impl Rig {
    /// Everything connected and ready.
    pub(crate) fn new(setup: &ProxySetup, transport: Transport) -> Self {
        let settings = Settings::from_setup(setup, 0);
        let config = DriverConfig { ..settings.driver_config() };
        let (driver, net) = FakeDriver::new(&config).expect("memory");
        let parts = ShardParts {
            settings,
            client_listeners: vec![net.listener_fd().expect("a descriptor")],
            channel_listener: net.listener_fd().expect("a descriptor"),
            commands: sync_channel(1).1,
            events: Box::new(|_| {}),
            seed: 9,
        };
        let mut shard = Shard::new(driver, parts, now(0)).expect("listeners");
        let gauge: Arc<WorkerGauge> = Arc::default();
        shard.command(ShardCommand::WorkerReady { address: address(transport), gauge });
        let server = net.serve("/run/sim/rig.sock");
        let channel = net.client(CHANNEL_LISTENER).expect("the shard listens");
        channel.write(&greeting(PROTOCOL_VERSION, 1));
        let mut rig =
            Self { shard, net, channel, server, reader: PeerReader::default(), now_ms: 0 };
        for _ in 0..4 {
            rig.turn();
        }
        rig
    }

    /// A client that has just connected.
    pub(crate) fn client(&self) -> FakePeer {
        self.net.client(CLIENT_LISTENER).expect("the shard listens")
    }

    /// One turn of the shard.
    pub(crate) fn turn(&mut self) {
        self.now_ms += 1;
        let moment = now(self.now_ms);
        assert!(self.shard.turn(Some(Duration::ZERO), || moment).expect("the fake never fails"));
    }

    /// The worker reads what has come, and gives its frames.
    pub(crate) fn frames(&mut self) -> Vec<PeerFrame> {
        if self.now_ms.is_multiple_of(100) {
            let mut beat = Vec::new();
            put_heartbeat(&mut beat, &Heartbeat { in_flight: 1, ..Heartbeat::default() });
            self.channel.write(&beat);
        }
        let mut bytes = Vec::new();
        self.channel.read(&mut bytes);
        self.reader.push(&bytes);
        let mut frames = Vec::new();
        while let Some(frame) = self.reader.next_frame().expect("well-formed frames") {
            frames.push(frame);
        }
        frames
    }

    /// The worker answers every request with these bytes, at once.
    pub(crate) fn answer_all(&mut self, wire: &[u8]) -> Vec<StreamTag> {
        let heads: Vec<StreamTag> = self
            .frames()
            .into_iter()
            .filter(|frame| matches!(frame.body, PeerBody::Head(_)))
            .map(|frame| frame.tag)
            .collect();
        let mut out = Vec::new();
        for tag in &heads {
            put(&mut out, FromWorker::End, *tag, wire);
        }
        if !out.is_empty() {
            assert_eq!(self.channel.write(&out), out.len(), "the channel has room");
        }
        heads
    }
}
