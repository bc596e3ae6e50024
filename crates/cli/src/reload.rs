//! `hostler reload` and `hostler rollback`: ask for other workers and wait until they are in place.
//!
//! Owns: the bound of the wait, the words and the exit code. Must never know: how a reload is done. Called by `main`.

use std::process::ExitCode;
use std::time::Duration;

use hostler_protocol::control::{CommandAnswer, CommandRequest};
use hostler_spawner::CommandError;

use crate::args::ReloadArgs;
use crate::console::{BAD_CONFIG, FAILED, OK, complain, end_with, print};
use crate::settings::{HOUR_MS, SHORTEST_MS, read_or, runtime_dir, with_surroundings};
use crate::status::code_of;
use crate::units::show_duration_ms;

const WAIT_MS_DEFAULT: u32 = 300_000;

/// Runs `hostler reload`.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    ask(args, CommandRequest::Reload { app: args.app.clone() })
}

/// Runs `hostler rollback`.
pub(crate) fn rollback(args: &ReloadArgs) -> ExitCode {
    ask(args, CommandRequest::Rollback { app: args.app.clone() })
}

fn ask(args: &ReloadArgs, request: CommandRequest) -> ExitCode {
    let typed = args.instance.runtime_dir.as_deref();
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
    match hostler_spawner::command(&dir, request, Duration::from_millis(u64::from(wait_ms))) {
        Ok(answer) => outcome(&answer),
        Err(CommandError::Timeout { .. }) => end_with(
            FAILED,
            format!(
                "the reload is not over after {}, and goes on; `hostler status` shows how far it is",
                show_duration_ms(u64::from(wait_ms))
            ),
        ),
        Err(error) => end_with(code_of(&error), error),
    }
}

fn outcome(answer: &CommandAnswer) -> ExitCode {
    match answer {
        CommandAnswer::Reloaded { generation, workers, took_ms } => {
            let (plural, verb) = if *workers == 1 { ("", "runs") } else { ("s", "run") };
            let seconds = format!("{}.{}", took_ms / 1000, took_ms % 1000 / 100);
            print(&format!(
                "hostler: {workers} worker{plural} {verb} generation {generation} (after {seconds} s)\n"
            ));
            ExitCode::from(OK)
        }
        CommandAnswer::TakenBack { why, report } => {
            complain(report.trim_end());
            end_with(FAILED, format!("the reload was taken back, the old workers serve on: {why}"))
        }
        CommandAnswer::Refused { why } => end_with(FAILED, format!("not reloaded: {why}")),
        other => end_with(FAILED, format!("an answer that does not belong here: {other:?}")),
    }
}
