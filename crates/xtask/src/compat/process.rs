//! One program of a suite, run to its end or to its deadline.
//!
//! Owns: its output file, its process group, the wait. Must never know: which suite it is of, what it prints.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    /// It took too long and was ended by us.
    Deadline,
}

impl Ended {
    /// What to say about it; nothing for an orderly end, whatever its exit code.
    pub(crate) fn trouble(self) -> Option<String> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(format!("ended by signal {signal}")),
            Self::Deadline => Some("did not end within its deadline".to_owned()),
        }
    }
}

/// Between asking a program to end and ending it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs a program with its output appended to a file. Nothing of its process group outlives it.
pub(crate) fn run_logged(
    mut command: Command,
    log: &Path,
    deadline: Duration,
) -> Result<Ended, String> {
    let open = OpenOptions::new().create(true).append(true).open(log);
    let output = open.map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let group = Pid::from_child(&child);
    let in_time = wait_until(&child, deadline)?;
    if !in_time {
        let _ = kill_process_group(group, Signal::TERM);
        wait_until(&child, PATIENCE)?;
    }
    // The pid is the group's as long as the child is not waited for, so this cannot hit a stranger.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(if in_time { ended(status) } else { Ended::Deadline })
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

/// Whether the child ended by itself in that time. It is not reaped.
fn wait_until(child: &Child, patience: Duration) -> Result<bool, String> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .map_err(|error| format!("pidfd_open: {error}"))?;
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|error| error.to_string())?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_logged(command, Path::new("/dev/null"), deadline).expect("sh starts")
    }

    #[test]
    fn the_end_is_told_apart() {
        let long = Duration::from_secs(60);
        assert_eq!(shell("exit 3", long), Ended::Code(3));
        assert_eq!(shell("kill -9 $$", long), Ended::Signal(9));
        assert_eq!(shell("sleep 1000 & wait", Duration::from_millis(1)), Ended::Deadline);
    }
}
