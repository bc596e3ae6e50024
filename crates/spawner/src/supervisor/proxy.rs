//! The proxy process: start, messages, death, crash loop.
//!
//! Owns: the state of the proxy and the machine's decisions about it. Its listeners live in the
//! supervisor, so while it is being restarted clients wait in the kernel and are not refused.

use hostler_protocol::control::{FromProxy, IoChoice, ToProxy, WorkerId};
use serde::{Deserialize, Serialize};

use super::death::Death;
use super::event::{Action, Level, SpawnFailure, StopSignal, Target};
use super::process::ProcessPhase;
use super::{Machine, Phase, backoff_ms, lower};
use crate::outcome::ExitReason;

/// From its start until all shards accept.
pub(super) const START_MS_MAX: u64 = 15_000;

/// From closing its control socket until its exit.
const LEAVE_MS_MAX: u64 = 2_000;

/// This many deaths within [`DEATHS_WINDOW_MS`] are a crash loop.
const DEATHS_MAX: usize = 5;

/// See [`DEATHS_MAX`].
const DEATHS_WINDOW_MS: u64 = 10_000;

/// The proxy as the machine sees it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Proxy {
    pub(super) state: ProxyState,
    /// When it died lately.
    deaths_ms: Vec<u64>,
    ever_served: bool,
    /// Why it says it failed.
    complaint: Option<String>,
}

/// The life of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProxyState {
    /// Its process is being made.
    Spawning,
    /// Its process runs and prepares.
    Starting {
        /// Then it has failed.
        deadline_ms: u64,
    },
    /// Accepts connections.
    Serving {
        /// Its I/O backend.
        io: IoChoice,
        /// Why that one.
        io_reason: String,
    },
    /// Has closed its control socket, should be gone soon.
    Leaving {
        /// Then it is killed.
        deadline_ms: u64,
    },
    /// Has got SIGKILL.
    Killed,
    /// Waits for its next start.
    Backoff {
        /// Until then.
        until_ms: u64,
    },
    /// Gone, and not started again.
    Gone,
}

impl Proxy {
    pub(super) fn new() -> Self {
        Self {
            state: ProxyState::Spawning,
            deaths_ms: Vec::new(),
            ever_served: false,
            complaint: None,
        }
    }

    /// One that has proved itself as the proxy of another program.
    pub(super) fn serving(io: IoChoice, io_reason: String) -> Self {
        let state = ProxyState::Serving { io, io_reason };
        Self { state, ever_served: true, ..Self::new() }
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            ProxyState::Starting { deadline_ms } | ProxyState::Leaving { deadline_ms } => {
                Some(deadline_ms)
            }
            ProxyState::Backoff { until_ms } => Some(until_ms),
            ProxyState::Spawning
            | ProxyState::Serving { .. }
            | ProxyState::Killed
            | ProxyState::Gone => None,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, ProxyState::Serving { .. })
    }

    /// It reads what it is told.
    pub(super) fn is_told(&self) -> bool {
        match self.state {
            ProxyState::Starting { .. } | ProxyState::Serving { .. } => true,
            ProxyState::Spawning
            | ProxyState::Leaving { .. }
            | ProxyState::Backoff { .. }
            | ProxyState::Killed
            | ProxyState::Gone => false,
        }
    }
}

impl Machine {
    pub(super) fn proxy_spawned(&mut self, pid: u32, now_ms: u64, actions: &mut Vec<Action>) {
        match self.proxy.state {
            ProxyState::Spawning => {}
            // A stop came while the process was being made.
            _ => {
                actions.push(kill());
                return;
            }
        }
        self.proxy.state = ProxyState::Starting { deadline_ms: now_ms + START_MS_MAX };
        actions.push(Action::Log(Level::Info, format!("the proxy is started (pid {pid})")));
        self.introduce_workers(actions);
    }

    /// A restarted proxy knows nobody.
    fn introduce_workers(&mut self, actions: &mut Vec<Action>) {
        let Self { slots, settings, .. } = self;
        for slot in slots {
            let (number, core) = (slot.number, slot.core);
            for process in slot.processes_mut() {
                process.serving = false;
                let Some(address) = process.address(number, core, settings) else { continue };
                if !process.announced || !process.can_serve() {
                    continue;
                }
                actions.push(Action::SendProxy(ToProxy::WorkerReady(address)));
                if process.phase == ProcessPhase::Standby {
                    let (worker, drain) = (process.worker, process.drain);
                    actions.push(Action::SendProxy(ToProxy::WorkerDrain { worker, drain }));
                }
            }
        }
    }

    pub(super) fn proxy_spawn_failed(
        &mut self,
        failure: SpawnFailure,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.ending.is_some() {
            self.proxy.state = ProxyState::Gone;
            return;
        }
        let why = format!("the proxy could not be started: {}", failure.text());
        if failure.retry {
            self.restart_proxy(why, now_ms, actions);
        } else {
            self.proxy.state = ProxyState::Gone;
            self.begin_hasty_stop(ExitReason::ProxyFailed { why }, now_ms, actions);
        }
    }

    pub(super) fn proxy_message(
        &mut self,
        message: FromProxy,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        match message {
            FromProxy::Serving { io, io_reason, .. } => {
                if matches!(self.proxy.state, ProxyState::Starting { .. }) {
                    let text = format!("the proxy serves by {}: {io_reason}", lower(io));
                    actions.push(Action::Log(Level::Info, text));
                    self.proxy.state = ProxyState::Serving { io, io_reason };
                    self.proxy.ever_served = true;
                }
            }
            FromProxy::Failed { why } => {
                // A proxy that has worked before may work again: then its exit, which follows, is
                // handled as a death.
                if self.proxy.ever_served || self.ending.is_some() {
                    self.proxy.complaint = Some(why);
                } else {
                    let why = format!("the proxy cannot start: {why}");
                    self.begin_hasty_stop(ExitReason::ProxyFailed { why }, now_ms, actions);
                }
            }
            FromProxy::Drained { cut } => {
                if let Phase::Draining { .. } = self.phase {
                    self.cut = cut;
                    self.proxy_is_drained = true;
                    self.proxies_may_be_done(actions);
                }
            }
            FromProxy::WorkerLost { worker, why } => self.worker_lost(worker, &why, actions),
            FromProxy::WorkerSilent { worker, silent_ms, in_flight } => {
                self.worker_hangs(worker, silent_ms, in_flight, actions);
            }
            FromProxy::WorkerBack { worker } => self.worker_is_back(worker, actions),
            FromProxy::WorkerServing { worker } => self.worker_serving(worker),
            FromProxy::WorkerWanted => self.worker_wanted(actions),
            // The event loop keeps these for itself.
            FromProxy::ListenersClosed | FromProxy::Status { .. } => {}
            FromProxy::WorkerDrained { worker, drain } => {
                self.worker_drained(worker, drain, now_ms, actions);
            }
        }
    }

    /// The end of a connection is news only while its worker lives and shall live.
    fn worker_lost(&self, worker: WorkerId, why: &str, actions: &mut Vec<Action>) {
        let Some((index, _)) = self.find(worker) else { return };
        let mut processes = self.slots[index].processes();
        let process = processes.find(|process| process.worker == worker);
        if process.is_some_and(|process| !process.is_asked_to_go()) {
            let name = self.worker_name(index);
            let text = format!("the proxy lost its connection to {name}: {why}");
            actions.push(Action::Log(Level::Warn, text));
        }
    }

    pub(super) fn proxy_hung_up(&mut self, now_ms: u64) {
        if matches!(self.proxy.state, ProxyState::Starting { .. } | ProxyState::Serving { .. }) {
            self.proxy.state = ProxyState::Leaving { deadline_ms: now_ms + LEAVE_MS_MAX };
        }
    }

    pub(super) fn proxy_exited(&mut self, death: &Death, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            self.proxy.state = ProxyState::Gone;
            actions.push(Action::Log(Level::Info, format!("the proxy {death}")));
            self.proxies_may_be_done(actions);
            return;
        }
        let killed = self.proxy.state == ProxyState::Killed;
        let death_text = if killed { death.to_string() } else { death.explained() };
        let mut text = format!("the proxy {death_text}");
        if let Some(words) = self.proxy.complaint.take().or_else(|| death.last_words()) {
            text.push_str(&format!("; its last words: {words}"));
        }
        self.nothing_in_flight(now_ms, actions);
        self.restart_proxy(text, now_ms, actions);
    }

    /// Starts it again, now or later, or gives up.
    fn restart_proxy(&mut self, why: String, now_ms: u64, actions: &mut Vec<Action>) {
        let deaths = &mut self.proxy.deaths_ms;
        deaths.retain(|&died_ms| now_ms.saturating_sub(died_ms) < DEATHS_WINDOW_MS);
        deaths.push(now_ms);
        let count = deaths.len();
        if count >= DEATHS_MAX {
            self.proxy.state = ProxyState::Gone;
            let window_s = DEATHS_WINDOW_MS / 1000;
            let why =
                format!("the proxy died {count} times within {window_s} s; the last time: {why}");
            self.begin_hasty_stop(ExitReason::ProxyFailed { why }, now_ms, actions);
            return;
        }
        if count == 1 {
            self.proxy.state = ProxyState::Spawning;
            actions.push(Action::Log(Level::Error, format!("{why}; starting it again")));
            actions.push(Action::SpawnProxy);
            return;
        }
        let failures = u32::try_from(count - 1).unwrap_or(u32::MAX);
        let delay_ms = backoff_ms(failures);
        self.proxy.state = ProxyState::Backoff { until_ms: now_ms + delay_ms };
        let text = format!("{why}; starting it again in {delay_ms} ms");
        actions.push(Action::Log(Level::Error, text));
    }

    pub(super) fn check_proxy_deadlines(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.proxy.deadline_ms().is_none_or(|deadline| deadline > now_ms) {
            return;
        }
        match self.proxy.state {
            ProxyState::Backoff { .. } => {
                self.proxy.state = ProxyState::Spawning;
                actions.push(Action::SpawnProxy);
                return;
            }
            ProxyState::Leaving { .. } => {
                self.proxy.complaint = Some("it closed its control socket and stayed".to_owned());
            }
            _ => {
                let limit_s = START_MS_MAX / 1000;
                self.proxy.complaint = Some(format!("it did not serve within {limit_s} s"));
            }
        }
        self.kill_proxy(actions);
    }

    /// Makes sure that the proxy goes and stays away.
    pub(super) fn kill_proxy(&mut self, actions: &mut Vec<Action>) {
        match self.proxy.state {
            ProxyState::Starting { .. }
            | ProxyState::Serving { .. }
            | ProxyState::Leaving { .. } => {
                self.proxy.state = ProxyState::Killed;
                actions.push(kill());
            }
            // It is killed as soon as it is there.
            ProxyState::Spawning => self.proxy.state = ProxyState::Killed,
            ProxyState::Backoff { .. } => self.proxy.state = ProxyState::Gone,
            ProxyState::Killed | ProxyState::Gone => {}
        }
    }

    /// Sends a message if there is somebody to read it; a new proxy is told everything anyway.
    pub(super) fn tell_proxy(&self, message: ToProxy, actions: &mut Vec<Action>) {
        if self.proxy.is_told() {
            actions.push(Action::SendProxy(message));
        }
    }
}

fn kill() -> Action {
    Action::Signal { target: Target::Proxy, signal: StopSignal::Kill }
}
