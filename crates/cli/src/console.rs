//! What is printed and the codes the process ends with.
//!
//! Owns: writing to stdout and stderr, the exit codes, the log subscriber. Must never know: what the texts mean.
//! Used by every verb; no other crate prints or ends the process.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Clean end.
pub(crate) const OK: u8 = 0;
/// The app, the proxy or a check failed.
pub(crate) const FAILED: u8 = 1;
/// `EX_UNAVAILABLE`: an address cannot be bound, or no instance runs.
pub(crate) const UNAVAILABLE: u8 = 69;
/// `EX_CONFIG`: a setting is wrong.
pub(crate) const BAD_CONFIG: u8 = 78;

/// Prints to stdout. A reader that has gone away (`hostler status | head`) is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints `hostler: TEXT` to stderr.
pub(crate) fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "hostler: {text}");
}

/// Complains and gives the exit code back.
pub(crate) fn end_with(code: u8, text: impl std::fmt::Display) -> ExitCode {
    complain(text);
    ExitCode::from(code)
}

/// Pretty JSON with a closing newline.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) {
    // Plain structs and maps with string keys have no failing `Serialize`.
    let text = serde_json::to_string_pretty(value).expect("plain data always serializes");
    print(&format!("{text}\n"));
}

/// Sends log events to stderr. `HOSTLER_LOG` sets levels (`debug`, `hostler_proxy=trace`); default `info`.
pub(crate) fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("HOSTLER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(hostler_spawner::log_writer);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Text => builder.with_target(false).with_ansi(colour_wanted()).init(),
    }
}

/// Colour for people at a terminal, unless NO_COLOR is set to anything.
fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !refused
}
