//! Where threads run.
//!
//! Owns: CPU affinity of the peers and of the load generator. Must never know: what they do there.

use std::fs;
use std::process::{Child, Command};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;

/// The division of the machine, the same for every peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Front and load generator.
    pub(crate) front: usize,
    /// The app.
    pub(crate) worker: usize,
}

impl Cores {
    /// Both cores may be used by this process.
    pub(crate) fn check(self) -> Outcome<()> {
        let usable = sched_getaffinity(None).map_err(|error| error.to_string())?;
        for core in [self.front, self.worker] {
            if core >= CpuSet::MAX_CPU || !usable.is_set(core) {
                return Err(format!(
                    "core {core} is not usable here; two cores are needed (--front-core, --worker-core)"
                ));
            }
        }
        if self.front == self.worker {
            eprintln!("note: front and worker share core {}: ratios mean little", self.front);
        }
        Ok(())
    }
}

/// Starts a process that runs on one core from its first instruction: it inherits this thread's affinity.
pub(crate) fn spawn_on(core: usize, command: &mut Command) -> Outcome<Child> {
    let child = on_core(core, || command.spawn())?;
    child.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))
}

/// Does something with this thread on one core.
pub(crate) fn on_core<T>(core: usize, work: impl FnOnce() -> T) -> Outcome<T> {
    let whole = sched_getaffinity(None).map_err(|error| error.to_string())?;
    sched_setaffinity(None, &only(core)).map_err(|error| error.to_string())?;
    let result = work();
    sched_setaffinity(None, &whole).map_err(|error| error.to_string())?;
    Ok(result)
}

/// Puts all threads that a process has now on one core. Threads that end meanwhile are passed over.
pub(crate) fn move_all_threads(pid: u32, core: usize) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for task in tasks.flatten() {
        let tid = task.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(tid) = tid.and_then(Pid::from_raw) {
            let _ = sched_setaffinity(Some(tid), &only(core));
        }
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
