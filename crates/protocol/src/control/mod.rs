//! Messages between the supervisor, the proxy and the command line.
//!
//! Owns: the typed messages and their JSON-lines form. Must never know: which socket carries them.
//! The supervisor and the proxy talk over a socketpair (one JSON object a line); the command line talks to the
//! supervisor over `control.sock` in the runtime directory (one request line, one answer line).

mod command;
mod keeper;
mod lines;
mod proxy;
mod status;

pub use command::{CommandAnswer, CommandRequest, EventLevel, EventLine};
pub use keeper::{FromKeeper, KEEPER_BYTES_MAX, KEEPER_FDS_MAX, KeptFd, KeptKind, ToKeeper};
pub use lines::{LineBuffer, LineError, encode_line};
pub use proxy::{
    FromProxy, PlainAddress, ProgramFacts, ProxySetup, STATE_FORMAT, StartProblem, Sticky, ToProxy,
    Typed, WorkerAddress,
};
pub use status::{
    AppLimits, InstanceState, InstanceStatus, ProxyStatus, ShardStatus, SupervisorStatus,
    WorkerLoad, WorkerState, WorkerStatus,
};

use serde::{Deserialize, Serialize};

/// The number of one worker process, given by the supervisor, never reused within an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u32);

/// How requests reach a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Framed, multiplexed channel into Node's own request path.
    Frames,
    /// Keep-alive HTTP/1.1 over a unix socket or a TCP port, parsed by the worker itself.
    Http,
}

/// Which I/O backend a shard may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoChoice {
    /// The ring if its self-test passes, else epoll.
    Auto,
    /// The ring, or fail.
    Uring,
    /// epoll.
    Epoll,
}
