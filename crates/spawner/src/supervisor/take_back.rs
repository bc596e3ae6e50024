//! Taking back: a release that is no good goes, and the one before serves on.
//!
//! Owns: the machine's decisions from the failure of a new release until all workers are old ones again, and the report of
//! it. Must never know: what the release was wanted for. Called by `start`, `worker` and `reload`.

use std::rc::Rc;

use hostler_protocol::control::{CommandAnswer, ToProxy, WorkerId};

use super::death::Death;
use super::event::{Action, Level};
use super::explain::explain_start;
use super::process::{Process, ProcessPhase};
use super::release::Release;
use super::reload::{Roll, SHIFT_MS_MAX};
use super::slot::SlotState;
use super::{Machine, duration_text};
use crate::journey::StartFailure;

impl Machine {
    /// Is this a worker of a release that has yet to prove itself?
    pub(super) fn rolls_out(&self, process: &Process) -> bool {
        self.roll.as_ref().is_some_and(|roll| {
            !roll.restores && roll.release.generation == process.release.generation
        })
    }

    /// The report about a worker of a new release that has died.
    pub(super) fn failure_of(&self, index: usize, process: Process, death: Death) -> StartFailure {
        let why = if process.ready_ms.is_none() {
            explain_start(&process, &death)
        } else {
            let words = process.exception.clone().or_else(|| death.last_words());
            let words = words.map_or(String::new(), |words| format!(": {words}"));
            (
                format!("a worker {} while the release was on probation{words}", death.explained()),
                None,
            )
        };
        self.start_failure(index, process, why, death.stderr_tail)
    }

    /// The proxy does not reach the new workers.
    pub(super) fn cannot_be_reached(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let slots = self.slots.iter_mut();
        let unreached = slots.enumerate().find_map(|(index, slot)| {
            let process = slot.next.take_if(|process| !process.serving)?;
            Some((index, process))
        });
        let Some((index, mut process)) = unreached else {
            return;
        };
        let why =
            format!("the proxy could not reach the worker within {}", duration_text(SHIFT_MS_MAX));
        let release = Rc::clone(&process.release);
        let journey = process.journey.clone();
        self.tell_proxies(ToProxy::WorkerGone { worker: process.worker }, actions);
        process.announced = false;
        process.condemned = Some(why.clone());
        process.kill(actions);
        self.slots[index].leaving.push(*process);
        let failure = StartFailure {
            app: self.settings.app.clone(),
            slot: self.slots[index].number,
            why,
            hint: None,
            command: release.command(),
            cwd: release.cwd(),
            journey,
            stderr_tail: Vec::new(),
        };
        self.release_failed(failure, now_ms, actions);
    }

    /// A process that should have followed the one in its slot has failed.
    pub(super) fn next_failed(
        &mut self,
        index: usize,
        failure: StartFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.roll.is_some() {
            self.release_failed(failure, now_ms, actions);
        } else {
            self.replacement_died(index, &failure, now_ms, actions);
        }
    }

    /// A worker of the new release has failed: everything back to the old one.
    pub(super) fn release_failed(
        &mut self,
        failure: StartFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(roll) = self.roll.take() else { return };
        let generation = roll.release.generation;
        if roll.restores {
            self.not_restored(&failure, now_ms, actions);
            return;
        }
        let text = format!("generation {generation} is taken back: {}", failure.why);
        actions.push(Action::Log(Level::Error, text));
        for index in 0..self.slots.len() {
            self.take_back(index, &roll.release, now_ms, actions);
        }
        for ticket in roll.tickets {
            let answer =
                CommandAnswer::TakenBack { why: failure.why.clone(), report: failure.to_string() };
            actions.push(Action::Answer(ticket, answer));
        }
        let is_old = |slot: &super::Slot| slot.current().is_none() || slot.runs(&self.release);
        if !self.slots.iter().all(is_old) {
            self.roll = Some(Roll::restoring(Rc::clone(&self.release), now_ms));
        }
    }

    /// Even the old release does not start any more: the new one's workers that live are better than none.
    fn not_restored(&mut self, failure: &StartFailure, now_ms: u64, actions: &mut Vec<Action>) {
        let text = format!(
            "generation {} does not start any more: {}; workers of the release that was taken back stay",
            self.release.generation, failure.why
        );
        actions.push(Action::Log(Level::Error, text));
        for index in 0..self.slots.len() {
            if let Some(next) = self.slots[index].next.take() {
                let worker = next.worker;
                self.slots[index].leaving.push(*next);
                self.send_away(worker, now_ms, actions);
            }
        }
    }

    /// One slot, back to the release before.
    fn take_back(
        &mut self,
        index: usize,
        failed: &Release,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if let Some(next) = self.slots[index].next.take() {
            let worker = next.worker;
            self.slots[index].leaving.push(*next);
            self.send_away(worker, now_ms, actions);
        }
        let is_empty = matches!(self.slots[index].state, SlotState::Empty);
        if !is_empty && !self.slots[index].runs(failed) {
            return;
        }
        let stands_by = |process: &Process| process.phase == ProcessPhase::Standby;
        let standby = self.slots[index].leaving.iter().rposition(stands_by);
        let standby = standby.map(|at| self.slots[index].leaving.remove(at));
        match standby {
            Some(old) => {
                let worker = old.worker;
                let new =
                    std::mem::replace(&mut self.slots[index].state, SlotState::Live(Box::new(old)));
                self.call_back(worker, actions);
                if let SlotState::Live(new) = new {
                    let worker = new.worker;
                    self.slots[index].leaving.push(*new);
                    self.send_away(worker, now_ms, actions);
                }
            }
            // Its failed worker is dead and the old one gone: an ordinary start of the old release.
            None if is_empty => self.spawn_worker(index, now_ms, actions),
            // It serves until a worker of the old release is ready to follow.
            None => {}
        }
    }

    /// A worker on standby takes requests again.
    pub(super) fn call_back(&mut self, worker: WorkerId, actions: &mut Vec<Action>) {
        if let Some(process) = self.process_mut(worker) {
            process.phase = ProcessPhase::Ready;
            process.drained = false;
            process.in_flight_at.clear();
            self.tell_proxies(ToProxy::WorkerResume { worker }, actions);
        }
    }

    /// A worker of a release that was taken back goes, when it has finished what it has.
    pub(super) fn send_away(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        if process.phase == ProcessPhase::Ready {
            self.put_on_standby(worker, actions);
            self.let_go(worker, now_ms, actions);
        } else {
            process.ask_to_go(kill_at_ms, actions);
        }
    }
}
