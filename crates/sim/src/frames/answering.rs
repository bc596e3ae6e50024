//! Apps at work behind a channel: bodies are read, answers written, within their windows.
//!
//! Owns: the frames to the proxy. Must never know: what comes in. Part of `frames`.

use hostler_protocol::worker::peer::{put, put_reset, put_window};
use hostler_protocol::worker::{FromWorker, StreamTag, WINDOW_BYTES};

use super::{Fate, FramesSide, Stream};
use crate::app::{Ending, Exchange};
use crate::oracle::Ledger;

impl FramesSide {
    /// Every app does a little.
    pub(super) fn work(&mut self, ledger: &mut Ledger, happened: &mut bool) -> Fate {
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
            ledger.records[exchange.id].deliveries[exchange.delivery].wrote = true;
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
            Ending::Reset => {
                ledger.records[exchange.id].deliveries[exchange.delivery].reset = true;
                self.send_reset(tag);
            }
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
