//! Programs that start a daemon and end.
//!
//! Owns: waiting for the starter, and taking the daemon over by its pid file. Must never know: which program it is.
//! Called by the peers that work in the background, as their manuals advise.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::family::reap_orphans;
use crate::place::{Place, spawn_on};
use crate::process::{Folder, Owned, wait_for};

/// Longest time until a daemon is up; the slowest one starts its own app in it.
const START_MAX: Duration = Duration::from_secs(60);

/// So much of what a failed starter said is shown: the rest may be a long trace.
const SAID_LINES_MAX: usize = 12;

/// Runs the starter to its end; gives the daemon, which is stopped if the starter failed.
pub(super) fn launch(
    place: Place,
    command: &mut Command,
    folder: &Folder,
    pid_file: &Path,
) -> Outcome<Owned> {
    let log = folder.path().join("starter.log");
    let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut starter = Owned::new(spawn_on(place, command)?);
    let status = wait_for(START_MAX, || starter.ended());
    let pid = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
    let daemon = pid.map(Owned::adopt);
    // What it forked on the way to the daemon.
    reap_orphans();
    match (status, daemon) {
        (Some(status), Some(daemon)) if status.success() => Ok(daemon),
        (status, _) => {
            let status = status.map_or_else(|| "no end".to_owned(), |status| status.to_string());
            let said = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = said.lines().take(SAID_LINES_MAX).collect();
            Err(format!("the start failed ({status}): {}", lines.join("\n").trim()))
        }
    }
}
