//! `hostler exec`: any command, with every `http.Server` below it served through the proxy.
//!
//! Owns: the order of the start and the end in this process, and the summary line. Must never know: how connections
//! come to the proxy. Called by `main`.

use std::io::Write;
use std::process::ExitCode;

use hostler_proxy::{ExecProxy, OfferCounts};
use hostler_spawner::{ExecError, ExecSession, exit_code};

use crate::args::ExecArgs;
use crate::console::{FAILED, end_with, start_logging};
use crate::run::raise_open_files;

/// Runs the verb. Its exit code is the command's own.
pub(crate) fn exec(args: &ExecArgs) -> ExitCode {
    // Whatever is written to stderr belongs to the command, unless somebody asks.
    if std::env::var_os("HOSTLER_LOG").is_some() {
        start_logging(args.log_format.unwrap_or_default());
    }
    match run(args) {
        Ok((code, counts)) => {
            if args.summary {
                summarize(&counts);
            }
            ExitCode::from(code)
        }
        Err(error) => end_with(error.code(), error),
    }
}

fn run(args: &ExecArgs) -> Result<(u8, OfferCounts), ExecError> {
    let (program, rest) = args.command.split_first().expect("clap asks for a command");
    let (session, listener) = ExecSession::prepare()?;
    // Before there are threads, and before our own limit of open files is raised, which it would inherit.
    let mut child = match session.start(program, rest) {
        Ok(child) => child,
        Err(error) => {
            session.remove();
            return Err(error);
        }
    };
    raise_open_files();
    let proxy = ExecProxy::start(listener);
    if let Err(error) = &proxy {
        // The command runs on: its processes find nobody at their channel and serve by themselves.
        end_with(FAILED, format!("the proxy cannot start: {error}; the command runs without it"));
    }
    let status = session.wait(&mut child);
    let counts = proxy.and_then(ExecProxy::finish).unwrap_or_default();
    session.remove();
    Ok((exit_code(status?), counts))
}

/// The last line. It says what was proved: requests over frames, and those that Node read itself.
fn summarize(counts: &OfferCounts) {
    let OfferCounts { servers, frames, native, refused, why } = counts;
    let requests = frames + native;
    let mut text = format!(
        "hostler exec: servers={servers} requests={requests} frames={frames} http={native}\n"
    );
    if let Some(why) = why {
        let taken = format!("hostler exec: {refused} connections could not be taken: {why}\n");
        text.insert_str(0, &taken);
    }
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
