//! One worker process, from its start to its end.
//!
//! Owns: its states and its facts. Must never know: when to change them; `worker`, `reload`, `leave` and `stop` decide that.

use std::rc::Rc;

use hostler_protocol::control::{
    PlainAddress, Transport, WorkerAddress, WorkerId, WorkerState, WorkerStatus,
};
use serde::{Deserialize, Serialize};

use super::Settings;
use super::command::Search;
use super::hang::Hang;
use super::health::Health;
use super::release::Release;
use super::slot::Slot;
use crate::journey::Journey;
use crate::runtime_dir::plain_socket;

/// Node closes an idle connection after 5 s by default (`server.keepAliveTimeout`); the proxy goes first.
const NODE_IDLE_MS_MAX: u32 = 4_000;

/// Servers do not tell how long they keep an idle connection. The shortest usual time is gunicorn's, 2 s (uvicorn, hypercorn,
/// Apache: 5 s, Bun: 10 s, puma, Tomcat: 20 s and more); a connection to this machine costs little.
const COMMAND_IDLE_MS_MAX: u32 = 1_500;

/// A worker process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    /// What it runs.
    pub(super) release: Rc<Release>,
    /// None while the spawn is under way.
    pub(super) pid: Option<u32>,
    pub(super) phase: ProcessPhase,
    pub(super) spawned_ms: u64,
    /// When it became ready.
    pub(super) ready_ms: Option<u64>,
    /// The proxy has been told of it, and has not been told that it is gone.
    pub(super) announced: bool,
    /// Every shard can send it requests.
    pub(super) serving: bool,
    /// Number of its last drain.
    pub(super) drain: u32,
    /// The proxy has said that nothing is in flight in it since it gets nothing new.
    pub(super) drained: bool,
    /// Retired proxies that have not said so.
    #[serde(default)]
    pub(super) in_flight_at: Vec<u32>,
    /// Why it should be replaced.
    pub(super) worn: Option<String>,
    /// It is not tried to replace it before then.
    pub(super) not_before_ms: u64,
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
    /// It hangs.
    pub(super) hang: Option<Hang>,
    /// It is asked whether it can serve.
    pub(super) health: Option<Health>,
    /// Where a command accepts connections.
    pub(super) accepts: Option<PlainAddress>,
    /// The Node process below a command that has become the worker.
    pub(super) app: Option<App>,
}

/// A Node process below a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The life of a worker process: `Starting -> Warm -> Ready -> Standby -> Draining -> Stopping -> Killed`, where a process
/// of an ordinary start leaves out `Warm`, one that is taken back goes from `Standby` to `Ready`, and each may end at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProcessPhase {
    /// Not ready yet.
    Starting {
        /// Then it has failed.
        deadline_ms: u64,
    },
    /// Ready, and waits for the others of its release.
    Warm,
    /// Takes requests.
    Ready,
    /// Takes no new requests, and may be called back.
    Standby,
    /// Takes no new requests, and goes when the old ones are done.
    Draining {
        /// Then its upgraded connections are closed; none if that has been ordered.
        close_ms: Option<u64>,
        /// Then it has had its time.
        until_ms: u64,
    },
    /// Has got SIGTERM.
    Stopping {
        /// Then it is killed.
        kill_at_ms: u64,
    },
    /// Has got SIGKILL.
    Killed,
}

impl ProcessPhase {
    fn deadline_ms(self) -> Option<u64> {
        match self {
            Self::Starting { deadline_ms } => Some(deadline_ms),
            Self::Draining { close_ms, until_ms } => {
                Some(close_ms.map_or(until_ms, |close_ms| close_ms.min(until_ms)))
            }
            Self::Stopping { kill_at_ms } => Some(kill_at_ms),
            Self::Warm | Self::Ready | Self::Standby | Self::Killed => None,
        }
    }

    /// As `hostler status` calls it.
    fn shown(self) -> WorkerState {
        match self {
            Self::Starting { .. } | Self::Warm => WorkerState::Starting,
            Self::Ready => WorkerState::Ready,
            Self::Standby | Self::Draining { .. } => WorkerState::Draining,
            Self::Stopping { .. } | Self::Killed => WorkerState::Stopping,
        }
    }
}

impl Process {
    /// The process that serves: what was started, or the Node process below it.
    pub(super) fn app_pid(&self) -> Option<u32> {
        match self.app {
            Some(App::Lives { pid } | App::Ended { pid, .. }) => Some(pid),
            None => self.pid,
        }
    }

    /// When something has to be done about it.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let tries = match self.phase {
            ProcessPhase::Starting { .. } => [
                self.search.as_ref().map(Search::next_ms),
                self.health.as_ref().and_then(Health::next_ms),
            ],
            _ => [None, None],
        };
        let hang = self.hang.as_ref().and_then(Hang::until_ms);
        let hang = hang.filter(|_| self.phase != ProcessPhase::Killed);
        let others = [self.phase.deadline_ms(), self.ended_ms(), hang];
        tries.into_iter().chain(others).flatten().min()
    }

    /// It can do the work of a worker: it has not ended behind its command's back.
    pub(super) fn can_serve(&self) -> bool {
        !matches!(self.app, Some(App::Ended { .. }))
    }

    /// Where the proxy reaches it.
    pub(super) fn address(
        &self,
        slot: u32,
        core: Option<u32>,
        settings: &Settings,
    ) -> Option<WorkerAddress> {
        Some(WorkerAddress {
            worker: self.worker,
            app: settings.app.clone(),
            slot,
            pid: self.app_pid()?,
            core: self.pinned_core(core, settings),
            transport: self.transport,
            plain: self.accepts.clone().unwrap_or_else(|| {
                let dir = &settings.runtime_dir;
                PlainAddress::Unix(plain_socket(dir, &settings.app, slot, self.worker.0))
            }),
            plain_idle_ms_max: match self.accepts {
                Some(_) => COMMAND_IDLE_MS_MAX,
                None => NODE_IDLE_MS_MAX,
            },
        })
    }

    /// A command is left to the scheduler: nobody knows how many processes and threads it serves with.
    pub(super) fn pinned_core(&self, core: Option<u32>, settings: &Settings) -> Option<u32> {
        core.filter(|_| settings.pin && self.accepts.is_none())
    }

    /// Its line in `hostler status`, without what only others know (memory, load).
    pub(super) fn status(&self, slot: &Slot, settings: &Settings, now_ms: u64) -> WorkerStatus {
        WorkerStatus {
            app: settings.app.clone(),
            slot: slot.number,
            worker: self.worker,
            pid: self.app_pid(),
            state: self.phase.shown(),
            transport: self.transport,
            generation: self.release.generation,
            core: self.pinned_core(slot.core, settings),
            uptime_s: self.ready_ms.map_or(0, |since| now_ms.saturating_sub(since) / 1000),
            restarts: slot.restarts,
            last_death: slot.last_death.clone(),
            last_stderr: slot.last_stderr.clone(),
            rss_kib: 0,
            load: None,
        }
    }
}
