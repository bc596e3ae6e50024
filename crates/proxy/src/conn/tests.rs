//! The machine without a driver: events in, wishes and bytes out.
//!
//! [`World`] plays the shard for one connection. Wishes come back as short texts, so that a test reads like the
//! conversation that it is about.

mod deadline;
mod farewell;
mod lifecycle;
mod read_head;
mod refused;
mod relay_request;
mod relay_response;
mod tunnel;

use std::collections::VecDeque;

use hostler_driver::fake::FakeDriver;
use hostler_driver::{Buffer, Driver, Key, Pool, PoolClass, PoolSizes, ReceiveMode};
use hostler_protocol::control::{IoChoice, ProxySetup, Typed};
use hostler_protocol::http1::{RequestHead, ResponseHead};

use super::{
    Action, ClientAddress, Conn, Context, Ending, Event, Keep, Link, Phase, Refusal, ResponseEnd,
};
use crate::clock::Now;
use crate::request_id::RequestIds;
use crate::settings::Settings;
use crate::stats::Stats;

const STREAM: Link = Link::Stream { worker: 0, channel: 0, batch: 1 };
const PLAIN: Link = Link::Plain { worker: 0, plain: 0 };
const BOTH: [Link; 2] = [STREAM, PLAIN];
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A shard's settings for tests.
fn settings() -> Settings {
    let setup = ProxySetup {
        shards: 1,
        cores: vec![None],
        listeners: vec!["127.0.0.1:3000".into()],
        io: IoChoice::Epoll,
        conns_max: 8,
        worker_requests_max: Some(8),
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
        quarantine_ms: None,
        head_bytes_max: 16_384,
        body_bytes_max: Some(1_000_000),
        access_log: None,
        log_json: false,
        typed: Typed::default(),
        keeps: false,
    };
    Settings::from_setup(&setup, 0)
}

/// One connection and everything its steps look at.
struct World {
    conn: Conn,
    settings: Settings,
    pool: Pool,
    request_head: RequestHead,
    response_head: ResponseHead,
    stats: Stats,
    ids: RequestIds,
    now: Now,
    ending: Ending,
    closed: bool,
    /// Bytes of the send in flight.
    in_flight: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let settings = settings();
        let (mut driver, net) = FakeDriver::new(&settings.driver_config()).expect("memory");
        let (fd, _peer) = net.pair().expect("a pair");
        let socket = driver.adopt(fd, Key(0)).expect("room");
        let now = Now { ms: 1_000, unix_ms: 784_111_777_000 };
        let address = ClientAddress::new("192.0.2.1:4000".parse().expect("valid"));
        Self {
            conn: Conn::new(socket, address, 0, 255, now),
            settings,
            pool: Pool::new(&PoolSizes::default()).expect("memory"),
            request_head: RequestHead::new(),
            response_head: ResponseHead::new(),
            stats: Stats::default(),
            ids: RequestIds::new(1),
            now,
            ending: Ending::No,
            closed: false,
            in_flight: Vec::new(),
        }
    }

    /// A connection whose request is at a worker.
    fn in_exchange(request: &str, link: Link) -> Self {
        let mut world = Self::new();
        assert_eq!(world.receive(request).last().map(String::as_str), Some("dispatch"));
        world.step(Event::Granted(link));
        assert_eq!(world.conn.phase(), Phase::Exchange);
        world
    }

    /// One event; the wishes as texts. Wishes behind `close` are not carried out, as in the shard.
    fn step(&mut self, event: Event<'_>) -> Vec<String> {
        assert!(!self.closed, "an event for a closed connection");
        let mut actions = VecDeque::new();
        let mut cx = Context {
            now: self.now,
            settings: &self.settings,
            pool: &self.pool,
            request_head: &mut self.request_head,
            response_head: &mut self.response_head,
            actions: &mut actions,
            stats: &mut self.stats,
            ids: &mut self.ids,
            log: None,
            ending: self.ending,
        };
        self.conn.step(event, &mut cx);
        let mut seen = Vec::new();
        for action in actions {
            if self.closed {
                break;
            }
            seen.push(self.perform(action));
        }
        let linked = self.conn.link != Link::None;
        let exchanging = matches!(self.conn.phase(), Phase::Exchange | Phase::Tunnel);
        assert!(self.closed || linked == exchanging, "{:?} after {seen:?}", self.conn);
        seen
    }

    fn perform(&mut self, action: Action) -> String {
        match action {
            Action::Receive(ReceiveMode::Paused) => "pause".into(),
            Action::Receive(ReceiveMode::Stream) => "stream".into(),
            Action::Receive(ReceiveMode::Once(PoolClass::Body)) => "once body".into(),
            Action::Receive(ReceiveMode::Once(class)) => format!("once {class:?}"),
            Action::TimedOut(_) => "timed out".into(),
            Action::Acquit => "acquit".into(),
            Action::LearnSession(sid) => format!("learn {}", text(&sid)),
            Action::ShutdownWrite => {
                assert!(self.in_flight.is_empty() && self.conn.outbox.is_empty());
                "fin".into()
            }
            Action::Close => {
                self.closed = true;
                "close".into()
            }
            Action::Reset => {
                self.closed = true;
                "reset".into()
            }
            Action::Dispatch => {
                let known = self.conn.head.is_some() || self.conn.request.refusal.is_with_app();
                assert!(known && self.conn.link == Link::None);
                "dispatch".into()
            }
            Action::Undispatch => "undispatch".into(),
            Action::WorkerHead => "head".into(),
            Action::WorkerBody(part) => format!("body {}", text(part.as_slice())),
            Action::WorkerEnd(trailers) => format!("end {}", text(&trailers)).trim_end().into(),
            Action::WorkerHalfClose => "half-close".into(),
            Action::Upgraded => "upgraded".into(),
            Action::WorkerHold => "hold".into(),
            Action::WorkerBroken { lead, read } => {
                format!("broken {} + {}", text(&lead), text(&read))
            }
            Action::GiveBack { lead, read } => {
                self.closed = true;
                let (lead, read) = read.split_at(lead);
                let lead =
                    if lead.is_empty() { String::new() } else { format!("{} + ", text(lead)) };
                format!("give back {lead}{}", text(read)).trim_end().into()
            }
            Action::WorkerCredit(bytes) => format!("credit {bytes}"),
            Action::Release(keep) => {
                self.conn.link = Link::None;
                match keep {
                    Keep::Reuse => "reuse".into(),
                    Keep::Cancel => "cancel".into(),
                }
            }
        }
    }

    fn receive(&mut self, bytes: &str) -> Vec<String> {
        self.step(Event::Received(buffer(bytes)))
    }

    fn grant(&mut self, link: Link) -> Vec<String> {
        self.step(Event::Granted(link))
    }

    /// Response bytes; over the plain path `end` means nothing.
    fn worker(&mut self, bytes: &str, end: ResponseEnd) -> Vec<String> {
        let buffer = buffer(bytes);
        let range = 0..bytes.len();
        self.step(Event::WorkerBytes { buffer: &buffer, range, end, scarce: false })
    }

    fn deadline(&mut self, after_ms: u64) -> Vec<String> {
        self.now.ms += after_ms;
        self.step(Event::Deadline)
    }

    /// Begins a send of what waits.
    fn send(&mut self) -> bool {
        let Some(parts) = self.conn.outbox.take() else {
            return false;
        };
        assert!(self.in_flight.is_empty());
        self.in_flight = parts.iter().flat_map(|part| part.as_slice().to_vec()).collect();
        true
    }

    /// The send in flight arrives: its bytes, and what the connection wishes then.
    fn sent(&mut self) -> (String, Vec<String>) {
        let bytes = std::mem::take(&mut self.in_flight);
        (text(&bytes), self.step(Event::Sent))
    }

    /// All output, as a client that reads gets it, and the wishes on the way.
    fn flush(&mut self) -> (String, Vec<String>) {
        let (mut bytes, mut wishes) = (String::new(), Vec::new());
        while !self.closed && self.send() {
            let (more, seen) = self.sent();
            bytes.push_str(&more);
            wishes.extend(seen);
        }
        (bytes, wishes)
    }

    fn output(&mut self) -> String {
        self.flush().0
    }
}

fn buffer(bytes: &str) -> Buffer {
    Buffer::from_vec(bytes.as_bytes().to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("tests speak ASCII").replace('\0', "|")
}

/// The status line's code of an answer.
fn status(output: &str) -> u16 {
    output
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status line in {output:?}"))
}

/// What a response head should carry besides what is given: the request id.
fn body_of(output: &str) -> &str {
    output.split_once("\r\n\r\n").expect("a head").1
}

const NOTHING: [&str; 0] = [];
