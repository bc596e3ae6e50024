//! Requests that were in a worker's hands when it died or hung.
//!
//! Owns: who is suspected, kept apart, refused, acquitted. Must never know: what makes two requests the same (`quarantine`). Part of the
//! shard.
//!
//! A suspect is repeated, if it may be, at a worker that has no other suspect: with the guilty one alone there, the others
//! are answered elsewhere and acquitted. Only what was unanswered is suspected. A worker that drains is killed at a deadline by
//! those who watch it, and what SIGKILL ends somebody has killed; neither says anything about their requests.

use hostler_driver::Driver;
use hostler_protocol::http1::Parsed;

use super::Shard;
use crate::conn::{Conn, Event};
use crate::dispatch::WorkerPhase;
use crate::quarantine::{RequestKey, Standing};
use crate::respond::OwnAnswer;

/// A suspect waits for this part of the queue's time for a worker without another one: after a death there may be hundreds.
const APART_PART: u64 = 5;
/// What is logged of a target.
const TARGET_BYTES_MAX: usize = 200;

/// What the end of a worker's connection says about the requests that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its process lives, or was to end.
    Nothing,
    /// One of them may have done it.
    Suspects,
    /// Somebody has killed it.
    Blameless,
}

impl<D: Driver> Shard<D> {
    /// What it says about a worker's requests that its connection has ended.
    pub(super) fn judge(&self, index: u16) -> Verdict {
        let Some(worker) = self.dispatch.get(index) else { return Verdict::Nothing };
        let pid = worker.address.pid;
        let serves =
            matches!(worker.phase, WorkerPhase::Ready | WorkerPhase::Gone { drained: false });
        if !serves || self.draining.is_some() || !(self.settings.is_ending)(pid) {
            Verdict::Nothing
        } else if (self.settings.was_killed)(pid) {
            Verdict::Blameless
        } else {
            Verdict::Suspects
        }
    }

    /// A connection to the worker ended without an answer, perhaps because its process did.
    pub(super) fn judge_request(&mut self, slot: u32, worker: u16) {
        let verdict = self.judge(worker);
        self.apply(verdict, slot, worker);
    }

    pub(super) fn apply(&mut self, verdict: Verdict, slot: u32, worker: u16) {
        match verdict {
            Verdict::Nothing => {}
            Verdict::Suspects => self.suspect_request(slot, worker),
            Verdict::Blameless => {
                if let Some(conn) = self.conns.get_mut(slot) {
                    conn.request.blameless = true;
                }
            }
        }
    }

    /// The worker went while it had the request of `slot`.
    pub(super) fn suspect_request(&mut self, slot: u32, worker: u16) {
        if !self.conns.get(slot).is_some_and(Conn::is_unanswered) {
            return;
        }
        let Some(list) = self.settings.quarantine.clone() else { return };
        let Some(number) = self.dispatch.get(worker).map(|worker| worker.address.worker.0) else {
            return;
        };
        let Some(key) = self.key_of(slot) else { return };
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.suspect = Some(key);
        }
        if list.report(key, number, self.now.ms) {
            self.tell_poison(slot, number);
        }
    }

    fn tell_poison(&self, slot: u32, worker: u32) {
        let Some(head) = self.conns.get(slot).and_then(|conn| conn.head.as_ref()) else { return };
        let target = self.request_head.target.of(head.as_slice());
        let target = &target[..target.len().min(TARGET_BYTES_MAX)];
        tracing::warn!(
            worker,
            method = self.request_head.method.as_str(),
            target = %target.escape_ascii(),
            "a second worker died or hung with this request in hand; it is refused with 503 for a while (--quarantine)"
        );
    }

    /// The name of the request of `slot`; its head is parsed again.
    fn key_of(&mut self, slot: u32) -> Option<RequestKey> {
        let list = self.settings.quarantine.as_ref()?;
        let conn = self.conns.get(slot)?;
        if conn.request.refusal.is_with_app() {
            return None;
        }
        let head = conn.head.as_ref()?.as_slice();
        let parsed = self.request_head.parse(head, &self.settings.head_limits);
        (parsed == Ok(Parsed::Complete)).then(|| list.key(head, &self.request_head))?
    }

    /// Before a worker is looked for: is this request refused?
    pub(super) fn is_poison(&mut self, slot: u32) -> Option<OwnAnswer> {
        let list = self.settings.quarantine.as_ref()?;
        if !self.suspects.has_any(list, self.now.ms) {
            return None;
        }
        let key = self.key_of(slot)?;
        match self.suspects.standing(key, self.now.ms) {
            // One that is repeated stays one, whether the list has room for it or not.
            Standing::Unknown => None,
            Standing::Suspect => {
                self.conns.get_mut(slot)?.suspect = Some(key);
                None
            }
            Standing::Poison { left_ms } => {
                let retry_after_s = u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
                Some(OwnAnswer::Poison { retry_after_s })
            }
        }
    }

    /// Refuses those in the queue that have become poison while they waited there.
    pub(super) fn refuse_queued_poison(&mut self, slot: u32) -> bool {
        let Some(answer) = self.is_poison(slot) else { return false };
        self.dispatch.queue.leave(slot);
        self.step(slot, Event::Refused(answer));
        true
    }

    /// Does the request of `slot` go only to a worker that has no suspect?
    pub(super) fn keeps_apart(&self, conn: &Conn) -> bool {
        conn.suspect.is_some()
            && self.now.ms
                < conn.request.started_ms.saturating_add(self.settings.queue_ms_max / APART_PART)
    }

    /// A suspect was answered by its worker.
    pub(super) fn acquit(&mut self, slot: u32) {
        let suspect = self.conns.get_mut(slot).and_then(|conn| conn.suspect.take());
        if let (Some(key), Some(list)) = (suspect, &self.settings.quarantine) {
            list.acquit(key);
        }
    }
}
