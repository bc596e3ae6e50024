//! Results that outlive a run of the command.
//!
//! Owns: one file per suite in `crates/xtask/compat/results`, committed with the page that is made of them: a run of a few
//! suites, on any machine, leaves the rest of the page as it was.

use std::fs;

use serde::{Deserialize, Serialize};

use super::rounds::Record;
use super::suite::{Suite, bench};

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
    /// Size of the large upload, for the suite that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload_mib: Option<u64>,
    pub(crate) state: State,
}

/// Keeps a result. That a suite could not be had today takes nothing away from what was found of this version before.
pub(crate) fn save(suite: &Suite, stored: &Stored) -> Result<(), String> {
    let ran = |stored: &Stored| matches!(stored.state, State::Ran(_));
    if !ran(stored) && load(suite).is_some_and(|before| ran(&before)) {
        return Ok(());
    }
    let folder = bench().join("results");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(stored).map_err(|error| error.to_string())?;
    fs::write(folder.join(format!("{}.json", suite.name)), text + "\n")
        .map_err(|error| error.to_string())
}

/// The last result of a suite, if it is of the version that its file names now.
pub(crate) fn load(suite: &Suite) -> Option<Stored> {
    let file = bench().join("results").join(format!("{}.json", suite.name));
    let stored: Stored = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    (stored.version == suite.version()).then_some(stored)
}
