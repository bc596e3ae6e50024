//! Who is told what while there are several proxies: the one that serves, one that shall follow it, those that have retired.
//!
//! Owns: the way of each message to all of them that it is for, and which workers follow to a new proxy. Must never know: why there
//! are several (`upgrade`, `retired`).

use hostler_protocol::control::ToProxy;

use super::Machine;
use super::event::Action;
use super::process::{Process, ProcessPhase};
use super::upgrade::Upgrade;

impl Machine {
    /// Tells every proxy what has become of a worker.
    pub(super) fn tell_proxies(&self, message: ToProxy, actions: &mut Vec<Action>) {
        for retired in &self.retired {
            actions.push(Action::TellRetired(retired.number, message.clone()));
        }
        self.tell_successor(&message, actions);
        self.tell_proxy(message, actions);
    }

    /// Tells those proxies that get new clients.
    pub(super) fn tell_serving(&self, message: ToProxy, actions: &mut Vec<Action>) {
        self.tell_successor(&message, actions);
        self.tell_proxy(message, actions);
    }

    /// Sends a message to the new program's proxy, if there is one that knows of workers.
    pub(super) fn tell_successor(&self, message: &ToProxy, actions: &mut Vec<Action>) {
        if self.upgrade.as_ref().is_some_and(Upgrade::is_told) {
            actions.push(Action::TellSuccessor(message.clone()));
        }
    }

    /// Those who have been sent away are not among them: what they finish is in the old proxy.
    pub(super) fn introduce_to_successor(&mut self, actions: &mut Vec<Action>) {
        let Self { slots, settings, .. } = self;
        for slot in slots {
            for process in slot.processes().filter(|process| moves(process)) {
                if let Some(address) = process.address(slot.number, slot.core, settings) {
                    actions.push(Action::TellSuccessor(ToProxy::WorkerReady(address)));
                }
            }
        }
    }

    /// A worker that the new program's proxy does not reach yet.
    pub(super) fn left_behind(&self) -> Option<String> {
        let upgrade = self.upgrade.as_ref()?;
        let missing = |process: &Process| {
            moves(process) && process.serving && !upgrade.reached.contains(&process.worker)
        };
        let index = self.slots.iter().position(|slot| slot.processes().any(missing))?;
        Some(self.worker_name(index))
    }
}

/// It takes requests, or may be asked to.
fn moves(process: &Process) -> bool {
    let may_serve = matches!(process.phase, ProcessPhase::Ready | ProcessPhase::Standby);
    process.announced && may_serve && process.can_serve()
}
