//! A peer that serves.
//!
//! Owns: its address and processes, waiting until it serves as it should, where its threads run, its end. Must never
//! know: which program it is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::family::{describe, end_leftovers, family_of, reap_orphans};
use crate::http::Connection;
use crate::place::{Layout, move_all_threads};
use crate::process::{Folder, Owned, wait_for};
use crate::scenarios::Scenario;
use crate::{Outcome, cpu};

/// Longest wait for a right answer, and then for all workers.
const START_MAX: Duration = Duration::from_secs(20);

/// A worker that used less than a tenth of this window has started.
const QUIET: Duration = Duration::from_millis(200);

/// A running peer; it ends when this goes.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// All processes of the front; empty for Node alone.
    pub(crate) front: Vec<u32>,
    /// Processes of the app.
    pub(crate) workers: Vec<u32>,
    /// Ended in this order: the front first, so that it does not complain about a lost app.
    processes: Vec<Owned>,
    layout: Layout,
    folder: Folder,
}

impl Running {
    /// Which processes are the front and which the workers is told later.
    pub(super) fn new(port: u16, layout: Layout, folder: Folder, processes: Vec<Owned>) -> Self {
        let address = ([127, 0, 0, 1], port).into();
        Self { address, front: Vec::new(), workers: Vec::new(), processes, layout, folder }
    }

    pub(super) fn with(mut self, front: Vec<u32>, workers: Vec<u32>) -> Self {
        (self.front, self.workers) = (front, workers);
        self
    }

    /// The processes that were started or taken over, in the order in which they are ended.
    pub(super) fn roots(&self) -> Vec<u32> {
        self.processes.iter().map(Owned::pid).collect()
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Threads come and go while a program warms up: called again before each measurement.
    pub(crate) fn place(&self) {
        for &pid in &self.front {
            move_all_threads(pid, self.layout.front());
        }
        for &pid in &self.workers {
            move_all_threads(pid, self.layout.worker());
        }
    }

    /// Until its answers are right.
    pub(super) fn wait_right(&mut self, scenario: &Scenario) -> Outcome<()> {
        let mut last = "no answer".to_owned();
        let right = wait_for(START_MAX, || {
            if let Some(status) = self.processes.iter_mut().find_map(Owned::ended) {
                last = format!("ended by itself: {status}");
                return Some(false);
            }
            match Connection::open(self.address).and_then(|mut c| scenario.check(&mut c)) {
                Ok(()) => return Some(true),
                Err(why) => last = why,
            }
            None
        });
        if right == Some(true) { Ok(()) } else { Err(last) }
    }

    /// Until all workers are there and have started: the first right answer says nothing about the others, and
    /// connections that come meanwhile would all be the first one's.
    pub(super) fn wait_complete(
        mut self,
        find: impl Fn(&Self) -> (Vec<u32>, Vec<u32>),
    ) -> Outcome<Self> {
        let wanted = self.layout.workers() as usize;
        let mut count = 0;
        let found = wait_for(START_MAX, || {
            let (front, workers) = find(&self);
            count = workers.len();
            (count == wanted).then_some((front, workers))
        });
        let Some((front, workers)) = found else {
            return Err(format!("{count} workers instead of {wanted}"));
        };
        self = self.with(front, workers);
        let quiet = wait_for(START_MAX, || self.all_quiet().then_some(()));
        if quiet.is_none() { Err("its workers do not come to rest".to_owned()) } else { Ok(self) }
    }

    fn all_quiet(&self) -> bool {
        let times = || self.workers.iter().map(|&pid| cpu::time(&[pid])).collect::<Vec<_>>();
        let before = times();
        std::thread::sleep(QUIET);
        times().iter().zip(before).all(|(after, before)| after.saturating_sub(before) < QUIET / 10)
    }

    /// Ends its processes; gives the number of those that had to be ended one by one because they outlived their
    /// parents.
    pub(crate) fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        let mut all: BTreeSet<u32> = self.front.iter().chain(&self.workers).copied().collect();
        all.extend(self.roots().into_iter().flat_map(family_of));
        let names: Vec<(u32, String)> = all.iter().map(|&pid| (pid, describe(pid))).collect();
        for process in &mut self.processes {
            process.stop();
        }
        self.processes.clear();
        let left = end_leftovers(&all);
        for (_, name) in names.iter().filter(|(pid, _)| left.contains(pid)) {
            eprintln!("note: {name} outlived its front and was ended");
        }
        reap_orphans();
        left.len()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
