//! Results that outlive a run of the command.
//!
//! Owns: one file per suite in `target/compat/results`. A run of a few suites thus leaves the rest of the report as it was.

use std::fs;

use serde::{Deserialize, Serialize};

use super::rounds::Record;
use super::sources::work;
use super::suite::Suite;

/// How a suite went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
    /// It ran on all sides.
    Ran(Record),
    /// It was left out, for that reason.
    LeftOut { why: String },
    /// It could not be fetched, installed or run.
    Broken { why: String },
}

/// What is kept of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) version: String,
    pub(crate) node: String,
    pub(crate) state: State,
}

/// Keeps a result.
pub(crate) fn save(suite: &Suite, stored: &Stored) -> Result<(), String> {
    let folder = work().join("results");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(stored).map_err(|error| error.to_string())?;
    fs::write(folder.join(&suite.name).with_extension("json"), text)
        .map_err(|error| error.to_string())
}

/// The last result of a suite, if it is of the version that its file names now.
pub(crate) fn load(suite: &Suite) -> Option<Stored> {
    let file = work().join("results").join(&suite.name).with_extension("json");
    let stored: Stored = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    (stored.version == suite.version()).then_some(stored)
}
