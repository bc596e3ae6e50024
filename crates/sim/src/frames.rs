//! The worker's end of a framed channel.
//!
//! Owns: its streams, windows and batches; every frame of the proxy is checked against `docs/worker-protocol.md`
//! here. Must never know: why an app answers as it does. Called by `worker`.

use std::collections::{BTreeMap, VecDeque};

use hostler_driver::fake::{FakePeer, FakeRead};
use hostler_protocol::worker::peer::{
    PeerBody, PeerFrame, PeerHead, PeerReader, put, put_heartbeat, put_json, put_reset, put_window,
};
use hostler_protocol::worker::{
    FromWorker, HeadFlags, Heartbeat, Listen, PROTOCOL_VERSION, StreamTag, Unlisten, WINDOW_BYTES,
    WorkerHello,
};

use crate::app::{AppWishes, Ending, Exchange};
use crate::oracle::Ledger;
use crate::request::BodyKind;
use crate::rng::Rng;

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
        };
        let mut bytes = Vec::new();
        put_json(&mut bytes, FromWorker::Hello, &hello);
        put_json(&mut bytes, FromWorker::Listen, &Listen::default());
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
            put_json(&mut bytes, FromWorker::Unlisten, &Unlisten {});
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
                if !self.nonsense && ledger.drained_ms.is_none() {
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

    /// All requests in hand are lost.
    pub fn lose(&mut self, ledger: &mut Ledger) {
        for stream in self.streams.values() {
            if let Some(exchange) = &stream.exchange {
                exchange.lost(ledger);
            }
        }
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
                loop_delay_us: 5,
                utilisation_permille: 1,
                in_flight: 0,
                heap_kib: 1,
                rss_kib: 1,
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

    fn frames(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        while let Some(frame) = self.reader.next_frame().map_err(|error| error.to_string())? {
            if !self.greeted && !matches!(frame.body, PeerBody::Hello(_)) {
                return Err("the first frame is not HELLO".into());
            }
            self.frame(frame, ledger)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: PeerFrame, ledger: &mut Ledger) -> Result<(), String> {
        let tag = frame.tag;
        match frame.body {
            PeerBody::Hello(hello) => {
                if self.greeted || hello.window != WINDOW_BYTES {
                    return Err(format!("{hello:?}"));
                }
                self.greeted = true;
                return Ok(());
            }
            PeerBody::Drain => return Ok(()),
            PeerBody::Head(head) => return self.head(tag, &head, ledger),
            _ => {}
        }
        let Some(stream) = self.streams.get_mut(&tag.stream) else {
            let late = self.reset.contains_key(&tag.stream);
            return if late {
                Ok(())
            } else {
                Err(format!("{:?} on stream {tag:?}, which is not open", frame.body))
            };
        };
        // CLOSE counts whatever its generation.
        if stream.generation != tag.generation && frame.body != PeerBody::Close {
            return Err(format!(
                "{:?} on stream {tag:?}, whose generation is {}",
                frame.body, stream.generation
            ));
        }
        match frame.body {
            PeerBody::Close => {
                if let Some(exchange) = &stream.exchange {
                    exchange.lost(ledger);
                }
                self.streams.remove(&tag.stream);
                Ok(())
            }
            PeerBody::HalfClose => {
                stream.half_closed = true;
                Ok(())
            }
            PeerBody::Window(bytes) => {
                stream.credit += i64::from(bytes);
                stream.unacknowledged -= i64::from(bytes);
                if stream.unacknowledged < 0 || stream.credit > i64::from(WINDOW_BYTES) {
                    return Err(format!("credit for bytes never sent on {tag:?}"));
                }
                Ok(())
            }
            PeerBody::Data(bytes) => Self::data(stream, tag, &bytes, ledger),
            PeerBody::End(trailers) => Self::end(stream, tag, &trailers, ledger),
            PeerBody::Hello(_) | PeerBody::Drain | PeerBody::Head(_) => {
                unreachable!("handled above")
            }
        }
    }

    fn head(&mut self, tag: StreamTag, head: &PeerHead, ledger: &mut Ledger) -> Result<(), String> {
        let is_new = head.flags.has(HeadFlags::NEW_CONNECTION);
        let delivered =
            ledger.deliver(self.worker, false, &head.method, &head.target, &head.fields);
        let Some((id, delivery)) = delivered else {
            return Err("a HEAD that nobody sent".into());
        };
        check_flags(head.flags, id, ledger);
        match self.streams.get(&tag.stream) {
            None if is_new => {
                self.reset.remove(&tag.stream);
            }
            None if self.reset.contains_key(&tag.stream) => {
                // The app destroyed the socket while this HEAD was on its way.
                ledger.records[id].deliveries[delivery].lost = true;
                let mut bytes = Vec::new();
                put_reset(&mut bytes, tag);
                self.put(&bytes);
                return Ok(());
            }
            None => return Err(format!("HEAD on {tag:?}, which is not open")),
            Some(_) if is_new => return Err(format!("NEW_CONNECTION on {tag:?}, which is in use")),
            Some(stream)
                if stream
                    .exchange
                    .as_ref()
                    .is_some_and(|exchange| !(exchange.ended && exchange.request_done)) =>
            {
                return Err(format!(
                    "HEAD on {tag:?} before the last request and its answer were over"
                ));
            }
            Some(stream) if stream.generation == tag.generation => {
                return Err(format!("HEAD on {tag:?} with the generation of the last request"));
            }
            Some(_) => {}
        }
        let mut exchange = Exchange::choose(id, delivery, &self.wishes, &mut self.rng, ledger);
        if head.flags.has(HeadFlags::NO_BODY) {
            exchange.request_done = true;
            ledger.request_arrived(id, delivery, 0, None);
        }
        let stream = Stream {
            generation: tag.generation,
            exchange: Some(exchange),
            credit: i64::from(WINDOW_BYTES),
            unacknowledged: 0,
            window: i64::from(WINDOW_BYTES),
            half_closed: false,
        };
        self.streams.insert(tag.stream, stream);
        Ok(())
    }

    fn data(
        stream: &mut Stream,
        tag: StreamTag,
        bytes: &[u8],
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Some(exchange) = &mut stream.exchange else {
            return Err(format!("DATA on {tag:?} after the end of the request"));
        };
        if exchange.request_done {
            return Err(format!("DATA on {tag:?} after END"));
        }
        let len = bytes.len() as i64;
        let alone = exchange.received == exchange.credited && stream.window > 0;
        if len > stream.window && !(alone && len <= i64::from(WINDOW_BYTES)) {
            return Err(format!("{len} bytes into a window of {} on {tag:?}", stream.window));
        }
        stream.window -= len;
        exchange.body_arrived(bytes, ledger);
        Ok(())
    }

    fn end(
        stream: &mut Stream,
        tag: StreamTag,
        trailers: &[(Vec<u8>, Vec<u8>)],
        ledger: &mut Ledger,
    ) -> Result<(), String> {
        let Some(exchange) = stream.exchange.as_mut().filter(|exchange| !exchange.request_done)
        else {
            return Err(format!("a second END on {tag:?}"));
        };
        exchange.request_done = true;
        ledger.request_arrived(exchange.id, exchange.delivery, exchange.received, Some(trailers));
        Ok(())
    }

    /// Every app does a little.
    fn work(&mut self, ledger: &mut Ledger, happened: &mut bool) -> Fate {
        let numbers: Vec<u32> = self.streams.keys().copied().collect();
        for number in numbers {
            let Some(mut stream) = self.streams.remove(&number) else { continue };
            let tag = StreamTag { stream: number, generation: stream.generation };
            let Some(mut exchange) = stream.exchange.take() else {
                // An app that closes idle sockets on a whim.
                if self.wishes.deadly && self.rng.chance(1) && self.rng.chance(3) {
                    ledger.note(|| format!("worker {} resets idle {tag:?}", self.worker));
                    ledger.idle_reset_ms = Some(ledger.now_ms);
                    self.send_reset(tag);
                    continue;
                }
                self.streams.insert(number, stream);
                continue;
            };
            self.read_body(tag, &mut stream, &mut exchange, ledger, happened);
            let fate = self.answer(tag, &mut stream, &mut exchange, ledger, happened);
            if fate != Fate::Lives {
                exchange.lost(ledger);
                return fate;
            }
            if exchange.ended && matches!(exchange.ending, Ending::Reset) {
                exchange.lost(ledger);
                continue;
            }
            let over = exchange.ended && exchange.request_done;
            stream.exchange = (!over).then_some(exchange);
            self.streams.insert(number, stream);
        }
        Fate::Lives
    }

    fn send_reset(&mut self, tag: StreamTag) {
        let mut bytes = Vec::new();
        put_reset(&mut bytes, tag);
        self.put(&bytes);
        self.reset.insert(tag.stream, tag.generation);
    }

    fn read_body(
        &mut self,
        tag: StreamTag,
        stream: &mut Stream,
        exchange: &mut Exchange,
        ledger: &Ledger,
        happened: &mut bool,
    ) {
        let mut bytes = Vec::new();
        if exchange.continues && !exchange.ended && exchange.written == 0 && exchange.waits {
            exchange.continues = false;
            let text = b"HTTP/1.1 100 Continue\r\n\r\n";
            stream.credit -= text.len() as i64;
            stream.unacknowledged += text.len() as i64;
            put(&mut bytes, FromWorker::Data, tag, text);
        }
        let read = exchange.read_body(ledger.now_ms, &mut self.rng);
        *happened |= read > 0;
        let owed = exchange.consumed - exchange.credited;
        if !exchange.request_done && owed >= WINDOW_BYTES as usize / 4 {
            exchange.credited = exchange.consumed;
            stream.window += owed as i64;
            put_window(&mut bytes, tag, owed as u32);
        }
        self.put(&bytes);
    }

    fn answer(
        &mut self,
        tag: StreamTag,
        stream: &mut Stream,
        exchange: &mut Exchange,
        ledger: &mut Ledger,
        happened: &mut bool,
    ) -> Fate {
        if exchange.ended || !exchange.may_answer(ledger.now_ms) {
            return Fate::Lives;
        }
        let mut bytes = Vec::new();
        while exchange.written < exchange.wire.len() && stream.credit > 0 {
            let left = exchange.wire.len() - exchange.written;
            let cut = if self.rng.chance(60) { left } else { self.rng.within(1, left) };
            let count = cut.min(stream.credit as usize);
            let piece = &exchange.wire[exchange.written..exchange.written + count];
            exchange.written += count;
            stream.credit -= count as i64;
            stream.unacknowledged += count as i64;
            *happened = true;
            let last = exchange.written == exchange.wire.len() && self.rng.chance(70);
            let kind = match exchange.ending {
                Ending::End | Ending::Truncated if last => FromWorker::End,
                Ending::EndClose if last => FromWorker::EndClose,
                _ => FromWorker::Data,
            };
            put(&mut bytes, kind, tag, piece);
            exchange.ended = kind != FromWorker::Data;
            if self.rng.chance(10) {
                break;
            }
        }
        self.put(&bytes);
        if exchange.written < exchange.wire.len() {
            return Fate::Lives;
        }
        let fate = self.finish(tag, exchange, ledger);
        *happened |= exchange.ended;
        fate
    }

    /// All bytes are handed over: what follows?
    fn finish(&mut self, tag: StreamTag, exchange: &mut Exchange, ledger: &mut Ledger) -> Fate {
        let mut bytes = Vec::new();
        match exchange.ending {
            Ending::Silence => return Fate::Lives,
            Ending::End | Ending::Truncated if !exchange.ended => {
                put(&mut bytes, FromWorker::End, tag, b"")
            }
            Ending::EndClose if !exchange.ended => put(&mut bytes, FromWorker::EndClose, tag, b""),
            Ending::End | Ending::Truncated | Ending::EndClose => {}
            Ending::Reset => self.send_reset(tag),
            Ending::Nonsense => {
                ledger.note(|| format!("worker {} writes nonsense", self.worker));
                ledger.note_loss();
                self.nonsense = true;
                put(&mut bytes, FromWorker::Heartbeat, StreamTag::CHANNEL, b"not a heartbeat");
            }
            Ending::Break => {
                ledger.note(|| format!("worker {} breaks its channel", self.worker));
                ledger.note_loss();
                self.broken = true;
            }
            Ending::Death => {
                self.flush(ledger);
                return Fate::WorkerDies;
            }
        }
        exchange.ended = true;
        self.put(&bytes);
        if matches!(exchange.ending, Ending::End | Ending::EndClose) {
            self.ends.push_back((self.queued, exchange.id, exchange.delivery));
            if self.rng.chance(4) {
                // Late bytes of an older request must reach nobody.
                let mut late = Vec::new();
                let old = StreamTag { generation: tag.generation.wrapping_sub(1), ..tag };
                put(&mut late, FromWorker::End, old, b"HTTP/1.1 200 OK\r\nX-Sim: late\r\n\r\n");
                self.put(&late);
            }
        }
        Fate::Lives
    }
}

fn check_flags(flags: HeadFlags, id: usize, ledger: &mut Ledger) {
    let request = &ledger.records[id].request;
    let keeps = if request.http10 { !request.close } else { !request.close || request.upgrade };
    let bodiless = match request.body {
        BodyKind::None => true,
        BodyKind::Length => request.body_len == 0,
        BodyKind::Chunked(_) => false,
    };
    let wrong = flags.has(HeadFlags::NO_BODY) != bodiless
        || flags.has(HeadFlags::HTTP_1_0) != request.http10
        || flags.has(HeadFlags::EXPECT_CONTINUE) != request.expects
        || flags.has(HeadFlags::KEEP_ALIVE) != keeps;
    if wrong {
        ledger.violation(format!("request {id}: flags {flags:?}"));
    }
}
