//! Figures of the workers, taken from outside: memory by the kernel, requests by the proxy.
//!
//! Owns: when they are taken, and reading `/proc`. Must never know: what limits there are; only workers that have some are
//! looked at.

use std::fs;

use hostler_protocol::control::{ProxyStatus, ShardStatus, ToProxy, WorkerId, WorkerLoad};

use super::EventLoop;
use crate::group_listens;
use crate::supervisor::{Event, Figures, Load, Target};

/// Between two looks. A leak of 100 MiB a second is far beyond what V8 does.
const LOOK_MS: u64 = 1_000;

/// The number of our own questions for the proxy's figures; those of clients count from 1.
pub(super) const OWN_REQUEST: u64 = 0;

/// When to look next.
#[derive(Debug)]
pub(super) struct FigureClock {
    next_ms: u64,
}

impl FigureClock {
    pub(super) fn new() -> Self {
        Self { next_ms: LOOK_MS }
    }
}

impl EventLoop<'_> {
    /// When somebody has to be looked at.
    pub(super) fn next_figures_ms(&self) -> Option<u64> {
        self.machine.limits_anything().then_some(self.figures.next_ms)
    }

    /// Looks, if it is time.
    pub(super) fn take_figures(&mut self, now_ms: u64) {
        if self.next_figures_ms().is_none_or(|next_ms| now_ms < next_ms) {
            return;
        }
        self.figures.next_ms = now_ms + LOOK_MS;
        let all: Vec<_> = self.machine.watched_memory().collect();
        for watched in all {
            let Some(pid) = self.children.pid(Target::Worker(watched.worker)) else { continue };
            let kib = if watched.whole_group {
                group_kib(pid, watched.floor_kib)
            } else {
                memory_kib(pid, watched.floor_kib)
            };
            let figures = Figures { memory_kib: kib, requests: None };
            self.events.push_back(Event::Measured { worker: watched.worker, figures });
        }
        if self.machine.watches_requests() || self.machine.wants_load() {
            let asked =
                self.link.as_mut().map(|link| link.send(&ToProxy::Status { request: OWN_REQUEST }));
            if let Some(Err(error)) = asked {
                self.drop_link(&error);
            }
        }
    }

    /// The proxy has answered our own question.
    pub(super) fn proxy_figures(&mut self, status: &ProxyStatus) {
        if self.machine.wants_load() {
            self.events.push_back(Event::LoadSeen(load_of(status)));
        }
        for load in &status.workers {
            let figures = Figures { memory_kib: None, requests: Some(load.requests) };
            self.events.push_back(Event::Measured { worker: WorkerId(load.worker), figures });
        }
    }
}

/// A worker that has been silent for longer says nothing about its loop.
const BEAT_MS_MAX: u32 = 3_000;

/// All workers together. Those that are not Node's have no heartbeat, and so no heap either.
fn load_of(status: &ProxyStatus) -> Load {
    let is_heard = |load: &&WorkerLoad| load.heap_kib > 0 && load.heartbeat_age_ms <= BEAT_MS_MAX;
    let heard = status.workers.iter().filter(is_heard);
    let (count, sum) =
        heard.fold((0, 0), |(count, sum), load| (count + 1, sum + load.loop_utilisation));
    // Those that we answered ourselves are no use of the app: they come from whoever scans for open doors.
    let served =
        |shard: &ShardStatus| shard.requests - (shard.refused + shard.failed).min(shard.requests);
    let requests = |load: &WorkerLoad| load.in_flight.saturating_sub(load.upgraded);
    Load {
        utilisation: (count > 0).then(|| sum / count.max(1)),
        queued: status.shards.iter().map(|shard| shard.queued).sum(),
        in_flight: status.workers.iter().map(requests).sum(),
        upgraded: status.workers.iter().map(|load| load.upgraded).sum(),
        served: status.shards.iter().map(served).sum(),
    }
}

/// A command and all below it.
fn group_kib(group: u32, floor_kib: u64) -> Option<u64> {
    // Which of them is large is not known: each is looked at closely once together they might be.
    let members = group_listens::members(group);
    let rough_kib: u64 = members.iter().filter_map(|pid| resident_kib(*pid)).sum();
    if rough_kib < floor_kib {
        return Some(rough_kib);
    }
    Some(members.iter().filter_map(|pid| proportional_kib(*pid)).sum())
}

/// What is resident counts pages that other workers share, above all Node's own code. So the exact figure decides; but it
/// makes the kernel walk through all pages, and below the limit nobody wants to know it.
fn memory_kib(pid: u32, floor_kib: u64) -> Option<u64> {
    let rough_kib = resident_kib(pid)?;
    if rough_kib < floor_kib {
        return Some(rough_kib);
    }
    proportional_kib(pid).or(Some(rough_kib))
}

pub(super) fn resident_kib(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * (rustix::param::page_size() as u64 / 1024))
}

/// Shared pages by their share (`Pss`, in `proc_pid_smaps_rollup(5)`), and what is swapped out.
fn proportional_kib(pid: u32) -> Option<u64> {
    sum_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn sum_of(smaps: &str) -> Option<u64> {
    let value = |name: &str| -> Option<u64> {
        let rest = smaps.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(value("Pss:")? + value("SwapPss:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollup_is_read() {
        let text = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:               53212 kB\nPss:               \
                    21034 kB\nPss_Dirty:         18000 kB\nSwap:                  0 kB\nSwapPss:             512 kB\n";
        assert_eq!(sum_of(text), Some(21_546));
        assert_eq!(sum_of("Rss: 1 kB\n"), None);
    }

    #[test]
    fn the_own_process_has_memory_and_the_exact_figure_is_not_above_the_rough_one() {
        let pid = std::process::id();
        let rough = resident_kib(pid).expect("it lives");
        let exact = proportional_kib(pid).expect("it lives");
        assert!(exact > 100 && exact <= rough + 8_192, "{exact} of {rough}");
        assert_eq!(memory_kib(u32::MAX, 0), None);
    }
}
