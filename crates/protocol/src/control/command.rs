//! Command line <-> supervisor messages.

use serde::{Deserialize, Serialize};

use super::InstanceStatus;

/// One question of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum CommandRequest {
    /// `hostler status`.
    Status,
    /// `hostler stop`.
    Stop,
}

/// The supervisor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CommandAnswer {
    /// To [`CommandRequest::Status`].
    Status(Box<InstanceStatus>),
    /// Understood and begun.
    Accepted,
    /// Not possible.
    Refused {
        /// What is wrong and what to do.
        why: String,
    },
}
