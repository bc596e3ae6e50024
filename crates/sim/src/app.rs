//! What an app does with a request.
//!
//! Owns: the choice of an answer (proper or not), its bytes, how fast the body is read. Must never know: frames, sockets.
//! Used by both kinds of workers.

use crate::client::answer_key;
use crate::oracle::Ledger;
use crate::request::Request;
use crate::rng::{Rng, body};

/// What follows the last byte that the app writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is whole.
    End,
    /// The answer is whole, and the client connection should end.
    EndClose,
    /// The app says that it is whole, and it is not.
    Truncated,
    /// The app destroys the socket.
    Reset,
    /// The worker process dies.
    Death,
    /// The worker's connection to the proxy breaks.
    Break,
    /// The worker writes what the protocol does not allow.
    Nonsense,
    /// Nothing, ever.
    Silence,
}

/// What a seed wants of its apps.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppWishes {
    /// Percent of answers that are broken off, wrong, or fatal for the worker.
    pub faults: u32,
    /// Faults may kill the worker or its channel.
    pub deadly: bool,
    /// Percent of answers that begin before the request body is read.
    pub early: u32,
    /// Longest thinking time.
    pub delay_ms_max: u64,
    /// Longest answer body.
    pub body_max: usize,
    /// Percent of requests whose body is read slowly.
    pub slow_reading: u32,
    /// Percent of requests that are never answered.
    pub silent: u32,
    /// The app answers client errors itself.
    pub client_errors: bool,
    /// Node counts the requests of a connection.
    pub counts: bool,
}

/// One request in an app.
#[derive(Debug)]
pub struct Exchange {
    /// The request's number.
    pub id: usize,
    /// The attempt's number.
    pub delivery: usize,
    /// The answer as it is on the wire, up to where it ends.
    pub wire: Vec<u8>,
    /// Bytes of it handed to the transport.
    pub written: usize,
    /// What follows.
    pub ending: Ending,
    /// The end has been handed to the transport.
    pub ended: bool,
    /// Request body bytes received.
    pub received: usize,
    /// Those that the app has read.
    pub consumed: usize,
    /// Of those, acknowledged to the proxy.
    pub credited: usize,
    /// The request has been received whole.
    pub request_done: bool,
    /// The app answers from then on.
    pub answer_at: u64,
    /// The app answers only when it has the whole request.
    pub waits: bool,
    /// Most bytes read from the body at a time; the app reads again after a pause.
    pub read_max: usize,
    /// Longest pause between two reads of the body.
    pub read_pause_ms: u64,
    /// No reading of the body before.
    pub read_at: u64,
    /// Send `100 Continue` first.
    pub continues: bool,
    /// The connection to the worker ends after the answer (plain path).
    pub closes: bool,
    /// Bytes nobody asked for, behind the answer in a write of their own (plain path).
    pub surplus: &'static [u8],
}

/// An answer to nothing.
const SURPLUS: &[u8] = b"HTTP/1.1 200 OK\r\nX-Sim: surplus\r\nContent-Length: 0\r\n\r\n";

impl Exchange {
    /// Chooses what to do with a request that just arrived.
    pub fn choose(
        id: usize,
        delivery: usize,
        wishes: &AppWishes,
        rng: &mut Rng,
        ledger: &mut Ledger,
    ) -> Self {
        let request = ledger.records[id].request.clone();
        let slow = rng.chance(wishes.slow_reading);
        let silent = rng.chance(wishes.silent);
        let mut exchange = Self {
            id,
            delivery,
            wire: Vec::new(),
            written: 0,
            ending: Ending::End,
            ended: false,
            received: 0,
            consumed: 0,
            credited: 0,
            request_done: false,
            answer_at: ledger.now_ms + rng.ms(0, wishes.delay_ms_max),
            waits: !rng.chance(wishes.early),
            // A slow app, but not one that takes longer than the proxy waits.
            read_max: if slow {
                rng.within(1_000, 40_000).max(request.body_len / 60)
            } else {
                usize::MAX
            },
            read_pause_ms: if slow { 60 } else { 0 },
            read_at: 0,
            continues: request.expects && !request.http10,
            closes: false,
            surplus: b"",
        };
        let mut status = rng.pick(&[200, 200, 200, 200, 201, 404, 500, 204, 304]);
        if request.upgrade {
            // Every 2xx to CONNECT would be a tunnel.
            status = 404;
        }
        let body_len = if matches!(status, 204 | 304) { 0 } else { rng.length(wishes.body_max) };
        exchange.write(status, body_len, &request, rng, ledger);
        if silent {
            exchange.ending = Ending::Silence;
            exchange.wire.truncate(rng.pick(&[0, 5]));
        } else if rng.chance(wishes.faults) {
            exchange.break_off(wishes, rng);
        }
        exchange.enter(status, body_len, silent, ledger);
        exchange
    }

    /// Enters into the ledger what the app means to answer, and breaks promises where a test wants it.
    fn enter(&mut self, status: u16, body_len: usize, silent: bool, ledger: &mut Ledger) {
        let canary = ledger.canary;
        if canary.wrong_body
            && let Some(last) = self.wire.last_mut()
        {
            *last ^= 1;
        }
        if canary.no_answer {
            self.ending = Ending::Silence;
            self.wire.clear();
        }
        let record = &mut ledger.records[self.id].deliveries[self.delivery];
        record.status = status;
        record.body_len = body_len + usize::from(canary.short_answer);
        record.honest = matches!(self.ending, Ending::End | Ending::EndClose) || canary.no_answer;
        record.too_slow = silent;
        let until_close = record.until_close;
        ledger.note(|| {
            let Self { id, ending, waits, answer_at, wire, .. } = self;
            format!(
                "request {id}: the app answers {status} with {body_len} bytes: {ending:?}, from {answer_at}, \
                 waits={waits} until_close={until_close} wire={}",
                wire.len()
            )
        });
    }

    fn write(
        &mut self,
        status: u16,
        body_len: usize,
        request: &Request,
        rng: &mut Rng,
        ledger: &mut Ledger,
    ) {
        let (http10, head_only) = (request.http10, request.method == "HEAD");
        let plain = ledger.records[self.id].deliveries[self.delivery].plain;
        let mut text = String::new();
        if !http10 && rng.chance(10) {
            text.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        }
        text.push_str(&format!(
            "HTTP/1.1 {status} Reason\r\nX-Sim: {}.{}\r\nDate: now\r\n",
            self.id, self.delivery
        ));
        if rng.chance(30) {
            text.push_str("Keep-Alive: timeout=5\r\n");
        }
        if rng.chance(5) {
            text.push_str(&format!("X-Long: {}\r\n", "l".repeat(rng.within(1_000, 20_000))));
        }
        let bodiless = matches!(status, 204 | 304);
        let until_close = !bodiless && rng.chance(if http10 { 30 } else { 4 });
        let chunked = !bodiless && !http10 && !until_close && rng.chance(40);
        if until_close || rng.chance(6) {
            text.push_str("Connection: close\r\n");
            self.closes = true;
            self.ending = if plain { Ending::End } else { Ending::EndClose };
        } else if rng.chance(30) {
            text.push_str("Connection: keep-alive\r\n");
        }
        let key = answer_key(self.id, self.delivery);
        if chunked {
            text.push_str("Transfer-Encoding: chunked\r\n\r\n");
        } else if until_close || bodiless {
            text.push_str("\r\n");
        } else {
            text.push_str(&format!("Content-Length: {body_len}\r\n\r\n"));
        }
        self.wire = text.into_bytes();
        if !head_only && chunked {
            let size = rng.pick(&[1_usize, 20, 1_000, 16_000, 200_000]).max(body_len / 500 + 1);
            let mut at = 0;
            while at < body_len {
                let end = (at + size).min(body_len);
                self.wire.extend_from_slice(format!("{:x}\r\n", end - at).as_bytes());
                self.wire.extend_from_slice(&body(key, at, end));
                self.wire.extend_from_slice(b"\r\n");
                at = end;
            }
            self.wire.extend_from_slice(b"0\r\n\r\n");
        } else if !head_only && !bodiless {
            self.wire.extend_from_slice(&body(key, 0, body_len));
        }
        ledger.records[self.id].deliveries[self.delivery].until_close = until_close && !head_only;
        if !until_close && rng.chance(2) {
            if plain {
                self.surplus = SURPLUS;
            } else {
                self.wire.extend_from_slice(SURPLUS);
            }
            ledger.records[self.id].deliveries[self.delivery].surplus = true;
        }
    }

    /// Makes the answer stop somewhere.
    fn break_off(&mut self, wishes: &AppWishes, rng: &mut Rng) {
        let gentle = [Ending::Truncated, Ending::Reset];
        let deadly =
            [Ending::Truncated, Ending::Reset, Ending::Death, Ending::Break, Ending::Nonsense];
        self.ending = rng.pick(if wishes.deadly { &deadly[..] } else { &gentle[..] });
        let stop = match rng.below(3) {
            0 => 0,
            1 => rng.below(self.wire.len().min(40)),
            _ => rng.below(self.wire.len()),
        };
        self.wire.truncate(stop);
        if rng.chance(15) && self.ending == Ending::Truncated {
            self.wire = b"NOT HTTP AT ALL\r\n\r\n".to_vec();
        }
    }

    /// May the answer be written now?
    pub fn may_answer(&self, now_ms: u64) -> bool {
        now_ms >= self.answer_at && (self.request_done || !self.waits)
    }

    /// Body bytes came in.
    pub fn body_arrived(&mut self, bytes: &[u8], ledger: &mut Ledger) {
        ledger.body_arrived(self.id, self.received, bytes);
        self.received += bytes.len();
    }

    /// The app reads from the body; says how many bytes.
    pub fn read_body(&mut self, now_ms: u64, rng: &mut Rng) -> usize {
        if self.consumed == self.received || now_ms < self.read_at {
            return 0;
        }
        let count = (self.received - self.consumed).min(self.read_max);
        self.consumed += count;
        self.read_at = now_ms + rng.ms(0, self.read_pause_ms);
        count
    }

    /// Notes that the answer was given up by the transport.
    pub fn lost(&self, ledger: &mut Ledger) {
        let delivery = &mut ledger.records[self.id].deliveries[self.delivery];
        if !delivery.finished {
            delivery.lost = true;
        }
    }

    /// The process ends in the middle of it.
    pub fn dies(&self, ledger: &mut Ledger) {
        self.lost(ledger);
        let delivery = &mut ledger.records[self.id].deliveries[self.delivery];
        delivery.died = !delivery.finished;
    }

    /// When it wants to go on by itself.
    pub fn wakes_ms(&self, now_ms: u64) -> u64 {
        let mut at = u64::MAX;
        if self.answer_at > now_ms {
            at = self.answer_at;
        }
        if self.consumed < self.received {
            at = at.min(self.read_at);
        }
        at
    }
}
