//! Retired proxies: the ones of earlier programs, which finish what their clients have there.
//!
//! Owns: their time, and what they are still told of workers. Must never know: how a proxy came to retire; that is `upgrade`.

use hostler_protocol::control::{FromProxy, ToProxy, WorkerId};
use serde::{Deserialize, Serialize};

use super::death::{Death, HowDied};
use super::event::{Action, Level, StopSignal, Target};
use super::leave::{CLOSE_GRACE_MS, CLOSE_MS};
use super::process::{Process, ProcessPhase};
use super::proxy::ProxyState;
use super::{Machine, Phase, Slot};

/// Each holds its buffers until its last WebSocket has gone.
pub(super) const RETIRED_MAX: usize = 3;

/// A proxy that gets no new clients.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Retired {
    /// Counts from 1 within the instance.
    pub(super) number: u32,
    /// Until then clients that were idle may send another request.
    /// None behind that.
    idle_until_ms: Option<u64>,
    /// Then its WebSockets are closed; none if that has been ordered.
    close_ms: Option<u64>,
    /// Then it is killed.
    until_ms: u64,
    killed: bool,
}

impl Retired {
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let others = [self.idle_until_ms, self.close_ms].into_iter().flatten();
        others.chain([self.until_ms]).min().filter(|_| !self.killed)
    }
}

impl Machine {
    /// The proxy that has served retires.
    pub(super) fn retire_proxy(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.retirements = self.retirements.wrapping_add(1);
        let number = self.retirements;
        actions.push(Action::Crown { retired: number });
        let times = self.release.spec.reload;
        let close_ms = now_ms + u64::from(times.websocket_drain_ms_max);
        let idle_until_ms = now_ms + u64::from(times.drain_ms_max);
        let left_ms = u64::from(CLOSE_MS + CLOSE_GRACE_MS);
        let until_ms = close_ms.max(idle_until_ms) + left_ms;
        let deadline_ms = u32::try_from(until_ms - now_ms).unwrap_or(u32::MAX);
        // What is in flight in workers on their way out is in flight there.
        for process in self.slots.iter_mut().flat_map(Slot::processes_mut) {
            if awaits_drain(process) && !std::mem::replace(&mut process.drained, true) {
                process.in_flight_at.push(number);
            }
        }
        let retire = ToProxy::Retire { idle_ms: times.drain_ms_max, deadline_ms };
        actions.push(Action::TellRetired(number, retire));
        let (idle_until_ms, close_ms) = (Some(idle_until_ms), Some(close_ms));
        // It ends by itself at its deadline; the rest is for saying so.
        let until_ms = until_ms + u64::from(CLOSE_GRACE_MS);
        self.retired.push(Retired { number, idle_until_ms, close_ms, until_ms, killed: false });
    }

    /// Clients may still send requests to a retired proxy. It knows the workers of its time and no new ones, so these stay.
    pub(super) fn needs_its_workers(&self) -> bool {
        self.retired.iter().any(|retired| !retired.killed && retired.idle_until_ms.is_some())
    }

    pub(super) fn retired_said(
        &mut self,
        number: u32,
        message: &FromProxy,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if let FromProxy::WorkerDrained { worker, drain } = *message
            && let Some(process) = self.process_mut(worker)
            && process.drain == drain
        {
            process.in_flight_at.retain(|other| *other != number);
            self.stop_if_drained(worker, now_ms, actions);
        }
    }

    pub(super) fn retired_exited(
        &mut self,
        number: u32,
        death: &Death,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(index) = self.retired.iter().position(|retired| retired.number == number) else {
            return;
        };
        let retired = self.retired.remove(index);
        // Of one that ended while there was no supervisor nothing more is known.
        let orderly = retired.killed || death.is_orderly();
        let (level, text) = if death.how == HowDied::Unknown {
            (Level::Info, "the retired proxy has ended".to_owned())
        } else if orderly {
            (Level::Info, format!("the retired proxy {death}"))
        } else {
            (Level::Warn, format!("the retired proxy {}", death.explained()))
        };
        actions.push(Action::Log(level, text));
        let mut freed: Vec<WorkerId> = Vec::new();
        for process in self.slots.iter_mut().flat_map(Slot::processes_mut) {
            process.in_flight_at.retain(|other| *other != number);
            freed.push(process.worker);
        }
        for worker in freed {
            self.stop_if_drained(worker, now_ms, actions);
        }
        self.proxies_may_be_done(actions);
    }

    pub(super) fn check_retired_deadlines(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.retired.is_empty() {
            return;
        }
        let announced = |process: &&Process| process.announced;
        let processes = self.slots.iter().flat_map(Slot::processes).filter(announced);
        let workers: Vec<WorkerId> = processes.map(|process| process.worker).collect();
        for retired in self.retired.iter_mut().filter(|retired| !retired.killed) {
            retired.idle_until_ms.take_if(|until_ms| *until_ms <= now_ms);
            if retired.until_ms <= now_ms {
                retired.killed = true;
                let text = "the retired proxy did not end in time; it is killed".to_owned();
                actions.push(Action::Log(Level::Warn, text));
                actions.push(kill(retired.number));
            } else if retired.close_ms.is_some_and(|close_ms| close_ms <= now_ms) {
                retired.close_ms = None;
                for worker in &workers {
                    let close = ToProxy::CloseUpgraded { worker: *worker, within_ms: CLOSE_MS };
                    actions.push(Action::TellRetired(retired.number, close));
                }
            }
        }
    }

    /// The instance ends, and they with it.
    pub(super) fn drain_retired(&mut self, deadline_ms: u32, actions: &mut Vec<Action>) {
        for retired in &self.retired {
            actions.push(Action::TellRetired(retired.number, ToProxy::Drain { deadline_ms }));
        }
    }

    pub(super) fn kill_retired(&mut self, actions: &mut Vec<Action>) {
        for retired in self.retired.iter_mut().filter(|retired| !retired.killed) {
            retired.killed = true;
            actions.push(kill(retired.number));
        }
    }

    /// Who may have requests of a worker in flight, beside the proxy that serves.
    pub(super) fn retired_numbers(&self) -> Vec<u32> {
        self.retired.iter().map(|retired| retired.number).collect()
    }

    /// During a stop: the workers are asked to end when no proxy has a client left.
    pub(super) fn proxies_may_be_done(&mut self, actions: &mut Vec<Action>) {
        let Phase::Draining { kill_at_ms, .. } = self.phase else { return };
        let is_done = self.proxy_is_drained || self.proxy.state == ProxyState::Gone;
        if is_done && self.retired.is_empty() {
            self.stop_workers(kill_at_ms, actions);
        }
    }
}

/// It takes no new requests and has not been said to be done.
fn awaits_drain(process: &Process) -> bool {
    matches!(process.phase, ProcessPhase::Standby | ProcessPhase::Draining { .. })
}

fn kill(number: u32) -> Action {
    Action::Signal { target: Target::Retired(number), signal: StopSignal::Kill }
}
