//! The child processes: made, watched, signalled, reaped.
//!
//! Owns: pids from fork to reap, the explanation of a start that the system refused. Must never
//! know: when and why; the machine decides that. A child is reaped here only, so its pid is ours
//! until then and a signal cannot hit a stranger.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, WaitStatus,
    kill_process_group, pidfd_open, wait, waitid, waitpid,
};
use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};

use crate::exec::{ProcessSpec, Started, start};
use crate::group_listens;
use crate::supervisor::{HowDied, SpawnFailure, StopSignal, Target};

/// A process of ours.
#[derive(Debug, Serialize, Deserialize)]
struct Child {
    target: Target,
    #[serde(with = "as_number")]
    pid: Pid,
    /// Opened anew by another program.
    #[serde(skip)]
    pidfd: Option<OwnedFd>,
    /// When it was started, as the kernel counts; tells it from a later process with its pid.
    born: Option<u64>,
    end: End,
    /// It was started by a supervisor that has died, and is no child of ours: its exit code is not for us.
    #[serde(default)]
    adopted: bool,
}

/// When a child counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    /// With its process.
    Own,
    /// It leads others: a shell or npm may end at SIGTERM at once, while the app below it still finishes its requests. Until
    /// SIGTERM is sent its end is that of the whole all the same.
    Group,
    /// It leads others and has got SIGTERM: with the last of them.
    GroupTermed,
    /// The same, and the process itself is dead already. It is not reaped before the others are gone: as long as it is there,
    /// its group's number cannot belong to strangers.
    GroupOrphaned,
}

/// Our ends of a child's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// All living children.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Children {
    list: Vec<Child>,
}

impl Children {
    /// Starts a process with pipes for its output; `spec` gets the other ends. `leads_group`: the processes of its group
    /// are as much the child as it is.
    pub(super) fn start(
        &mut self,
        target: Target,
        leads_group: bool,
        spec: impl FnOnce(OwnedFd, OwnedFd) -> ProcessSpec,
    ) -> io::Result<(u32, Pipes)> {
        let (stdout, child_stdout) = pipe()?;
        let (stderr, child_stderr) = pipe()?;
        let Started { pid, pidfd } = start(spec(child_stdout, child_stderr))?;
        let end = if leads_group { End::Group } else { End::Own };
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        let born = crate::adoption::born(number);
        self.list.push(Child { target, pid, pidfd, born, end, adopted: false });
        Ok((number, Pipes { stdout, stderr }))
    }

    /// Another program has taken over: it watches them as we did. None of them is reaped, so their pids are theirs.
    pub(super) fn watch_again(&mut self) {
        for child in &mut self.list {
            child.pidfd = pidfd_open(child.pid, PidfdFlags::empty()).ok();
        }
    }

    /// The supervisor that started them has died. Gives those that have ended since.
    pub(super) fn adopt(&mut self) -> Vec<Target> {
        self.watch_again();
        let mut gone = Vec::new();
        self.list.retain_mut(|child| {
            child.adopted = true;
            let number = child.pid.as_raw_nonzero().get().unsigned_abs();
            let lives = child.born.is_some() && crate::adoption::born(number) == child.born;
            if !lives {
                gone.push(child.target);
            }
            lives
        });
        gone
    }

    /// A child has another part to play.
    pub(super) fn rename(&mut self, from: Target, to: Target) {
        for child in self.list.iter_mut().filter(|child| child.target == from) {
            child.target = to;
        }
    }

    pub(super) fn pid(&self, target: Target) -> Option<u32> {
        let child = self.list.iter().find(|child| child.target == target)?;
        Some(child.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// The pidfds, readable when their process has exited. One that has and is not reaped yet is not among them: it would
    /// be readable for ever. The end of the others in its group is told by SIGCHLD: orphans become our children.
    pub(super) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let watched = self.list.iter().filter(|child| child.end != End::GroupOrphaned);
        watched.filter_map(|child| Some(child.pidfd.as_ref()?.as_fd()))
    }

    /// Signals the whole process group of a child.
    pub(super) fn signal(&mut self, target: Target, signal: StopSignal) {
        let Some(child) = self.list.iter_mut().find(|child| child.target == target) else {
            return;
        };
        child.end = match (child.end, signal) {
            (End::Group, StopSignal::Term) => End::GroupTermed,
            (_, StopSignal::Kill) => End::Own,
            (end, _) => end,
        };
        let signal = match signal {
            StopSignal::Term => Signal::TERM,
            StopSignal::Kill => Signal::KILL,
        };
        // It fails only when the process is dead already, which we will be told about. The number of one that is not ours to reap
        // may belong to somebody else then.
        if !child.adopted || child.ended().is_none() {
            let _ = kill_process_group(child.pid, signal);
        }
    }

    /// From now on the end of this child is that of its whole group, as after SIGTERM to all of it.
    pub(super) fn await_group(&mut self, target: Target) {
        let child = self.list.iter_mut().find(|child| child.target == target);
        if let Some(child) = child.filter(|child| child.end == End::Group) {
            child.end = End::GroupTermed;
        }
    }

    /// Reaps everything that has exited: our children, whose groups are killed with them, and
    /// orphans that the kernel gave to us.
    pub(super) fn reap(&mut self) -> Vec<(Target, HowDied)> {
        let mut dead = Vec::new();
        let mut index = 0;
        while index < self.list.len() {
            let child = &mut self.list[index];
            if child.waits_for_group() {
                index += 1;
                continue;
            }
            let ended = if child.adopted { child.ended() } else { reap_with_group(child.pid) };
            match ended {
                Some(how) => dead.push((self.list.swap_remove(index).target, how)),
                None => index += 1,
            }
        }
        if self.list.iter().any(|child| child.end == End::GroupOrphaned) {
            // `wait` would take the dead leaders, too.
            self.reap_orphans();
            return dead;
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            // One of ours may have died since the loop above.
            match self.list.iter().position(|child| child.pid == pid) {
                Some(index) => {
                    let _ = kill_process_group(pid, Signal::KILL);
                    dead.push((self.list.swap_remove(index).target, how_died(status)));
                }
                None => tracing::debug!(pid = pid.as_raw_nonzero().get(), "reaped an orphan"),
            }
        }
        dead
    }
}

impl Children {
    /// Reaps the dead that are not in the list.
    fn reap_orphans(&self) {
        for pid in super::orphans::dead_children() {
            if self.list.iter().all(|child| child.pid != pid) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

impl Child {
    /// How an adopted one has ended, if it has.
    fn ended(&self) -> Option<HowDied> {
        let pidfd = self.pidfd.as_ref()?;
        let mut watched = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).is_ok_and(|count| count > 0).then_some(HowDied::Unknown)
    }

    fn has_exited(&self) -> bool {
        if self.adopted { self.ended().is_some() } else { has_exited(self.pid) }
    }

    /// It has exited after SIGTERM, and others of its group have not.
    fn waits_for_group(&mut self) -> bool {
        if !matches!(self.end, End::GroupTermed | End::GroupOrphaned) || !self.has_exited() {
            return false;
        }
        let group = self.pid.as_raw_nonzero().get().unsigned_abs();
        let waits = !group_listens::members(group).is_empty();
        self.end = if waits { End::GroupOrphaned } else { End::Own };
        waits
    }
}

/// A pid as a number.
mod as_number {
    use rustix::process::Pid;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(pid: &Pid, serializer: S) -> Result<S::Ok, S::Error> {
        pid.as_raw_nonzero().get().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pid, D::Error> {
        let number = i32::deserialize(deserializer)?;
        Pid::from_raw(number).ok_or_else(|| D::Error::custom(format!("{number} is no process")))
    }
}

/// Has a child exited? It stays to be reaped.
fn has_exited(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), look), Ok(Some(_)))
}

/// Reaps one child if it has exited. The group is killed while the dead leader still holds its
/// number: afterwards the number may belong to somebody else.
fn reap_with_group(pid: Pid) -> Option<HowDied> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), look) {
        Ok(Some(_)) => {
            let _ = kill_process_group(pid, Signal::KILL);
            let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            Some(status.ok().flatten().map_or(HowDied::Unknown, |status| how_exited(&status)))
        }
        Err(Errno::CHILD) => Some(HowDied::Unknown),
        Ok(None) | Err(_) => None,
    }
}

fn how_exited(status: &WaitIdStatus) -> HowDied {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => HowDied::Exit(code),
        (None, Some(signal)) => HowDied::Signal { signal, core: status.dumped() },
        (None, None) => HowDied::Unknown,
    }
}

fn how_died(status: WaitStatus) -> HowDied {
    const CORE_DUMPED: i32 = 0x80;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => HowDied::Exit(code),
        (None, Some(signal)) => {
            HowDied::Signal { signal, core: status.as_raw() & CORE_DUMPED != 0 }
        }
        (None, None) => HowDied::Unknown,
    }
}

/// A pipe whose read end, ours, never blocks.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// Pins the main thread of a process to a core.
pub(super) fn pin(pid: u32, core: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let core = core as usize;
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(Some(pid), &set)?)
}

/// Why a process could not be started, and whether a later try may work.
pub(super) fn explain(error: &io::Error, program: &Path, cwd: Option<&Path>) -> SpawnFailure {
    let name = program.display();
    let fails = |why: String, hint: Option<&str>, retry| SpawnFailure {
        why,
        hint: hint.map(str::to_owned),
        retry,
    };
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return fails(format!("the folder {} does not exist", cwd.display()), None, false);
    }
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => fails(
            "fork failed: the limit of processes is reached".to_owned(),
            Some("raise `ulimit -u`, TasksMax of the systemd unit, or pids.max of the cgroup"),
            true,
        ),
        Some(Errno::NOMEM) => fails("fork failed: no memory left".to_owned(), None, true),
        Some(Errno::MFILE | Errno::NFILE) => fails(
            "no file descriptor left".to_owned(),
            Some("raise `ulimit -n` or fs.file-max"),
            true,
        ),
        Some(Errno::NOENT) => fails(
            format!("{name} was not found"),
            Some("install it, put it in PATH, or name the binary"),
            false,
        ),
        Some(Errno::ACCESS | Errno::PERM) => {
            fails(format!("{name} may not be executed: {error}"), None, false)
        }
        _ => fails(format!("{name} cannot be executed: {error}"), None, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_system_say_what_to_do_and_whether_to_try_again() {
        let table = [
            (Errno::AGAIN, "limit of processes", true),
            (Errno::NOMEM, "no memory", true),
            (Errno::MFILE, "no file descriptor", true),
            (Errno::NOENT, "/opt/node was not found", false),
            (Errno::ACCESS, "may not be executed", false),
            (Errno::NOEXEC, "cannot be executed", false),
        ];
        for (errno, part, retry) in table {
            let failure = explain(&errno.into(), Path::new("/opt/node"), Some(Path::new("/")));
            assert!(failure.why.contains(part), "{failure:?}");
            assert_eq!(failure.retry, retry, "{failure:?}");
        }
        let failure = explain(&Errno::NOENT.into(), Path::new("node"), Some(Path::new("/nowhere")));
        assert_eq!(failure.why, "the folder /nowhere does not exist");
    }
}
