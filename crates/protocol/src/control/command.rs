//! Command line <-> supervisor messages.

use std::path::PathBuf;

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
    /// `hostler events`.
    Events,
    /// `hostler reload`; the answer comes when the reload is over.
    Reload {
        /// The app, if its name was typed.
        app: Option<String>,
    },
    /// `hostler rollback`; the answer comes when the reload is over.
    Rollback {
        /// The app, if its name was typed.
        app: Option<String>,
    },
    /// `hostler upgrade`; the answer comes when the new program has taken over, or nothing has changed.
    Upgrade {
        /// The program.
        program: PathBuf,
    },
    /// `hostler scale`; the answer comes when so many workers take requests.
    Scale {
        /// The app, if its name was typed.
        app: Option<String>,
        /// How many there shall be.
        workers: Option<u32>,
        /// Without that: how many more, or fewer.
        change: i32,
    },
}

/// The supervisor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CommandAnswer {
    /// To [`CommandRequest::Status`].
    Status(Box<InstanceStatus>),
    /// Understood and begun.
    Accepted,
    /// To [`CommandRequest::Events`]: what is remembered, oldest first.
    Events {
        /// One for each thing that happened.
        events: Vec<EventLine>,
    },
    /// All workers run the new release.
    Reloaded {
        /// Its number.
        generation: u32,
        /// How many workers there are.
        workers: u32,
        /// How long it took, milliseconds.
        took_ms: u64,
    },
    /// So many workers take requests.
    Scaled {
        /// The number.
        workers: u32,
        /// None of them runs: the next request starts so many.
        asleep: bool,
    },
    /// Another program has taken over.
    Upgraded {
        /// The version before.
        from: String,
        /// The version now.
        to: String,
    },
    /// The new release failed, the old one serves on.
    TakenBack {
        /// One line.
        why: String,
        /// All that is known about the failure, for a person.
        report: String,
    },
    /// Not possible.
    Refused {
        /// What is wrong and what to do.
        why: String,
    },
}

/// Something that happened in an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// When, as RFC 3339 text in UTC.
    pub time: String,
    /// How much it matters.
    pub level: EventLevel,
    /// What it was, for people.
    pub text: String,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventLevel {
    /// All is well.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something failed.
    Error,
}
