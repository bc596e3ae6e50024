//! What the command line hands to the supervisor: already validated, nothing optional left to
//! guess.
//!
//! Owns: the settings of one instance. Must never know: where a setting came from (flag, file,
//! environment). Filled by the command line, read by everything in this crate.

use std::ffi::OsString;
use std::path::PathBuf;

use hostler_protocol::control::{ProxySetup, Transport};
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;

/// What a worker process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launch {
    /// Node with a script.
    Script {
        /// The Node binary: a path, or a bare name that is looked up in `PATH`.
        node: PathBuf,
        /// Options for Node itself, before the script.
        node_args: Vec<String>,
        /// The JavaScript file that Node runs.
        script: PathBuf,
        /// Arguments behind the script.
        args: Vec<String>,
    },
    /// Whatever the shell makes of a line. It is told a socket (`$SOCKET`) and a port (`$PORT`) of its own and is ready
    /// when it accepts connections on one of them.
    Command {
        /// The line.
        line: String,
        /// Folders that come first in `PATH`.
        bin_folders: Vec<PathBuf>,
    },
}

/// The app and how its workers are started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Shown in logs and status (`web`).
    pub name: String,
    /// How.
    pub launch: Launch,
    /// Working directory of the workers.
    pub cwd: PathBuf,
    /// Variables on top of the supervisor's own environment; they win over everything but
    /// `HOSTLER_WORKER`, `NODE_APP_INSTANCE`, `HOSTLER_WORKERS`, `HOSTLER_GENERATION` and `HOSTLER_LEADER`.
    pub env: Vec<(String, String)>,
    /// Number of worker processes at the start, at least 1.
    pub workers: u32,
    /// Within which the number follows the load; none leaves it alone.
    pub range: Option<WorkerRange>,
    /// How requests shall reach the workers.
    pub transport: Transport,
    /// When a worker is ready.
    pub ready: ReadySpec,
    /// When a worker has hung for too long; none is never.
    pub hang: Option<HangSpec>,
    /// How workers of another release follow.
    pub reload: ReloadSpec,
    /// When a worker is replaced by a fresh one.
    pub recycle: RecycleSpec,
    /// When no worker runs at all.
    pub sleep: SleepSpec,
}

/// Workers that run only while somebody needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SleepSpec {
    /// The first request starts them.
    pub lazy: bool,
    /// They end when nobody has used the app for so long, milliseconds, and the next request starts them again; none is never.
    pub idle_ms_max: Option<u32>,
}

impl SleepSpec {
    /// There may be no worker for want of requests.
    pub fn may_sleep(&self) -> bool {
        self.lazy || self.idle_ms_max.is_some()
    }
}

/// Fewest and most workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRange {
    /// At least 1.
    pub min: u32,
    /// At least `min`.
    pub max: u32,
}

/// When a worker is ready for requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadySpec {
    /// When it listens.
    #[default]
    Listen,
    /// When it listens and the app has called `process.send('ready')`. For a command that is not Node's: when it listens.
    Message,
    /// When it answers GET to this path with success (200 to 399). It begins with `/` and has no blanks.
    Answers(String),
}

/// Workers whose event loop does not turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HangSpec {
    /// A worker that has been silent for so long is killed, milliseconds.
    pub after_ms: u32,
    /// It tells its stack at half that time.
    pub stack: bool,
}

/// Limits of a worker; one that reaches a limit is replaced, without losing a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecycleSpec {
    /// Memory, KiB.
    pub memory_kib_max: Option<u64>,
    /// Memory at which it is killed at once, KiB.
    pub memory_kib_hard: Option<u64>,
    /// Time since it was ready, milliseconds.
    pub age_ms_max: Option<u64>,
    /// Requests answered.
    pub requests_max: Option<u64>,
}

/// How the workers of one release follow those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadSpec {
    /// Workers that are started beside the old ones at a time; all if not said. At least 1.
    pub surge_max: Option<u32>,
    /// A new release that crashes within this time is taken back, milliseconds.
    pub probation_ms: u32,
    /// What requests in flight may take in a worker that leaves, milliseconds.
    pub drain_ms_max: u32,
    /// What WebSockets may take there before they are closed, milliseconds.
    pub websocket_drain_ms_max: u32,
}

impl Default for ReloadSpec {
    fn default() -> Self {
        Self {
            surge_max: None,
            probation_ms: 3_000,
            drain_ms_max: 30_000,
            websocket_drain_ms_max: 120_000,
        }
    }
}

/// One instance: an app, its listeners, its proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorConfig {
    /// The folder that names the instance; see [`crate::runtime_dir::default_runtime_dir`].
    pub runtime_dir: PathBuf,
    /// The app.
    pub app: AppSpec,
    /// Where clients connect, at least one.
    pub listeners: Vec<ListenAddress>,
    /// Sent to the proxy as it is, except for `listeners`, which the supervisor fills in after it
    /// knows the real ports.
    pub proxy: ProxySetup,
    /// Program and arguments that start the proxy process (`/proc/self/exe`, `proxy`).
    pub proxy_command: Vec<OsString>,
    /// Core for each worker slot; a missing entry means `None`.
    pub worker_cores: Vec<Option<u32>>,
    /// Whether workers are pinned to their core once they are ready.
    pub pin: bool,
    /// A worker that is not ready after this time has failed to start, milliseconds.
    pub start_ms_max: u32,
    /// The whole time of a graceful stop, from the request to SIGKILL, milliseconds. Draining the
    /// clients may use three quarters of it, the workers' SIGTERM handlers get the rest.
    pub stop_ms_max: u32,
    /// Touching this file reloads.
    pub restart_file: PathBuf,
    /// App output and reports as JSON lines instead of text.
    pub log_json: bool,
}

/// Default for [`SupervisorConfig::start_ms_max`].
pub const START_MS_MAX: u32 = 60_000;

/// Default for [`SupervisorConfig::stop_ms_max`].
pub const STOP_MS_MAX: u32 = 10_000;
