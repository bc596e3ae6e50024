//! What a figure was measured on: it means nothing without that.
//!
//! Owns: kernel, processor, versions, commit. Must never know: figures.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::peers::Peer;

/// The facts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) time_unix_s: u64,
    /// The day, in UTC.
    pub(crate) date: String,
    pub(crate) commit: String,
    /// The release alone: what a vendor adds says nothing to others.
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// The release line of the Node that was measured.
    pub(crate) node_major: u32,
    pub(crate) versions: Vec<String>,
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
fn node_major() -> u32 {
    let version = ask("node", &["--version"]);
    version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0)
}

/// `6.18.44-vendor7` is `6.18.44`.
fn without_vendor(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    &release[..end.unwrap_or(release.len())]
}

/// Reads the facts; `tools` are the versions of what makes the load.
pub(crate) fn describe(tools: &[String], peers: &[Peer]) -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let processor = model.and_then(|line| line.split_once(':')).map_or("", |(_, name)| name.trim());
    let mut versions = vec![format!("node {}", ask("node", &["--version"]))];
    versions.extend(tools.iter().cloned());
    versions.extend(peers.iter().filter_map(Peer::version));
    versions.sort();
    versions.dedup();
    let changed = !ask("git", &["status", "--porcelain"]).is_empty();
    let commit = ask("git", &["rev-parse", "--short=12", "HEAD"]);
    // Not a repository, or one without a commit: git says so in words.
    let commit = if commit.contains(' ') { "none".to_owned() } else { commit };
    let release = ask("uname", &["-r"]);
    Machine {
        time_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        date: ask("date", &["-u", "+%Y-%m-%d"]),
        commit: if changed { format!("{commit}+changes") } else { commit },
        kernel: format!("Linux {} {}", without_vendor(&release), ask("uname", &["-m"])),
        processor: processor.to_owned(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        node_major: node_major(),
        versions,
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine   {}, {} cores, {}", self.processor, self.cores, self.kernel)?;
        write!(f, "versions  {}; commit {}", self.versions.join("; "), self.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Machine {
        /// One that does not change.
        pub(crate) fn fixture() -> Self {
            Self {
                time_unix_s: 1_700_000_000,
                date: "2023-11-14".to_owned(),
                commit: "0123456789ab".to_owned(),
                kernel: "Linux 6.1.0 x86_64".to_owned(),
                processor: "A processor".to_owned(),
                cores: 2,
                node_major: 20,
                versions: vec!["node v20.20.2".to_owned(), "wrk 4.1.0".to_owned()],
            }
        }
    }

    #[test]
    fn a_kernel_is_its_release() {
        assert_eq!(without_vendor("6.18.44-fc-v669"), "6.18.44");
        assert_eq!(without_vendor("6.1.0+deb"), "6.1.0");
        assert_eq!(without_vendor("5.15"), "5.15");
    }
}
