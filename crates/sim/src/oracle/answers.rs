//! What a client may get, and what excuses that it gets nothing.
//!
//! Owns: the verdict on every answer and on every missing one. Must never know: sockets. Part of `oracle`.

use super::{Closing, HALF_CLOSED, Ledger, Record, SLACK_MS};
use crate::websocket::Listener;

impl Ledger {
    /// The attempt that an answer claims to be, when it is one for request `id`.
    pub fn claim(&mut self, id: usize, tag: &str) -> Option<usize> {
        let mut parts = tag.split('.');
        let of = parts.next().and_then(|text| text.parse::<usize>().ok());
        let delivery = parts.next().and_then(|text| text.parse::<usize>().ok());
        let known = delivery.filter(|delivery| *delivery < self.records[id].deliveries.len());
        if of != Some(id) || known.is_none() {
            self.violation(format!("request {id} was answered with the answer {tag}"));
            return None;
        }
        // A worker may read a head after its channel was given up; that attempt is then lost.
        let later = known.map_or(0, |known| known + 1);
        if self.records[id].deliveries[later..].iter().any(|delivery| !delivery.lost) {
            self.violation(format!(
                "request {id} was answered by attempt {tag}, which was given up"
            ));
        }
        known
    }

    /// The client has an answer of the app, whole.
    pub fn answered(&mut self, id: usize, delivery: usize, status: u16, bytes: usize) {
        self.answered += 1;
        self.count_answer(id);
        let expected = self.records[id].deliveries[delivery].clone();
        if status != expected.status {
            self.violation(format!(
                "request {id}: status {status}, the app said {}",
                expected.status
            ));
        }
        let bodiless = self.records[id].request.method == "HEAD" || matches!(status, 204 | 304);
        if !bodiless && bytes != expected.body_len {
            // The end of the connection is the end of such an answer; nobody can tell a loss from it, unless it is that
            // of the whole process.
            let cannot_know = expected.until_close
                && !expected.died
                && (expected.lost || !expected.honest || self.lost_ms.is_some());
            if !cannot_know {
                self.violation(format!(
                    "request {id}: {bytes} bytes of {} passed for the whole answer",
                    expected.body_len
                ));
            }
        }
    }

    fn count_answer(&mut self, id: usize) {
        self.records[id].answers += 1;
        if self.records[id].answers > 1 {
            self.violation(format!("request {id} was answered twice"));
        }
    }

    /// The client has an answer of the proxy itself.
    pub fn own_answer(&mut self, id: usize, status: u16, error: &str) {
        self.own_answers += 1;
        self.count_answer(id);
        self.note(|| format!("request {id}: own answer {status} {error}"));
        let record = &self.records[id];
        let begun = record.begun_ms.unwrap_or(0);
        let since = |moment: Option<u64>| moment.is_some_and(|moment| moment + SLACK_MS >= begun);
        let last = record.deliveries.last();
        let lost = last.is_some_and(|delivery| delivery.lost) || since(self.lost_ms);
        let jumped = since(self.jumped_ms);
        let allowed = match (status, error) {
            (400, "bad-request") if self.asks && record.sent_ms.is_none() => true,
            (_, "bad-request") => record.request.refusals.contains(&status),
            (413, "body-too-large") => record.request.body_len as u64 > self.body_max,
            (408, "client-timeout") => jumped || self.is_slow(record),
            (502, "worker-lost") => lost && !self.may_be_repeated(record),
            (502, "worker-broken") => last.is_some_and(|delivery| !delivery.honest),
            (504, "worker-timeout") => jumped || last.is_some_and(|delivery| delivery.too_slow),
            (504, "worker-hangs") => jumped || since(self.frozen_ms),
            (503, "overload" | "no-worker") => jumped || lost || since(self.short_ms),
            (503, "draining") => self.drained_ms.or(self.retired_ms).is_some(),
            _ => false,
        };
        let robbed =
            last.is_some_and(|delivery| delivery.finished && delivery.honest && !delivery.lost);
        // A worker that goes on after all may still answer; nobody waits for it any more.
        let robbed = robbed && error != "worker-hangs";
        if !allowed || (robbed && !lost && !jumped && !matches!(status, 400..500)) {
            let record = self.records[id].clone();
            self.violation(format!(
                "request {id}: own answer {status} {error} without a reason: {record:?}"
            ));
        }
    }

    /// Only one worker was lost, and the request does no harm when it is asked again: that is nothing to tell a client.
    fn may_be_repeated(&self, record: &Record) -> bool {
        let begun = record.begun_ms.unwrap_or(0);
        let losses = self.losses_ms.iter().filter(|&&at| at + SLACK_MS >= begun).count();
        let answered = record.deliveries.iter().any(|delivery| delivery.wrote || delivery.reset);
        record.request.is_repeatable() && losses <= 1 && !answered
    }

    /// Does this end of an upgraded connection mean what it should? `heard`: what the client of a WebSocket has heard.
    pub fn may_end_upgraded(&self, id: usize, heard: Option<&Listener>) -> bool {
        let Some(delivery) = self.records[id].deliveries.last() else { return false };
        let due = |closing: &Closing| {
            closing.worker == delivery.worker && closing.until_ms <= self.now_ms
        };
        match heard {
            Some(heard) if heard.closed().is_some() => true,
            Some(heard) => heard.is_inside() && self.closings.iter().any(due),
            None => self.closings.iter().any(due),
        }
    }

    /// The client of a WebSocket has got a close frame.
    pub fn close_frame(&mut self, id: usize, code: u16, reason: &[u8]) {
        self.note(|| format!("request {id}: close frame {code}"));
        let delivery = self.records[id].deliveries.last().expect("it was upgraded by an app");
        let asked = self.closings.iter().any(|closing| closing.worker == delivery.worker);
        let allowed = match code {
            1000 => delivery.says_close && reason.is_empty(),
            1012 => asked && reason == b"service restart",
            _ => false,
        };
        if !allowed {
            self.violation(format!("request {id}: close frame {code}, and nobody asked for it"));
        }
    }

    fn is_slow(&self, record: &Record) -> bool {
        let unfinished = record.sent_ms.is_none_or(|sent| sent + SLACK_MS >= self.now_ms);
        let limit = self.times.head_ms.min(self.times.client_ms);
        let begun = record.begun_ms.unwrap_or(self.now_ms);
        unfinished && (self.now_ms - begun) + SLACK_MS >= limit
    }

    /// Request `id` has its answer; had the connection to end all the same, because nobody takes the rest of the
    /// request?
    pub fn broke_off(&self, id: usize) -> bool {
        let record = &self.records[id];
        if record.deliveries.last().is_some_and(|delivery| delivery.surplus) {
            return true;
        }
        let unread = record.deliveries.last().is_some_and(|delivery| !delivery.request_whole);
        let nobody_reads = self.lost_ms.is_some() || self.frozen_ms.is_some();
        unread && (nobody_reads || record.request.body_len as u64 > self.body_max)
    }

    /// The connection ended and request `id` has no whole answer. `excuse`: the client's own reason. Says whether
    /// that is in order.
    pub fn unanswered(&mut self, id: usize, began: bool, excuse: Option<&str>) -> bool {
        let record = &self.records[id];
        let begun = record.begun_ms.unwrap_or(self.now_ms);
        let since = |moment: Option<u64>| moment.is_some_and(|moment| moment + SLACK_MS >= begun);
        let last = record.deliveries.last();
        // Only an app that destroys its socket may leave a client without a word; what began may be cut off.
        let dishonest = last.is_some_and(|delivery| {
            let broken = !delivery.honest || delivery.lost || delivery.too_slow;
            delivery.reset || (began && broken)
        });
        // A client that only half-closes still gets what the app was asked for, unless its request had to go back to the queue
        // because its worker was lost: FIN leaves it a second there.
        let proper =
            last.is_some_and(|delivery| delivery.honest && !delivery.lost) && !since(self.lost_ms);
        let excuse = excuse.filter(|why| *why != HALF_CLOSED || !proper);
        let slow = record.sent_ms.is_none() && self.is_slow(record);
        let excused = excuse.is_some()
            || record.request.body_len as u64 > self.body_max
            || dishonest
            || slow
            || since(self.jumped_ms)
            || (last.is_none() && self.idle_reset_ms.is_some())
            || self.drained_ms.is_some()
            || (began && (since(self.lost_ms) || since(self.frozen_ms)));
        self.note(|| format!("request {id}: no answer ({excuse:?})"));
        if !excused {
            let how = if began { "its answer was cut off" } else { "it was not answered" };
            let record = self.records[id].clone();
            self.violation(format!("request {id}: {how}: {record:?}"));
        }
        excused
    }
}
