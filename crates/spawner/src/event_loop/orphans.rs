//! Processes that lost their parent: grandchildren that left their group, given to us by the
//! kernel.
//!
//! Owns: becoming their parent, and their end when the instance ends. Must never know: workers. A
//! daemon that an app started on purpose lives as long as the instance does, and no longer.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

/// A killed process is gone at once, unless it is stuck in the kernel.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(3);

/// Children that were there before us, when a script started them and then `exec`ed hostler: not
/// ours to kill.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orphans {
    strangers: HashSet<i32>,
}

impl Orphans {
    /// From now on orphaned descendants become our children.
    pub(super) fn adopt() -> io::Result<Self> {
        let strangers = children().into_iter().collect();
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { strangers })
    }

    /// Kills and reaps all children that are left; `signals` becomes readable when one exits.
    pub(super) fn sweep(&self, signals: BorrowedFd<'_>) {
        let end = Instant::now() + SWEEP_TIME_MAX;
        loop {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            // Killing one may give us its children, so look again until nobody is left.
            let left: Vec<i32> =
                children().into_iter().filter(|pid| !self.strangers.contains(pid)).collect();
            if left.is_empty() {
                return;
            }
            if Instant::now() >= end {
                tracing::error!(?left, "these processes cannot be killed");
                return;
            }
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            let mut news = [PollFd::from_borrowed_fd(signals, PollFlags::IN)];
            if poll(&mut news, Some(&pause)).is_ok_and(|count| count > 0) {
                super::signals::read(signals);
            }
        }
    }
}

/// The children that have exited and are not reaped.
pub(super) fn dead_children() -> Vec<Pid> {
    let dead = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        is_dead(&stat)
    };
    children().into_iter().filter(dead).filter_map(Pid::from_raw).collect()
}

/// From the text of `/proc/PID/stat`.
fn is_dead(stat: &str) -> bool {
    let behind_name = stat.rsplit_once(')').map(|(_, fields)| fields.trim_start());
    behind_name.is_some_and(|fields| fields.starts_with('Z'))
}

/// The pids of all our children. `/proc/PID/task/TID/children` would be shorter, but a kernel may
/// lack it.
fn children() -> Vec<i32> {
    let me = getpid().as_raw_nonzero().get();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let child = |process: fs::DirEntry| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        (parent_of(&stat)? == me).then_some(pid)
    };
    processes.flatten().filter_map(child).collect()
}

/// The parent's pid in the text of `/proc/PID/stat`. The name before it may contain anything,
/// parentheses too.
fn parent_of(stat: &str) -> Option<i32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{is_dead, parent_of};

    #[test]
    fn odd_process_names_do_not_hide_the_parent() {
        assert_eq!(parent_of("12 (a) R 9 (b) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (node) S 41 12 12 0"), Some(41));
        assert_eq!(parent_of(""), None);
        assert!(is_dead("12 (a) S) Z 7 9 9 0") && !is_dead("12 (Z) S 7 9 9 0") && !is_dead(""));
    }
}
