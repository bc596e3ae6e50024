//! Leaving: how a worker that is not needed any more goes without taking a request with it.
//!
//! Owns: the machine's decisions about a process from its last new request to SIGKILL: drain, closing of upgraded
//! connections, SIGTERM, deadline. Must never know: why it has to go. Called by `reload` and `stop`.

use hostler_protocol::control::{ToProxy, WorkerId};

use super::Machine;
use super::event::{Action, Level, StopSignal};
use super::process::{App, Process, ProcessPhase};
use super::worker::push_signal;

/// The clients of closed WebSockets connect again at once: they are closed one after the other over this time.
pub(super) const CLOSE_MS: u32 = 10_000;

/// What a client may take to answer the close, and the proxy to say that nothing is left.
pub(super) const CLOSE_GRACE_MS: u32 = 3_000;

/// Processes of earlier releases in one slot. One more, and the oldest has to hurry.
const LEAVING_MAX: usize = 3;

impl Process {
    /// We have asked it to end, or have killed it.
    pub(super) fn is_asked_to_go(&self) -> bool {
        matches!(self.phase, ProcessPhase::Stopping { .. } | ProcessPhase::Killed)
    }

    /// Asks it to end, by SIGTERM.
    pub(super) fn ask_to_go(&mut self, kill_at_ms: u64, actions: &mut Vec<Action>) {
        if self.is_asked_to_go() {
            return;
        }
        self.phase = ProcessPhase::Stopping { kill_at_ms };
        match self.app {
            Some(App::Lives { .. }) => actions.push(Action::TermApp { worker: self.worker }),
            _ if self.pid.is_some() => push_signal(actions, self.worker, StopSignal::Term),
            // It gets the signal as soon as it is there.
            _ => {}
        }
    }

    /// Kills it, if that is still to be done.
    pub(super) fn kill(&mut self, actions: &mut Vec<Action>) -> bool {
        if self.phase == ProcessPhase::Killed {
            return false;
        }
        self.phase = ProcessPhase::Killed;
        if self.pid.is_some() {
            push_signal(actions, self.worker, StopSignal::Kill);
        }
        true
    }
}

impl Machine {
    /// No new requests for a worker; it stays, and may be called back.
    pub(super) fn put_on_standby(&mut self, worker: WorkerId, actions: &mut Vec<Action>) {
        let proxy_lives = self.proxy.is_told();
        self.drains = self.drains.wrapping_add(1);
        let drain = self.drains;
        let retired = self.retired_numbers();
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        process.phase = ProcessPhase::Standby;
        process.drain = drain;
        // Whatever a dead proxy had sent is lost already.
        process.drained = !process.announced || !proxy_lives;
        process.in_flight_at.clear();
        if process.announced {
            process.in_flight_at = retired;
            self.tell_proxies(ToProxy::WorkerDrain { worker, drain }, actions);
        }
    }

    /// A worker that gets nothing new shall go: when it has finished, at the latest when its time is over.
    pub(super) fn let_go(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let release_times = self.process_mut(worker).map(|process| process.release.spec.reload);
        let Some(times) = release_times else { return };
        let close_ms = now_ms + u64::from(times.websocket_drain_ms_max);
        let closed_ms = close_ms + u64::from(CLOSE_MS + CLOSE_GRACE_MS);
        let until_ms = closed_ms.max(now_ms + u64::from(times.drain_ms_max));
        if let Some(process) = self.process_mut(worker) {
            process.phase = ProcessPhase::Draining { close_ms: Some(close_ms), until_ms };
        }
        self.stop_if_drained(worker, now_ms, actions);
    }

    /// Nothing is in flight in this worker, says the proxy.
    pub(super) fn worker_drained(
        &mut self,
        worker: WorkerId,
        drain: u32,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if let Some(process) = self.process_mut(worker)
            && process.drain == drain
            && matches!(process.phase, ProcessPhase::Standby | ProcessPhase::Draining { .. })
        {
            process.drained = true;
            self.stop_if_drained(worker, now_ms, actions);
        }
    }

    pub(super) fn stop_if_drained(
        &mut self,
        worker: WorkerId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        if let Some(process) = self.process_mut(worker)
            && process.drained
            && process.in_flight_at.is_empty()
            && matches!(process.phase, ProcessPhase::Draining { .. })
        {
            process.ask_to_go(kill_at_ms, actions);
        }
    }

    /// The proxy is gone, and with it all that was in flight.
    pub(super) fn nothing_in_flight(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let leaves = |process: &&Process| {
            matches!(process.phase, ProcessPhase::Standby | ProcessPhase::Draining { .. })
        };
        let processes = self.slots.iter().flat_map(super::Slot::processes);
        let leaving: Vec<(WorkerId, u32)> =
            processes.filter(leaves).map(|process| (process.worker, process.drain)).collect();
        for (worker, drain) in leaving {
            self.worker_drained(worker, drain, now_ms, actions);
        }
    }

    /// A deadline of a drain: first the upgraded connections are closed, then the process is asked to end.
    pub(super) fn drain_is_due(
        &mut self,
        worker: WorkerId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        let Some((index, _)) = self.find(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        let ProcessPhase::Draining { close_ms, until_ms } = process.phase else {
            return;
        };
        if until_ms <= now_ms {
            let text = format!(
                "{name} (pid {}) still had requests in flight when its time to drain was over",
                process.pid.unwrap_or(0)
            );
            actions.push(Action::Log(Level::Warn, text));
            process.ask_to_go(kill_at_ms, actions);
        } else if close_ms.is_some_and(|close_ms| close_ms <= now_ms) {
            process.phase = ProcessPhase::Draining { close_ms: None, until_ms };
            self.tell_proxies(ToProxy::CloseUpgraded { worker, within_ms: CLOSE_MS }, actions);
        }
    }

    /// SIGTERM was not enough.
    pub(super) fn kill_slow(&mut self, worker: WorkerId, actions: &mut Vec<Action>) {
        let Some((index, _)) = self.find(worker) else {
            return;
        };
        let name = self.worker_name(index);
        let is_end = self.ending.is_some();
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        if process.kill(actions) {
            let text = format!("{name} did not stop in time; it is killed");
            actions.push(Action::Log(Level::Warn, text));
            self.killed += u32::from(is_end);
        }
    }

    /// Reloads in quick succession must not fill the machine with processes that wait for their last WebSocket.
    pub(super) fn hurry_oldest(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let waits = |process: &&Process| {
            matches!(process.phase, ProcessPhase::Draining { close_ms: Some(_), .. })
        };
        let waiting: Vec<WorkerId> =
            slot.leaving.iter().filter(waits).map(|process| process.worker).collect();
        let too_many = slot.leaving.len().saturating_sub(LEAVING_MAX);
        for worker in waiting.into_iter().take(too_many) {
            let until_ms = now_ms + u64::from(CLOSE_MS + CLOSE_GRACE_MS);
            if let Some(process) = self.process_mut(worker) {
                process.phase = ProcessPhase::Draining { close_ms: Some(now_ms), until_ms };
            }
            self.drain_is_due(worker, now_ms, actions);
        }
    }
}
