//! What `hostler status` shows.

use serde::{Deserialize, Serialize};

use super::{IoChoice, Transport, WorkerId};

/// Figures of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Shard number, from 0.
    pub shard: u32,
    /// Open client connections.
    pub conns: u32,
    /// Requests at a worker.
    pub in_flight: u32,
    /// Those of them that are upgraded connections.
    #[serde(default)]
    pub upgraded: u32,
    /// Requests waiting for a worker.
    pub queued: u32,
    /// Responses finished, of all statuses.
    pub requests: u64,
    /// Responses made by the proxy itself with a 4xx status.
    pub refused: u64,
    /// Responses made by the proxy itself with a 5xx status.
    pub failed: u64,
    /// Those of them to requests that no worker took: the queue was full, or the wait in it too long.
    #[serde(default)]
    pub shed: u64,
    /// Requests that were sent to a second worker.
    pub retried: u64,
    /// Times a socket had to wait for a receive buffer.
    pub starved: u64,
    /// Sockets of all kinds that the driver holds.
    pub sockets: u32,
    /// Buffers out of the pools at this moment.
    pub buffers_out: u32,
    /// What the app's own server changed.
    #[serde(default)]
    pub app: AppLimits,
}

/// The time-outs and limits that are the app's and not the proxy's, as they are in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppLimits {
    /// Idle keep-alive time, milliseconds.
    pub idle_ms_max: Option<u64>,
    /// Time to receive a whole request head, milliseconds.
    pub head_ms_max: Option<u64>,
    /// Time to receive a whole request, milliseconds.
    pub request_ms_max: Option<u64>,
    /// Request head size, bytes.
    pub head_bytes_max: Option<u32>,
    /// Requests of one connection, counted by the worker.
    pub requests_per_connection_max: Option<u64>,
    /// The app answers client errors itself.
    pub client_error: bool,
}

/// What one worker looks like from the proxy (summed over the shards).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLoad {
    /// The worker.
    pub worker: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Those of them that are upgraded connections.
    #[serde(default)]
    pub upgraded: u32,
    /// Requests answered.
    pub requests: u64,
    /// Event-loop delay of the last heartbeat, microseconds.
    pub loop_delay_us: u32,
    /// Event-loop utilisation of the last heartbeat, in 1/1000.
    pub loop_utilisation: u32,
    /// V8 heap used, KiB.
    pub heap_kib: u32,
    /// Milliseconds since the last heartbeat.
    pub heartbeat_age_ms: u32,
}

/// Figures of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The backend in use.
    pub io: IoChoice,
    /// Why.
    pub io_reason: String,
    /// One entry per shard.
    pub shards: Vec<ShardStatus>,
    /// One entry per worker known to the proxy.
    pub workers: Vec<WorkerLoad>,
}

/// The life of a worker process, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Forked, not ready yet.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new requests, finishes the old ones.
    Draining,
    /// Has been told to stop.
    Stopping,
    /// Died; waits for its next start.
    Backoff,
    /// Waits for a request to be started.
    Asleep,
    /// Gone for good (shutdown, or slot removed).
    Stopped,
}

/// One worker slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// App name.
    pub app: String,
    /// Slot, from 0.
    pub slot: u32,
    /// Number of the current process.
    pub worker: WorkerId,
    /// Its pid, none while it is in back-off.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Transport in use.
    pub transport: Transport,
    /// Generation of the app code, from 1; reload adds one.
    pub generation: u32,
    /// Core its main thread is pinned to.
    pub core: Option<u32>,
    /// Seconds since it became ready.
    pub uptime_s: u64,
    /// How often the slot was started again after a death.
    pub restarts: u32,
    /// Why the last process died, one line.
    pub last_death: Option<String>,
    /// The last lines that process wrote to stderr, oldest first.
    #[serde(default)]
    pub last_stderr: Vec<String>,
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// The proxy's view; none before it is ready.
    pub load: Option<WorkerLoad>,
}

/// How an instance is, as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// No worker is ready yet.
    #[default]
    Starting,
    /// No worker runs; the next request starts them.
    Asleep,
    /// All is well.
    Running,
    /// It serves, but a worker keeps dying or the proxy is being started again.
    Degraded,
    /// A reload is under way.
    Reloading,
    /// It ends.
    Stopping,
}

/// The supervisor itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Its pid.
    pub pid: u32,
    /// Version of the binary.
    pub version: String,
    /// How the instance is.
    #[serde(default)]
    pub state: InstanceState,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Runtime directory, which names the instance.
    pub runtime_dir: String,
}

/// All of `hostler status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The supervisor.
    pub supervisor: SupervisorStatus,
    /// Pid of the proxy, none while it is being restarted.
    pub proxy_pid: Option<u32>,
    /// Resident memory of the proxy, KiB.
    pub proxy_rss_kib: u64,
    /// Figures of the proxy, none if it did not answer in time.
    pub proxy: Option<ProxyStatus>,
    /// Addresses served.
    pub listeners: Vec<String>,
    /// All worker slots.
    pub workers: Vec<WorkerStatus>,
}
