//! The end of the instance: drain, SIGTERM, deadline, SIGKILL.
//!
//! Owns: the machine's decisions from the moment it ends. One deadline holds for all of it: whoever
//! stops us (Docker, systemd) has one, too, and does not care how we divide it.

use rustix::process::Signal;

use hostler_protocol::control::ToProxy;

use super::death::signal_name;
use super::event::{Action, Level};
use super::proxy::ProxyState;
use super::scale::Scale;
use super::slot::SlotState;
use super::{Machine, Phase, duration_text};
use crate::outcome::ExitReason;

/// The proxy cuts its last connections at the drain deadline by itself; this is its time to say so.
const DRAIN_GRACE_MS_MAX: u32 = 500;

/// After a failed start nobody is served: no long farewell.
const HASTY_STOP_MS_MAX: u64 = 2_000;

/// A killed process is gone at once, unless the kernel itself is stuck in it.
const KILL_MS_MAX: u64 = 5_000;

/// The same signal twice within this time is one wish: npm and shells pass on a Ctrl-C that the
/// terminal has already sent to the whole process group.
const SAME_SIGNAL_MS: u64 = 100;

impl Machine {
    pub(super) fn signal(&mut self, signal: i32, now_ms: u64, actions: &mut Vec<Action>) {
        let name = signal_name(signal);
        if signal == Signal::HUP.as_raw() {
            self.want_reload(&name, None, false, actions);
            return;
        }
        if signal == Signal::USR2.as_raw() {
            let program = self.settings.program.clone();
            self.want_upgrade(&name, program, None, now_ms, actions);
            return;
        }
        // Unicorn's signals, which gunicorn and others have taken over.
        let scale = [(Signal::TTIN, 1), (Signal::TTOU, -1)];
        if let Some((_, change)) = scale.iter().find(|(known, _)| known.as_raw() == signal) {
            self.want_workers(&name, Scale::By(*change), None, actions);
            return;
        }
        let stops = [Signal::TERM, Signal::INT, Signal::QUIT];
        if !stops.iter().any(|known| known.as_raw() == signal) {
            let text = format!("{name} is not supported yet and ignored");
            actions.push(Action::Log(Level::Warn, text));
            return;
        }
        match self.stop_signal {
            None => {
                self.stop_signal = Some((signal, now_ms));
                self.begin_graceful_stop(&name, now_ms, actions);
            }
            Some((first, at_ms)) if first == signal && now_ms - at_ms < SAME_SIGNAL_MS => {}
            Some(_) => {
                let text = format!("{name} again: stopping at once");
                actions.push(Action::Log(Level::Warn, text));
                if matches!(self.ending, Some(ExitReason::Stopped { .. })) {
                    self.ending = Some(ExitReason::Forced { signal });
                }
                self.kill_all(now_ms, actions);
            }
        }
    }

    pub(super) fn stop_command(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.begin_graceful_stop("a stop command", now_ms, actions);
    }

    fn begin_graceful_stop(&mut self, cause: &str, now_ms: u64, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let text =
            format!("{cause}: stopping within {}", duration_text(self.settings.stop_ms_max.into()));
        actions.push(Action::Log(Level::Info, text));
        self.ending = Some(ExitReason::Stopped { cut: 0, killed: 0 });
        self.drop_wishes(actions);
        self.cancel_restarts();
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        if self.proxy.is_serving() {
            // Also without a worker: whoever waits for one is told to come back. The rest is for the workers' own SIGTERM handlers.
            let deadline_ms = self.settings.stop_ms_max / 4 * 3;
            let grace_ms = (self.settings.stop_ms_max / 8).min(DRAIN_GRACE_MS_MAX);
            let until_ms = now_ms + u64::from(deadline_ms + grace_ms);
            self.phase = Phase::Draining { until_ms, kill_at_ms };
            self.tell_proxy(ToProxy::Drain { deadline_ms }, actions);
            self.drain_retired(deadline_ms, actions);
        } else {
            self.kill_proxies(actions);
            self.stop_workers(kill_at_ms, actions);
        }
    }

    /// The one that serves, those that retire, and one that was to follow.
    fn kill_proxies(&mut self, actions: &mut Vec<Action>) {
        self.kill_proxy(actions);
        self.kill_retired(actions);
    }

    /// Ends the instance when there is nothing left to serve with.
    pub(super) fn begin_hasty_stop(
        &mut self,
        reason: ExitReason,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(reason);
        self.drop_wishes(actions);
        self.cancel_restarts();
        self.kill_proxies(actions);
        let patience_ms = u64::from(self.settings.stop_ms_max).min(HASTY_STOP_MS_MAX);
        self.stop_workers(now_ms + patience_ms, actions);
    }

    /// SIGTERM to the process groups of all workers.
    pub(super) fn stop_workers(&mut self, kill_at_ms: u64, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopping { kill_at_ms };
        for process in self.slots.iter_mut().flat_map(super::Slot::processes_mut) {
            process.ask_to_go(kill_at_ms, actions);
        }
    }

    pub(super) fn check_stop_deadlines(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Draining { until_ms, kill_at_ms } if now_ms >= until_ms => {
                let text = "the proxy did not drain in time; it is killed".to_owned();
                actions.push(Action::Log(Level::Warn, text));
                self.kill_proxies(actions);
                self.stop_workers(kill_at_ms, actions);
            }
            Phase::Stopping { kill_at_ms } if now_ms >= kill_at_ms => {
                self.kill_all(now_ms, actions);
            }
            Phase::Killing { give_up_ms } if now_ms >= give_up_ms => {
                let text = "some processes are stuck in the kernel and cannot be killed".to_owned();
                actions.push(Action::Log(Level::Error, text));
                self.proxy.state = ProxyState::Gone;
                self.retired.clear();
                self.upgrade = None;
                for slot in &mut self.slots {
                    slot.state = SlotState::Stopped;
                    slot.next = None;
                    slot.leaving.clear();
                }
            }
            _ => {}
        }
    }

    /// SIGKILL to everything that is left.
    fn kill_all(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Killing { .. }) {
            return;
        }
        self.phase = Phase::Killing { give_up_ms: now_ms + KILL_MS_MAX };
        self.kill_proxies(actions);
        for index in 0..self.slots.len() {
            let name = self.worker_name(index);
            for process in self.slots[index].processes_mut() {
                let has_process = process.pid.is_some();
                if !process.kill(actions) {
                    continue;
                }
                self.killed += 1;
                if has_process {
                    let text = format!("{name} did not stop in time; it is killed");
                    actions.push(Action::Log(Level::Warn, text));
                }
            }
        }
    }

    /// Ends when the last child is gone.
    pub(super) fn finish_stop(&mut self, actions: &mut Vec<Action>) {
        let proxies_gone = self.proxy.state == ProxyState::Gone
            && self.retired.is_empty()
            && self.upgrade.is_none();
        let all_gone = proxies_gone && self.slots.iter().all(super::Slot::is_stopped);
        let Some(reason) = self.ending.as_ref().filter(|_| all_gone) else {
            return;
        };
        let reason = match reason {
            ExitReason::Stopped { .. } => {
                ExitReason::Stopped { cut: self.cut, killed: self.killed }
            }
            other => other.clone(),
        };
        self.phase = Phase::Ended;
        actions.push(Action::Exit(reason));
    }

    fn cancel_restarts(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot.state, SlotState::Backoff { .. }) {
                slot.state = SlotState::Stopped;
            }
        }
    }
}
