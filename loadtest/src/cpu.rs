//! CPU time, memory and context switches of processes, as the kernel counts them.
//!
//! Owns: reading `/proc/PID/task/*/{schedstat,status}` and `/proc/PID/status`. Must never know: whose they are.

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

/// Context switches of all threads of these processes since they began, wanted or not.
pub(crate) fn switches(pids: &[u32]) -> u64 {
    let tasks = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let statuses = tasks.flat_map(|tasks| tasks.flatten()).filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        Some(switches_in(&status))
    });
    statuses.sum()
}

fn switches_in(status: &str) -> u64 {
    number_in(status, "voluntary_ctxt_switches:") + number_in(status, "nonvoluntary_ctxt_switches:")
}

/// The first number of a line of `/proc/PID/status`; 0 if there is none.
fn number_in(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Memory of some processes, KiB. Pages that they share count once for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All resident pages.
    pub(crate) resident_kib: u64,
    /// Those that belong to no file: heap, stacks, buffers.
    pub(crate) anonymous_kib: u64,
    /// The most that was ever resident.
    pub(crate) peak_kib: u64,
}

/// Memory of these processes now.
pub(crate) fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        sum.resident_kib += number_in(&status, "VmRSS:");
        sum.anonymous_kib += number_in(&status, "RssAnon:");
        sum.peak_kib += number_in(&status, "VmHWM:");
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "VmHWM:\t    5120 kB\nvoluntary_ctxt_switches:\t40\n\
                      nonvoluntary_ctxt_switches:\t2\n";
        assert_eq!((number_in(status, "VmHWM:"), switches_in(status)), (5120, 42));
        assert_eq!(number_in(status, "VmRSS:"), 0);
    }

    #[test]
    fn this_process_has_all_of_it() {
        let pids = [std::process::id()];
        let memory = memory(&pids);
        assert!(memory.peak_kib >= memory.anonymous_kib && memory.resident_kib > 0);
        assert!(time(&pids) > Duration::ZERO && switches(&pids) > 0);
    }
}
