//! The Node versions that the checks run on, and how they get onto this machine.
//!
//! Owns: the pinned versions, their place in `target/node`, the install. Must never know: what runs on them.
//! Called by `test` and `compat`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{root, run, version};

/// Every release line that Hostler supports, oldest first.
pub(crate) const SUPPORTED: [&str; 3] = ["20.20.2", "22.23.3", "24.21.0"];

/// What most users run; the whole test suite runs on it.
pub(crate) const DEFAULT: &str = SUPPORTED[2];

/// Node's own HTTP tests are written for this one.
pub(crate) const OF_NODE_TESTS: &str = "25.9.0";

/// One installed Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// `24.21.0`
    pub(crate) version: String,
    /// The folder with the program `node`.
    folder: PathBuf,
}

impl Node {
    /// The program.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join("node")
    }

    /// `PATH` with this Node before any other, and the programs of `folders` before all.
    pub(crate) fn path(&self, folders: &[PathBuf]) -> std::ffi::OsString {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let own = folders.iter().cloned().chain([self.folder.clone()]);
        std::env::join_paths(own.chain(std::env::split_paths(&inherited)))
            .expect("folders of ours have no colon")
    }
}

/// The pinned version that `wanted` means: `24`, `24.21.0` or `v24`. Another full version is taken as it is.
pub(crate) fn resolve(wanted: &str) -> Result<String, String> {
    let wanted = wanted.trim_start_matches('v');
    let pinned = SUPPORTED.iter().copied().chain([OF_NODE_TESTS]);
    let mut matching =
        pinned.filter(|known| *known == wanted || known.split('.').next() == Some(wanted));
    if let Some(known) = matching.next() {
        return Ok(known.to_owned());
    }
    if wanted.split('.').count() == 3 && wanted.split('.').all(|part| part.parse::<u32>().is_ok()) {
        return Ok(wanted.to_owned());
    }
    Err(format!("no Node version `{wanted}`; one of {SUPPORTED:?} or a full version"))
}

/// Installs a version from npm into `target/node`, unless it is there.
pub(crate) fn install(wanted: &str) -> Result<Node, String> {
    let wanted = resolve(wanted)?;
    let package = format!("node-linux-{}", architecture()?);
    let home = root().join("target/node").join(&wanted);
    let folder = home.join("node_modules").join(&package).join("bin");
    let node = Node { version: wanted, folder };
    if works(&node) {
        return Ok(node);
    }
    // What is there is of an interrupted install.
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-package-lock", "--ignore-scripts"])
        .args(["--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .arg(format!("{package}@{}", node.version));
    run(npm).map_err(|why| format!("Node {} could not be installed: {why}", node.version))?;
    if works(&node) {
        return Ok(node);
    }
    Err(format!(
        "{} does not start; remove {} and try again",
        node.program().display(),
        home.display()
    ))
}

fn works(node: &Node) -> bool {
    let program = node.program();
    let answer =
        Path::exists(&program).then(|| version(&program.to_string_lossy(), "--version")).flatten();
    answer.is_some_and(|answer| answer == format!("v{}", node.version))
}

/// As the packages name it. They are the ones that the npm package `node` installs, taken without its install script.
fn architecture() -> Result<&'static str, String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x64"),
        "aarch64" => Ok("arm64"),
        other => Err(format!("npm has no Node for {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_line_means_its_pinned_version() {
        assert_eq!(resolve("20").as_deref(), Ok("20.20.2"));
        assert_eq!(resolve("v24").as_deref(), Ok(DEFAULT));
        assert_eq!(resolve("25").as_deref(), Ok(OF_NODE_TESTS));
        assert_eq!(resolve("22.1.0").as_deref(), Ok("22.1.0"));
        assert!(resolve("2").is_err() && resolve("x.y.z").is_err() && resolve("").is_err());
    }
}
