//! Set-up of the tests: Node, npm, the fixtures' packages.
//!
//! Owns: what the tests need on a machine and how it gets there. Called by `test`.

use std::fs;
use std::process::Command;

use crate::Outcome;
use crate::run::{root, run, version};

/// The oldest Node that the tests run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Node and npm are there, else the exact command that installs them.
pub(crate) fn check_node() -> Outcome {
    let install = "apt-get install -y nodejs npm   (or Node 20 or later from nodejs.org)";
    let Some(node) = version("node", "--version") else {
        return Err(format!("Node.js is missing. Install it: {install}"));
    };
    let major = node.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(format!("Node.js {node} is too old; {NODE_MAJOR_MIN} or later: {install}"));
    }
    if version("npm", "--version").is_none() {
        return Err("npm is missing. Install it: apt-get install -y npm".to_owned());
    }
    Ok(())
}

/// Installs the fixtures' packages as the lockfile says, unless that has been done.
pub(crate) fn install() -> Outcome {
    let folder = root().join("tests/fixtures");
    let lockfile = fs::read(folder.join("package-lock.json")).map_err(|error| error.to_string())?;
    // npm removes node_modules first, so this stamp is there only after a complete install.
    let stamp = folder.join("node_modules/.installed-from-lockfile");
    if fs::read(&stamp).is_ok_and(|installed| installed == lockfile) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder);
    run(npm).map_err(|why| format!("the fixtures' packages could not be installed: {why}"))?;
    fs::write(stamp, lockfile).map_err(|error| error.to_string())
}
