//! Split-invariance: however a client's bytes are cut, the same requests reach the worker and the same bytes come back.
//!
//! The whole shard is under test, not the codec: cuts fall into heads, chunks and trailers, between requests, and into
//! moments at which the connection waits for a worker.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::fake::{FakeDriver, FakeNet, FakePeer, FakeRead};
use hostler_protocol::control::{PlainAddress, Transport, WorkerAddress, WorkerId};
use hostler_protocol::worker::peer::{PeerBody, PeerHead, PeerReader, greeting, put};
use hostler_protocol::worker::{FromWorker, HeadFlags, PROTOCOL_VERSION, StreamTag};
use hostler_proxy::shard::ShardParts;
use hostler_proxy::{Shard, ShardCommand};
use hostler_sim::request::{Request, RequestWishes, garbage};
use hostler_sim::rng::Rng;
use hostler_sim::scenario::Scenario;
use hostler_sim::world::{CHANNEL_LISTENER, CLIENT_LISTENER, now};

/// A request that reached the worker whole: head, body, trailers.
type Arrived = (PeerHead, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// What came out at both ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Observed {
    /// In their order.
    requests: Vec<Arrived>,
    /// Bytes that reached the client.
    answers: Vec<u8>,
}

/// A worker that answers each request when it has all of it, and says what it got.
struct Echo {
    peer: FakePeer,
    reader: PeerReader,
    open: Option<(StreamTag, PeerHead, Vec<u8>)>,
}

impl Echo {
    fn new(net: &FakeNet) -> Self {
        let peer = net.client(CHANNEL_LISTENER).expect("the shard listens");
        peer.write(&greeting(PROTOCOL_VERSION, 1));
        Self { peer, reader: PeerReader::default(), open: None }
    }

    fn act(&mut self, observed: &mut Observed) {
        let mut bytes = Vec::new();
        self.peer.read(&mut bytes);
        self.reader.push(&bytes);
        while let Some(frame) = self.reader.next_frame().expect("well-formed") {
            match frame.body {
                PeerBody::Head(head) if head.flags.has(HeadFlags::NO_BODY) => {
                    self.answer(frame.tag, head, Vec::new(), Vec::new(), observed)
                }
                PeerBody::Head(head) => self.open = Some((frame.tag, head, Vec::new())),
                PeerBody::Data(data) => {
                    let open = self.open.as_mut().expect("a request is open");
                    open.2.extend_from_slice(&data);
                }
                PeerBody::End(trailers) => {
                    let (tag, head, body) = self.open.take().expect("a request is open");
                    self.answer(tag, head, body, trailers, observed);
                }
                PeerBody::Close(_) => self.open = None,
                _ => {}
            }
        }
    }

    fn answer(
        &self,
        tag: StreamTag,
        head: PeerHead,
        body: Vec<u8>,
        trailers: Vec<(Vec<u8>, Vec<u8>)>,
        observed: &mut Observed,
    ) {
        let method = String::from_utf8_lossy(&head.method).into_owned();
        let text = format!("{method} with {} bytes", body.len());
        let mut wire = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        if method != "HEAD" {
            wire.push_str(&text);
        }
        let mut out = Vec::new();
        put(&mut out, FromWorker::End, tag, wire.as_bytes());
        self.peer.write(&out);
        observed.requests.push((head, body, trailers));
    }
}

/// Sends `bytes` in pieces and waits for the end of the connection.
fn observe(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Observed {
    let mut rng = Rng::new(5);
    let mut scenario = Scenario::choose(&mut rng);
    scenario.setup.body_bytes_max = None;
    scenario.setup.access_log = None;
    scenario.setup.head_bytes_max = 16_384;
    (
        scenario.setup.conns_max,
        scenario.setup.worker_requests_max,
        scenario.setup.queue_requests_max,
    ) = (4, Some(4), 4);
    let (driver, net) = FakeDriver::new(&scenario.driver_config()).expect("memory");
    let parts = ShardParts {
        settings: scenario.settings(),
        client_listeners: vec![net.listener_fd().expect("a descriptor")],
        channel_listener: net.listener_fd().expect("a descriptor"),
        commands: sync_channel(1).1,
        events: Box::new(|_| {}),
        seed: 9,
    };
    // The clock stands still, so that dates and request ids are the same.
    let mut shard = Shard::new(driver, parts, now(0)).expect("listeners");
    let turn = |shard: &mut Shard<FakeDriver>| {
        shard.turn(Some(Duration::ZERO), || now(0)).expect("the fake never fails")
    };
    shard.command(ShardCommand::WorkerReady {
        address: WorkerAddress {
            worker: WorkerId(1),
            app: "web".into(),
            slot: 0,
            pid: 1,
            core: None,
            transport: Transport::Frames,
            plain: PlainAddress::Unix("/run/sim/none.sock".into()),
            plain_idle_ms_max: 4_000,
        },
        gauge: std::sync::Arc::default(),
    });
    let mut worker = Echo::new(&net);
    let client = net.client(CLIENT_LISTENER).expect("the shard listens");
    let mut observed = Observed::default();
    for _ in 0..4 {
        turn(&mut shard);
    }
    let mut at = 0;
    for _ in 0..200_000 {
        if at < bytes.len() {
            at += client.write(&bytes[at..bytes.len().min(at + piece().max(1))]);
        }
        turn(&mut shard);
        worker.act(&mut observed);
        match client.read(&mut observed.answers) {
            FakeRead::End | FakeRead::Reset => return observed,
            FakeRead::Bytes | FakeRead::Nothing => {}
        }
    }
    panic!("the connection does not end: {} bytes came back", observed.answers.len());
}

/// Some requests, the last of which ends the connection.
fn requests(rng: &mut Rng) -> Vec<u8> {
    let wishes = RequestWishes { body_max: 9_000, long_hosts: 10, ..RequestWishes::default() };
    let count = rng.within(1, 5);
    let mut bytes = Vec::new();
    for id in 0..count {
        let mut request = Request::choose(id, false, &wishes, rng);
        if request.close {
            request.http10 = false;
        }
        bytes.extend_from_slice(&request.head());
        bytes.extend_from_slice(&request.wire_body());
    }
    if rng.chance(40) {
        bytes.extend_from_slice(&garbage(count, rng).0);
    } else {
        bytes.extend_from_slice(b"GET /r/99 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    bytes
}

#[test]
fn cuts_change_nothing() {
    let cases =
        std::env::var("HOSTLER_SIM_SPLITS").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
    for seed in 0..cases {
        let mut rng = Rng::new(seed);
        let bytes = requests(&mut rng);
        let whole = observe(&bytes, || usize::MAX);
        assert!(
            !whole.answers.is_empty(),
            "case {seed}: no answer to {:?}",
            String::from_utf8_lossy(&bytes)
        );
        for longest in [1, 3, 64, 2_000] {
            // Byte by byte is slow; that much input says the same.
            if longest < 64 && bytes.len() > 6_000 {
                continue;
            }
            let cut = observe(&bytes, || rng.within(1, longest));
            let text = || String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(
                cut.requests,
                whole.requests,
                "case {seed}, pieces of {longest}: {}",
                text()
            );
            let (got, want) =
                (String::from_utf8_lossy(&cut.answers), String::from_utf8_lossy(&whole.answers));
            assert_eq!(got, want, "case {seed}, pieces of {longest}: {}", text());
        }
    }
}
