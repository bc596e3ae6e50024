//! A client: writes its requests in arbitrary cuts, reads at its own pace, leaves when it likes.
//!
//! Owns: one connection and its script. Must never know: workers, the proxy's insides. Called by
//! `world`, reports to the `oracle`. `reading` has what it makes of answers, `ending` how it leaves.

mod ending;
mod habits;
mod reading;

use std::collections::VecDeque;

use hostler_driver::Key;
use hostler_driver::fake::{FakeNet, FakePeer};

pub use self::habits::{Abort, Habits, Planned};
use crate::answer::{AnswerHead, AnswerReader};
use crate::oracle::{HALF_CLOSED, Ledger};
use crate::rng::Rng;
use crate::websocket::Listener;

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
    /// Until when it stays in it.
    tunnel_until_ms: u64,
    /// What has come through it, if it is a WebSocket.
    listener: Option<Listener>,
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
            tunnel_until_ms: 0,
            listener: None,
        }
    }

    /// Its side of the connection, for faults.
    pub fn peer(&self) -> Option<&FakePeer> {
        self.peer.as_ref()
    }

    /// Something done to this client from outside excuses what follows.
    pub fn excuse(&mut self, why: &'static str) {
        self.left |= why == "left";
        // Whoever half-closed still reads; every other reason weighs more.
        if self.excuse.is_none_or(|before| before == HALF_CLOSED) {
            self.excuse = Some(why);
        }
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
        if self.tunnel.is_some() && !self.half_closed {
            at = at.min(self.tunnel_until_ms);
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
            self.end(false, ledger);
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
        if self.tunnel.is_some() && ledger.now_ms < self.tunnel_until_ms {
            // It has something to say until the end.
            let left_ms = self.tunnel_until_ms - ledger.now_ms;
            let writes = self.pending.len() / self.habits.cut_max.clamp(1, 1 << 20) + 1;
            self.write_at = ledger.now_ms + self.rng.ms(0, left_ms / writes as u64);
        } else if self.rng.chance(self.habits.pause_percent) {
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
            self.half_close(HALF_CLOSED, ledger);
        }
    }

    fn let_body_go(&mut self) {
        if let Some((body, _)) = self.held.take() {
            self.pending.extend(&body);
        }
    }
}

/// The key of an answer's body.
pub fn answer_key(id: usize, delivery: usize) -> u64 {
    (2 * id as u64 + 1) << 8 | delivery as u64
}
