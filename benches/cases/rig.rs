//! One connection and the parts of a shard that serve it; the kernel is left out.
//!
//! Owns: the fulfilment of a connection's wishes, as the shard does it, with nothing but what is measured. Must never know:
//! which exchanges are measured.

use std::collections::VecDeque;
use std::hint::black_box;

use hostler_driver::fake::FakeDriver;
use hostler_driver::{Buffer, Driver, Key, Part, Parts, Pool, PoolClass};
use hostler_protocol::control::{IoChoice, ProxySetup, Typed};
use hostler_protocol::http1::{RequestHead, ResponseHead};
use hostler_protocol::worker::StreamTag;
use hostler_proxy::Settings;
use hostler_proxy::clock::Now;
use hostler_proxy::conn::outbox::Outbox;
use hostler_proxy::conn::{Action, ClientAddress, Conn, Context, Event, Link, Phase, ResponseEnd};
use hostler_proxy::forward::Forwarding;
use hostler_proxy::request_id::RequestIds;
use hostler_proxy::stats::Stats;
use hostler_proxy::worker::channel::Channel;

/// The slot of the one connection.
const SLOT: u32 = 0;

/// Limits as they are by default, for few clients.
pub(super) fn settings() -> Settings {
    let setup = ProxySetup {
        shards: 1,
        cores: vec![None],
        listeners: vec!["127.0.0.1:3000".into()],
        io: IoChoice::Epoll,
        conns_max: 64,
        worker_requests_max: Some(64),
        queue_requests_max: 64,
        queue_ms_max: 5_000,
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
        access_log: None,
        log_json: false,
        typed: Typed::default(),
        keeps: false,
    };
    Settings::from_setup(&setup, 0)
}

/// The way to the worker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Frames,
    Plain,
}

/// A piece of an answer, and what the transport says about it.
pub(super) struct Piece {
    pub(super) buffer: Buffer,
    pub(super) end: ResponseEnd,
}

/// The connection and what serves it.
pub(super) struct Rig {
    conn: Conn,
    way: Way,
    channel: Channel,
    plain: Outbox,
    settings: Settings,
    pool: Pool,
    request_head: Box<RequestHead>,
    response_head: Box<ResponseHead>,
    actions: VecDeque<Action>,
    stats: Stats,
    ids: RequestIds,
    owners: Vec<u32>,
}

impl Rig {
    pub(super) fn new(way: Way) -> Self {
        let settings = settings();
        let (mut driver, net) = FakeDriver::new(&settings.driver_config()).expect("memory");
        let mut socket = |key| {
            let (fd, _peer) = net.pair().expect("a pair");
            driver.adopt(fd, Key(key)).expect("room")
        };
        let address = ClientAddress::new("192.0.2.1:4000".parse().expect("valid"));
        Self {
            conn: Conn::new(socket(0), address, 0, 0, Now::default()),
            way,
            channel: Channel::new(socket(1), 1),
            plain: Outbox::default(),
            pool: driver.pool().clone(),
            settings,
            request_head: Box::new(RequestHead::new()),
            response_head: Box::new(ResponseHead::new()),
            actions: VecDeque::with_capacity(64),
            stats: Stats::default(),
            ids: RequestIds::new(1),
            owners: Vec::new(),
        }
    }

    /// Bytes in a buffer of this class, as the driver would hand them over.
    pub(super) fn received(&self, class: PoolClass, bytes: &[u8]) -> Buffer {
        let mut buffer = self.pool.take(class).expect("free");
        buffer.extend_from_slice(bytes);
        buffer.freeze()
    }

    /// From the requests' bytes to the moment at which the answers have left.
    pub(super) fn exchange(&mut self, requests: &[u8], answers: &[Piece]) {
        self.step(Event::Received(self.received(PoolClass::Head, requests)));
        self.flush_to_worker();
        for piece in answers {
            let (buffer, range, end) = (&piece.buffer, 0..piece.buffer.len(), piece.end);
            self.step(Event::WorkerBytes { buffer, range, end, scarce: false });
            self.flush_to_worker();
        }
        drop(black_box(self.conn.outbox.take().expect("an answer")));
        self.step(Event::Sent);
        assert_eq!(self.conn.phase(), Phase::Idle);
    }

    fn flush_to_worker(&mut self) {
        let sent: Option<Parts> = match self.way {
            Way::Frames => self.channel.take(),
            Way::Plain => self.plain.take(),
        };
        if black_box(sent).is_none() {
            return;
        }
        match self.way {
            Way::Frames => self.channel.sent(&mut self.owners),
            Way::Plain => {
                self.plain.sent();
            }
        }
        if self.owners.pop().is_some() {
            self.step(Event::BodySent);
        }
    }

    fn step(&mut self, event: Event<'_>) {
        self.step_only(event);
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Dispatch => self.step_only(Event::Granted(self.link())),
                Action::WorkerHead => self.worker_head(),
                Action::WorkerBody(part) => self.worker_body(part),
                Action::WorkerEnd(trailers) => {
                    let tag = self.tag();
                    self.channel.write_always(&self.pool, |out| out.end(tag, &trailers));
                }
                Action::Release(_) => self.conn.link = Link::None,
                // The driver's part.
                _ => {}
            }
        }
    }

    fn step_only(&mut self, event: Event<'_>) {
        let mut cx = Context {
            now: Now { ms: 5, unix_ms: 1_700_000_000_000 },
            settings: &self.settings,
            pool: &self.pool,
            request_head: &mut self.request_head,
            response_head: &mut self.response_head,
            actions: &mut self.actions,
            stats: &mut self.stats,
            ids: &mut self.ids,
            log: None,
            ending: hostler_proxy::conn::Ending::No,
        };
        self.conn.step(event, &mut cx);
    }

    fn link(&self) -> Link {
        match self.way {
            Way::Frames => Link::Stream { worker: 0, channel: 0, batch: self.channel.batch() },
            Way::Plain => Link::Plain { worker: 0, plain: 0 },
        }
    }

    fn tag(&self) -> StreamTag {
        StreamTag { stream: SLOT + 1, generation: self.conn.generation }
    }

    fn worker_head(&mut self) {
        let tag = self.tag();
        let forwarding = Forwarding {
            bytes: self.conn.head.as_ref().expect("kept").as_slice(),
            head: &self.request_head,
            client: &self.conn.address,
            listener: &self.settings.listeners[0],
            verbatim: false,
            listener_index: 0,
            request_id: self.conn.request.id.as_bytes(),
        };
        match self.way {
            Way::Frames => {
                let frame =
                    self.channel.write(&self.pool, |out| forwarding.write_frame(out, tag, false));
                frame.expect("room");
            }
            Way::Plain => forwarding.write_text(&mut self.plain, &self.pool),
        }
    }

    fn worker_body(&mut self, part: Part) {
        match self.way {
            Way::Frames => self.channel.body(&self.pool, self.tag(), part, SLOT, true),
            Way::Plain => self.plain.push(&self.pool, part.buffer(), part.range(), false),
        }
    }
}
