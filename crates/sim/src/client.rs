//! A client: writes its requests in arbitrary cuts, reads at its own pace, leaves when it likes.
//!
//! Owns: one connection and its script. Must never know: workers, the proxy's insides. Called by `world`, reports to the
//! `oracle`.

use std::collections::VecDeque;

use hostler_driver::Key;
use hostler_driver::fake::{FakeNet, FakePeer, FakeRead};

use crate::answer::{AnswerHead, AnswerReader, Piece};
use crate::oracle::Ledger;
use crate::request::Request;
use crate::rng::{Rng, body, is_body};

/// How a client leaves before its script is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A reset.
    Reset,
    /// Its process ends.
    Close,
    /// FIN: no more writes, but still reading.
    HalfClose,
}

/// The habits of a client.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Requests written before the first answer is in.
    pub depth: usize,
    /// Longest piece written at once.
    pub cut_max: usize,
    /// Percent of writes followed by a pause.
    pub pause_percent: u32,
    /// Longest such pause.
    pub pause_ms_max: u64,
    /// Most bytes read at once.
    pub read_max: usize,
    /// Longest pause between two reads.
    pub read_pause_ms_max: u64,
    /// Leaves after so many bytes written and read together.
    pub abort: Option<(usize, Abort)>,
    /// FIN after the last request.
    pub half_close: bool,
    /// Stops reading or writing for good after so many bytes, and waits to be thrown out.
    pub freeze_after: Option<usize>,
    /// Bytes sent through an upgraded connection.
    pub tunnel_bytes: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            depth: 1,
            cut_max: usize::MAX,
            pause_percent: 0,
            pause_ms_max: 0,
            read_max: usize::MAX,
            read_pause_ms_max: 0,
            abort: None,
            half_close: false,
            freeze_after: None,
            tunnel_bytes: 0,
        }
    }
}

/// What a client has to say for one request.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The request's number in the ledger.
    pub id: usize,
    /// Head, or all of it.
    pub head: Vec<u8>,
    /// Body on the wire.
    pub body: Vec<u8>,
    /// The body waits for `100 Continue`.
    pub expects: bool,
}

/// How long a client waits for `100 Continue` before it sends the body all the same.
const CONTINUE_MS: u64 = 1_000;

/// One client.
pub struct Client {
    /// Its number.
    pub number: usize,
    /// Its script and connection are over.
    pub finished: bool,
    rng: Rng,
    habits: Habits,
    start_ms: u64,
    peer: Option<FakePeer>,
    plan: Vec<Planned>,
    /// Requests handed to `pending`.
    queued: usize,
    /// Answers received.
    answered: usize,
    pending: VecDeque<u8>,
    /// Offsets in all that is written at which a request begins or is complete.
    marks: VecDeque<(usize, usize, bool)>,
    /// A body that waits, and until when.
    held: Option<(Vec<u8>, u64)>,
    written: usize,
    read: usize,
    write_at: u64,
    read_at: u64,
    last_write_ms: u64,
    reader: AnswerReader,
    /// Head of the answer being read, its attempt if it is the app's, and body bytes so far.
    current: Option<(AnswerHead, Option<usize>, usize)>,
    stop_writing: bool,
    /// The proxy has answered itself and closes.
    refused: bool,
    /// It has left before its script was over.
    left: bool,
    half_closed: bool,
    excuse: Option<&'static str>,
    /// The request that opened the tunnel, and bytes that have come back through it.
    tunnel: Option<(usize, usize)>,
}

impl Client {
    /// A client that connects at `start_ms`.
    pub fn new(number: usize, start_ms: u64, plan: Vec<Planned>, habits: Habits, rng: Rng) -> Self {
        Self {
            number,
            finished: false,
            rng,
            habits,
            start_ms,
            peer: None,
            plan,
            queued: 0,
            answered: 0,
            pending: VecDeque::new(),
            marks: VecDeque::new(),
            held: None,
            written: 0,
            read: 0,
            write_at: 0,
            read_at: 0,
            last_write_ms: 0,
            reader: AnswerReader::default(),
            current: None,
            stop_writing: false,
            refused: false,
            left: false,
            half_closed: false,
            excuse: None,
            tunnel: None,
        }
    }

    /// Its side of the connection, for faults.
    pub fn peer(&self) -> Option<&FakePeer> {
        self.peer.as_ref()
    }

    /// Something done to this client from outside excuses what follows.
    pub fn excuse(&mut self, why: &'static str) {
        self.left |= why == "left";
        self.excuse.get_or_insert(why);
    }

    /// Does what it wants to do now. True when something happened.
    pub fn act(&mut self, net: &FakeNet, listener: Key, ledger: &mut Ledger) -> bool {
        if self.finished || ledger.now_ms < self.start_ms {
            return false;
        }
        if self.peer.is_none() {
            self.peer = net.client(listener);
            let Some(peer) = &self.peer else {
                // Nobody listens any more.
                self.finished = true;
                return true;
            };
            if self.rng.chance(20) {
                peer.limit_sends(self.rng.within(200, 20_000));
            }
            if self.rng.chance(20) {
                let most = self.rng.within(1, 3_000);
                peer.short_sends(most);
                // A socket that fills byte by byte for an hour would count as progress for an hour.
                peer.limit_sends(most * 20);
            }
            ledger.note(|| format!("client {} connects", self.number));
            return true;
        }
        if ledger.trace
            && let Some(peer) = &self.peer
        {
            let (pending, unread) = (self.pending.len(), peer.unread());
            if unread > 0 {
                ledger.note(|| {
                    format!(
                        "client {}: {pending} bytes to write, {unread} bytes not received",
                        self.number
                    )
                });
            }
        }
        if self.is_frozen() {
            self.excuse("frozen");
            return self.notice_close(ledger);
        }
        let wrote = self.write(ledger);
        let read = self.read(ledger);
        let left = self.leave(ledger);
        wrote || read || left
    }

    /// When it wants to act again by itself.
    pub fn wakes_ms(&self) -> u64 {
        if self.finished {
            return u64::MAX;
        }
        if self.peer.is_none() {
            return self.start_ms;
        }
        let mut at = u64::MAX;
        if !self.pending.is_empty() {
            at = at.min(self.write_at);
        }
        if let Some((_, until)) = self.held {
            at = at.min(until);
        }
        at.min(if self.read_at == 0 { u64::MAX } else { self.read_at })
    }

    fn is_frozen(&self) -> bool {
        self.habits.freeze_after.is_some_and(|bytes| self.written + self.read >= bytes)
    }

    /// A frozen client learns only that the connection is gone.
    fn notice_close(&mut self, ledger: &mut Ledger) -> bool {
        let closed = self.peer.as_ref().is_some_and(FakePeer::is_closed);
        if closed {
            self.end(ledger);
        }
        closed
    }

    fn write(&mut self, ledger: &mut Ledger) -> bool {
        self.queue_requests(ledger);
        if self.stop_writing || ledger.now_ms < self.write_at || self.pending.is_empty() {
            return false;
        }
        let most =
            self.rng.within(1, self.habits.cut_max.clamp(1, 1 << 20)).min(self.pending.len());
        let cut: Vec<u8> = self.pending.iter().take(most).copied().collect();
        let Some(peer) = &self.peer else { return false };
        let count = peer.write(&cut);
        if count == 0 {
            return false;
        }
        let gap = ledger.now_ms - self.last_write_ms;
        self.last_write_ms = ledger.now_ms;
        self.pending.drain(..count);
        self.written += count;
        while let Some(&(offset, id, end)) = self.marks.front() {
            let reached = if end { self.written >= offset } else { self.written > offset };
            if !reached {
                break;
            }
            self.marks.pop_front();
            let record = &mut ledger.records[id];
            if end {
                record.sent_ms = Some(ledger.now_ms);
                record.gap_ms = record.gap_ms.max(gap);
            } else {
                record.begun_ms = Some(ledger.now_ms);
            }
        }
        if self.rng.chance(self.habits.pause_percent) {
            self.write_at = ledger.now_ms + self.rng.ms(0, self.habits.pause_ms_max);
        }
        true
    }

    /// Moves requests whose turn has come to the bytes to be written.
    fn queue_requests(&mut self, ledger: &mut Ledger) {
        if let Some((_, until)) = &self.held
            && *until <= ledger.now_ms
        {
            self.let_body_go();
        }
        while self.held.is_none()
            && self.queued < self.plan.len()
            && self.queued < self.answered + self.habits.depth
        {
            let planned = &self.plan[self.queued];
            let start = self.written + self.pending.len();
            self.marks.push_back((start, planned.id, false));
            self.pending.extend(&planned.head);
            let end = start + planned.head.len() + planned.body.len();
            self.marks.push_back((end, planned.id, true));
            self.queued += 1;
            if planned.expects {
                self.held = Some((planned.body.clone(), ledger.now_ms + CONTINUE_MS));
            } else {
                self.pending.extend(&planned.body);
            }
        }
        let all = self.queued == self.plan.len() && self.held.is_none() && self.pending.is_empty();
        if all && self.habits.half_close && !self.half_closed && self.tunnel.is_none() {
            self.half_close("half-closed after the last request", ledger);
        }
    }

    fn half_close(&mut self, why: &'static str, ledger: &Ledger) {
        ledger.note(|| format!("client {} sends FIN", self.number));
        self.half_closed = true;
        self.stop_writing = true;
        self.excuse(why);
        if let Some(peer) = &self.peer {
            peer.finish();
        }
    }

    fn let_body_go(&mut self) {
        if let Some((body, _)) = self.held.take() {
            self.pending.extend(&body);
        }
    }

    fn read(&mut self, ledger: &mut Ledger) -> bool {
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
            FakeRead::End | FakeRead::Reset => {
                self.end(ledger);
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
            self.begin_tunnel(id);
        }
        self.current = Some((head, delivery, 0));
    }

    fn body(&mut self, id: usize, bytes: &[u8], ledger: &mut Ledger) {
        if let Some((_, echoed)) = &mut self.tunnel {
            if !is_body(Request::body_key(id), *echoed, bytes) {
                ledger.violation(format!("request {id}: wrong bytes in the tunnel at {echoed}"));
            }
            *echoed += bytes.len();
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

    fn whole(&mut self, id: usize, ledger: &mut Ledger) {
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

    fn begin_tunnel(&mut self, id: usize) {
        self.tunnel = Some((id, 0));
        self.excuse("upgraded");
        self.pending.extend(body(Request::body_key(id), 0, self.habits.tunnel_bytes));
    }

    /// Leaves: as the habits say, or because all is done.
    fn leave(&mut self, ledger: &mut Ledger) -> bool {
        if self.finished {
            return false;
        }
        if let Some((after, how)) = self.habits.abort
            && self.written + self.read >= after
        {
            self.habits.abort = None;
            self.left = true;
            self.excuse("left");
            ledger.note(|| format!("client {} leaves: {how:?}", self.number));
            let Some(peer) = self.peer.clone() else { return false };
            match how {
                Abort::Reset => peer.reset(),
                Abort::Close => peer.close(),
                Abort::HalfClose => {
                    self.half_close("left by half", ledger);
                    return true;
                }
            }
            self.end(ledger);
            return true;
        }
        if let Some((_, echoed)) = self.tunnel {
            if echoed == self.habits.tunnel_bytes && self.pending.is_empty() && !self.half_closed {
                self.half_close("done with the tunnel", ledger);
                return true;
            }
            return false;
        }
        let done = self.answered == self.plan.len() && self.pending.is_empty();
        if done && !self.half_closed && self.current.is_none() {
            if let Some(peer) = &self.peer {
                peer.close();
            }
            self.end(ledger);
            return true;
        }
        false
    }

    /// The connection is over.
    fn end(&mut self, ledger: &mut Ledger) {
        if self.finished {
            return;
        }
        self.finished = true;
        ledger.note(|| format!("client {} is done", self.number));
        if ledger.accept_aborts && self.read == 0 {
            self.excuse("lost before it was accepted");
        }
        let mut began = self.current.is_some();
        if let Some((_, echoed)) = self.tunnel {
            let calm = ledger.lost_ms.is_none()
                && ledger.drained_ms.is_none()
                && ledger.jumped_ms.is_none();
            if echoed < self.habits.tunnel_bytes
                && calm
                && !self.left
                && !self.is_frozen()
                && self.excuse == Some("upgraded")
            {
                ledger.violation(format!(
                    "client {}: the tunnel ended after {echoed} bytes",
                    self.number
                ));
            }
            if let Some(peer) = &self.peer {
                peer.close();
            }
            return;
        }
        if began && self.reader.ends_with_connection() && !self.left && !self.is_frozen() {
            let id = self.plan[self.answered].id;
            self.whole(id, ledger);
            began = false;
        }
        if let Some(peer) = &self.peer {
            peer.close();
        }
        // The moment at which an idle connection is closed and the one at which its next request is written may cross.
        if let Some(before) = self.answered.checked_sub(1)
            && ledger.broke_off(self.plan[before].id)
        {
            self.excuse("the request before could not be read to its end");
        }
        let idle = ledger.now_ms.saturating_sub(self.last_write_ms) + crate::oracle::SLACK_MS
            >= ledger.times.idle_ms;
        let stalled = self.habits.read_pause_ms_max >= ledger.times.client_ms;
        if idle || stalled {
            self.excuse("too slow");
        }
        for index in self.answered.min(self.plan.len())..self.plan.len() {
            let planned = &self.plan[index];
            if ledger.records[planned.id].begun_ms.is_some() {
                let harmless = ledger.unanswered(planned.id, began, self.excuse);
                if harmless {
                    self.excuse("the one before was not answered either");
                }
            }
            began = false;
        }
    }
}

/// The key of an answer's body.
pub fn answer_key(id: usize, delivery: usize) -> u64 {
    (2 * id as u64 + 1) << 8 | delivery as u64
}
