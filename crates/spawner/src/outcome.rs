//! What the supervisor tells its caller: notices while it runs and the reason of its end.
//!
//! Owns: the notices, the exit reasons and their exit codes (field conventions: 0 clean, 1 failure,
//! 69 cannot bind, 128+n forced by a signal). Must never know: how they are printed. Read by the
//! command line.

use std::fmt;

use hostler_protocol::control::{IoChoice, Transport};
use serde::{Deserialize, Serialize};

use crate::journey::StartFailure;

/// Something the person at the terminal should see once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The proxy accepts connections, and the first worker takes requests or waits for one to be started. Comes at most once.
    Ready(ReadyInfo),
    /// The app did not start. [`ExitReason::StartFailed`] follows, unless it was a request that should have started it: then
    /// later ones try again. `Display` is the report for people.
    StartFailed(Box<StartFailure>),
}

/// The facts of the one ready line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyInfo {
    /// Real addresses (`127.0.0.1:3000`, `unix:/run/app.sock`).
    pub listeners: Vec<String>,
    /// Shards of the proxy.
    pub shards: u32,
    /// Worker slots of the app; the other workers may still be starting.
    pub workers: u32,
    /// None of them runs before the first request.
    pub asleep: bool,
    /// Transport of the first ready worker: may be `Http` although `Frames` was asked for, when the
    /// loader's self-test failed.
    pub transport: Transport,
    /// I/O backend of the proxy.
    pub io: IoChoice,
    /// Why this backend.
    pub io_reason: String,
    /// From the start of the supervisor until now, milliseconds.
    pub start_ms: u64,
}

/// Who waits for the end of a reload or a change of their number; the loop knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket(pub(crate) u64);

/// Why the supervisor ended. `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Asked to stop, and stopped.
    Stopped {
        /// Client connections cut at the deadline.
        cut: u32,
        /// Workers that did not stop by themselves and were killed.
        killed: u32,
    },
    /// A second signal cut the stop short.
    Forced {
        /// Number of that signal.
        signal: i32,
    },
    /// The app did not start; the report went out as [`Notice::StartFailed`].
    StartFailed {
        /// One line.
        why: String,
    },
    /// The proxy refused to start or keeps dying.
    ProxyFailed {
        /// What went wrong and what to do.
        why: String,
    },
    /// An address cannot be listened on.
    CannotListen {
        /// Which address, why, and who has it.
        why: String,
    },
    /// The runtime directory cannot be used (another instance, no rights, path too long).
    RuntimeDir {
        /// What is wrong and what to do.
        why: String,
    },
    /// The operating system refused something the supervisor cannot do without.
    System {
        /// What was refused.
        why: String,
    },
}

impl ExitReason {
    /// The process exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Stopped { .. } => 0,
            Self::Forced { signal } => u8::try_from(128 + signal).unwrap_or(1),
            Self::CannotListen { .. } => 69,
            Self::StartFailed { .. }
            | Self::ProxyFailed { .. }
            | Self::RuntimeDir { .. }
            | Self::System { .. } => 1,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { cut: 0, killed: 0 } => write!(out, "stopped"),
            Self::Stopped { cut, killed } => write!(
                out,
                "stopped; {cut} connections were cut and {killed} workers were killed at the deadline"
            ),
            Self::Forced { signal } => write!(out, "stopped at once by a second signal ({signal})"),
            Self::StartFailed { why }
            | Self::ProxyFailed { why }
            | Self::CannotListen { why }
            | Self::RuntimeDir { why }
            | Self::System { why } => write!(out, "{why}"),
        }
    }
}
