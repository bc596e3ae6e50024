//! The workers: reports, ready, death, back-off.
//!
//! Owns: the machine's decisions about worker processes between their start and their end. Must never know: releases and
//! their change (`reload`), leaving (`leave`).

use hostler_protocol::control::{ToProxy, WorkerId};

use super::death::{Death, HowDied, REMARK_CHARS_MAX};
use super::event::{Action, Level, StopSignal, Target};
use super::explain::{explain_slow_start, explain_start};
use super::process::{Process, ProcessPhase};
use super::report::Report;
use super::slot::{Place, SlotState};
use super::{Machine, Phase, backoff_ms, duration_text, lower};
use crate::journey::Step;

/// A worker that was ready this long is healthy: its next death counts as its first.
const HEALTHY_MS: u64 = 60_000;

/// A remark must not tear the table of steps apart.
const NOTE_CHARS_MAX: usize = 120;

/// What is still missing when everything is open.
pub(super) const AWAITS_READY: &str = "the app listens and has not called process.send('ready')";

/// Enough to tell a person what an app does instead of serving.
const OTHER_SERVERS_MAX: usize = 8;

impl Machine {
    pub(super) fn report(
        &mut self,
        worker: WorkerId,
        report: Report,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        match report {
            Report::Preload { node, pid } => {
                process.journey.done(Step::Preload, now_ms);
                process.journey.note(Step::Preload, format!("Node {node}"));
                if process.search.is_some()
                    && let Some(pid) = pid
                {
                    process.claimed(&node, pid, actions);
                }
            }
            Report::SelfTest { ok, why, untested } => {
                process.journey.done(Step::SelfTest, now_ms);
                if !ok {
                    let why = why.unwrap_or_else(|| "no reason given".to_owned());
                    let why: String = why.chars().take(NOTE_CHARS_MAX).collect();
                    let why = if untested { why } else { format!("the self-test differs: {why}") };
                    process.journey.note(Step::SelfTest, why.clone());
                    self.tell_fallback(why, actions);
                }
            }
            Report::Listen {} => process.journey.done(Step::AppLoad, now_ms),
            Report::AwaitsReady {} => {
                let step = process.journey.current();
                process.journey.note(step, AWAITS_READY.to_owned());
            }
            Report::Ready { transport } => {
                if matches!(process.phase, ProcessPhase::Starting { .. }) {
                    process.transport = transport;
                    self.worker_listens(worker, now_ms, actions);
                }
            }
            Report::OtherListen { what } => {
                if process.other_servers.len() < OTHER_SERVERS_MAX {
                    process.other_servers.push(what);
                }
            }
            Report::Channel { why } => {
                let why: String = why.chars().take(NOTE_CHARS_MAX).collect();
                let text = format!("{name} closed its connection to the proxy: {why}");
                actions.push(Action::Log(Level::Warn, text));
            }
            Report::Stuck(stuck) => self.worker_stuck(worker, &stuck, now_ms, actions),
            Report::Unstuck { silent_ms } => self.worker_unstuck(worker, silent_ms, actions),
            Report::Warning { why } => {
                let why: String = why.chars().take(REMARK_CHARS_MAX).collect();
                actions.push(Action::Log(Level::Warn, format!("{name}: {why}")));
            }
            Report::Error(error) => process.exception = Some(error.sentence()),
            // Behind an exception that the app handles by an exit, the exception says more.
            Report::Exit(exit) => {
                process.exception.get_or_insert_with(|| exit.sentence());
            }
        }
    }

    /// Once for all workers: they are alike.
    fn tell_fallback(&mut self, why: String, actions: &mut Vec<Action>) {
        if self.fallback.as_ref() != Some(&why) {
            let text = format!("requests go over http, which costs more CPU than frames: {why}");
            actions.push(Action::Log(Level::Warn, text));
            self.fallback = Some(why);
        }
    }

    pub(super) fn worker_ready(
        &mut self,
        worker: WorkerId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, place)) = self.find(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let Self { slots, settings, .. } = self;
        let slot = &mut slots[index];
        let core = slot.core;
        let Some(process) = slot.processes_mut().find(|process| process.worker == worker) else {
            return;
        };
        process.phase = if place == Place::Next { ProcessPhase::Warm } else { ProcessPhase::Ready };
        process.ready_ms = Some(now_ms);
        let transport = process.transport;
        let took = duration_text(now_ms.saturating_sub(process.spawned_ms));
        let pid = process.app_pid().unwrap_or(0);
        let mut text = format!("{name} is ready after {took} (pid {pid}, {}", lower(transport));
        if let Some(address) = &process.accepts {
            text.push_str(&format!(" on {address}"));
        }
        if process.release.generation > 1 {
            text.push_str(&format!(", generation {}", process.release.generation));
        }
        if let Some(core) = process.pinned_core(core, settings) {
            // After the start, because V8 sizes its helper threads while it starts, and those
            // should keep all cores.
            actions.push(Action::Pin { pid, core });
            text.push_str(&format!(", core {core}"));
        }
        actions.push(Action::Log(Level::Info, text + ")"));
        if self.ending.is_none() && place == Place::Current {
            self.announce_worker(worker, actions);
        }
    }

    /// From now on requests may be sent to it.
    pub(super) fn announce_worker(&mut self, worker: WorkerId, actions: &mut Vec<Action>) {
        let Self { slots, settings, .. } = self;
        let found = slots.iter_mut().find(|slot| slot.place_of(worker).is_some());
        let Some(slot) = found else { return };
        let (number, core) = (slot.number, slot.core);
        let process = slot.processes_mut().find(|process| process.worker == worker);
        let Some(process) = process.filter(|process| process.can_serve()) else {
            return;
        };
        process.announced = true;
        if let Some(address) = process.address(number, core, settings) {
            self.tell_serving(ToProxy::WorkerReady(address), actions);
        }
    }

    /// Requests reach the worker. The first one means that the app serves.
    pub(super) fn worker_serving(&mut self, worker: WorkerId) {
        let Some(process) = self.process_mut(worker) else { return };
        process.serving = true;
        let transport = process.transport;
        if self.phase == Phase::Starting && self.ending.is_none() {
            self.phase = Phase::Running;
            self.first_ready = Some(transport);
        }
    }

    pub(super) fn worker_exited(
        &mut self,
        worker: WorkerId,
        death: Death,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, place, mut process)) = self.take(worker) else {
            return;
        };
        process.journey.fail(now_ms);
        if process.announced {
            self.tell_proxies(ToProxy::WorkerGone { worker }, actions);
        }
        let never_ready = process.ready_ms.is_none();
        match place {
            Place::Current
                if self.ending.is_none() && self.phase == Phase::Starting && never_ready =>
            {
                let why = explain_start(&process, &death);
                self.fail_start(index, *process, why, death.stderr_tail, now_ms, actions);
            }
            Place::Current if self.ending.is_none() && self.rolls_out(&process) => {
                let failure = self.failure_of(index, *process, death);
                self.release_failed(failure, now_ms, actions);
            }
            Place::Next if self.ending.is_none() => {
                let failure = self.failure_of(index, *process, death);
                self.next_failed(index, failure, now_ms, actions);
            }
            Place::Current if self.gives_up(never_ready) => {
                let problem = self.problem_of(&process, now_ms);
                let failure = self.wake_failure(index, *process, death);
                self.wake_failed(index, failure, problem, now_ms, actions);
            }
            Place::Current => self.current_died(index, *process, &death, now_ms, actions),
            Place::Next | Place::Leaving => {
                let text = self.obituary(index, &process, &death, now_ms);
                let level = if process.is_asked_to_go() { Level::Info } else { Level::Warn };
                actions.push(Action::Log(level, text));
            }
        }
    }

    /// A slot has lost its worker.
    fn current_died(
        &mut self,
        index: usize,
        mut process: Process,
        death: &Death,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let mut text = self.obituary(index, &process, death, now_ms);
        if self.ending.is_some() {
            actions.push(Action::Log(Level::Info, text));
            return;
        }
        if let Some(words) = process.exception.take().or_else(|| death.last_words()) {
            text.push_str(&format!("; its last words: {words}"));
        }
        self.slots[index].last_death = Some(text.clone());
        self.slots[index].last_stderr.clone_from(&death.stderr_tail);
        let healthy_ms = process.ready_ms.map_or(0, |since| now_ms.saturating_sub(since));
        if healthy_ms >= HEALTHY_MS {
            self.slots[index].failures = 0;
        }
        let delay = self.schedule_restart(index, process.ready_ms.is_some(), now_ms);
        self.scaling_failed(&format!("{text}; {delay}"), actions);
        actions.push(Action::Log(Level::Error, format!("{text}; {delay}")));
    }

    /// Who ended, how, and after how long.
    fn obituary(&self, index: usize, process: &Process, death: &Death, now_ms: u64) -> String {
        let pid = process.pid.unwrap_or(0);
        let age = duration_text(now_ms.saturating_sub(process.spawned_ms));
        let death_text = match process.phase {
            // Nor is it news how one of a supervisor before us has ended, if we have asked for it.
            ProcessPhase::Stopping { .. }
                if death.is_orderly() || death.how == HowDied::Unknown =>
            {
                "has ended".to_owned()
            }
            // We know the cause of what we killed ourselves.
            ProcessPhase::Killed => death.to_string(),
            _ => death.explained(),
        };
        let text = format!("{} (pid {pid}) {death_text} after {age}", self.worker_name(index));
        match &process.condemned {
            Some(condemned) => format!("{text}; it was killed because {condemned}"),
            None => text,
        }
    }

    /// Looks after the processes whose time has come, and starts what has waited long enough.
    pub(super) fn check_worker_deadlines(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if self.slots[index].deadline_ms().is_none_or(|deadline| deadline > now_ms) {
                continue;
            }
            if let SlotState::Backoff { until_ms } = self.slots[index].state
                && until_ms <= now_ms
            {
                self.slots[index].restarts += 1;
                self.spawn_worker(index, now_ms, actions);
            }
            let due = |process: &&Process| process.deadline_ms().is_some_and(|ms| ms <= now_ms);
            let due: Vec<WorkerId> =
                self.slots[index].processes().filter(due).map(|process| process.worker).collect();
            for worker in due {
                self.worker_is_due(worker, now_ms, actions);
            }
        }
    }

    fn worker_is_due(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let start_ms_max = self.settings.start_ms_max;
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        process.kill_if_hung(now_ms, actions);
        match process.phase {
            ProcessPhase::Starting { .. } if process.is_searched(now_ms) => {
                self.search_command(worker, now_ms, actions);
            }
            _ if process.ended_ms().is_some() => process.kill_headless(now_ms, actions),
            ProcessPhase::Starting { deadline_ms } if deadline_ms > now_ms => {
                self.ask_health(worker, now_ms, actions);
            }
            ProcessPhase::Starting { .. } => {
                process.condemned = Some(explain_slow_start(process, start_ms_max.div_ceil(1000)));
                process.journey.fail(now_ms);
                process.phase = ProcessPhase::Killed;
                if process.pid.is_some() {
                    push_signal(actions, worker, StopSignal::Kill);
                }
            }
            ProcessPhase::Draining { .. } => self.drain_is_due(worker, now_ms, actions),
            ProcessPhase::Stopping { .. } => self.kill_slow(worker, actions),
            ProcessPhase::Warm
            | ProcessPhase::Ready
            | ProcessPhase::Standby
            | ProcessPhase::Killed => {}
        }
    }

    /// Sets the back-off and says in words when the next start is.
    pub(super) fn schedule_restart(
        &mut self,
        index: usize,
        was_ready: bool,
        now_ms: u64,
    ) -> String {
        let slot = &mut self.slots[index];
        slot.failures += 1;
        // The first death of a worker that has worked is an accident, and its place is missed: no
        // waiting.
        let delay_ms = match (was_ready, slot.failures) {
            (true, 1) => 0,
            (true, failures) => backoff_ms(failures - 1),
            (false, failures) => backoff_ms(failures),
        };
        slot.state = SlotState::Backoff { until_ms: now_ms + delay_ms };
        if delay_ms == 0 {
            return "starting it again".to_owned();
        }
        let count = slot.failures;
        format!("starting it again in {} (failure {count} in a row)", duration_text(delay_ms))
    }

    pub(super) fn worker_name(&self, index: usize) -> String {
        format!("{}.{}", self.settings.app, self.slots[index].number)
    }
}

pub(super) fn push_signal(actions: &mut Vec<Action>, worker: WorkerId, signal: StopSignal) {
    actions.push(Action::Signal { target: Target::Worker(worker), signal });
}
