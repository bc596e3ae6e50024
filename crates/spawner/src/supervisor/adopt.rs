//! After the death of a supervisor: what the one that follows makes of the state of the one before.
//!
//! Owns: what of that state has no meaning any more, and what has to be said again. Must never know: how the state was kept.

use hostler_protocol::control::ToProxy;

use super::event::{Action, Level};
use super::process::ProcessPhase;
use super::{Machine, Release, Slot};
use crate::config::AppSpec;

impl Machine {
    /// Its release is what one of this app would be now.
    pub(crate) fn runs(&self, app: &AppSpec) -> bool {
        Release::new(0, app.clone()).spec == self.release.spec
    }

    /// The proxy has served on, and has said to nobody what there was to say.
    pub(super) fn adopted(&mut self, actions: &mut Vec<Action>) {
        let workers = self.slots.iter().flat_map(Slot::processes).count();
        let text = format!(
            "the supervisor before is dead; its proxy and {workers} workers have served on and are taken over"
        );
        actions.push(Action::Log(Level::Warn, text));
        // Who waited for an answer has seen the end of the one who was asked.
        self.scale_tickets.clear();
        self.forget_tickets();
        self.give_up("its supervisor has died".to_owned(), actions);
        // A person or systemd wants to know that it serves.
        self.announced = false;
        if self.sleep.is_asleep() {
            // It has asked for a worker once, and nobody has heard it.
            actions.push(Action::SendProxy(ToProxy::Asleep));
        }
        for slot in &self.slots {
            for process in slot.processes().filter(|process| process.announced) {
                let (worker, drain) = (process.worker, process.drain);
                if matches!(process.phase, ProcessPhase::Standby | ProcessPhase::Draining { .. }) {
                    // Said again, it is answered again.
                    actions.push(Action::SendProxy(ToProxy::WorkerDrain { worker, drain }));
                }
            }
        }
    }
}
