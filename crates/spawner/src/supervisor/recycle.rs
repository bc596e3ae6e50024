//! Recycling: a worker that has become too large, too old or has served too much is replaced by a fresh one.
//!
//! Owns: the machine's decisions from the first figure over a limit until the old worker leaves. Must never know: how figures
//! are taken. One worker at a time: the others serve, and the old one does until the new one can.

use std::rc::Rc;

use hostler_protocol::control::WorkerId;
use serde::{Deserialize, Serialize};

use super::event::{Action, Level, StopSignal};
use super::process::{Process, ProcessPhase};
use super::release::Kind;
use super::reload::SHIFT_MS_MAX;
use super::worker::push_signal;
use super::{Machine, Phase};
use crate::config::RecycleSpec;
use crate::journey::StartFailure;

/// After a replacement that did not start.
const RETRY_MS: u64 = 60_000;

/// Ages differ by up to this share, in percent, so that workers of one start do not all go at the same time.
const AGE_JITTER_PERCENT: u64 = 10;

/// What is measured of a worker from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Memory that would be free without it, KiB.
    pub(crate) memory_kib: Option<u64>,
    /// Requests answered.
    pub(crate) requests: Option<u64>,
}

/// A worker and the one that shall follow it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replacement {
    index: usize,
    next: WorkerId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// The new worker starts.
    Starting,
    /// The proxy has been told of it.
    Shifting {
        /// Then it has failed to reach it.
        until_ms: u64,
    },
}

impl Replacement {
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Starting => None,
            Stage::Shifting { until_ms } => Some(until_ms),
        }
    }
}

/// When a worker is too old: less for some than for others.
pub(super) fn age_limit_ms(spec: &RecycleSpec, worker: WorkerId) -> Option<u64> {
    let limit_ms = spec.age_ms_max?;
    // Fibonacci hashing: neighbours in number are far apart in time.
    let dice = u64::from(worker.0).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let jitter_ms = limit_ms * AGE_JITTER_PERCENT / 100 * (dice % 1_000) / 1_000;
    Some(limit_ms.saturating_sub(jitter_ms))
}

/// A worker whose memory has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) worker: WorkerId,
    /// Its lowest limit: below it a rough figure is enough.
    pub(crate) floor_kib: u64,
    /// All processes of its group count.
    pub(crate) whole_group: bool,
}

impl Machine {
    /// Is there a worker with a limit that somebody has to look after?
    pub(crate) fn limits_anything(&self) -> bool {
        let has_memory_limit = || self.watched_memory().next().is_some();
        self.watches_requests() || self.wants_load() || has_memory_limit()
    }

    pub(crate) fn watched_memory(&self) -> impl Iterator<Item = Watched> + '_ {
        let watched = |process: &Process| {
            let spec = process.release.spec.recycle;
            let limits = [spec.memory_kib_max, spec.memory_kib_hard];
            Some(Watched {
                worker: process.worker,
                floor_kib: limits.into_iter().flatten().min()?,
                whole_group: process.release.kind() == Kind::Command,
            })
        };
        self.slots.iter().flat_map(super::Slot::processes).filter_map(watched)
    }

    /// Is there somebody who wants to know what all workers together are doing?
    pub(crate) fn wants_load(&self) -> bool {
        self.scales_itself() || self.watches_idleness()
    }

    pub(crate) fn watches_requests(&self) -> bool {
        let awake = self.phase == Phase::Running && !self.sleep.is_asleep();
        awake && self.release.spec.recycle.requests_max.is_some()
    }

    /// New figures of a worker.
    pub(super) fn measured(
        &mut self,
        worker: WorkerId,
        figures: Figures,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else { return };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else { return };
        let spec = process.release.spec.recycle;
        let over = |value: Option<u64>, limit: Option<u64>| {
            value.zip(limit).filter(|(value, limit)| value >= limit)
        };
        if let Some((kib, limit_kib)) = over(figures.memory_kib, spec.memory_kib_hard)
            && !process.is_asked_to_go()
        {
            let why = format!("it used {}, and the hard limit is {}", mib(kib), mib(limit_kib));
            actions.push(Action::Log(Level::Error, format!("{name} is killed: {why}")));
            process.condemned = Some(why);
            process.phase = ProcessPhase::Killed;
            push_signal(actions, worker, StopSignal::Kill);
        } else if let Some((kib, limit_kib)) = over(figures.memory_kib, spec.memory_kib_max) {
            process.worn = Some(format!("it uses {} of {}", mib(kib), mib(limit_kib)));
        } else if let Some((requests, _)) = over(figures.requests, spec.requests_max) {
            process.worn = Some(format!("it has answered {requests} requests"));
        }
    }

    /// Takes the next step; called after each event. A change of release or of the number of workers comes first.
    pub(super) fn advance_recycling(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ending.is_some() || self.phase != Phase::Running || self.roll.is_some() {
            return;
        }
        self.step_replacement(now_ms, actions);
        let waits = self.upgrade.is_some() || self.needs_its_workers();
        if self.replacement.is_none() && !waits {
            self.begin_replacement(now_ms, actions);
        }
    }

    fn step_replacement(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(replacement) = &self.replacement else { return };
        let (index, worker, stage) = (replacement.index, replacement.next, replacement.stage);
        let next = self.slots.get(index).and_then(|slot| slot.next.as_deref());
        let Some(next) = next.filter(|next| next.worker == worker) else {
            self.replacement = None;
            return;
        };
        match stage {
            Stage::Starting if next.phase == ProcessPhase::Warm => {
                if let Some(process) = self.process_mut(worker) {
                    process.phase = ProcessPhase::Ready;
                }
                let stage = Stage::Shifting { until_ms: now_ms + SHIFT_MS_MAX };
                self.replacement = Some(Replacement { index, next: worker, stage });
                self.announce_worker(worker, actions);
            }
            Stage::Shifting { .. } if next.serving => {
                self.replacement = None;
                self.take_over(index, now_ms, actions);
                self.dismiss_standby(now_ms, actions);
            }
            Stage::Shifting { until_ms } if until_ms <= now_ms => {
                self.drop_replacement(now_ms, actions);
                let text = "the proxy could not reach it";
                self.replacement_failed(index, text, now_ms, actions);
            }
            Stage::Starting | Stage::Shifting { .. } => {}
        }
    }

    /// Picks the first worker that has to go.
    fn begin_replacement(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let is_worn = |process: &Process| {
            process.phase == ProcessPhase::Ready
                && process.worn_ms(now_ms).is_some_and(|since_ms| since_ms <= now_ms)
        };
        let mut slots = self.slots.iter();
        let Some(index) = slots.position(|slot| slot.current().is_some_and(is_worn)) else {
            return;
        };
        let release = Rc::clone(&self.release);
        let name = self.worker_name(index);
        let old = self.slots[index].current();
        let why = old.map(|process| process.why_worn(now_ms)).unwrap_or_default();
        actions.push(Action::Log(Level::Info, format!("{name} is replaced: {why}")));
        let next = self.new_process(index, release, now_ms, actions);
        self.replacement = Some(Replacement { index, next: next.worker, stage: Stage::Starting });
        self.slots[index].next = Some(next);
    }

    /// A replacement that was under way is not wanted any more: a change of release replaces all.
    pub(super) fn drop_replacement(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(replacement) = self.replacement.take() else { return };
        if let Some(slot) = self.slots.get_mut(replacement.index)
            && let Some(next) = slot.next.take()
        {
            let worker = next.worker;
            slot.leaving.push(*next);
            self.send_away(worker, now_ms, actions);
        }
    }

    /// A replacement has died: the old worker goes on, and is looked at again later.
    pub(super) fn replacement_died(
        &mut self,
        index: usize,
        failure: &StartFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.replacement.take().is_some() {
            self.replacement_failed(index, &failure.why, now_ms, actions);
        }
    }

    fn replacement_failed(
        &mut self,
        index: usize,
        why: &str,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let text = format!(
            "{} is not replaced, its successor did not start: {why}; next try in {} s",
            self.worker_name(index),
            RETRY_MS / 1_000
        );
        actions.push(Action::Log(Level::Error, text));
        let current = self.slots[index].current().map(|process| process.worker);
        if let Some(process) = current.and_then(|worker| self.process_mut(worker)) {
            process.not_before_ms = now_ms + RETRY_MS;
        }
    }
}

impl Process {
    /// From when on it should be replaced; none if never.
    pub(super) fn worn_ms(&self, now_ms: u64) -> Option<u64> {
        let age = age_limit_ms(&self.release.spec.recycle, self.worker);
        let old_ms = age.zip(self.ready_ms).map(|(limit_ms, ready_ms)| ready_ms + limit_ms);
        let worn_ms = self.worn.as_ref().map(|_| now_ms);
        let first_ms = old_ms.into_iter().chain(worn_ms).min()?;
        Some(first_ms.max(self.not_before_ms))
    }

    fn why_worn(&self, now_ms: u64) -> String {
        let age_ms = now_ms.saturating_sub(self.ready_ms.unwrap_or(now_ms));
        self.worn.clone().unwrap_or_else(|| format!("it is {} old", super::duration_text(age_ms)))
    }
}

fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1_024)
}
