//! What a client makes of the bytes that come.
//!
//! Owns: which request an answer is for. Must never know: how requests are written. Part of `client`.

use hostler_driver::fake::FakeRead;

use super::{Client, answer_key};
use crate::answer::{AnswerHead, Piece};
use crate::oracle::Ledger;
use crate::request::Request;
use crate::rng::{body, is_body};
use crate::websocket::Listener;

impl Client {
    pub(super) fn read(&mut self, ledger: &mut Ledger) -> bool {
        if ledger.now_ms < self.read_at {
            return false;
        }
        let Some(peer) = &self.peer else { return false };
        let most = self.rng.within(1, self.habits.read_max.clamp(1, 1 << 20));
        let mut bytes = Vec::new();
        match peer.read_at_most(most, &mut bytes) {
            FakeRead::Nothing => {
                self.read_at = 0;
                false
            }
            FakeRead::Bytes => {
                self.read_at = ledger.now_ms + self.rng.ms(0, self.habits.read_pause_ms_max);
                self.read += bytes.len();
                self.reader.push(&bytes);
                self.understand(ledger);
                true
            }
            end @ (FakeRead::End | FakeRead::Reset) => {
                self.end(end == FakeRead::Reset, ledger);
                true
            }
        }
    }

    fn understand(&mut self, ledger: &mut Ledger) {
        loop {
            if self.refused {
                // A refusal may have a body although a HEAD was meant; nobody reads on.
                return;
            }
            let Some(planned) = self.plan.get(self.answered) else {
                if self.reader.is_inside() {
                    ledger.violation(format!("client {} got an answer to nothing", self.number));
                    self.give_up();
                }
                return;
            };
            let id = planned.id;
            let method = ledger.records[id].request.method;
            match self.reader.next(method) {
                Ok(None) => return,
                Ok(Some(piece)) => self.piece(id, piece, ledger),
                Err(why) => {
                    ledger.violation(format!("client {}, request {id}: {why}", self.number));
                    self.give_up();
                    return;
                }
            }
        }
    }

    fn give_up(&mut self) {
        self.excuse("confused");
        self.finished = true;
        if let Some(peer) = &self.peer {
            peer.reset();
        }
    }

    fn piece(&mut self, id: usize, piece: Piece, ledger: &mut Ledger) {
        match piece {
            Piece::Interim(status) => {
                if ledger.records[id].request.http10 {
                    ledger.violation(format!("request {id}: interim {status} to HTTP/1.0"));
                }
                if status == 100 && self.queued == self.answered + 1 {
                    self.let_body_go();
                }
            }
            Piece::Head(head) => self.head(id, head, ledger),
            Piece::Body(bytes) => self.body(id, &bytes, ledger),
            Piece::End => self.whole(id, ledger),
        }
    }

    fn head(&mut self, id: usize, head: AnswerHead, ledger: &mut Ledger) {
        ledger.note(|| format!("client {} reads {} for request {id}", self.number, head.status));
        if ledger.records[id].begun_ms.is_none() {
            ledger.violation(format!("request {id} was answered before it was sent: {head:?}"));
        }
        for name in ["keep-alive", "x-hop", "proxy-connection"] {
            if head.get(name).is_some() {
                ledger.violation(format!("request {id}: the answer has {name}"));
            }
        }
        let mut delivery = None;
        if head.get("x-hostler-error").is_none() {
            let tag = head.get("x-sim").unwrap_or("none").to_owned();
            delivery = ledger.claim(id, &tag);
            if let Some(delivery) = delivery {
                ledger.records[id].deliveries[delivery].seen = true;
            }
            if head.get("x-request-id").is_none()
                && head.status != 101
                && ledger.records[id].request.method != "CONNECT"
            {
                ledger.violation(format!("request {id}: the answer has no X-Request-Id"));
            }
        }
        let close = head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if close {
            self.excuse("the server said close");
        }
        if self.reader.is_tunnel() {
            self.begin_tunnel(id, ledger);
        }
        self.current = Some((head, delivery, 0));
    }

    fn body(&mut self, id: usize, bytes: &[u8], ledger: &mut Ledger) {
        if self.tunnel.is_some() {
            self.tunnel_bytes(id, bytes, ledger);
            return;
        }
        let Some((_, delivery, at)) = &mut self.current else { return };
        if let Some(delivery) = delivery
            && !is_body(answer_key(id, *delivery), *at, bytes)
        {
            ledger.violation(format!("request {id}: wrong body bytes at {at}"));
        }
        *at += bytes.len();
    }

    pub(super) fn whole(&mut self, id: usize, ledger: &mut Ledger) {
        let Some((head, delivery, bytes)) = self.current.take() else { return };
        match delivery {
            Some(delivery) => ledger.answered(id, delivery, head.status, bytes),
            None => {
                let error = head.get("x-hostler-error").unwrap_or("none").to_owned();
                ledger.own_answer(id, head.status, &error);
            }
        }
        self.answered += 1;
        let close = head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let http10 = ledger.records[id].request.http10;
        let kept =
            head.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
        if close || (http10 && !kept) {
            self.refused = delivery.is_none();
            self.stop_writing = true;
            self.excuse("the server said close");
        }
        // The server has answered without the body; this client sends it all the same, as it must.
        if self.held.is_some() && self.queued == self.answered {
            self.let_body_go();
        }
    }

    /// The app's echo, and at the end of a WebSocket perhaps a close frame.
    fn tunnel_bytes(&mut self, id: usize, bytes: &[u8], ledger: &mut Ledger) {
        let heard = match &mut self.listener {
            Some(listener) => listener.hear(bytes),
            None => Ok(bytes.to_vec()),
        };
        let (Some((_, echoed)), Ok(bytes)) = (&mut self.tunnel, &heard) else {
            ledger.violation(format!("request {id}: {heard:?} in the tunnel"));
            self.give_up();
            return;
        };
        if !is_body(Request::body_key(id), *echoed, bytes) {
            ledger.violation(format!("request {id}: wrong bytes in the tunnel at {echoed}"));
        }
        *echoed += bytes.len();
        if let Some((code, reason)) = self.listener.as_ref().and_then(Listener::closed) {
            ledger.close_frame(id, *code, reason);
            // Whoever does not end it has it ended.
            if self.rng.chance(50) && !self.half_closed {
                self.half_close("the server closed the tunnel", ledger);
            }
        }
    }

    fn begin_tunnel(&mut self, id: usize, ledger: &Ledger) {
        self.tunnel = Some((id, 0));
        self.tunnel_until_ms = ledger.now_ms + self.habits.tunnel_ms;
        self.listener = ledger.records[id].request.websocket.then(Listener::default);
        self.excuse("upgraded");
        self.pending.extend(body(Request::body_key(id), 0, self.habits.tunnel_bytes));
    }
}
