//! Asking an instance for a change and waiting until it has come about: what `reload`, `rollback` and `scale` share.
//!
//! Owns: the bound of the wait, and the words for what may be answered. Must never know: how a change is made.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hostler_protocol::control::{CommandAnswer, CommandRequest};
use hostler_spawner::CommandError;

use crate::args::ChangeArgs;
use crate::console::{BAD_CONFIG, FAILED, OK, complain, end_with, print};
use crate::settings::{HOUR_MS, SHORTEST_MS, read_or, runtime_dir, with_surroundings};
use crate::status::code_of;
use crate::units::show_duration_ms;

const WAIT_MS_DEFAULT: u32 = 300_000;

/// Asks and says what came of it.
pub(crate) fn ask(args: &ChangeArgs, request: CommandRequest) -> ExitCode {
    let settings = with_surroundings(|around| {
        let wait_ms = read_or("--wait", args.wait.as_deref(), WAIT_MS_DEFAULT, |text| {
            text.duration_ms(&(SHORTEST_MS..=HOUR_MS))
        })?;
        Ok((runtime_dir(&args.instance, around)?.value, wait_ms.value))
    });
    match settings {
        Ok((dir, wait_ms)) => ask_in(&dir, request, wait_ms),
        Err(error) => end_with(BAD_CONFIG, error),
    }
}

fn ask_in(dir: &Path, request: CommandRequest, wait_ms: u32) -> ExitCode {
    match hostler_spawner::command(dir, request, Duration::from_millis(u64::from(wait_ms))) {
        Ok(answer) => outcome(&answer),
        Err(CommandError::Timeout { .. }) => end_with(
            FAILED,
            format!(
                "it is not over after {}, and goes on; `hostler status` shows how far it is",
                show_duration_ms(u64::from(wait_ms))
            ),
        ),
        Err(error) => end_with(code_of(&error), error),
    }
}

fn outcome(answer: &CommandAnswer) -> ExitCode {
    match answer {
        CommandAnswer::Reloaded { generation, workers, took_ms } => {
            let workers = counted(*workers, "runs", "run");
            let seconds = format!("{}.{}", took_ms / 1000, took_ms % 1000 / 100);
            print(&format!("hostler: {workers} generation {generation} (after {seconds} s)\n"));
            ExitCode::from(OK)
        }
        CommandAnswer::Scaled { workers, asleep } => {
            let text = match asleep {
                true => format!("{} at the next request", counted(*workers, "starts", "start")),
                false => format!("{} requests", counted(*workers, "takes", "take")),
            };
            print(&format!("hostler: {text}\n"));
            ExitCode::from(OK)
        }
        CommandAnswer::Upgraded { from, to } => {
            print(&format!("hostler: version {to} has taken over from {from}\n"));
            ExitCode::from(OK)
        }
        CommandAnswer::TakenBack { why, report } => {
            complain(report.trim_end());
            end_with(FAILED, format!("the reload was taken back, the old workers serve on: {why}"))
        }
        CommandAnswer::Refused { why } => end_with(FAILED, why),
        other => end_with(FAILED, format!("an answer that does not belong here: {other:?}")),
    }
}

fn counted(workers: u32, one: &str, many: &str) -> String {
    match workers {
        1 => format!("1 worker {one}"),
        _ => format!("{workers} workers {many}"),
    }
}
