//! Sleep: an app whose workers run only while somebody uses it.
//!
//! Owns: the machine's decisions about when no worker is needed, and when there is one again. Must never know: how requests wait
//! meanwhile (the proxy keeps them), how a worker starts (`start`) or leaves (`leave`).
//!
//! ```text
//!          a request waits            one serves             nobody uses it              nothing is in flight
//! Asleep -----------------> Waking ----------------> Awake -----------------> Dozing ------------------------> Asleep
//!   ^   \                     |                        ^                         |
//!   |    a reload             | none starts            |  somebody does          |
//!   |     \-------------------|----------------------> | <-----------------------+
//!   +-------------------------+
//! ```
//!
//! While it dozes the workers live and get nothing new, so that a request of that very moment costs a message and no start. A
//! reload proves its release by starting it, also where everything slept; then it sleeps again, if nobody has come.

use hostler_protocol::control::{StartProblem, ToProxy, WorkerId};
use serde::{Deserialize, Serialize};

use super::autoscale::Load;
use super::death::Death;
use super::event::{Action, Level};
use super::process::{Process, ProcessPhase};
use super::slot::{Slot, SlotState};
use super::{Machine, Phase, backoff_ms, duration_text};
use crate::config::SleepSpec;
use crate::journey::StartFailure;
use crate::outcome::Notice;

/// Where somebody uses a worker all the same, its drain is not worth waiting for.
const DOZE_MS_MAX: u64 = 1_000;

/// What is known of an app that may sleep.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sleep {
    state: State,
    /// Requests that had been served at the last look.
    served: Option<u64>,
    /// A request waits for workers.
    wanted: bool,
    /// A reload alone has woken it.
    proves: bool,
    /// Starts in a row that failed, how the last one did, and when the next one may be.
    failures: u32,
    problem: StartProblem,
    retry_ms: u64,
}

/// How deep it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Workers serve, or are started again by themselves.
    Awake {
        /// Nobody has used it since.
        idle_since_ms: u64,
    },
    /// The workers get nothing new.
    Dozing {
        /// Then somebody uses one of them all the same.
        until_ms: u64,
    },
    /// There is no worker, and none is started before somebody wants one.
    Asleep,
    /// The first ones start.
    Waking,
}

impl Sleep {
    /// A lazy app sleeps from the start.
    pub(super) fn new(spec: SleepSpec) -> Self {
        Self {
            state: if spec.lazy { State::Asleep } else { State::Awake { idle_since_ms: 0 } },
            served: None,
            wanted: false,
            proves: false,
            failures: 0,
            problem: StartProblem::Died,
            retry_ms: 0,
        }
    }

    /// No worker runs, and none starts.
    pub(super) fn is_asleep(&self) -> bool {
        self.state == State::Asleep
    }

    pub(super) fn is_dozing(&self) -> bool {
        matches!(self.state, State::Dozing { .. })
    }

    pub(super) fn is_waking(&self) -> bool {
        self.state == State::Waking
    }

    pub(super) fn is_awake(&self) -> bool {
        matches!(self.state, State::Awake { .. })
    }

    /// The last start failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Dozing { until_ms } => Some(until_ms),
            State::Awake { .. } | State::Asleep | State::Waking => None,
        }
    }

    fn wake_up(&mut self, now_ms: u64) {
        self.state = State::Awake { idle_since_ms: now_ms };
        self.served = None;
        self.wanted = false;
        self.failures = 0;
    }
}

impl Machine {
    /// Somebody has to look whether the app is used.
    pub(crate) fn watches_idleness(&self) -> bool {
        let spec = self.release.spec.sleep;
        let may = spec.idle_ms_max.is_some() || self.sleep.proves && spec.may_sleep();
        may && self.sleep.is_awake() && self.phase == Phase::Running
    }

    /// The proxy has a request and no worker.
    pub(super) fn worker_wanted(&mut self, actions: &mut Vec<Action>) {
        match self.sleep.state {
            _ if self.ending.is_some() => return,
            // They are on their way: those of a reload, or after a death.
            State::Awake { .. } => return,
            State::Dozing { .. } | State::Asleep => self.sleep.wanted = true,
            State::Waking => {}
        }
        self.sleep.proves = false;
        if self.sleep.is_waking() || self.roll.is_some() {
            self.tell_serving(ToProxy::WorkersStarting, actions);
        }
    }

    /// Takes the next step; called after each event.
    pub(super) fn advance_sleep(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let serves = |slot: &Slot| slot.is_ready() && slot.current().is_some_and(|it| it.serving);
        match self.sleep.state {
            State::Awake { .. } => {}
            State::Dozing { until_ms } => self.advance_doze(until_ms <= now_ms, now_ms, actions),
            State::Asleep | State::Waking if self.slots.iter().any(serves) => {
                self.sleep.wake_up(now_ms);
            }
            State::Waking => {}
            State::Asleep => self.advance_asleep(now_ms, actions),
        }
    }

    fn advance_asleep(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.phase == Phase::Starting && self.proxy.is_serving() {
            // Nothing else is to be done before the first request.
            self.phase = Phase::Running;
            self.first_ready = Some(self.release.spec.transport);
        }
        // What a reload starts is as good as what would be started here.
        if self.phase != Phase::Running || self.roll.is_some() || self.reading.is_some() {
            return;
        }
        self.sleep.proves = false;
        if !std::mem::take(&mut self.sleep.wanted) {
            return;
        }
        if now_ms < self.sleep.retry_ms {
            self.tell_start_failed(now_ms, actions);
            return;
        }
        let text = format!("{} wakes: a request waits", self.settings.app);
        actions.push(Action::Log(Level::Info, text));
        self.sleep.state = State::Waking;
        self.tell_serving(ToProxy::WorkersStarting, actions);
        for index in 0..self.slots.len() {
            if matches!(self.slots[index].state, SlotState::Asleep) {
                self.slots[index].failures = 0;
                self.spawn_worker(index, now_ms, actions);
            }
        }
    }

    /// A look at what the app is doing.
    pub(super) fn idleness_seen(&mut self, load: Load, now_ms: u64, actions: &mut Vec<Action>) {
        let before = self.sleep.served.replace(load.served);
        let busy = load.in_flight > 0 || load.upgraded > 0 || load.queued > 0;
        let used = busy || before.is_some_and(|before| before != load.served);
        self.sleep.proves &= !used;
        let proves = self.sleep.proves && self.release.spec.sleep.may_sleep();
        let State::Awake { idle_since_ms } = &mut self.sleep.state else { return };
        if used || before.is_none() {
            *idle_since_ms = now_ms;
            return;
        }
        let idle_ms = now_ms.saturating_sub(*idle_since_ms);
        let limit_ms = self.release.spec.sleep.idle_ms_max.map(u64::from);
        if proves || limit_ms.is_some_and(|limit_ms| idle_ms >= limit_ms) {
            self.doze(now_ms, actions);
        }
    }

    /// The workers get nothing new, unless there is something else to be done with them.
    fn doze(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let changes = self.roll.is_some()
            || self.wish.is_some()
            || self.reading.is_some()
            || self.replacement.is_some()
            || self.upgrade.is_some()
            || !self.scale_tickets.is_empty();
        // Who still leaves since the last time must have gone, or they would become more and more.
        let leave = self.slots.iter().any(|slot| !slot.leaving.is_empty());
        // Only the proxy that serves tells what is used.
        let unseen = !self.retired.is_empty();
        let may = self.phase == Phase::Running && self.proxy.is_serving();
        if !may || changes || leave || unseen {
            return;
        }
        self.sleep.state = State::Dozing { until_ms: now_ms + DOZE_MS_MAX };
        for worker in self.current_workers(ProcessPhase::Ready) {
            self.put_on_standby(worker, actions);
        }
    }

    fn advance_doze(&mut self, is_over: bool, now_ms: u64, actions: &mut Vec<Action>) {
        let is_done = |process: &Process| match process.phase {
            ProcessPhase::Standby => process.drained,
            ProcessPhase::Ready => false,
            _ => true,
        };
        let mut current = self.slots.iter().filter_map(Slot::current);
        if !self.sleep.wanted && current.all(is_done) {
            let text = format!("{} sleeps: nobody uses it", self.settings.app);
            actions.push(Action::Log(Level::Info, text));
            self.lay_down(now_ms, actions);
            self.tell_serving(ToProxy::Asleep, actions);
        } else if self.sleep.wanted || is_over {
            self.sleep.wake_up(now_ms);
            for worker in self.current_workers(ProcessPhase::Standby) {
                self.call_back(worker, actions);
            }
        }
    }

    fn current_workers(&self, phase: ProcessPhase) -> Vec<WorkerId> {
        let current = self.slots.iter().filter_map(Slot::current);
        current.filter(|process| process.phase == phase).map(|process| process.worker).collect()
    }

    /// Empties all slots: who has served ends in its own time, who has not yet need not.
    fn lay_down(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.sleep.state = State::Asleep;
        self.sleep.proves = false;
        if let Some(range) = self.release.spec.range {
            self.workers_wanted = range.min;
        }
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if !slot.is_wanted() {
                continue;
            }
            let state = std::mem::replace(&mut slot.state, SlotState::Asleep);
            let SlotState::Live(mut process) = state else { continue };
            let (worker, stands_by) = (process.worker, process.phase == ProcessPhase::Standby);
            if !stands_by {
                process.kill(actions);
            }
            slot.leaving.push(*process);
            if stands_by {
                self.let_go(worker, now_ms, actions);
            }
        }
    }

    /// Nothing serves, and what was started for the requests that wait does not come: no use in trying on by itself.
    pub(super) fn gives_up(&self, never_ready: bool) -> bool {
        let tries = self.sleep.is_waking()
            || self.sleep.is_awake() && never_ready && self.release.spec.sleep.may_sleep();
        let others = self.slots.iter().any(Slot::is_ready);
        tries && !others && self.ending.is_none() && self.phase == Phase::Running
    }

    /// The start of a worker has failed; who waits for it hears of that at once, and the next request is the next try.
    pub(super) fn wake_failed(
        &mut self,
        index: usize,
        failure: StartFailure,
        problem: StartProblem,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let sleep = &mut self.sleep;
        sleep.failures += 1;
        sleep.problem = problem;
        let delay_ms = backoff_ms(sleep.failures);
        sleep.retry_ms = now_ms + delay_ms;
        let (count, is_first) = (sleep.failures, sleep.failures == 1);
        let text = format!("{} did not start: {}", self.worker_name(index), failure.why);
        let next = format!(
            "the first request in {} or later is the next try (failure {count} in a row)",
            duration_text(delay_ms)
        );
        actions.push(Action::Log(Level::Error, format!("{text}; {next}")));
        self.scaling_failed(&text, actions);
        self.slots[index].last_death = Some(text);
        self.slots[index].last_stderr.clone_from(&failure.stderr_tail);
        if is_first {
            actions.push(Action::Notice(Notice::StartFailed(Box::new(failure))));
        }
        self.lay_down(now_ms, actions);
        match self.roll {
            // What is being rolled out may do better.
            Some(_) => self.sleep.wanted = true,
            None => self.tell_start_failed(now_ms, actions),
        }
    }

    fn tell_start_failed(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let left_ms = self.sleep.retry_ms.saturating_sub(now_ms);
        let retry_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
        let problem = self.sleep.problem;
        self.tell_serving(ToProxy::StartFailed { problem, retry_ms }, actions);
    }

    /// The report of a worker that died while others waited for it.
    pub(super) fn wake_failure(
        &self,
        index: usize,
        process: Process,
        death: Death,
    ) -> StartFailure {
        if process.ready_ms.is_none() {
            return self.failure_of(index, process, death);
        }
        let why = format!("the app {} before a request reached it", death.explained());
        self.start_failure(index, process, (why, None), death.stderr_tail)
    }

    /// Whether a start failed because its time was over.
    pub(super) fn problem_of(&self, process: &Process, now_ms: u64) -> StartProblem {
        let took_ms = now_ms.saturating_sub(process.spawned_ms);
        match took_ms >= u64::from(self.settings.start_ms_max) {
            true => StartProblem::TimedOut,
            false => StartProblem::Died,
        }
    }

    /// A reload begins. Whom it wakes may go back to sleep after it.
    pub(super) fn reload_wakes(&mut self) {
        self.sleep.proves = self.sleep.is_asleep() && !self.sleep.wanted;
    }
}
