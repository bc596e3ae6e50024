//! Installing what a suite needs.
//!
//! Owns: npm's arguments, the trimming of the package file, the suite's own preparations. Must never know: how the
//! suite is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use glob::Pattern;
use serde_json::Value;

use super::suite::Suite;
use crate::nodes::Node;
use crate::run::run;

/// Nothing newer than this is installed where no lock file decides: the same suite gives the same result next year.
const NEWEST: &str = "2026-11-20";

/// Installs packages and runs the preparations, unless both have been done. Gives the folder in which the tests run.
pub(crate) fn install(suite: &Suite, source: &Path, node: &Node) -> Result<PathBuf, String> {
    let folder = source.join(&suite.folder);
    let stamp = source.with_extension("installed");
    let wanted = format!("{} {:?}", node.version, (&suite.without, &suite.with, &suite.prepare))
        + &lock(suite, &folder);
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    let _ = fs::remove_file(&stamp);
    if folder.join("package.json").exists() {
        trim(suite, &folder.join("package.json"))?;
        packages(suite, &folder, node)?;
    }
    for line in &suite.prepare {
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(&folder).env("PATH", search_path(&folder, node));
        run(command).map_err(|why| format!("preparing {}: {why}", suite.name))?;
    }
    fs::write(stamp, wanted).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// `PATH` of everything that belongs to a suite.
pub(crate) fn search_path(folder: &Path, node: &Node) -> std::ffi::OsString {
    node.path(&[folder.join("node_modules/.bin")])
}

fn lock(suite: &Suite, folder: &Path) -> String {
    let text = suite.locked.then(|| fs::read_to_string(folder.join("package-lock.json")));
    text.and_then(Result::ok).unwrap_or_default()
}

/// Takes the packages out that no test needs: linters bring hundreds of packages and their own demands.
fn trim(suite: &Suite, file: &Path) -> Result<(), String> {
    if suite.without.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut package: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let patterns: Vec<Pattern> = suite
        .without
        .iter()
        .map(|text| Pattern::new(text).map_err(|error| format!("{text}: {error}")))
        .collect::<Result<_, _>>()?;
    if let Some(needed) = package.get_mut("devDependencies").and_then(Value::as_object_mut) {
        needed.retain(|name, _| !patterns.iter().any(|pattern| pattern.matches(name)));
    }
    fs::write(file, package.to_string()).map_err(|error| error.to_string())
}

/// No package's own scripts run: a suite's file names what must be built.
fn packages(suite: &Suite, folder: &Path, node: &Node) -> Result<(), String> {
    let mut npm = Command::new("npm");
    npm.current_dir(folder).env("PATH", search_path(folder, node));
    if suite.locked {
        npm.arg("ci");
    } else {
        npm.args(["install", "--no-package-lock", "--before", NEWEST]);
        npm.args(&suite.with);
    }
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(npm).map_err(|why| format!("the packages of {}: {why}", suite.name))
}
