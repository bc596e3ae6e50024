//! One worker slot and the processes in it: the one that serves, the one that shall follow it, those that leave.
//!
//! Owns: who is where. Must never know: when that changes; `worker`, `reload` and `stop` decide it.

use hostler_protocol::control::{WorkerId, WorkerState, WorkerStatus};
use serde::{Deserialize, Serialize};

use super::Settings;
use super::process::{Process, ProcessPhase};
use super::release::Release;

/// A first death is an accident.
const FAILURES_DEGRADED: u32 = 2;

/// A place for one worker; it keeps its number while processes come and go.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) core: Option<u32>,
    pub(super) state: SlotState,
    /// The process of the next release, while it is not in place.
    pub(super) next: Option<Box<Process>>,
    /// Processes of earlier releases (or of one that was taken back) on their way out, oldest first.
    pub(super) leaving: Vec<Process>,
    /// Starts after a death.
    pub(super) restarts: u32,
    /// Deaths since it was last healthy for long.
    pub(super) failures: u32,
    pub(super) last_death: Option<String>,
    /// What the process that died last wrote to stderr at the end.
    pub(super) last_stderr: Vec<String>,
    pub(super) last_worker: WorkerId,
}

/// The life of a slot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SlotState {
    /// Its process has just gone, or it never had one: what follows is decided within the same step, unless all ends.
    Empty,
    /// Waits for its next start.
    Backoff {
        /// Until then.
        until_ms: u64,
    },
    /// Has a process.
    Live(Box<Process>),
    /// Has no process until somebody wants one.
    Asleep,
    /// Gets no process any more.
    Stopped,
}

/// Where in its slot a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the slot's worker.
    Current,
    /// It shall become that.
    Next,
    /// It was.
    Leaving,
}

impl Slot {
    pub(super) fn new(number: u32, core: Option<u32>, asleep: bool) -> Self {
        Self {
            number,
            core,
            state: if asleep { SlotState::Asleep } else { SlotState::Empty },
            next: None,
            leaving: Vec::new(),
            restarts: 0,
            failures: 0,
            last_death: None,
            last_stderr: Vec::new(),
            last_worker: WorkerId(0),
        }
    }

    /// The slot's worker.
    pub(super) fn current(&self) -> Option<&Process> {
        match &self.state {
            SlotState::Live(process) => Some(process),
            SlotState::Empty
            | SlotState::Backoff { .. }
            | SlotState::Asleep
            | SlotState::Stopped => None,
        }
    }

    /// All its processes, the current one first.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.current().into_iter().chain(self.next.as_deref()).chain(&self.leaving)
    }

    pub(super) fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        let current = match &mut self.state {
            SlotState::Live(process) => Some(&mut **process),
            SlotState::Empty
            | SlotState::Backoff { .. }
            | SlotState::Asleep
            | SlotState::Stopped => None,
        };
        current.into_iter().chain(self.next.as_deref_mut()).chain(&mut self.leaving)
    }

    /// Where a process of this slot is.
    pub(super) fn place_of(&self, worker: WorkerId) -> Option<Place> {
        let is = |process: &Process| process.worker == worker;
        if self.current().is_some_and(is) {
            Some(Place::Current)
        } else if self.next.as_deref().is_some_and(is) {
            Some(Place::Next)
        } else {
            self.leaving.iter().any(is).then_some(Place::Leaving)
        }
    }

    /// Takes a process out. If it is the current one, the slot is empty.
    pub(super) fn take(&mut self, worker: WorkerId) -> Option<Box<Process>> {
        match self.place_of(worker)? {
            Place::Current => self.take_current(),
            Place::Next => self.next.take(),
            Place::Leaving => {
                let index = self.leaving.iter().position(|process| process.worker == worker)?;
                Some(Box::new(self.leaving.remove(index)))
            }
        }
    }

    /// The same for the current process.
    pub(super) fn take_current(&mut self) -> Option<Box<Process>> {
        match std::mem::replace(&mut self.state, SlotState::Empty) {
            SlotState::Live(process) => Some(process),
            // What waits for its next start goes on waiting.
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Its worker runs this release.
    pub(super) fn runs(&self, release: &Release) -> bool {
        self.current().is_some_and(|process| process.release.generation == release.generation)
    }

    /// It shall have a worker.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self.state, SlotState::Stopped)
    }

    /// No process, and none will come.
    pub(super) fn is_stopped(&self) -> bool {
        let has_none =
            matches!(self.state, SlotState::Empty | SlotState::Asleep | SlotState::Stopped);
        has_none && self.next.is_none() && self.leaving.is_empty()
    }

    /// It has no worker, and not for the first time in a row.
    pub(super) fn keeps_failing(&self) -> bool {
        self.failures >= FAILURES_DEGRADED && !self.is_ready()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.current().is_some_and(|process| process.phase == ProcessPhase::Ready)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let start = match self.state {
            SlotState::Backoff { until_ms } => Some(until_ms),
            SlotState::Empty | SlotState::Live(_) | SlotState::Asleep | SlotState::Stopped => None,
        };
        self.processes().filter_map(Process::deadline_ms).chain(start).min()
    }

    /// Its lines in `hostler status`: one for each process, and one if there is none.
    pub(super) fn status(
        &self,
        release: &Release,
        settings: &Settings,
        now_ms: u64,
    ) -> Vec<WorkerStatus> {
        let mut lines: Vec<_> =
            self.processes().map(|process| process.status(self, settings, now_ms)).collect();
        let state = match self.state {
            SlotState::Live(_) => return lines,
            SlotState::Stopped if !lines.is_empty() => return lines,
            SlotState::Backoff { .. } => WorkerState::Backoff,
            SlotState::Asleep => WorkerState::Asleep,
            SlotState::Empty | SlotState::Stopped => WorkerState::Stopped,
        };
        let empty = WorkerStatus {
            app: settings.app.clone(),
            slot: self.number,
            worker: self.last_worker,
            pid: None,
            state,
            transport: release.spec.transport,
            generation: release.generation,
            core: None,
            uptime_s: 0,
            restarts: self.restarts,
            last_death: self.last_death.clone(),
            last_stderr: self.last_stderr.clone(),
            rss_kib: 0,
            load: None,
        };
        lines.insert(0, empty);
        lines
    }
}
