//! What the command line hands to the supervisor: already validated, nothing optional left to
//! guess.
//!
//! Owns: the settings of one instance. Must never know: where a setting came from (flag, file,
//! environment). Filled by the command line, read by everything in this crate.

use std::ffi::OsString;
use std::path::PathBuf;

use hostler_protocol::control::{ProxySetup, Transport};

use crate::address::ListenAddress;

/// What a worker process is.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Number of worker processes, at least 1.
    pub workers: u32,
    /// How requests shall reach the workers.
    pub transport: Transport,
}

/// One instance: an app, its listeners, its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// App output and reports as JSON lines instead of text.
    pub log_json: bool,
}

/// Default for [`SupervisorConfig::start_ms_max`].
pub const START_MS_MAX: u32 = 60_000;

/// Default for [`SupervisorConfig::stop_ms_max`].
pub const STOP_MS_MAX: u32 = 10_000;
