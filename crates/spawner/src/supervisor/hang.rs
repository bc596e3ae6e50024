//! Workers that hang: their event loop does not turn.
//!
//! Owns: the machine's decisions from the first word about a silence to the end of the worker. Must never know: how a silence
//! is noticed.
//!
//! Two have an eye on a loop. A thread in the worker itself tells at half the time where in JavaScript it is; the proxy,
//! which sends no new requests there since the first missed beats, tells at the full time, and answers those that wait with
//! 504. A worker that is served over plain connections has no beats: there the thread alone tells. A debugger that holds a
//! loop is no hang.

use hostler_protocol::control::WorkerId;
use serde::{Deserialize, Serialize};

use super::event::{Action, Level};
use super::process::{Process, ProcessPhase};
use super::report::Stuck;
use super::{Machine, duration_text};

/// What is known of a worker that hangs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hang {
    /// Where it is, in one line.
    sentence: String,
    /// It is killed then; none while a debugger holds it.
    until_ms: Option<u64>,
}

impl Hang {
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.until_ms
    }
}

impl Machine {
    /// The worker's own thread says where it hangs.
    pub(super) fn worker_stuck(
        &mut self,
        worker: WorkerId,
        stuck: &Stuck,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else { return };
        let text = format!("{} {}", self.worker_name(index), stuck.sentence());
        actions.push(Action::Log(Level::Warn, text));
        let Some(process) = self.process_mut(worker) else { return };
        let Some(spec) = process.release.spec.hang else { return };
        let left_ms = u64::from(spec.after_ms).saturating_sub(stuck.silent_ms);
        process.hang = Some(Hang {
            sentence: stuck.place(),
            until_ms: (!stuck.debugged).then_some(now_ms + left_ms),
        });
    }

    /// It turns again.
    pub(super) fn worker_unstuck(
        &mut self,
        worker: WorkerId,
        silent_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else { return };
        let text =
            format!("{} turns its event loop again, after {silent_ms} ms", self.worker_name(index));
        actions.push(Action::Log(Level::Info, text));
        if let Some(process) = self.process_mut(worker) {
            process.hang = None;
        }
    }

    /// The proxy has not heard of a worker for the full time.
    pub(super) fn worker_hangs(
        &mut self,
        worker: WorkerId,
        silent_ms: u32,
        in_flight: u32,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else { return };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else { return };
        let is_held = process.hang.as_ref().is_some_and(|hang| hang.until_ms.is_none());
        let silent = duration_text(silent_ms.into());
        let mut text = format!(
            "{name} hangs: nothing was heard of it for {silent}, with {in_flight} requests in flight"
        );
        if is_held {
            text.push_str("; a debugger may hold it, so it is left alone");
        }
        actions.push(Action::Log(Level::Error, text));
        if !is_held {
            process.kill_hung(&silent, actions);
        }
    }

    /// The proxy has heard of it again. If it has been killed meanwhile that changes nothing.
    pub(super) fn worker_is_back(&mut self, worker: WorkerId, actions: &mut Vec<Action>) {
        let Some((index, _)) = self.find(worker) else { return };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else { return };
        if process.phase != ProcessPhase::Killed {
            process.hang = None;
            actions.push(Action::Log(Level::Info, format!("{name} does not hang any more")));
        }
    }
}

impl Process {
    /// Its time is over.
    pub(super) fn kill_hung(&mut self, silent: &str, actions: &mut Vec<Action>) {
        let place = self.hang.take().map_or_else(String::new, |hang| hang.sentence);
        if self.phase == ProcessPhase::Killed {
            return;
        }
        self.condemned = Some(format!("its event loop did not turn for {silent}{place}"));
        self.kill(actions);
    }

    /// The same when its own thread was the only one to tell.
    pub(super) fn kill_if_hung(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let due =
            self.hang.as_ref().and_then(Hang::until_ms).is_some_and(|until_ms| until_ms <= now_ms);
        let after_ms = self.release.spec.hang.map_or(0, |spec| spec.after_ms);
        if due {
            self.kill_hung(&duration_text(after_ms.into()), actions);
        }
    }
}
