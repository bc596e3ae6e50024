//! The answers on a plain connection.
//!
//! Owns: what the small server writes, and how its connection ends. Must never know: how requests are read. Part of `plain`.

use hostler_protocol::websocket::SERVICE_RESTART;

use super::{PlainSide, Reading, Tunnel};
use crate::app::{Ending, Exchange};
use crate::frames::Fate;
use crate::oracle::Ledger;
use crate::websocket::Speaker;

impl PlainSide {
    pub(super) fn work(&mut self, ledger: &mut Ledger, happened: &mut bool) -> Fate {
        let Some(mut exchange) = self.exchange.take() else { return Fate::Lives };
        if self.peer.is_closed() {
            exchange.lost(ledger);
            return Fate::ClosedByProxy;
        }
        *happened |= exchange.read_body(ledger.now_ms, &mut self.rng) > 0;
        if exchange.continues && exchange.waits && exchange.written == 0 {
            exchange.continues = false;
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !exchange.may_answer(ledger.now_ms) || self.out.len() > 60_000 {
            self.exchange = Some(exchange);
            return Fate::Lives;
        }
        if self.upgrade && matches!(exchange.ending, Ending::End | Ending::EndClose) {
            return self.begin_tunnel(&exchange, ledger);
        }
        let left = exchange.wire.len() - exchange.written;
        let count = if self.rng.chance(70) {
            left.min(60_000)
        } else {
            self.rng.within(0, left.min(60_000))
        };
        self.out.extend_from_slice(&exchange.wire[exchange.written..exchange.written + count]);
        exchange.written += count;
        ledger.records[exchange.id].deliveries[exchange.delivery].wrote |= count > 0;
        *happened |= count > 0;
        if exchange.written < exchange.wire.len() || exchange.ending == Ending::Silence {
            self.exchange = Some(exchange);
            return Fate::Lives;
        }
        self.flush();
        if !self.out.is_empty() {
            self.exchange = Some(exchange);
            return Fate::Lives;
        }
        // Right behind the answer: it is there before the connection can be used again.
        if matches!(exchange.ending, Ending::End) && !exchange.closes {
            self.peer.write(std::mem::take(&mut exchange.surplus));
        }
        self.finish(exchange, ledger)
    }

    fn begin_tunnel(&mut self, exchange: &Exchange, ledger: &mut Ledger) -> Fate {
        let record = &mut ledger.records[exchange.id];
        let websocket = record.request.websocket;
        self.tunnel = Tunnel {
            id: exchange.id,
            delivery: exchange.delivery,
            arrived: 0,
            speaker: websocket.then(Speaker::default),
        };
        let protocol = record.request.protocol();
        let connect = record.request.method == "CONNECT";
        let delivery = &mut record.deliveries[exchange.delivery];
        delivery.status = if connect { 200 } else { 101 };
        delivery.wrote = true;
        delivery.finished = true;
        let tag = format!("X-Sim: {}.{}\r\n", exchange.id, exchange.delivery);
        let head = if connect {
            format!("HTTP/1.1 200 OK\r\n{tag}\r\n")
        } else {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\n{tag}Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            )
        };
        self.out.extend_from_slice(head.as_bytes());
        if websocket && ledger.canary.close_frame {
            self.out.extend_from_slice(SERVICE_RESTART);
        }
        self.reading = Reading::Tunnel;
        Fate::Lives
    }

    fn finish(&mut self, mut exchange: Exchange, ledger: &mut Ledger) -> Fate {
        match exchange.ending {
            Ending::End | Ending::EndClose => {}
            Ending::Death => {
                exchange.dies(ledger);
                return Fate::WorkerDies;
            }
            _ => {
                exchange.lost(ledger);
                ledger.note_loss();
                return Fate::Broken;
            }
        }
        if exchange.closes {
            if !exchange.request_done {
                // Closing with bytes unread resets, and the answer may be lost with them.
                exchange.lost(ledger);
                ledger.note_loss();
            }
            ledger.records[exchange.id].deliveries[exchange.delivery].finished = true;
            return Fate::Broken;
        }
        ledger.records[exchange.id].deliveries[exchange.delivery].finished = true;
        if !exchange.request_done {
            // Node reads the rest of the request away before the next one.
            exchange.ended = true;
            exchange.read_max = usize::MAX;
            self.exchange = Some(exchange);
            return Fate::Lives;
        }
        self.reading = Reading::Head;
        self.idle_ms = ledger.now_ms;
        Fate::Lives
    }
}
