//! Whether a worker's process is dying.
//!
//! Owns: the look into `/proc`. Must never know: workers, connections. Asked by a shard when an answer that goes on until its
//! connection closes has ended: a killed process closes its connections in order, too, and only its state tells its last
//! words from half a sentence.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Set at the very beginning of a process' end, long before its descriptors are closed (`do_exit` in kernel/exit.c:
/// `exit_signals` sets it, `exit_files` follows).
const PF_EXITING: u64 = 0x4;

/// Its number on every Linux.
const SIGKILL: u32 = 9;

/// Children that are looked at: servers that fork have a handful.
const CHILDREN_MAX: usize = 64;

/// The process with this id, or one of its children (servers that fork answer from them), is gone or about to be.
pub fn is_ending(pid: u32) -> bool {
    if ends(pid) {
        return true;
    }
    // Only where the kernel has this file (CONFIG_PROC_CHILDREN).
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().take(CHILDREN_MAX).filter_map(|pid| pid.parse().ok()).any(ends)
}

/// The process with this id is dying of SIGKILL, which somebody else has sent: a person, a supervisor, the kernel for want of memory.
/// False if it is gone altogether.
pub fn was_killed(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_exiting(&stat) && signal_of(&stat) == Some(SIGKILL)
}

fn ends(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => is_exiting(&stat),
        // Gone, or hidden from us (hidepid): a signal that is none tells.
        Err(_) => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
        }
    }
}

/// From the text of `/proc/PID/stat`. The name in it may contain anything, parentheses too.
fn is_exiting(stat: &str) -> bool {
    /// Behind the name: state, parent, group, session, terminal, its group, flags.
    const FLAGS: usize = 6;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let flags = fields.and_then(|fields| fields.split_whitespace().nth(FLAGS)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// The signal that ends the process, from the same text: `exit_code`, the last field, in the form that waitpid(2) knows. The kernel
/// (`do_exit`) sets it before it closes descriptors.
fn signal_of(stat: &str) -> Option<u32> {
    let exit_code: u32 = stat.split_whitespace().next_back()?.parse().ok()?;
    Some(exit_code & 0x7f)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_flag_is_found_behind_any_name() {
        assert!(!is_exiting("7 (a) b) S 1 7 7 0 -1 4194560 0"));
        assert!(is_exiting("7 (a) b) Z 1 7 7 0 -1 4194564 0"));
        assert!(!is_exiting(""));
    }

    #[test]
    fn who_was_killed_and_who_ended() {
        assert!(!was_killed(std::process::id()));
        for (script, killed) in
            [("kill -KILL $$", true), ("kill -ABRT $$", false), ("exit 9", false)]
        {
            let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("a shell");
            let start = std::time::Instant::now();
            while !is_ending(child.id()) {
                assert!(start.elapsed().as_secs() < 20, "its end is never seen");
                std::thread::yield_now();
            }
            assert_eq!(was_killed(child.id()), killed, "{script}");
            child.wait().expect("reaped");
            assert!(!was_killed(child.id()), "{script}: nobody knows");
        }
    }

    #[test]
    fn living_dying_and_dead_processes() {
        assert!(!is_ending(std::process::id()));
        // `read` waits for us; the shell's end is seen before it is reaped, and after.
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "read x"]).stdin(Stdio::piped());
        let mut child = child.spawn().expect("a shell");
        assert!(!is_ending(child.id()));
        drop(child.stdin.take());
        let start = std::time::Instant::now();
        while !is_ending(child.id()) {
            assert!(start.elapsed().as_secs() < 20, "its end is never seen");
            std::thread::yield_now();
        }
        child.wait().expect("reaped");
        assert!(is_ending(child.id()));
    }
}
