//! `hostler reload` and `hostler rollback`: other workers in place of those that serve.
//!
//! Owns: which question each verb is. Must never know: how a reload is done. Called by `main`.

use std::process::ExitCode;

use hostler_protocol::control::CommandRequest;

use crate::args::ReloadArgs;
use crate::ask::ask;

/// Runs `hostler reload`.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    ask(&args.change, CommandRequest::Reload { app: args.app.clone() })
}

/// Runs `hostler rollback`.
pub(crate) fn rollback(args: &ReloadArgs) -> ExitCode {
    ask(&args.change, CommandRequest::Rollback { app: args.app.clone() })
}
