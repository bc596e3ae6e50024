//! Findings about what an instance needs besides the kernel: Node and the runtime directory.
//!
//! Owns: which Node versions are tested. Must never know: the loader, which decides for itself. Called by `doctor`.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Finding;
use crate::find_node::{NoNode, node_version};

/// Versions whose own test suites and ours pass over frames.
const TESTED: [u32; 3] = [20, 22, 24];
/// Versions that the loader hands frames to after its self-test.
const FRAMES: std::ops::RangeInclusive<u32> = 20..=25;

pub(super) fn version(node: Result<PathBuf, NoNode>) -> Finding {
    let path = match node {
        Ok(path) => path,
        Err(error) => {
            let remedy = "install Node.js 20, 22 or 24, or name its binary with --node PATH";
            return Finding::fail("node", error.to_string(), remedy);
        }
    };
    match node_version(&path) {
        Ok(version) => judge_version(&version, &path),
        Err(error) => Finding::fail(
            "node",
            format!("{} does not run: {error}", path.display()),
            "install Node.js again, or name another binary with --node PATH",
        ),
    }
}

fn judge_version(version: &str, path: &Path) -> Finding {
    let text = format!("{version} ({})", path.display());
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if TESTED.contains(&major) => Finding::ok("node", text),
        Some(major) if FRAMES.contains(&major) => Finding::warn(
            "node",
            format!("{text}: served over frames after a self-test, but not part of the tests"),
            "prefer an even version: 20, 22 or 24",
        ),
        Some(_) => Finding::warn(
            "node",
            format!(
                "{text}: outside of the tested range, requests go over the http transport, which is slower"
            ),
            "use Node.js 20, 22 or 24",
        ),
        None => {
            Finding::warn("node", format!("{text} is not a known form"), "use Node.js 20, 22 or 24")
        }
    }
}

pub(super) fn runtime_dir(dir: &Path) -> Finding {
    let name = "runtime dir";
    // The folder is made at the first start; until then the nearest one above it decides.
    let Some(existing) = dir.ancestors().find(|folder| folder.exists()) else {
        return Finding::fail(name, format!("{} cannot be reached", dir.display()), remedy());
    };
    let writable = access(existing, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if !(writable && existing.is_dir()) {
        return Finding::fail(
            name,
            format!("{} is not a writable folder", existing.display()),
            remedy(),
        );
    }
    let state = if existing == dir { "writable" } else { "made at the first start" };
    Finding::ok(name, format!("{} ({state})", dir.display()))
}

fn remedy() -> &'static str {
    "name a writable folder with --runtime-dir or HOSTLER_RUNTIME_DIR"
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn versions() {
        let level = |version| judge_version(version, Path::new("/usr/bin/node")).level;
        assert_eq!(level("20.20.2"), Level::Ok);
        assert_eq!(level("24.1.0"), Level::Ok);
        assert_eq!(level("23.0.0"), Level::Warn);
        assert_eq!(level("18.20.0"), Level::Warn);
        assert_eq!(level("26.0.0-nightly"), Level::Warn);
        assert_eq!(level("x"), Level::Warn);
    }

    #[test]
    fn no_node_is_a_failure() {
        assert_eq!(version(Err(NoNode::NotInPath("node".into()))).level, Level::Fail);
        assert_eq!(version(Ok("/bin/false".into())).level, Level::Fail);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_is_judged_by_the_one_above() {
        let dir = std::env::temp_dir().join("hostler-doctor-not-there/x");
        let finding = runtime_dir(&dir);
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.text.contains("made at the first start"), "{}", finding.text);
        assert_eq!(runtime_dir(Path::new("/etc/passwd/x")).level, Level::Fail);
    }
}
