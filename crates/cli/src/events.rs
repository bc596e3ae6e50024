//! `hostler events`: what happened lately in an instance.
//!
//! Owns: its form. Must never know: what is remembered. Called by `main`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use hostler_protocol::control::{CommandAnswer, CommandRequest, EventLevel, EventLine};

use crate::args::EventsArgs;
use crate::console::{BAD_CONFIG, FAILED, OK, end_with, print};
use crate::settings::{runtime_dir, with_surroundings};
use crate::status::code_of;

/// The supervisor answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the verb.
pub(crate) fn events(args: &EventsArgs) -> ExitCode {
    let dir = match with_surroundings(|around| runtime_dir(&args.instance, around)) {
        Ok(setting) => setting.value,
        Err(error) => return end_with(BAD_CONFIG, error),
    };
    match hostler_spawner::command(&dir, CommandRequest::Events, PATIENCE) {
        Ok(CommandAnswer::Events { events }) => {
            let first = args.lines.map_or(0, |lines| events.len().saturating_sub(lines));
            let shown = if args.json { as_json } else { as_text };
            print(&shown(&events[first..]));
            ExitCode::from(OK)
        }
        Ok(CommandAnswer::Refused { why }) => end_with(FAILED, why),
        Ok(other) => end_with(FAILED, format!("an answer that does not belong here: {other:?}")),
        Err(error) => end_with(code_of(&error), error),
    }
}

fn as_text(events: &[EventLine]) -> String {
    let mut text = String::new();
    for EventLine { time, level, text: what } in events {
        let level = match level {
            EventLevel::Info => "     ",
            EventLevel::Warn => "WARN ",
            EventLevel::Error => "ERROR",
        };
        let _ = writeln!(text, "{time}  {level}  {what}");
    }
    text
}

/// One object a line.
fn as_json(events: &[EventLine]) -> String {
    let line = |event: &EventLine| {
        // Strings have no failing `Serialize`.
        serde_json::to_string(event).expect("plain data always serializes") + "\n"
    };
    events.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_a_line_for_each() {
        let event = |level, text: &str| EventLine {
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            level,
            text: text.to_owned(),
        };
        let events =
            [event(EventLevel::Info, "web.0 is ready"), event(EventLevel::Error, "web.0 died")];
        assert_eq!(
            as_text(&events),
            "2026-01-01T00:00:00.000Z         web.0 is ready\n2026-01-01T00:00:00.000Z  ERROR  web.0 died\n"
        );
        assert!(
            as_json(&events).starts_with(r#"{"time":"2026-01-01T00:00:00.000Z","level":"info","#)
        );
        assert_eq!(as_json(&events).lines().count(), 2);
    }
}
