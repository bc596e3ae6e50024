//! Who descends from whom: processes that others than this one have started.
//!
//! Owns: finding descendants, waiting for orphans, ending what is left of a peer. Must never know: what a process is
//! for. Called by `peers`, and by `main` at start and when the user ends the test.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};

use crate::Outcome;
use crate::process::{send, wait_for};

/// For ending by themselves, then for SIGTERM, then for SIGKILL.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(3);

/// A daemon forks until nobody knows its parent. From now on it becomes a child of this process instead of a child
/// of process 1, so that it is found and ended with the rest.
pub(crate) fn become_reaper() -> Outcome<()> {
    set_child_subreaper(Some(getpid())).map_err(|error| format!("set_child_subreaper: {error}"))
}

/// This process.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Child processes of a process. The kernel lists them by the thread that has forked.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

/// A process and all below it, parents first.
pub(crate) fn family_of(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(children_of(found[next]));
        next += 1;
    }
    found
}

/// Processes that run below this one.
pub(crate) fn running_below_us() -> BTreeSet<u32> {
    family_of(own_pid()).into_iter().skip(1).filter(|&pid| !has_ended(pid)).collect()
}

/// Waits for all children of this process that have ended. Only while no other thread waits for one of its own.
pub(crate) fn reap_orphans() {
    children_of(own_pid()).into_iter().for_each(reap);
}

/// Waits for a process if it is a child of ours and has ended.
fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Ends those of these processes that do not end by themselves although their parents have; gives them. What a
/// daemon forks meanwhile belongs to it: it has the daemon's session.
pub(crate) fn end_leftovers(pids: &BTreeSet<u32>) -> BTreeSet<u32> {
    let belongs = |pid: &u32| {
        let session = stat(*pid).map(|stat| stat.session);
        pids.contains(pid) || session.is_some_and(|session| pids.contains(&session))
    };
    let left = || -> BTreeSet<u32> {
        let below = || family_of(own_pid()).into_iter().skip(1);
        below().filter(belongs).for_each(reap);
        below().filter(belongs).filter(|&pid| !has_ended(pid)).collect()
    };
    let all_ended = || left().is_empty().then_some(());
    if wait_for(LEFTOVER_PATIENCE, all_ended).is_some() {
        return BTreeSet::new();
    }
    let stubborn = left();
    for signal in [Signal::TERM, Signal::KILL] {
        left().into_iter().for_each(|pid| send(pid, signal));
        if wait_for(LEFTOVER_PATIENCE, all_ended).is_some() {
            break;
        }
    }
    stubborn
}

/// A line that names a process to people.
pub(crate) fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&line).replace('\0', " ");
    let name: String = words.trim().chars().take(80).collect();
    format!("{pid} ({name})")
}

/// Ended, and only its parent's wait is missing; or gone.
fn has_ended(pid: u32) -> bool {
    stat(pid).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    session: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PARENT GROUP SESSION ...`; the name may have spaces and parentheses itself.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, session: fields.nth(2)?.parse().ok()? })
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::Owned;

    #[test]
    fn grandchildren_are_found_and_ended() {
        become_reaper().expect("allowed to everybody");
        let mut shell = Command::new("sh");
        // The second sleep ignores SIGTERM, as a stubborn app does.
        shell.args(["-c", "sleep 60 & sh -c 'trap \"\" TERM; sleep 60; :' & wait"]);
        let mut shell = Owned::new(shell.stdin(Stdio::null()).spawn().expect("a shell"));
        let complete = || Some(family_of(shell.pid())).filter(|family| family.len() == 4);
        let family = wait_for(Duration::from_secs(5), complete).expect("four processes");
        assert_eq!(family[0], shell.pid());
        let family: BTreeSet<u32> = family.into_iter().collect();
        assert_eq!(end_leftovers(&family), family);
        assert!(family.iter().all(|&pid| has_ended(pid)));
        assert!(shell.ended().is_some());
        assert!(end_leftovers(&family).is_empty());
    }

    #[test]
    fn the_state_is_behind_the_last_parenthesis() {
        let stat = |state, session| Some(Stat { state, session });
        assert_eq!(parse_stat("17 (a) Z (b)) S 1 18 19 0 -1"), stat('S', 19));
        assert_eq!(parse_stat("17 (sleep) Z 1 17 17 0"), stat('Z', 17));
        assert_eq!(parse_stat(""), None);
    }
}
