//! Supervisor <-> proxy messages.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{IoChoice, ProxyStatus, Transport, WorkerId};

/// What the proxy process is told at start: the first line on its control socket.
///
/// File descriptors are inherited: the control socket is fd 3, then come the listeners in the order
/// `listeners[0]` for shard 0..shards, `listeners[1]` for shard 0..shards, ..., then one channel
/// listener for each shard, then the keeper's socket and the listener on which it can be found without a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySetup {
    /// Number of shards, at least 1.
    pub shards: u32,
    /// Core for each shard; `None` leaves it to the scheduler.
    pub cores: Vec<Option<u32>>,
    /// Addresses as shown to people (`127.0.0.1:3000`, `unix:/run/app.sock`), one per listener.
    pub listeners: Vec<String>,
    /// Allowed I/O backend.
    pub io: IoChoice,
    /// Client connections per shard.
    pub conns_max: u32,
    /// Requests in flight per worker and shard before dispatch looks elsewhere or queues; `None`: as many as the worker's event
    /// loop can take.
    pub worker_requests_max: Option<u32>,
    /// Requests waiting for a worker, per shard.
    pub queue_requests_max: u32,
    /// Longest wait in that queue, milliseconds.
    pub queue_ms_max: u32,
    /// What workers may take to start, milliseconds: so much longer may a request wait after [`ToProxy::WorkersStarting`].
    #[serde(default)]
    pub start_ms_max: u32,
    /// Time to receive a whole request head, milliseconds.
    pub head_ms_max: u32,
    /// Idle keep-alive time, milliseconds.
    pub idle_ms_max: u32,
    /// Silence of the client while a body is due, or of its socket while a response waits, milliseconds.
    pub client_silence_ms_max: u32,
    /// Silence of the worker while a response is due, milliseconds.
    pub worker_silence_ms_max: u32,
    /// From a whole request head to the end of the answer's head, milliseconds; `None` = no limit.
    #[serde(default)]
    pub answer_ms_max: Option<u32>,
    /// Silence of a worker's event loop after which it hangs, milliseconds; `None` = never.
    #[serde(default)]
    pub hang_ms_max: Option<u32>,
    /// Which requests go to the worker that had others of theirs; `None`: none.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// For how long a request that has ended two workers is refused, milliseconds; `None`: never.
    #[serde(default)]
    pub quarantine_ms: Option<u32>,
    /// Request head size, bytes.
    pub head_bytes_max: u32,
    /// Request body size, bytes; `None` = no limit.
    pub body_bytes_max: Option<u64>,
    /// Where requests are logged (`-` is standard output); `None` = nowhere.
    #[serde(default)]
    pub access_log: Option<PathBuf>,
    /// Log as JSON lines instead of text.
    pub log_json: bool,
    /// Which of these values the operator chose.
    #[serde(default)]
    pub typed: Typed,
    /// The process gets a keeper's socket and outlives its supervisor.
    #[serde(default)]
    pub keeps: bool,
}

/// The values that an app's server has too, and whether the operator chose ours: those the app cannot change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Typed {
    /// [`ProxySetup::head_ms_max`].
    pub head_ms_max: bool,
    /// [`ProxySetup::idle_ms_max`].
    pub idle_ms_max: bool,
    /// [`ProxySetup::head_bytes_max`].
    pub head_bytes_max: bool,
}

/// How requests that belong together find the same worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// Name of the cookie that names a client's worker; `None`: there is none.
    pub cookie: Option<String>,
    /// Sessions of Engine.IO, which Socket.IO builds on, are followed by the `sid` in their targets.
    pub sessions: bool,
    /// Random, the same for every proxy of an instance: what a cookie says means nothing to anybody else.
    pub key: [u64; 2],
}

/// What another process of this product has to know of the program of one before it relies on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramFacts {
    /// Its version, for people.
    pub version: String,
    /// What it speaks with workers ([`crate::worker::PROTOCOL_VERSION`]).
    pub worker_protocol: u32,
    /// The form of a supervisor's state that it reads ([`STATE_FORMAT`]).
    pub state_format: u32,
}

/// The form in which a supervisor hands its state to another one. It changes when an older program could not make sense of it.
pub const STATE_FORMAT: u32 = 1;

impl ProgramFacts {
    /// Of this program.
    pub fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker_protocol: crate::worker::PROTOCOL_VERSION,
            state_format: STATE_FORMAT,
        }
    }
}

/// Where a worker reads HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port of this machine.
    Tcp(SocketAddr),
}

impl fmt::Display for PlainAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Tcp(address) => write!(out, "{address}"),
        }
    }
}

/// Where a ready worker is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// The process.
    pub worker: WorkerId,
    /// Name of its app.
    pub app: String,
    /// Its slot within the app, from 0.
    pub slot: u32,
    /// Its process id.
    pub pid: u32,
    /// The core its main thread is pinned to, if any; dispatch prefers the shard of the same core.
    pub core: Option<u32>,
    /// How requests reach it.
    pub transport: Transport,
    /// Its plain path.
    pub plain: PlainAddress,
    /// How long an idle connection to the plain path is kept, milliseconds: less than the worker itself would keep it.
    pub plain_idle_ms_max: u32,
}

/// Why workers that were wanted did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartProblem {
    /// The app ended, or could not be started at all.
    Died,
    /// It was not ready in time.
    TimedOut,
}

/// Supervisor to proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum ToProxy {
    /// The first message.
    Setup(ProxySetup),
    /// Requests may be sent to this worker.
    WorkerReady(WorkerAddress),
    /// No new requests to this worker; answer with [`FromProxy::WorkerDrained`] when none is in flight. The worker is not told,
    /// and clients notice nothing: their connections stay, and what they ask next goes to other workers or waits in the queue.
    /// Said again, it is answered again; the answer to the drain before is then not given if it is still due.
    WorkerDrain {
        /// The worker to drain.
        worker: WorkerId,
        /// Echoed in the answer: one that is on its way when the worker is called back must not be taken for that of the next drain.
        drain: u32,
    },
    /// A draining worker takes requests again, at once, whatever was reported of it. An answer that is on its way
    /// is about the drain before. Upgraded connections that have not been closed stay.
    WorkerResume {
        /// The worker.
        worker: WorkerId,
    },
    /// Close the upgraded connections of this worker, and while it drains those that are agreed to later: WebSockets one after the other,
    /// spread over this time so that their clients do not all come back in one moment, each with a close frame (1012, service
    /// restart) between two frames of the app; what is no WebSocket at the end of it. Without [`ToProxy::WorkerDrain`] they come back
    /// to the same worker. Once they are closed [`FromProxy::WorkerDrained`] follows as for requests, at the latest about a second behind the end.
    CloseUpgraded {
        /// The worker.
        worker: WorkerId,
        /// The last one ends after this time, milliseconds.
        within_ms: u32,
    },
    /// The process is gone.
    WorkerGone {
        /// The worker that is gone.
        worker: WorkerId,
    },
    /// There is no worker, and none will come before [`FromProxy::WorkerWanted`] has been said from now on, also for requests that
    /// wait at this moment.
    Asleep,
    /// Workers start because of [`FromProxy::WorkerWanted`]: who waits may wait for as long as a start may take, and then as
    /// long as ever. [`ToProxy::WorkerReady`] or [`ToProxy::StartFailed`] follows.
    WorkersStarting,
    /// They did not start. Who waits is answered at once, and so is who comes within the time that follows; then
    /// [`FromProxy::WorkerWanted`] is said again when it is so.
    StartFailed {
        /// What happened.
        problem: StartProblem,
        /// Nobody tries again before this time is over, milliseconds.
        retry_ms: u32,
    },
    /// Stop accepting, finish what is in flight, close idle connections, answer [`FromProxy::Drained`], exit 0.
    Drain {
        /// Connections that still live after this time are cut, milliseconds.
        deadline_ms: u32,
    },
    /// Another proxy is to take over: every worker shall open channels to its shards beside the ones it has here, those too that
    /// connect from now on. Their own paths take it back.
    MoveWorkers {
        /// The channel socket of each shard.
        channels: Vec<PathBuf>,
    },
    /// Another proxy has taken over: accept no more, finish what is here, exit 0. The listeners stay open elsewhere, so a client that
    /// is idle may take its time: its next answer is its last here, and it connects again.
    Retire {
        /// Idle connections are closed after this time, milliseconds.
        idle_ms: u32,
        /// Connections that still live after this time are cut, milliseconds.
        deadline_ms: u32,
    },
    /// Answer with [`FromProxy::Status`].
    Status {
        /// Echoed in the answer.
        request: u64,
    },
}

/// Proxy to supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum FromProxy {
    /// All shards accept connections.
    Serving {
        /// `uring` or `epoll`.
        io: IoChoice,
        /// One line that says why this backend was chosen.
        io_reason: String,
        /// What its program can do.
        #[serde(default)]
        program: ProgramFacts,
    },
    /// The proxy cannot start; it exits after this.
    Failed {
        /// What went wrong and what to do.
        why: String,
    },
    /// Every shard can send requests to this worker.
    WorkerServing {
        /// The worker.
        worker: WorkerId,
    },
    /// A request waits, and there is no worker, nor one that has been announced. Said once until there is one, or until
    /// [`ToProxy::StartFailed`] or [`ToProxy::Asleep`]. Where workers are on their way anyway it means nothing.
    WorkerWanted,
    /// During a drain: the connections that were being accepted have been seen, the client listeners are
    /// closed; what comes now should be refused.
    ListenersClosed,
    /// No request is in flight in this worker any more, and no upgraded connection is open. Once for each
    /// [`ToProxy::WorkerDrain`]; not for a worker that is gone by then.
    WorkerDrained {
        /// The drained worker.
        worker: WorkerId,
        /// From the order.
        drain: u32,
    },
    /// A worker's channel broke although the process may live (for the log).
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// What happened.
        why: String,
    },
    /// A worker's event loop seems to hang: nothing has been heard of it for [`ProxySetup::hang_ms_max`]. Its clients have been
    /// answered, and it gets no new ones. Said once.
    WorkerSilent {
        /// The worker.
        worker: WorkerId,
        /// How long nothing has been heard, milliseconds.
        silent_ms: u32,
        /// Requests that it had in flight.
        in_flight: u32,
    },
    /// A worker that was called silent has spoken again, and serves on.
    WorkerBack {
        /// The worker.
        worker: WorkerId,
    },
    /// All connections are finished; the proxy exits now.
    Drained {
        /// Connections that had to be cut at the deadline.
        cut: u32,
    },
    /// Answer to [`ToProxy::Status`].
    Status {
        /// From the question.
        request: u64,
        /// The figures.
        status: ProxyStatus,
    },
}
