//! Starting a worker process, and what is said if that fails.
//!
//! Owns: the machine's decisions from the order to start a process until it has a process id, and the report of a failed
//! start. Must never know: what follows from a failed start of a next release (`reload`).

use std::rc::Rc;

use hostler_protocol::control::WorkerId;

use super::command::Search;
use super::event::{Action, Level, SpawnFailure, StopSignal};
use super::process::{Process, ProcessPhase};
use super::release::{Kind, Release};
use super::slot::{Place, SlotState};
use super::worker::push_signal;
use super::{Machine, Phase};
use crate::config::ReadySpec;
use crate::journey::{Journey, StartFailure, Step};
use crate::outcome::{ExitReason, Notice};
use crate::worker_command::Offer;

impl Machine {
    /// Starts the worker of a slot.
    pub(super) fn spawn_worker(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let release = Rc::clone(&self.release);
        let process = self.new_process(index, release, now_ms, actions);
        self.slots[index].state = SlotState::Live(process);
    }

    /// Orders a process and gives what is known of it.
    pub(super) fn new_process(
        &mut self,
        index: usize,
        release: Rc<Release>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) -> Box<Process> {
        let worker = WorkerId(self.next_worker);
        self.next_worker += 1;
        let slot = &mut self.slots[index];
        slot.last_worker = worker;
        let action =
            Action::SpawnWorker { slot: slot.number, worker, release: Rc::clone(&release) };
        actions.push(action);
        Box::new(Process {
            worker,
            pid: None,
            phase: ProcessPhase::Starting {
                deadline_ms: now_ms + u64::from(self.settings.start_ms_max),
            },
            spawned_ms: now_ms,
            ready_ms: None,
            announced: false,
            serving: false,
            drain: 0,
            drained: false,
            in_flight_at: Vec::new(),
            worn: None,
            not_before_ms: 0,
            transport: release.spec.transport,
            journey: Journey::new(&steps(&release), now_ms),
            condemned: None,
            exception: None,
            other_servers: Vec::new(),
            search: None,
            health: None,
            hang: None,
            accepts: None,
            app: None,
            release,
        })
    }

    pub(super) fn worker_spawned(
        &mut self,
        worker: WorkerId,
        pid: u32,
        offer: Option<Offer>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        process.pid = Some(pid);
        process.search = offer.map(|offer| Search::new(offer, now_ms));
        process.journey.done(Step::Exec, now_ms);
        // A stop that came while the process was being made could not signal it yet.
        match process.phase {
            ProcessPhase::Stopping { .. } => push_signal(actions, worker, StopSignal::Term),
            ProcessPhase::Killed => push_signal(actions, worker, StopSignal::Kill),
            ProcessPhase::Starting { .. }
            | ProcessPhase::Warm
            | ProcessPhase::Ready
            | ProcessPhase::Standby
            | ProcessPhase::Draining { .. } => {}
        }
    }

    pub(super) fn worker_spawn_failed(
        &mut self,
        worker: WorkerId,
        failure: SpawnFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, place, mut process)) = self.take(worker) else {
            return;
        };
        if !failure.retry {
            // What is hopeless is found out by exec, not by fork.
            process.journey.done(Step::Fork, now_ms);
        }
        process.journey.fail(now_ms);
        let text = failure.text();
        let why = (failure.why, failure.hint);
        match place {
            Place::Leaving => {}
            Place::Next => {
                let failed = self.start_failure(index, *process, why, Vec::new());
                self.next_failed(index, failed, now_ms, actions);
            }
            Place::Current if self.gives_up(true) => {
                let problem = self.problem_of(&process, now_ms);
                let failure = self.start_failure(index, *process, why, Vec::new());
                self.wake_failed(index, failure, problem, now_ms, actions);
            }
            Place::Current => {
                let text = format!("{} could not be started: {text}", self.worker_name(index));
                if !self.tries_again(index, &text, failure.retry, now_ms, actions) {
                    self.fail_start(index, *process, why, Vec::new(), now_ms, actions);
                }
            }
        }
    }

    /// The process of a slot could not be made. False if that is the end of the start.
    fn tries_again(
        &mut self,
        index: usize,
        text: &str,
        retry: bool,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) -> bool {
        self.slots[index].last_death = Some(text.to_owned());
        if self.ending.is_some() {
            return true;
        }
        let waited_ms = now_ms.saturating_sub(self.started_ms);
        let in_time = waited_ms < u64::from(self.settings.start_ms_max);
        if self.phase == Phase::Starting && !(retry && in_time) {
            return false;
        }
        let delay = self.schedule_restart(index, false, now_ms);
        self.scaling_failed(&format!("{text}; {delay}"), actions);
        actions.push(Action::Log(Level::Error, format!("{text}; {delay}")));
        true
    }

    /// The app never worked: no use in trying on.
    pub(super) fn fail_start(
        &mut self,
        index: usize,
        process: Process,
        why: (String, Option<String>),
        stderr_tail: Vec<String>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let failure = self.start_failure(index, process, why, stderr_tail);
        let why = format!("{} did not start: {}", failure.app, failure.why);
        actions.push(Action::Notice(Notice::StartFailed(Box::new(failure))));
        self.begin_hasty_stop(ExitReason::StartFailed { why }, now_ms, actions);
    }

    /// The report of a start that failed.
    pub(super) fn start_failure(
        &self,
        index: usize,
        process: Process,
        (why, hint): (String, Option<String>),
        stderr_tail: Vec<String>,
    ) -> StartFailure {
        StartFailure {
            app: self.settings.app.clone(),
            slot: self.slots[index].number,
            why,
            hint,
            command: process.release.command(),
            cwd: process.release.cwd(),
            journey: process.journey,
            stderr_tail,
        }
    }
}

fn steps(release: &Release) -> Vec<Step> {
    let steps = match release.kind() {
        Kind::Script => Step::SCRIPT,
        Kind::Command => Step::COMMAND,
    };
    let answer = matches!(release.spec.ready, ReadySpec::Answers(_)).then_some(Step::Answer);
    steps.iter().copied().chain(answer).collect()
}
