//! Programs from the registries of Rust and of Node, in folders of their own.
//!
//! Owns: the command lines of `cargo install` and `npm install`. Must never know: what a program is started for.

use std::path::Path;
use std::process::Command;

use super::Installed;
use super::debian::run;
use crate::Outcome;

/// Builds a crate, with the versions of others that its author has tested.
pub(super) fn cargo(name: &str, version: &str, folder: &Path) -> Outcome<Installed> {
    let mut command = Command::new("cargo");
    command.args(["install", name, "--version", version, "--locked"]);
    command.arg("--root").arg(folder);
    // It takes minutes, and cargo shows how far it is.
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("cargo install {name}: {status}"));
    }
    let program = folder.join("bin").join(name);
    let starter = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
    Ok(Installed { packages: vec![format!("{name} {version}")], starter })
}

/// Installs an npm package; it runs on the `node` that is first in PATH when it is started.
pub(super) fn npm(name: &str, version: &str, script: &str, folder: &Path) -> Outcome<Installed> {
    let mut command = Command::new("npm");
    command.args(["install", &format!("{name}@{version}"), "--no-package-lock"]);
    command.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    command.arg("--prefix").arg(folder).current_dir(folder);
    run(&mut command)?;
    let script = folder.join("node_modules").join(script);
    let starter = format!("#!/bin/sh\nexec node '{}' \"$@\"\n", script.display());
    Ok(Installed { packages: vec![format!("{name} {version}")], starter })
}
