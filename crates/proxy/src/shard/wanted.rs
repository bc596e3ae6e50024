//! Requests that find no worker at all: asking for one, and what becomes of those who wait.
//!
//! Owns: when the supervisor is asked, and how long it is not asked again after a start that failed. Must never know: why there
//! is no worker; where some are on their way the supervisor does not mind the question. Part of the shard.

use hostler_driver::Driver;
use hostler_protocol::control::StartProblem;

use super::{Shard, ShardEvent};
use crate::conn::Event;
use crate::respond::OwnAnswer;

/// What the supervisor has been asked, and what it has said.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// It has been asked, and has not answered yet.
    asked: bool,
    /// What who comes before this moment is told, for the last start has failed.
    failed: Option<(OwnAnswer, u64)>,
}

impl<D: Driver> Shard<D> {
    /// Called in every turn: how the last worker went, and how requests came to wait, does not matter.
    pub(super) fn want_worker(&mut self) {
        if !self.dispatch.queue.is_empty() {
            self.ask_for_worker();
        }
    }

    pub(super) fn ask_for_worker(&mut self) {
        if self.wanted.asked || self.draining.is_some() || self.dispatch.has_workers() {
            return;
        }
        self.wanted.asked = true;
        (self.events)(ShardEvent::WorkerWanted);
    }

    /// What a request that finds no worker is told at once, if there is no use in asking for one yet.
    pub(super) fn start_has_failed(&self) -> Option<OwnAnswer> {
        let (answer, _) = self.wanted.failed.filter(|(_, until_ms)| self.now.ms < *until_ms)?;
        (!self.dispatch.has_workers()).then_some(answer)
    }

    pub(super) fn asleep(&mut self) {
        self.wanted.asked = false;
        self.dispatch.queue.release(self.now.ms);
    }

    pub(super) fn workers_start(&mut self) {
        if !self.dispatch.has_workers() {
            self.wanted.failed = None;
            let until_ms = self.now.ms.saturating_add(self.settings.start_wait_ms());
            self.dispatch.queue.hold(until_ms);
        }
    }

    pub(super) fn start_failed(&mut self, problem: StartProblem, retry_ms: u32) {
        if self.dispatch.has_workers() {
            return;
        }
        let answer = match problem {
            StartProblem::Died => OwnAnswer::StartFailed,
            StartProblem::TimedOut => OwnAnswer::StartTimeout,
        };
        let until_ms = self.now.ms + u64::from(retry_ms);
        self.wanted = Wanted { asked: false, failed: Some((answer, until_ms)) };
        self.dispatch.queue.release(self.now.ms);
        while let Some(slot) = self.dispatch.queue.expire(u64::MAX) {
            self.stats.shed += 1;
            self.step(slot, Event::Refused(answer));
        }
    }

    /// A worker has been announced, or serves again.
    pub(super) fn worker_came(&mut self) {
        self.wanted = Wanted::default();
        self.dispatch.queue.release(self.now.ms);
    }
}
