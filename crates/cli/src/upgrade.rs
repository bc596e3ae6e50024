//! `hostler upgrade`: a running instance becomes another version of this program.
//!
//! Owns: which program that is. Must never know: how it is done. Called by `main`.

use std::path::PathBuf;
use std::process::ExitCode;

use hostler_protocol::control::CommandRequest;

use crate::args::UpgradeArgs;
use crate::ask::ask;
use crate::console::{BAD_CONFIG, end_with};

/// Runs the verb.
pub(crate) fn upgrade(args: &UpgradeArgs) -> ExitCode {
    match program(args) {
        Ok(program) => ask(&args.change, CommandRequest::Upgrade { program }),
        Err(why) => end_with(BAD_CONFIG, why),
    }
}

/// What was named, else the program that was typed just now: the new one is where the old one was.
fn program(args: &UpgradeArgs) -> Result<PathBuf, String> {
    match &args.program {
        Some(path) => std::path::absolute(path)
            .ok()
            .filter(|path| path.is_file())
            .ok_or_else(|| format!("upgrade: there is no program {}", path.display())),
        None => std::env::current_exe()
            .map_err(|error| format!("upgrade: its own program is not found: {error}")),
    }
}
