//! Installing what a suite needs.
//!
//! Owns: npm's arguments, the trimming of the package file, the suite's own preparations. Must never know: how the
//! suite is run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use glob::Pattern;
use serde_json::Value;

use super::process::{Ended, run_logged};
use super::sources::{beside, work};
use super::suite::{Source, Suite, bench};
use crate::nodes::Node;
use crate::run::say;

/// Nothing newer than this is installed where no lock file decides: the same suite gives the same result next year.
const NEWEST: &str = "2026-11-20";

/// One step of an install. The largest takes two minutes here.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Installs packages and runs the preparations at the top of the source, unless both have been done.
pub(crate) fn install(suite: &Suite, source: &Path, node: &Node) -> Result<(), String> {
    let stamp = beside(source, "installed");
    let wanted = format!("{} {:?}", node.version, (&suite.without, &suite.with, &suite.prepare))
        + &own_files(suite)?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    if source.join("package.json").exists() {
        trim(suite, source)?;
        packages(suite, source, node)?;
    }
    for line in &suite.prepare {
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(source).env("PATH", search_path(&[source], node));
        logged(suite, command)?;
    }
    fs::write(stamp, wanted).map_err(|error| error.to_string())
}

/// `PATH` of everything that belongs to a suite: the programs of its packages, then its Node.
pub(crate) fn search_path(folders: &[&Path], node: &Node) -> std::ffi::OsString {
    let bins: Vec<_> = folders.iter().map(|folder| folder.join("node_modules/.bin")).collect();
    node.path(&bins)
}

/// What an app of ours is made of: it is built again when a file changes.
fn own_files(suite: &Suite) -> Result<String, String> {
    let Source::App { app, .. } = &suite.source else {
        return Ok(String::new());
    };
    let pattern = bench().join("apps").join(app).join("**/*");
    let paths = glob::glob(&pattern.to_string_lossy()).map_err(|error| error.to_string())?;
    let mut text = String::new();
    for path in paths.flatten().filter(|path| path.is_file() && !path.ends_with("check.mjs")) {
        let content = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        text.push_str(&path.to_string_lossy());
        text.push_str(&String::from_utf8_lossy(&content));
    }
    Ok(text)
}

/// Takes the packages out that no test needs: linters bring hundreds of packages and their own demands.
fn trim(suite: &Suite, source: &Path) -> Result<(), String> {
    let (file, original) = (source.join("package.json"), beside(source, "package.json"));
    if !original.exists() {
        fs::copy(&file, &original).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let text = fs::read_to_string(&original).map_err(|error| error.to_string())?;
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
    npm.current_dir(folder).env("PATH", search_path(&[folder], node));
    if suite.locked && suite.without.is_empty() {
        npm.arg("ci");
    } else if suite.locked {
        // Takes what is left out away and keeps the versions of the rest.
        npm.arg("install");
    } else {
        npm.args(["install", "--no-package-lock", "--before", NEWEST]);
        npm.args(&suite.with);
    }
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    logged(suite, npm)
}

fn logged(suite: &Suite, command: Command) -> Result<(), String> {
    let log = work().join("logs").join(format!("{}.install.log", suite.name));
    fs::create_dir_all(work().join("logs")).map_err(|error| error.to_string())?;
    say(&command);
    match run_logged(command, &log, DEADLINE)? {
        Ended::Code(0) => Ok(()),
        ended => Err(format!("installing ended with {ended:?}; see {}", log.display())),
    }
}
