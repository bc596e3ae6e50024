//! CPU time and memory of processes, as the kernel counts them.
//!
//! Owns: reading `/proc/PID/task/*/schedstat` and `/proc/PID/status`. Must never know: whose they are.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of these processes since they began. Threads that have ended are not in it, so a
/// figure is the difference of two readings around a window in which no thread comes or goes.
pub(crate) fn time(pids: &[u32]) -> Duration {
    Duration::from_nanos(pids.iter().map(|&pid| nanoseconds(pid)).sum())
}

fn nanoseconds(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    tasks
        .flatten()
        .filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Memory of a process, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All resident pages.
    pub(crate) resident_kib: u64,
    /// Those that belong to no file: heap, stacks, buffers.
    pub(crate) anonymous_kib: u64,
}

/// Memory of a process now.
pub(crate) fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Memory { resident_kib: kib("VmRSS:").unwrap_or(0), anonymous_kib: kib("RssAnon:").unwrap_or(0) }
}
