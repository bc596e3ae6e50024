//! One worker slot and the process in it.
//!
//! Owns: their states and how they are shown. Must never know: when to change them; `worker` and
//! `stop` decide that.

use hostler_protocol::control::{
    PlainAddress, Transport, WorkerAddress, WorkerId, WorkerState, WorkerStatus,
};

use super::Settings;
use super::command::Search;
use crate::journey::Journey;
use crate::runtime_dir::plain_socket;

/// Node closes an idle connection after 5 s by default (`server.keepAliveTimeout`); the proxy goes first.
const NODE_IDLE_MS_MAX: u32 = 4_000;

/// Servers do not tell how long they keep an idle connection. The shortest usual time is gunicorn's, 2 s (uvicorn, hypercorn,
/// Apache: 5 s, Bun: 10 s, puma, Tomcat: 20 s and more); a connection to this machine costs little.
const COMMAND_IDLE_MS_MAX: u32 = 1_500;

/// A place for one worker; it keeps its number while processes come and go.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) core: Option<u32>,
    pub(super) state: SlotState,
    /// Starts after a death.
    pub(super) restarts: u32,
    /// Deaths since it was last healthy for long.
    pub(super) failures: u32,
    pub(super) last_death: Option<String>,
    pub(super) last_worker: WorkerId,
}

/// The life of a slot.
#[derive(Debug)]
pub(super) enum SlotState {
    /// Waits for its next start.
    Backoff {
        /// Until then.
        until_ms: u64,
    },
    /// Has a process.
    Live(Box<Process>),
    /// Gets no process any more.
    Stopped,
}

/// A worker process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    /// None while the spawn is under way.
    pub(super) pid: Option<u32>,
    pub(super) phase: ProcessPhase,
    pub(super) spawned_ms: u64,
    /// When it became ready.
    pub(super) ready_ms: Option<u64>,
    pub(super) transport: Transport,
    pub(super) journey: Journey,
    /// Why we killed it, if we did so on our own account.
    pub(super) condemned: Option<String>,
    /// Message of its uncaught exception.
    pub(super) exception: Option<String>,
    /// Servers it opened that are not ours to serve.
    pub(super) other_servers: Vec<String>,
    /// What is known of a command until it is ready.
    pub(super) search: Option<Search>,
    /// Where a command accepts connections.
    pub(super) accepts: Option<PlainAddress>,
    /// The Node process below a command that has become the worker.
    pub(super) app: Option<App>,
}

/// A Node process below a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum App {
    /// It runs.
    Lives {
        /// Its process id.
        pid: u32,
    },
    /// It has ended, and the command shall follow.
    Ended {
        /// What its process id was.
        pid: u32,
        /// Then the command is killed.
        until_ms: u64,
    },
}

impl Process {
    /// The process that serves: what was started, or the Node process below it.
    pub(super) fn app_pid(&self) -> Option<u32> {
        match self.app {
            Some(App::Lives { pid } | App::Ended { pid, .. }) => Some(pid),
            None => self.pid,
        }
    }
}

/// The life of a worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessPhase {
    /// Not ready yet.
    Starting {
        /// Then it has failed.
        deadline_ms: u64,
    },
    /// Takes requests.
    Ready,
    /// Has got SIGTERM.
    Stopping,
    /// Has got SIGKILL.
    Killed,
}

impl Slot {
    pub(super) fn new(number: u32, core: Option<u32>) -> Self {
        Self {
            number,
            core,
            state: SlotState::Backoff { until_ms: u64::MAX },
            restarts: 0,
            failures: 0,
            last_death: None,
            last_worker: WorkerId(0),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match &self.state {
            SlotState::Live(process) => Some(process),
            SlotState::Backoff { .. } | SlotState::Stopped => None,
        }
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            SlotState::Live(process) => Some(process),
            SlotState::Backoff { .. } | SlotState::Stopped => None,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, SlotState::Stopped)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.process().is_some_and(|process| process.phase == ProcessPhase::Ready)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match &self.state {
            SlotState::Backoff { until_ms } => Some(*until_ms),
            SlotState::Live(process) => match process.phase {
                ProcessPhase::Starting { deadline_ms } => {
                    let search = process.search.as_ref().map(Search::next_ms);
                    [Some(deadline_ms), search, process.ended_ms()].into_iter().flatten().min()
                }
                ProcessPhase::Ready => match process.app {
                    Some(App::Ended { until_ms, .. }) => Some(until_ms),
                    _ => None,
                },
                ProcessPhase::Stopping | ProcessPhase::Killed => None,
            },
            SlotState::Stopped => None,
        }
    }

    /// Where the proxy reaches the worker; none unless it is ready.
    pub(super) fn address(&self, settings: &Settings) -> Option<WorkerAddress> {
        let serves = |process: &&Process| {
            let ended = matches!(process.app, Some(App::Ended { .. }));
            process.phase == ProcessPhase::Ready && !ended
        };
        let process = self.process().filter(serves)?;
        Some(WorkerAddress {
            worker: process.worker,
            app: settings.app.clone(),
            slot: self.number,
            pid: process.app_pid()?,
            core: self.pinned_core(settings),
            transport: process.transport,
            plain: process.accepts.clone().unwrap_or_else(|| {
                let worker = process.worker.0;
                let dir = &settings.runtime_dir;
                PlainAddress::Unix(plain_socket(dir, &settings.app, self.number, worker))
            }),
            plain_idle_ms_max: match process.accepts {
                Some(_) => COMMAND_IDLE_MS_MAX,
                None => NODE_IDLE_MS_MAX,
            },
        })
    }

    /// A command is left to the scheduler: nobody knows how many processes and threads it serves with.
    pub(super) fn pinned_core(&self, settings: &Settings) -> Option<u32> {
        let is_command = self.process().is_some_and(|process| process.accepts.is_some());
        self.core.filter(|_| settings.pin && !is_command)
    }

    pub(super) fn status(&self, settings: &Settings, now_ms: u64) -> WorkerStatus {
        let process = self.process();
        let state = match &self.state {
            SlotState::Backoff { .. } => WorkerState::Backoff,
            SlotState::Stopped => WorkerState::Stopped,
            SlotState::Live(process) => match process.phase {
                ProcessPhase::Starting { .. } => WorkerState::Starting,
                ProcessPhase::Ready => WorkerState::Ready,
                ProcessPhase::Stopping | ProcessPhase::Killed => WorkerState::Stopping,
            },
        };
        let ready_ms = process.and_then(|process| process.ready_ms);
        WorkerStatus {
            app: settings.app.clone(),
            slot: self.number,
            worker: self.last_worker,
            pid: process.and_then(Process::app_pid),
            state,
            transport: process.map_or(settings.transport, |process| process.transport),
            generation: 1,
            core: self.pinned_core(settings),
            uptime_s: ready_ms.map_or(0, |since| now_ms.saturating_sub(since) / 1000),
            restarts: self.restarts,
            last_death: self.last_death.clone(),
            rss_kib: 0,
            load: None,
        }
    }
}
