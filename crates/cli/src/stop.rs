//! `hostler stop`: ask an instance to stop and wait until it is gone.
//!
//! Owns: the bound of the wait and the words. Must never know: how a stop is done. Called by `main`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hostler_protocol::control::CommandAnswer;
use hostler_spawner::{CommandError, ExitReason};

use crate::args::{LogFormat, StopArgs};
use crate::console::{BAD_CONFIG, FAILED, OK, end_with, print, start_logging};
use crate::settings::{HOUR_MS, SHORTEST_MS, read_or, runtime_dir, with_surroundings};
use crate::status::code_of;
use crate::units::show_duration_ms;

const WAIT_MS_DEFAULT: u32 = 90_000;

/// Nobody is there who could be asked: the proxy and the workers of a supervisor that has died are taken over and ended here.
fn stop_orphans(dir: &Path) -> ExitCode {
    start_logging(LogFormat::Text);
    match hostler_spawner::stop_orphans(dir) {
        Ok(ExitReason::Stopped { .. }) => {
            print(&format!(
                "hostler: what was left of the instance in {} has stopped\n",
                dir.display()
            ));
            ExitCode::from(OK)
        }
        Ok(reason) => end_with(reason.code(), reason),
        Err(why) => end_with(FAILED, why),
    }
}

/// Runs the verb.
pub(crate) fn stop(args: &StopArgs) -> ExitCode {
    let typed = &args.instance;
    let settings = with_surroundings(|around| {
        let wait_ms = read_or("--wait", args.wait.as_deref(), WAIT_MS_DEFAULT, |text| {
            text.duration_ms(&(SHORTEST_MS..=HOUR_MS))
        })?;
        Ok((runtime_dir(typed, around)?.value, wait_ms.value))
    });
    let (dir, wait_ms) = match settings {
        Ok(settings) => settings,
        Err(error) => return end_with(BAD_CONFIG, error),
    };
    match hostler_spawner::stop(&dir, Duration::from_millis(u64::from(wait_ms))) {
        Ok(CommandAnswer::Refused { why }) => end_with(FAILED, why),
        Ok(_) => {
            print(&format!("hostler: the instance in {} has stopped\n", dir.display()));
            ExitCode::from(OK)
        }
        Err(CommandError::Orphaned(_)) => stop_orphans(&dir),
        Err(CommandError::Timeout { .. }) => end_with(
            FAILED,
            format!(
                "the instance in {} is still stopping after {}; `hostler status` shows what is left, a second \
                 SIGTERM to its supervisor ends it at once",
                dir.display(),
                show_duration_ms(u64::from(wait_ms))
            ),
        ),
        Err(error) => end_with(code_of(&error), error),
    }
}
