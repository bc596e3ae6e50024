//! What `/proc` says about the processes of an instance.
//!
//! Owns: finding processes by the tag in their environment, their memory, signalling them by pid.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Environment variable that marks every process of an instance, orphans included.
pub(crate) const TAG: &str = "HOSTLER_TEST_TAG";

/// Pids of all live processes whose environment carries the tag.
pub(crate) fn processes_with_tag(tag: &str) -> Vec<u32> {
    let needle = format!("{TAG}={tag}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|&byte| byte == 0).any(|variable| variable == needle.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// A `VmRSS`-like line of `/proc/PID/status`, KiB.
pub(crate) fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("process lives");
    let line = status.lines().find(|line| line.starts_with(key)).expect("memory line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Number of open descriptors, without pipes: a proxy keeps those of the workers, and their number changes.
pub(crate) fn fd_count(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let is_pipe = |path: &std::path::Path| {
        let link = fs::read_link(path).unwrap_or_default();
        link.to_string_lossy().starts_with("pipe:")
    };
    entries.filter(|entry| !is_pipe(&entry.path())).count()
}

/// Sends a signal to one process; a process that is already gone is not an error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    let _ = kill_process(pid, signal);
}

/// CPU time that a process has used, in hundredths of a second; that of children that it has buried is counted with it.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("process lives");
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5); the first one behind the name is 3.
    fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Number of threads.
pub(crate) fn thread_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map(Iterator::count).unwrap_or(0)
}
