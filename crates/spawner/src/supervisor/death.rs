//! How a process ended, in words.
//!
//! Owns: the facts of a death and their explanation. Must never know: how they were found out.

use std::fmt;

use rustix::process::Signal;

/// The last facts about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Death {
    /// What `wait` said.
    pub(crate) how: HowDied,
    /// The kernel killed something in our memory cgroup in the meantime.
    pub(crate) oom: bool,
    /// The last lines of its stderr.
    pub(crate) stderr_tail: Vec<String>,
}

/// What `wait` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HowDied {
    /// By `exit` with this code.
    Exit(i32),
    /// By a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether a core file was written.
        core: bool,
    },
    /// Somebody else reaped it.
    #[default]
    Unknown,
}

/// Longest remark taken from the app's stderr into one log line.
pub(super) const REMARK_CHARS_MAX: usize = 300;

impl Death {
    /// The line of stderr that says most: the error behind a stack trace, else the last line.
    pub(crate) fn last_words(&self) -> Option<String> {
        let told = |line: &&String| !line.trim().is_empty() && !line.starts_with("Node.js v");
        let names_error = |line: &&String| {
            let head = line.split([':', '(']).next().unwrap_or_default();
            head.ends_with("Error") || line.starts_with("FATAL ERROR")
        };
        let lines = || self.stderr_tail.iter().rev().filter(told);
        let line = lines().find(names_error).or_else(|| lines().next())?;
        Some(line.trim().chars().take(REMARK_CHARS_MAX).collect())
    }

    /// What a process does that is asked to end: by itself, or by leaving SIGTERM to its default.
    pub(crate) fn is_orderly(&self) -> bool {
        match self.how {
            HowDied::Exit(code) => code == 0 || code == 128 + Signal::TERM.as_raw(),
            HowDied::Signal { signal, .. } => signal == Signal::TERM.as_raw(),
            HowDied::Unknown => false,
        }
    }

    /// How it ended and what usually causes that; for deaths that we did not cause ourselves.
    pub(crate) fn explained(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{self} ({cause})"),
            None => self.to_string(),
        }
    }

    /// What usually causes such a death, where that is known.
    fn cause(&self) -> Option<&'static str> {
        let heap_full = |line: &String| line.contains("JavaScript heap out of memory");
        match self.how {
            HowDied::Signal { signal, .. } if signal == Signal::KILL.as_raw() => {
                Some(if self.oom {
                    "the kernel's OOM killer struck: the memory limit of the cgroup is reached"
                } else {
                    "sent by somebody, or by the kernel's OOM killer: see dmesg"
                })
            }
            _ if self.stderr_tail.iter().any(heap_full) => {
                Some("V8's heap is full: find the leak or raise --max-old-space-size")
            }
            HowDied::Exit(13) => Some("a top-level await never ended"),
            _ => None,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            HowDied::Exit(code) => write!(out, "exited with code {code}")?,
            HowDied::Signal { signal, core } => {
                write!(out, "was killed by {}", signal_name(signal))?;
                if core {
                    write!(out, " (core dumped)")?;
                }
            }
            HowDied::Unknown => write!(out, "is gone, nobody knows how")?,
        }
        Ok(())
    }
}

/// `SIGTERM` for 15.
pub(crate) fn signal_name(signal: i32) -> String {
    const NAMES: [(Signal, &str); 20] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TTIN, "SIGTTIN"),
        (Signal::TTOU, "SIGTTOU"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.as_raw() == signal)
        .map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(how: HowDied, tail: &[&str]) -> Death {
        Death { how, oom: false, stderr_tail: tail.iter().map(|&line| line.to_owned()).collect() }
    }

    #[test]
    fn deaths_are_explained() {
        let killed = HowDied::Signal { signal: 9, core: false };
        let oom = Death { oom: true, ..death(killed, &[]) };
        assert!(oom.explained().contains("OOM killer struck"), "{oom}");
        assert!(death(killed, &[]).explained().starts_with("was killed by SIGKILL (sent by"));
        assert_eq!(death(HowDied::Exit(1), &[]).to_string(), "exited with code 1");
        let abort = HowDied::Signal { signal: 6, core: true };
        let heap =
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";
        let text = death(abort, &[heap, " 1: 0xb8cf0 node"]).explained();
        assert!(text.contains("SIGABRT (core dumped) (V8's heap is full"), "{text}");
    }

    #[test]
    fn the_last_words_are_the_error_not_its_trace() {
        let tail = [
            "/srv/app.js:3",
            "TypeError: x is not a function",
            "    at Object.<anonymous> (/srv/app.js:3:1)",
            "",
            "Node.js v20.20.2",
        ];
        let words = death(HowDied::Exit(1), &tail).last_words();
        assert_eq!(words.as_deref(), Some("TypeError: x is not a function"));
        let words = death(HowDied::Exit(1), &["no database", ""]).last_words();
        assert_eq!(words.as_deref(), Some("no database"));
        assert_eq!(death(HowDied::Exit(0), &[]).last_words(), None);
    }
}
