//! What a figure was measured on: it means nothing without that.
//!
//! Owns: kernel, processor, versions, commit. Must never know: figures.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::generator::Generator;
use crate::peers::Peer;

/// The facts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    time_unix_s: u64,
    commit: String,
    kernel: String,
    processor: String,
    cores: usize,
    versions: Vec<String>,
}

/// The top folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("loadtest/ is in it").to_owned()
}

/// First line of what a program prints; empty if it cannot be started.
pub(crate) fn ask(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).current_dir(repository());
    let Ok(output) = command.output() else {
        return String::new();
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

/// The release line of the Node that is measured.
pub(crate) fn node_major() -> Option<u32> {
    ask("node", &["--version"]).trim_start_matches('v').split('.').next()?.parse().ok()
}

/// Reads the facts.
pub(crate) fn describe(generator: &Generator, peers: &[Peer]) -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let processor = model.and_then(|line| line.split_once(':')).map_or("", |(_, name)| name.trim());
    let mut versions = vec![format!("node {}", ask("node", &["--version"])), generator.version()];
    versions.extend(peers.iter().filter_map(Peer::version));
    versions.sort();
    versions.dedup();
    let changed = !ask("git", &["status", "--porcelain"]).is_empty();
    let commit = ask("git", &["rev-parse", "--short=12", "HEAD"]);
    // Not a repository, or one without a commit: git says so in words.
    let commit = if commit.contains(' ') { "none".to_owned() } else { commit };
    Machine {
        time_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        commit: if changed { format!("{commit}+changes") } else { commit },
        kernel: ask("uname", &["-srm"]),
        processor: processor.to_owned(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        versions,
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine   {}, {} cores, {}", self.processor, self.cores, self.kernel)?;
        write!(f, "versions  {}; commit {}", self.versions.join("; "), self.commit)
    }
}
