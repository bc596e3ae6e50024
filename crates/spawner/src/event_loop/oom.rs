//! Whether the kernel's OOM killer has struck in our cgroup.
//!
//! Owns: finding and reading the counter, in cgroup v2 and v1. Must never know: which process it
//! hit; the kernel does not say. It is looked at only after a SIGKILL that we did not send.

use std::fs;
use std::path::{Path, PathBuf};

/// Watches the counter.
#[derive(Debug)]
pub(super) struct OomWatch {
    file: Option<PathBuf>,
    seen: u64,
}

impl OomWatch {
    /// Looks for the counter of our own cgroup, which our children share.
    pub(super) fn new() -> Self {
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = candidates(&cgroups).into_iter().find(|file| read(file).is_some());
        let seen = file.as_deref().and_then(read).unwrap_or(0);
        Self { file, seen }
    }

    /// Whether it has struck since the last question.
    pub(super) fn struck(&mut self) -> bool {
        let Some(count) = self.file.as_deref().and_then(read) else {
            return false;
        };
        let struck = count > self.seen;
        self.seen = count;
        struck
    }
}

/// Where the counter may be, from the text of `/proc/self/cgroup`. Inside a container the path
/// there may be the host's, while the mount shows our own cgroup at its root.
fn candidates(cgroups: &str) -> Vec<PathBuf> {
    let v2 = Path::new("/sys/fs/cgroup");
    let v1 = Path::new("/sys/fs/cgroup/memory");
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            files.push(v2.join(path).join("memory.events"));
            files.push(v2.join("memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push(v1.join(path).join("memory.oom_control"));
            files.push(v1.join("memory.oom_control"));
        }
    }
    files
}

fn read(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_looked_for_in_both_versions() {
        let files = candidates("4:memory:/a/b\n0::/app.slice/x.service\n");
        let shown: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(
            shown,
            [
                "/sys/fs/cgroup/memory/a/b/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control",
                "/sys/fs/cgroup/app.slice/x.service/memory.events",
                "/sys/fs/cgroup/memory.events",
            ]
        );
    }
}
