//! System calls of processes while they are under load.
//!
//! Owns: attaching strace or perf and reading their counts. Must never know: how many requests there were.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::Outcome;
use crate::machine::ask;
use crate::process::{Folder, Owned, wait_for};

/// Which program counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    /// Stops the thread at each call: slow, so the thread finds more work per call than it would without.
    Strace,
    /// Counts at a tracepoint: hardly disturbs.
    Perf,
}

impl Counter {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strace => "strace -c -f",
            Self::Perf => "perf stat",
        }
    }

    /// The best one that this machine has; none is said loudly.
    pub(crate) fn find() -> Option<Self> {
        let event = ["stat", "-e", "raw_syscalls:sys_enter", "-x,", "-o", "/dev/null", "true"];
        let perf =
            Command::new("perf").args(event).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if perf.is_ok_and(|status| status.success()) {
            return Some(Self::Perf);
        }
        if ask("strace", &["-V"]).starts_with("strace") {
            return Some(Self::Strace);
        }
        eprintln!(
            "SKIPPED: system calls are not counted: neither perf's tracepoints nor strace are to be had \
             (apt-get install -y strace)"
        );
        None
    }
}

/// A counter attached to some processes.
pub(crate) struct Attached {
    counter: Counter,
    process: Owned,
    folder: Folder,
}

impl Attached {
    /// Attaches to all threads of these processes.
    pub(crate) fn to(counter: Counter, pids: &[u32]) -> Outcome<Self> {
        let folder = Folder::new()?;
        let child = start(counter, pids, &folder)?;
        let attached = Self { counter, process: Owned::new(child), folder };
        // strace has attached when the process has a tracer; perf has no such sign, but opens its counters before
        // it does anything else.
        let is_traced = || pids.iter().all(|&pid| is_traced(pid)).then_some(());
        match counter {
            Counter::Strace => {
                wait_for(Duration::from_secs(5), is_traced).ok_or("strace does not attach")?;
            }
            Counter::Perf => {
                let _ = wait_for(Duration::from_millis(300), || None::<()>);
            }
        }
        Ok(attached)
    }

    /// Detaches and gives the number of calls.
    pub(crate) fn finish(mut self) -> Outcome<u64> {
        self.process.signal(Signal::INT);
        wait_for(Duration::from_secs(5), || self.process.ended())
            .ok_or("the counter does not end")?;
        let text =
            std::fs::read_to_string(self.folder.path().join("calls")).map_err(|e| e.to_string())?;
        let calls = match self.counter {
            Counter::Strace => parse_strace(&text),
            Counter::Perf => parse_perf(&text),
        };
        calls.ok_or_else(|| format!("{} is not understood: {text}", self.counter.name()))
    }
}

fn is_traced(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

fn start(counter: Counter, pids: &[u32], folder: &Folder) -> Outcome<Child> {
    let output = folder.path().join("calls");
    // Both programs take a list.
    let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut command = match counter {
        Counter::Strace => Command::new("strace"),
        Counter::Perf => Command::new("perf"),
    };
    match counter {
        Counter::Strace => command.args(["-c", "-f", "-p", &pids]).arg("-o").arg(output),
        Counter::Perf => {
            command.args(["stat", "-e", "raw_syscalls:sys_enter", "-x,", "-p", &pids]);
            command.arg("-o").arg(output)
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{}: {error}", counter.name()))
}

/// `100.00    0.052034           4     11843       210 total`
fn parse_strace(text: &str) -> Option<u64> {
    let total = text.lines().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// `12345,,raw_syscalls:sys_enter,...`
fn parse_perf(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      \x2099.00    0.052000           4     11000           io_uring_enter\n\
                      100.00    0.052034           4     11843       210 total\n";
        assert_eq!(parse_strace(strace), Some(11_843));
        assert_eq!(
            parse_perf("# started\n\n4711,,raw_syscalls:sys_enter,99,100.00,,\n"),
            Some(4711)
        );
    }
}
