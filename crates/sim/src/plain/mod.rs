//! The worker's end of a plain HTTP/1.1 connection.
//!
//! Owns: a small HTTP server of its own; what it writes is `answering`. Must never know: why an app answers as it does.
//! Called by `worker`.

mod answering;

use hostler_driver::fake::FakeRead;

use hostler_proxy::forward::REFUSAL_RETURNED;

use crate::app::{AppWishes, Exchange};
use crate::frames::Fate;
use crate::oracle::Ledger;
use crate::request::Request;
use crate::rng::{Rng, is_body};
use crate::websocket::Speaker;
use crate::wire::Wire;

/// What the connection is reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The line that tells a worker of frames who the client is.
    Client,
    /// Bytes that the proxy refused, and the status that it would answer.
    Refused(u16),
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    Done,
    Tunnel,
}

/// What an upgraded connection carries.
#[derive(Debug, Default)]
struct Tunnel {
    /// The request that it began with, and its delivery.
    id: usize,
    delivery: usize,
    /// Bytes of the client that have come.
    arrived: usize,
    /// How the app says its own, in a WebSocket.
    speaker: Option<Speaker>,
}

/// Idle time after which the server closes a connection (Node's default).
const IDLE_MS: u64 = 5_000;

/// The worker's end of a plain connection.
pub struct PlainSide {
    peer: Wire,
    worker: u32,
    rng: Rng,
    wishes: AppWishes,
    bytes: Vec<u8>,
    reading: Reading,
    exchange: Option<Exchange>,
    /// The request asked for an upgrade.
    upgrade: bool,
    tunnel: Tunnel,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    out: Vec<u8>,
    ended: bool,
    /// The connection ends when all is written.
    closes: bool,
    idle_ms: u64,
}

impl PlainSide {
    /// A connection just accepted; `announced` when it begins with the line about its client.
    pub fn new(
        peer: Wire,
        worker: u32,
        announced: bool,
        wishes: AppWishes,
        rng: Rng,
        now_ms: u64,
    ) -> Self {
        Self {
            peer,
            worker,
            rng,
            wishes,
            bytes: Vec::new(),
            reading: if announced { Reading::Client } else { Reading::Head },
            exchange: None,
            upgrade: false,
            tunnel: Tunnel::default(),
            trailers: Vec::new(),
            out: Vec::new(),
            ended: false,
            closes: false,
            idle_ms: now_ms,
        }
    }

    /// For faults.
    pub fn peer(&self) -> &Wire {
        &self.peer
    }

    /// Is a request in hand?
    pub fn is_busy(&self) -> bool {
        self.exchange.is_some() || self.reading == Reading::Tunnel
    }

    /// The request in hand is lost.
    pub fn lose(&mut self, ledger: &mut Ledger) {
        if let Some(exchange) = &self.exchange {
            exchange.lost(ledger);
        }
    }

    /// The process ends.
    pub fn dies(&mut self, ledger: &mut Ledger) {
        if let Some(exchange) = &self.exchange {
            exchange.dies(ledger);
        }
    }

    /// When it wants to act by itself.
    pub fn wakes_ms(&self, now_ms: u64) -> u64 {
        match &self.exchange {
            Some(exchange) => exchange.wakes_ms(now_ms),
            None => self.idle_ms + IDLE_MS,
        }
    }

    /// Reads, works, writes. The second value: something happened.
    pub fn act(&mut self, ledger: &mut Ledger) -> (Fate, bool) {
        let mut happened = false;
        let full = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.received - exchange.consumed > 60_000);
        if !full && !self.ended {
            let mut bytes = Vec::new();
            match self.peer.read_at_most(self.rng.within(1, 100_000), &mut bytes) {
                FakeRead::Bytes => {
                    happened = true;
                    self.idle_ms = ledger.now_ms;
                    self.bytes.extend_from_slice(&bytes);
                }
                FakeRead::Nothing => {}
                FakeRead::End => self.ended = true,
                FakeRead::Reset => return (Fate::ClosedByProxy, true),
            }
        }
        if let Err(why) = self.understand(ledger) {
            ledger.violation(format!("worker {}, plain: {why}", self.worker));
            return (Fate::Broken, true);
        }
        let fate = self.work(ledger, &mut happened);
        happened |= self.flush();
        if fate != Fate::Lives {
            return (fate, true);
        }
        if self.closes && self.out.is_empty() {
            // In order, so that the answer arrives; what still comes is thrown away.
            self.peer.finish();
            self.bytes.clear();
            if self.ended || self.peer.is_closed() {
                return (Fate::ClosedByProxy, true);
            }
        }
        let over = self.ended && self.exchange.is_none() && self.out.is_empty();
        if over || (self.ended && self.peer.is_closed()) {
            return (Fate::ClosedByProxy, true);
        }
        if self.exchange.is_none()
            && self.reading == Reading::Head
            && ledger.now_ms >= self.idle_ms + IDLE_MS
        {
            ledger.note_loss();
            return (Fate::Broken, true);
        }
        (Fate::Lives, happened)
    }

    fn flush(&mut self) -> bool {
        let mut happened = false;
        while !self.out.is_empty() {
            let most = if self.rng.chance(70) {
                self.out.len()
            } else {
                self.rng.within(1, self.out.len())
            };
            let count = self.peer.write(&self.out[..most]);
            if count == 0 {
                break;
            }
            happened = true;
            self.out.drain(..count);
        }
        happened
    }

    fn line(&mut self) -> Option<String> {
        let end = self.bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end + 2);
        Some(line)
    }

    fn understand(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        loop {
            match self.reading {
                Reading::Client => {
                    let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                        return Ok(());
                    };
                    let line: Vec<u8> = self.bytes.drain(..=end).collect();
                    self.reading = self.client_line(&String::from_utf8_lossy(&line))?;
                }
                Reading::Refused(status) => {
                    if self.bytes.is_empty() && !self.ended {
                        return Ok(());
                    }
                    self.bytes.clear();
                    // The oracle cannot tell the app's words from ours, and need not.
                    let words = format!(
                        "HTTP/1.1 {status} No\r\nX-Hostler-Error: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                        if status == 408 { "client-timeout" } else { "bad-request" }
                    );
                    let node_takes_it = self.rng.chance(30);
                    self.out = if node_takes_it { REFUSAL_RETURNED.to_vec() } else { words.into() };
                    self.reading = Reading::Done;
                    self.closes = true;
                }
                Reading::Head if self.exchange.is_none() => {
                    let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")
                    else {
                        return Ok(());
                    };
                    let head: Vec<u8> = self.bytes.drain(..end + 4).take(end).collect();
                    self.head(&head, ledger)?;
                }
                Reading::Head | Reading::Done => return Ok(()),
                Reading::Length(left) | Reading::Chunk(left) => {
                    if self.bytes.is_empty() && left > 0 {
                        return Ok(());
                    }
                    let count = left.min(self.bytes.len());
                    let piece: Vec<u8> = self.bytes.drain(..count).collect();
                    if let Some(exchange) = &mut self.exchange {
                        exchange.body_arrived(&piece, ledger);
                    }
                    self.reading = match self.reading {
                        Reading::Length(_) if count == left => self.done(false, ledger),
                        Reading::Length(_) => Reading::Length(left - count),
                        _ if count == left => Reading::ChunkEnd,
                        _ => Reading::Chunk(left - count),
                    };
                }
                Reading::ChunkSize | Reading::ChunkEnd | Reading::Trailers => {
                    let Some(line) = self.line() else { return Ok(()) };
                    self.chunk_line(&line, ledger)?;
                }
                Reading::Tunnel => {
                    return self.echo(ledger);
                }
            }
        }
    }

    /// The app sends back what comes through its upgraded connection.
    fn echo(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        let bytes = std::mem::take(&mut self.bytes);
        let tunnel = &mut self.tunnel;
        if !is_body(Request::body_key(tunnel.id), tunnel.arrived, &bytes) {
            return Err(format!("request {}: wrong bytes at {}", tunnel.id, tunnel.arrived));
        }
        tunnel.arrived += bytes.len();
        let Some(speaker) = &mut tunnel.speaker else {
            self.out.extend_from_slice(&bytes);
            return Ok(());
        };
        speaker.say(&bytes, &mut self.out, &mut self.rng);
        if !bytes.is_empty() && self.rng.chance(3) && speaker.close(&mut self.out) {
            ledger.records[tunnel.id].deliveries[tunnel.delivery].says_close = true;
            self.reading = Reading::Done;
            self.closes = true;
        }
        Ok(())
    }

    /// Who the client is, and whether what follows is refused.
    fn client_line(&self, line: &str) -> Result<Reading, String> {
        let parts: Vec<&str> = line.trim_end().split(' ').collect();
        match parts[..] {
            ["HOSTLER", _, _, _] => Ok(Reading::Head),
            ["HOSTLER", _, _, _, status] if self.wishes.client_errors => {
                status.parse().map(Reading::Refused).map_err(|_| format!("status {status}"))
            }
            _ => Err(format!("first line {line:?}")),
        }
    }

    fn chunk_line(&mut self, line: &str, ledger: &mut Ledger) -> Result<(), String> {
        self.reading = match self.reading {
            Reading::ChunkEnd if line.is_empty() => Reading::ChunkSize,
            Reading::ChunkSize => match usize::from_str_radix(line, 16) {
                Ok(0) => Reading::Trailers,
                Ok(size) => Reading::Chunk(size),
                Err(_) => return Err(format!("chunk size {line:?}")),
            },
            Reading::Trailers if line.is_empty() => self.done(true, ledger),
            Reading::Trailers => {
                let (name, value) = line.split_once(':').ok_or("a trailer without a colon")?;
                self.trailers.push((name.as_bytes().to_vec(), value.trim().as_bytes().to_vec()));
                Reading::Trailers
            }
            reading => return Err(format!("{reading:?} and then {line:?}")),
        };
        Ok(())
    }

    fn done(&mut self, chunked: bool, ledger: &mut Ledger) -> Reading {
        let trailers = std::mem::take(&mut self.trailers);
        if let Some(exchange) = &mut self.exchange {
            exchange.request_done = true;
            ledger.request_arrived(
                exchange.id,
                exchange.delivery,
                exchange.received,
                chunked.then_some(&trailers),
            );
        }
        Reading::Done
    }

    fn head(&mut self, head: &[u8], ledger: &mut Ledger) -> Result<(), String> {
        let text = String::from_utf8_lossy(head).into_owned();
        let mut lines = text.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, version] = first[..] else {
            return Err(format!("request line {first:?}"));
        };
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) =
                line.split_once(": ").ok_or_else(|| format!("field line {line:?}"))?;
            fields.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        }
        let delivered =
            ledger.deliver(self.worker, true, method.as_bytes(), target.as_bytes(), &fields);
        let Some((id, delivery)) = delivered else {
            return Err("a request that nobody sent".into());
        };
        if (version == "HTTP/1.0") != ledger.records[id].request.http10 {
            return Err(format!("version {version}"));
        }
        let find = |wanted: &str| {
            let found =
                fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let mut exchange = Exchange::choose(id, delivery, &self.wishes, &mut self.rng, ledger);
        self.upgrade = ledger.records[id].request.upgrade;
        self.reading = if find("transfer-encoding").is_some() {
            Reading::ChunkSize
        } else if let Some(length) = find("content-length").and_then(|text| text.parse().ok()) {
            Reading::Length(length)
        } else {
            exchange.request_done = true;
            ledger.request_arrived(id, delivery, 0, None);
            Reading::Done
        };
        self.peer.note_request(id, delivery);
        self.exchange = Some(exchange);
        Ok(())
    }
}
