//! Where threads run.
//!
//! Owns: CPU affinity of the peers and of the load generator. Must never know: what they do there.

use std::fs;
use std::process::{Child, Command};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;

/// The two cores of a run.
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

/// The division of the machine, the same for every peer. One worker has a core to itself, and the front shares the
/// other with the load. Several workers, front and load share both cores, and the scheduler decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    cores: Cores,
    workers: u32,
}

impl Layout {
    /// Most workers of a run: beyond that two cores only switch between them.
    pub(crate) const WORKERS_MAX: u32 = 4;

    pub(crate) fn new(cores: Cores, workers: u32) -> Outcome<Self> {
        if (1..=Self::WORKERS_MAX).contains(&workers) {
            return Ok(Self { cores, workers });
        }
        Err(format!("{workers} workers: 1 to {} can be asked for", Self::WORKERS_MAX))
    }

    /// Processes of the app.
    pub(crate) const fn workers(self) -> u32 {
        self.workers
    }

    /// Threads with which a front may serve.
    pub(crate) const fn front_threads(self) -> u32 {
        self.workers
    }

    /// Where the processes of the front run.
    pub(crate) fn front(self) -> Place {
        if self.workers == 1 { Place::core(self.cores.front) } else { self.both() }
    }

    /// Where the processes of the app run.
    pub(crate) fn worker(self) -> Place {
        if self.workers == 1 { Place::core(self.cores.worker) } else { self.both() }
    }

    /// Where the load generator runs.
    pub(crate) fn load(self) -> Place {
        self.front()
    }

    /// For people.
    pub(crate) fn describe(self) -> String {
        let Cores { front, worker } = self.cores;
        match self.workers {
            1 => format!("front and load on core {front}, worker on core {worker}"),
            count => format!("{count} workers, front and load share cores {front} and {worker}"),
        }
    }

    fn both(self) -> Place {
        let mut place = Place::core(self.cores.front);
        place.0.set(self.cores.worker);
        place
    }
}

/// The cores that a thread may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(CpuSet);

impl Place {
    fn core(core: usize) -> Self {
        let mut set = CpuSet::new();
        set.set(core);
        Self(set)
    }

    /// How many.
    pub(crate) fn cores(self) -> u32 {
        self.0.count()
    }
}

/// Starts a process that runs in one place from its first instruction: it inherits this thread's affinity.
pub(crate) fn spawn_on(place: Place, command: &mut Command) -> Outcome<Child> {
    let child = on_place(place, || command.spawn())?;
    child.map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))
}

/// Does something with this thread in one place.
pub(crate) fn on_place<T>(place: Place, work: impl FnOnce() -> T) -> Outcome<T> {
    let whole = sched_getaffinity(None).map_err(|error| error.to_string())?;
    sched_setaffinity(None, &place.0).map_err(|error| error.to_string())?;
    let result = work();
    sched_setaffinity(None, &whole).map_err(|error| error.to_string())?;
    Ok(result)
}

/// Puts all threads that a process has now in one place. Threads that end meanwhile are passed over.
pub(crate) fn move_all_threads(pid: u32, place: Place) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for task in tasks.flatten() {
        let tid = task.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(tid) = tid.and_then(Pid::from_raw) {
            let _ = sched_setaffinity(Some(tid), &place.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_has_a_core_to_itself_and_several_share() {
        let cores = Cores { front: 0, worker: 1 };
        let used = |place: Place| (place.0.is_set(0), place.0.is_set(1), place.0.count());
        let one = Layout::new(cores, 1).expect("allowed");
        assert_eq!(used(one.worker()), (false, true, 1));
        assert_eq!((used(one.front()), used(one.load())), ((true, false, 1), (true, false, 1)));
        let two = Layout::new(cores, 2).expect("allowed");
        for place in [two.worker(), two.front(), two.load()] {
            assert_eq!(used(place), (true, true, 2));
        }
        assert!(Layout::new(cores, 0).is_err() && Layout::new(cores, 5).is_err());
    }
}
