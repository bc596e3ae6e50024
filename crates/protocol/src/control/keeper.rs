//! Supervisor <-> keeper: what the proxy keeps for the case that its supervisor dies.
//!
//! Each message is one packet of JSON on a socket that keeps packets apart; the descriptors that it names come with it, in its order.

use serde::{Deserialize, Serialize};

/// Descriptors in one packet: the kernel takes 253 (`SCM_MAX_FD`), and names of them shall fit [`KEEPER_BYTES_MAX`].
pub const KEEPER_FDS_MAX: usize = 32;

/// No packet is longer.
pub const KEEPER_BYTES_MAX: usize = 4096;

/// What the keeper has to know of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptKind {
    /// Nothing: it is only kept.
    Other,
    /// Standard output of a process. Without a supervisor somebody has to read it, or the process waits at its next line.
    Stdout,
    /// Its standard error.
    Stderr,
    /// Our own standard output: where the lines go.
    OwnStdout,
    /// Our own standard error.
    OwnStderr,
}

/// A descriptor under the number that it has in the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFd {
    /// The number.
    pub number: i32,
    /// What it is.
    pub kind: KeptKind,
}

/// To the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum ToKeeper {
    /// Keep these too; one of a number that is kept already takes its place. The descriptors come along.
    Keep {
        /// Which.
        fds: Vec<KeptFd>,
    },
    /// These are not needed any more.
    Drop {
        /// Their numbers.
        numbers: Vec<i32>,
    },
    /// Nothing is to be kept here any more: another proxy does it.
    Release,
    /// A new supervisor wants all of it. Two descriptors come along: the proxy's control socket to it, and the keeper's.
    Adopt {},
}

/// The keeper's answer to [`ToKeeper::Adopt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum FromKeeper {
    /// Some of what is kept. The descriptors come along.
    Kept {
        /// Which.
        fds: Vec<KeptFd>,
    },
    /// That was all.
    Done,
}
