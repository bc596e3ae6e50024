//! What a service manager (systemd) is told about the instance.
//!
//! Owns: the machine's state in the four words that such a manager knows, and in one line for people. Must never know: how it is
//! told (`event_loop::service_manager`).

use super::slot::Slot;
use super::{Machine, Phase};
use crate::outcome::ExitReason;

/// The instance as a service manager sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// Nobody is served yet.
    Starting,
    /// Serving.
    Ready,
    /// A reload was asked for, and its outcome is not known yet.
    Reloading,
    /// On its way to the end.
    Stopping,
}

impl Machine {
    /// In one word.
    pub(crate) fn service_state(&self) -> ServiceState {
        if self.ending.is_some() {
            ServiceState::Stopping
        } else if !self.announced {
            ServiceState::Starting
        } else if self.roll.is_some() || self.reading.is_some() || self.wish.is_some() {
            ServiceState::Reloading
        } else {
            ServiceState::Ready
        }
    }

    /// In one line.
    pub(crate) fn service_text(&self) -> String {
        let wanted = self.slots.iter().filter(|slot| slot.is_wanted()).count();
        let ready = self.slots.iter().filter(|slot| slot.is_ready()).count();
        let workers = format!("{ready} of {wanted} workers ready");
        match (&self.ending, &self.roll) {
            (Some(ExitReason::Stopped { .. }), _)
                if matches!(self.phase, Phase::Draining { .. }) =>
            {
                "stopping: requests in flight finish".to_owned()
            }
            (Some(ExitReason::Stopped { .. }), _) => "stopping: workers end".to_owned(),
            (Some(reason), _) => reason.to_string(),
            (None, Some(roll)) if roll.restores => format!(
                "taking a reload back: generation {} starts again; {workers}",
                roll.release.generation
            ),
            (None, Some(roll)) => {
                format!("reloading to generation {}; {workers}", roll.release.generation)
            }
            (None, None) if !self.announced => format!("starting; {workers}"),
            (None, None) if !self.proxy.is_serving() => {
                format!("the proxy is started again; {workers}")
            }
            (None, None) if self.sleep.is_asleep() => {
                "asleep; the first request starts the workers".to_owned()
            }
            (None, None) => {
                let failing = self.slots.iter().filter(|slot| slot.keeps_failing());
                let death = failing.filter_map(|slot: &Slot| slot.last_death.as_deref()).next();
                match death {
                    Some(death) => format!("serving; {workers}; {death}"),
                    None => format!("serving; {workers}"),
                }
            }
        }
    }
}
