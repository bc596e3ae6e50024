//! The apps that are loaded, with their packages.
//!
//! Owns: `target/loadtest/apps`, npm's arguments. Must never know: what an app is asked. Remove the folder to start anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::machine::repository;
use crate::scenarios::Scenario;

/// Where the app of a scenario can be started: in the repository if it needs nothing, else a copy with its packages.
pub(crate) fn install(scenario: &Scenario) -> Outcome<PathBuf> {
    let source = scenario.source();
    let packages = fs::read_to_string(source.join("package.json")).unwrap_or_default();
    if !packages.contains("\"dependencies\"") {
        return Ok(source);
    }
    let folder = repository()
        .join("target/loadtest/apps")
        .join(source.file_name().ok_or("an app has a folder of its own")?);
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == packages) {
        copy(&source, &folder, "server.js")?;
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    copy(&source, &folder, "package.json")?;
    copy(&source, &folder, "server.js")?;
    eprintln!("installing the packages of {}", source.display());
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.arg("--loglevel=error").current_dir(&folder);
    let status = npm.status().map_err(|error| format!("npm: {error}"))?;
    if !status.success() {
        return Err(format!("npm install in {} failed: {status}", folder.display()));
    }
    fs::write(&stamp, packages).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path, name: &str) -> Outcome<()> {
    let from = from.join(name);
    fs::copy(&from, to.join(name)).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(())
}
