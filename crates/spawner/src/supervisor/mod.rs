//! The supervisor as a pure state machine: `step(event, now, &mut actions)`.
//!
//! Owns: the state of the instance, of every worker slot and of the proxy, and every decision about
//! them: when to start, to give up, to wait, to stop, to kill. Must never know: processes, pipes,
//! sockets, clocks. The loop (`crate::event_loop`) turns the kernel's news into events and does the
//! actions.
//!
//! The instance ([`Phase`]):
//!
//! ```text
//!            first worker ready           stop asked                 drained or too late
//! Starting ---------------------> Running ----------> Draining ------------------> Stopping
//!    |                               |                    second signal |              | deadline or
//!    | start failed, stop asked      | proxy hopeless                   v              v second signal
//!    +-------------------------------+--------> Stopping             Killing <---------+
//!                                                   |   all children gone   |
//!                                                   +--------> Ended <------+
//! ```
//!
//! A slot ([`slot::SlotState`]): `Backoff -> Live -> Backoff | Stopped`; the processes in it: [`process::ProcessPhase`].
//! A change to another release: [`reload`]. The proxy ([`proxy::ProxyState`]): `Spawning -> Starting -> Serving ->
//! Leaving | Killed`, from each `-> Backoff -> Spawning` or `-> Gone`.

mod adopt;
mod autoscale;
mod command;
pub(crate) mod death;
mod event;
mod explain;
mod hang;
mod health;
mod leave;
mod process;
mod proxies;
mod proxy;
mod recycle;
mod release;
mod reload;
mod report;
mod retired;
mod scale;
mod service;
mod sleep;
mod slot;
mod start;
mod stop;
mod take_back;
#[cfg(test)]
mod tests;
mod upgrade;
mod worker;

pub(crate) use autoscale::Load;
pub(crate) use death::{Death, HowDied};
pub(crate) use event::{Action, Event, Level, SpawnFailure, StopSignal, Target};
pub(crate) use recycle::Figures;
pub(crate) use release::Release;
pub(crate) use report::Report;
pub(crate) use scale::Scale;
pub(crate) use service::ServiceState;

use std::path::PathBuf;
use std::rc::Rc;

use hostler_protocol::control::{InstanceState, Transport, WorkerId, WorkerStatus};
use serde::{Deserialize, Serialize};

use crate::outcome::{ExitReason, Notice, ReadyInfo, Ticket};
use autoscale::AutoScale;
use process::{Process, ProcessPhase};
use proxy::{Proxy, ProxyState};
use recycle::Replacement;
use reload::{Roll, Wish};
use retired::Retired;
use sleep::Sleep;
use slot::{Place, Slot};
use upgrade::Upgrade;

/// What the machine has to know about the instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// App name.
    pub(crate) app: String,
    /// Worker slots.
    pub(crate) workers: u32,
    /// Shards of the proxy.
    pub(crate) shards: u32,
    /// Core of each slot.
    pub(crate) cores: Vec<Option<u32>>,
    /// Whether ready workers are pinned.
    pub(crate) pin: bool,
    /// Longest start of a worker.
    pub(crate) start_ms_max: u32,
    /// Longest graceful stop of the instance.
    pub(crate) stop_ms_max: u32,
    /// Addresses served, as shown.
    pub(crate) listeners: Vec<String>,
    /// Folder of the workers' plain sockets.
    pub(crate) runtime_dir: PathBuf,
    /// What `hostler` is, for an upgrade that names nothing else.
    pub(crate) program: PathBuf,
}

impl Settings {
    /// The core of a slot; slots beyond those that were planned share theirs with the first ones.
    fn core(&self, slot: usize) -> Option<u32> {
        let count = self.cores.len().max(1);
        self.cores.get(slot % count).copied().flatten()
    }
}

/// The life of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// No worker was ever ready.
    Starting,
    /// Serving.
    Running,
    /// The proxy finishes what is in flight.
    Draining {
        /// Then it has had its time.
        until_ms: u64,
        /// Then the workers are killed.
        kill_at_ms: u64,
    },
    /// Workers were asked to end.
    Stopping {
        /// Then they are killed.
        kill_at_ms: u64,
    },
    /// Everything was killed.
    Killing {
        /// Then even that did not help.
        give_up_ms: u64,
    },
    /// [`Action::Exit`] is out.
    Ended,
}

/// The machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    settings: Settings,
    phase: Phase,
    started_ms: u64,
    proxy: Proxy,
    /// During a stop: it has no client left.
    proxy_is_drained: bool,
    /// Proxies of earlier programs.
    retired: Vec<Retired>,
    /// How many there have been.
    retirements: u32,
    upgrade: Option<Upgrade>,
    slots: Vec<Slot>,
    next_worker: u32,
    /// What workers that are started again run.
    release: Rc<Release>,
    /// What they ran before the last successful reload.
    previous: Option<Rc<Release>>,
    /// The number of the newest release, whatever became of it.
    generations: u32,
    /// How many slots there shall be.
    workers_wanted: u32,
    auto_scale: AutoScale,
    sleep: Sleep,
    /// Drains so far.
    drains: u32,
    /// Who waits until they are all ready.
    scale_tickets: Vec<Ticket>,
    roll: Option<Roll>,
    /// The worker that is being replaced without a change of release.
    replacement: Option<Replacement>,
    /// The next reload.
    wish: Option<Wish>,
    /// The reload whose release is being read.
    reading: Option<Wish>,
    /// Transport of the worker that was ready first.
    first_ready: Option<Transport>,
    announced: bool,
    /// Why requests go over http although frames were asked for, as last told.
    fallback: Option<String>,
    /// Why it ends, from the moment that is decided.
    ending: Option<ExitReason>,
    /// The signal that began the stop, and when.
    stop_signal: Option<(i32, u64)>,
    cut: u32,
    killed: u32,
}

impl Machine {
    /// A machine that waits for [`Event::Started`].
    pub(crate) fn new(settings: Settings, release: Rc<Release>) -> Self {
        let sleep = Sleep::new(release.spec.sleep);
        let slots = (0..settings.workers)
            .map(|number| Slot::new(number, settings.core(number as usize), sleep.is_asleep()))
            .collect();
        Self {
            phase: Phase::Starting,
            started_ms: 0,
            proxy: Proxy::new(),
            proxy_is_drained: false,
            retired: Vec::new(),
            retirements: 0,
            upgrade: None,
            slots,
            next_worker: 1,
            generations: release.generation,
            release,
            previous: None,
            workers_wanted: settings.workers,
            auto_scale: AutoScale::default(),
            sleep,
            drains: 0,
            scale_tickets: Vec::new(),
            roll: None,
            replacement: None,
            wish: None,
            reading: None,
            first_ready: None,
            announced: false,
            fallback: None,
            ending: None,
            stop_signal: None,
            cut: 0,
            killed: 0,
            settings,
        }
    }

    /// Takes one event; appends what is to be done.
    pub(crate) fn step(&mut self, event: Event, now_ms: u64, actions: &mut Vec<Action>) {
        if self.phase == Phase::Ended {
            return;
        }
        match event {
            Event::Started => self.start(now_ms, actions),
            Event::ProxySpawned { pid } => self.proxy_spawned(pid, now_ms, actions),
            Event::ProxySpawnFailed(failure) => self.proxy_spawn_failed(failure, now_ms, actions),
            Event::ProxyMessage(message) => self.proxy_message(message, now_ms, actions),
            Event::ProxyHungUp => self.proxy_hung_up(now_ms),
            Event::ProxyExited(death) => self.proxy_exited(&death, now_ms, actions),
            Event::Upgrade { cause, program, ticket } => {
                self.want_upgrade(&cause, program, ticket, now_ms, actions);
            }
            Event::SuccessorSpawned => self.successor_spawned(now_ms, actions),
            Event::SuccessorSpawnFailed(failure) => self.successor_spawn_failed(failure, actions),
            Event::SuccessorMessage(message) => self.successor_said(message, now_ms, actions),
            Event::SuccessorExited(death) => self.successor_exited(&death, actions),
            Event::Tried(result) => self.tried(result, actions),
            Event::HandOverFailed(why) => self.hand_over_failed(why, actions),
            Event::TookOver { from } => self.took_over(&from, now_ms, actions),
            Event::Adopted => self.adopted(actions),
            Event::RetiredMessage { proxy, message } => {
                self.retired_said(proxy, &message, now_ms, actions);
            }
            Event::RetiredExited { proxy, death } => {
                self.retired_exited(proxy, &death, now_ms, actions);
            }
            Event::WorkerSpawned { worker, pid, offer } => {
                self.worker_spawned(worker, pid, offer, now_ms, actions);
            }
            Event::Accepts { worker, address } => self.accepts(worker, address, now_ms, actions),
            Event::LookedAround { worker, found } => {
                self.looked_around(worker, &found, actions);
            }
            Event::WorkerSpawnFailed { worker, failure } => {
                self.worker_spawn_failed(worker, failure, now_ms, actions);
            }
            Event::Report { worker, report } => self.report(worker, report, now_ms, actions),
            Event::AppEnded { worker } => self.app_ended(worker, now_ms, actions),
            Event::WorkerExited { worker, death } => {
                self.worker_exited(worker, death, now_ms, actions);
            }
            Event::Signal(signal) => self.signal(signal, now_ms, actions),
            Event::StopCommand => self.stop_command(now_ms, actions),
            Event::Reload { cause, ticket, back } => {
                self.want_reload(&cause, ticket, back, actions);
            }
            Event::Scale { cause, scale, ticket } => {
                self.want_workers(&cause, scale, ticket, actions);
            }
            Event::Answered { worker, answer } => {
                self.health_answered(worker, answer, now_ms, actions);
            }
            Event::LoadSeen(load) => self.load_seen(load, now_ms, actions),
            Event::Measured { worker, figures } => self.measured(worker, figures, actions),
            Event::ReleaseRead(read) => self.release_read(read, now_ms, actions),
            Event::Tick => {}
        }
        // Deadlines are looked at on every event: a flood of others must not delay them.
        self.check_worker_deadlines(now_ms, actions);
        self.check_proxy_deadlines(now_ms, actions);
        self.check_retired_deadlines(now_ms, actions);
        self.check_stop_deadlines(now_ms, actions);
        self.advance_roll(now_ms, actions);
        self.advance_sleep(now_ms, actions);
        self.advance_scale(now_ms, actions);
        self.advance_recycling(now_ms, actions);
        self.advance_upgrade(now_ms, actions);
        self.announce(now_ms, actions);
        self.finish_stop(actions);
    }

    /// When [`Event::Tick`] is wanted at the latest.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Draining { until_ms, .. } => Some(until_ms),
            Phase::Stopping { kill_at_ms } => Some(kill_at_ms),
            Phase::Killing { give_up_ms } => Some(give_up_ms),
            Phase::Starting | Phase::Running | Phase::Ended => None,
        };
        let slots = self.slots.iter().filter_map(Slot::deadline_ms);
        let roll = self.roll.as_ref().and_then(Roll::deadline_ms);
        let replacement = self.replacement.as_ref().and_then(Replacement::deadline_ms);
        let upgrade = self.upgrade.as_ref().and_then(Upgrade::deadline_ms);
        let sleep = self.sleep.deadline_ms().filter(|_| self.ending.is_none());
        let proxy = self.proxy.deadline_ms();
        let others = [phase, roll, replacement, upgrade, proxy, sleep, self.next_worn_ms()];
        let retired = self.retired.iter().filter_map(|retired| retired.deadline_ms());
        slots.chain(retired).chain(others.into_iter().flatten()).min()
    }

    /// When a worker becomes too old. Those with other reasons are noticed with the figures, which come by themselves.
    fn next_worn_ms(&self) -> Option<u64> {
        let waits = self.ending.is_some() || self.roll.is_some() || self.replacement.is_some();
        let waits = waits || self.upgrade.is_some() || self.needs_its_workers();
        if waits || self.phase != Phase::Running {
            return None;
        }
        let current = self.slots.iter().filter_map(Slot::current);
        let ready = current.filter(|process| process.phase == ProcessPhase::Ready);
        ready.filter_map(|process| process.worn_ms(process.not_before_ms)).min()
    }

    /// The slots as `hostler status` shows them, without what only others know (memory, load).
    pub(crate) fn worker_status(&self, now_ms: u64) -> Vec<WorkerStatus> {
        let shown = |slot: &Slot| slot.status(&self.release, &self.settings, now_ms);
        self.slots.iter().flat_map(shown).collect()
    }

    /// How the instance is, in one word.
    pub(crate) fn state(&self) -> InstanceState {
        match self.phase {
            _ if self.ending.is_some() => InstanceState::Stopping,
            Phase::Starting => InstanceState::Starting,
            _ if self.roll.is_some() => InstanceState::Reloading,
            _ if !self.proxy.is_serving() => InstanceState::Degraded,
            _ if self.slots.iter().any(Slot::keeps_failing) => InstanceState::Degraded,
            _ if self.sleep.is_waking() => InstanceState::Starting,
            _ if self.sleep.has_failed() => InstanceState::Degraded,
            _ if !self.sleep.is_awake() => InstanceState::Asleep,
            _ => InstanceState::Running,
        }
    }

    /// Another program goes on with this machine: questions that it had asked are asked again. Gives the processes that it watches below commands.
    pub(crate) fn resume(&mut self, now_ms: u64) -> Vec<(WorkerId, u32)> {
        let mut watched = Vec::new();
        for process in self.slots.iter_mut().flat_map(Slot::processes_mut) {
            process.ask_again(now_ms);
            if let Some(process::App::Lives { pid }) = process.app {
                watched.push((process.worker, pid));
            }
        }
        watched
    }

    /// Where the instance is in its life.
    #[cfg(test)]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    fn start(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.started_ms = now_ms;
        // The proxy first: workers connect to it while they start.
        actions.push(Action::SpawnProxy);
        if self.sleep.is_asleep() {
            let text = format!("{} sleeps: the first request starts it", self.settings.app);
            actions.push(Action::Log(Level::Info, text));
            return;
        }
        for index in 0..self.slots.len() {
            self.spawn_worker(index, now_ms, actions);
        }
    }

    /// The one ready notice, when both the proxy serves and a worker takes requests.
    fn announce(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let ProxyState::Serving { io, io_reason, .. } = &self.proxy.state else {
            return;
        };
        let (Some(transport), false, None) = (self.first_ready, self.announced, &self.ending)
        else {
            return;
        };
        self.announced = true;
        actions.push(Action::Notice(Notice::Ready(ReadyInfo {
            listeners: self.settings.listeners.clone(),
            shards: self.settings.shards,
            workers: self.settings.workers,
            asleep: self.sleep.is_asleep(),
            transport,
            io: *io,
            io_reason: io_reason.clone(),
            start_ms: now_ms.saturating_sub(self.started_ms),
        })));
    }

    /// The slot of a process, and where in it it is.
    fn find(&self, worker: WorkerId) -> Option<(usize, Place)> {
        let mut slots = self.slots.iter().enumerate();
        slots.find_map(|(index, slot)| Some((index, slot.place_of(worker)?)))
    }

    /// Takes a process that has ended out of its slot, and says where it was.
    fn take(&mut self, worker: WorkerId) -> Option<(usize, Place, Box<Process>)> {
        let (index, place) = self.find(worker)?;
        Some((index, place, self.slots[index].take(worker)?))
    }

    fn process_mut(&mut self, worker: WorkerId) -> Option<&mut Process> {
        let mut processes = self.slots.iter_mut().flat_map(Slot::processes_mut);
        processes.find(|process| process.worker == worker)
    }
}

/// Waiting time after the n-th failure in a row, n from 1: 100 ms, doubled each time, at most 30 s.
fn backoff_ms(failures: u32) -> u64 {
    const FIRST_MS: u64 = 100;
    const MAX_MS: u64 = 30_000;
    (FIRST_MS << failures.saturating_sub(1).min(16)).min(MAX_MS)
}

/// `Frames` as people write it: `frames`.
fn lower(name: impl std::fmt::Debug) -> String {
    format!("{name:?}").to_lowercase()
}

/// `0.3 s`, `42 s`, `3 min`: durations for log lines.
fn duration_text(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
