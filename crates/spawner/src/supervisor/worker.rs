//! The workers: start, reports, ready, death, back-off.
//!
//! Owns: the machine's decisions about worker processes while the instance is not ending.

use hostler_protocol::control::{ToProxy, WorkerId};

use super::command::Search;
use super::death::{Death, REMARK_CHARS_MAX};
use super::event::{Action, Level, SpawnFailure, StopSignal, Target};
use super::explain::{explain_slow_start, explain_start};
use super::report::Report;
use super::slot::{Process, ProcessPhase, SlotState};
use super::{Kind, Machine, Phase, backoff_ms, duration_text, lower};
use crate::journey::{Journey, StartFailure, Step};
use crate::outcome::{ExitReason, Notice};
use crate::worker_command::Offer;

/// A worker that was ready this long is healthy: its next death counts as its first.
const HEALTHY_MS: u64 = 60_000;

/// A remark must not tear the table of steps apart.
const NOTE_CHARS_MAX: usize = 120;

/// What is still missing when everything is open.
pub(super) const AWAITS_READY: &str = "the app listens and has not called process.send('ready')";

/// Enough to tell a person what an app does instead of serving.
const OTHER_SERVERS_MAX: usize = 8;

impl Machine {
    pub(super) fn spawn_worker(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        let slot = &mut self.slots[index];
        slot.last_worker = worker;
        slot.state = SlotState::Live(Box::new(Process {
            worker,
            pid: None,
            phase: ProcessPhase::Starting {
                deadline_ms: now_ms + u64::from(self.settings.start_ms_max),
            },
            spawned_ms: now_ms,
            ready_ms: None,
            transport: self.settings.transport,
            journey: Journey::new(steps(self.settings.kind), now_ms),
            condemned: None,
            exception: None,
            other_servers: Vec::new(),
            search: None,
            accepts: None,
            app: None,
        }));
        actions.push(Action::SpawnWorker { slot: slot.number, worker });
    }

    pub(super) fn worker_spawned(
        &mut self,
        worker: WorkerId,
        pid: u32,
        offer: Option<Offer>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(index) = self.slot_of(worker) else {
            return;
        };
        let Some(process) = self.slots[index].process_mut() else {
            return;
        };
        process.pid = Some(pid);
        process.search = offer.map(|offer| Search::new(offer, now_ms));
        process.journey.done(Step::Exec, now_ms);
        // A stop that came while the process was being made could not signal it yet.
        match process.phase {
            ProcessPhase::Starting { .. } | ProcessPhase::Ready => {}
            ProcessPhase::Stopping => push_signal(actions, worker, StopSignal::Term),
            ProcessPhase::Killed => push_signal(actions, worker, StopSignal::Kill),
        }
    }

    pub(super) fn worker_spawn_failed(
        &mut self,
        worker: WorkerId,
        failure: SpawnFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(index) = self.slot_of(worker) else {
            return;
        };
        let Some(mut process) = self.take_process(index) else {
            return;
        };
        if !failure.retry {
            // What is hopeless is found out by exec, not by fork.
            process.journey.done(Step::Fork, now_ms);
        }
        process.journey.fail(now_ms);
        let name = self.worker_name(index);
        let text = format!("{name} could not be started: {}", failure.why);
        self.slots[index].last_death = Some(text.clone());
        if self.ending.is_some() {
            return;
        }
        let waited_ms = now_ms.saturating_sub(self.started_ms);
        let in_time = waited_ms < u64::from(self.settings.start_ms_max);
        if self.phase == Phase::Starting && !(failure.retry && in_time) {
            let why = (failure.why, failure.hint);
            self.fail_start(index, *process, why, Vec::new(), now_ms, actions);
            return;
        }
        let delay = self.schedule_restart(index, false, now_ms);
        actions.push(Action::Log(Level::Error, format!("{text}; {delay}")));
    }

    pub(super) fn report(
        &mut self,
        worker: WorkerId,
        report: Report,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(index) = self.slot_of(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let Some(process) = self.slots[index].process_mut() else {
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
                    self.worker_ready(index, now_ms, actions);
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
            Report::Stuck(stuck) => {
                actions.push(Action::Log(Level::Warn, format!("{name} {}", stuck.sentence())));
            }
            Report::Unstuck { silent_ms } => {
                let text = format!("{name} turns its event loop again, after {silent_ms} ms");
                actions.push(Action::Log(Level::Info, text));
            }
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

    pub(super) fn worker_ready(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let name = self.worker_name(index);
        let core = self.slots[index].pinned_core(&self.settings);
        let Some(process) = self.slots[index].process_mut() else {
            return;
        };
        process.phase = ProcessPhase::Ready;
        process.ready_ms = Some(now_ms);
        process.journey.done(Step::Connect, now_ms);
        let transport = process.transport;
        let took = duration_text(now_ms.saturating_sub(process.spawned_ms));
        let pid = process.app_pid().unwrap_or(0);
        let mut text = format!("{name} is ready after {took} (pid {pid}, {}", lower(transport));
        if let Some(address) = &process.accepts {
            text.push_str(&format!(" on {address}"));
        }
        if let Some(core) = core {
            // After the start, because V8 sizes its helper threads while it starts, and those
            // should keep all cores.
            actions.push(Action::Pin { pid, core });
            text.push_str(&format!(", core {core}"));
        }
        actions.push(Action::Log(Level::Info, text + ")"));
        if self.ending.is_some() {
            return;
        }
        if let Some(address) = self.slots[index].address(&self.settings) {
            self.tell_proxy(ToProxy::WorkerReady(address), actions);
        }
    }

    /// Requests reach the worker. The first one means that the app serves.
    pub(super) fn worker_serving(&mut self, worker: WorkerId) {
        let process = self.slot_of(worker).and_then(|index| self.slots[index].process_mut());
        let Some(transport) = process.map(|process| process.transport) else { return };
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
        let Some(index) = self.slot_of(worker) else {
            return;
        };
        let Some(mut process) = self.take_process(index) else {
            return;
        };
        process.journey.fail(now_ms);
        let was_ready = process.ready_ms.is_some();
        if was_ready {
            self.tell_proxy(ToProxy::WorkerGone { worker }, actions);
        }
        if self.ending.is_none() && self.phase == Phase::Starting && !was_ready {
            let why = explain_start(&process, &death);
            self.fail_start(index, *process, why, death.stderr_tail, now_ms, actions);
            return;
        }

        let pid = process.pid.unwrap_or(0);
        let age = duration_text(now_ms.saturating_sub(process.spawned_ms));
        // We know the cause of what we killed ourselves.
        let ours = process.phase == ProcessPhase::Killed;
        let death_text = if ours { death.to_string() } else { death.explained() };
        let mut text = format!("{} (pid {pid}) {death_text} after {age}", self.worker_name(index));
        if let Some(condemned) = &process.condemned {
            text = format!("{text}; it was killed because {condemned}");
        }
        if self.ending.is_some() {
            actions.push(Action::Log(Level::Info, text));
            return;
        }
        if let Some(words) = process.exception.take().or_else(|| death.last_words()) {
            text.push_str(&format!("; its last words: {words}"));
        }
        self.slots[index].last_death = Some(text.clone());
        let healthy_ms = process.ready_ms.map_or(0, |since| now_ms.saturating_sub(since));
        if healthy_ms >= HEALTHY_MS {
            self.slots[index].failures = 0;
        }
        let delay = self.schedule_restart(index, was_ready, now_ms);
        actions.push(Action::Log(Level::Error, format!("{text}; {delay}")));
    }

    /// Kills what starts too slowly, starts what has waited long enough.
    pub(super) fn check_worker_deadlines(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if self.slots[index].deadline_ms().is_none_or(|deadline| deadline > now_ms) {
                continue;
            }
            match &mut self.slots[index].state {
                SlotState::Backoff { .. } => {
                    self.slots[index].restarts += 1;
                    self.spawn_worker(index, now_ms, actions);
                }
                SlotState::Live(process) if process.is_searched(now_ms) => {
                    self.search_command(index, now_ms, actions);
                }
                SlotState::Live(process) if process.ended_ms().is_some() => {
                    process.kill_headless(now_ms, actions);
                }
                SlotState::Live(process) => {
                    let limit_s = self.settings.start_ms_max.div_ceil(1000);
                    process.condemned = Some(explain_slow_start(process, limit_s));
                    process.journey.fail(now_ms);
                    process.phase = ProcessPhase::Killed;
                    if process.pid.is_some() {
                        push_signal(actions, process.worker, StopSignal::Kill);
                    }
                }
                SlotState::Stopped => {}
            }
        }
    }

    /// Sets the back-off and says in words when the next start is.
    fn schedule_restart(&mut self, index: usize, was_ready: bool, now_ms: u64) -> String {
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

    /// The app never worked: no use in trying on.
    fn fail_start(
        &mut self,
        index: usize,
        process: Process,
        (why, hint): (String, Option<String>),
        stderr_tail: Vec<String>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let failure = StartFailure {
            app: self.settings.app.clone(),
            slot: self.slots[index].number,
            why: why.clone(),
            hint,
            command: self.settings.command.clone(),
            cwd: self.settings.cwd.clone(),
            journey: process.journey,
            stderr_tail,
        };
        actions.push(Action::Notice(Notice::StartFailed(Box::new(failure))));
        let why = format!("{} did not start: {why}", self.settings.app);
        self.begin_hasty_stop(ExitReason::StartFailed { why }, now_ms, actions);
    }

    /// Takes the dead process out; the slot is stopped until somebody schedules its next start.
    fn take_process(&mut self, index: usize) -> Option<Box<Process>> {
        match std::mem::replace(&mut self.slots[index].state, SlotState::Stopped) {
            SlotState::Live(process) => Some(process),
            SlotState::Backoff { .. } | SlotState::Stopped => None,
        }
    }

    pub(super) fn worker_name(&self, index: usize) -> String {
        format!("{}.{}", self.settings.app, self.slots[index].number)
    }
}

fn steps(kind: Kind) -> &'static [Step] {
    match kind {
        Kind::Script => Step::SCRIPT,
        Kind::Command => Step::COMMAND,
    }
}

pub(super) fn push_signal(actions: &mut Vec<Action>, worker: WorkerId, signal: StopSignal) {
    actions.push(Action::Signal { target: Target::Worker(worker), signal });
}
