//! Ready by an answer: a worker that listens is asked by HTTP until it says that it can serve.
//!
//! Owns: when it is asked, what counts as yes, and what is said when it never does. Must never know: sockets; the loop asks.

use hostler_protocol::control::{Transport, WorkerId};
use serde::{Deserialize, Serialize};

use super::event::{Action, Level};
use super::process::{Process, ProcessPhase};
use super::{Machine, duration_text};
use crate::config::ReadySpec;
use crate::journey::Step;

/// Pauses between two questions: the first is short, because most apps can serve at once.
const PAUSE_MS_FIRST: u64 = 50;
const PAUSE_MS_MAX: u64 = 1_000;

/// A worker that is asked whether it can serve.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Health {
    /// When it is asked again; none while the answer is due.
    next_ms: Option<u64>,
    pause_ms: u64,
    /// What the last answer was.
    last: Option<String>,
}

impl Health {
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }
}

impl Process {
    /// The answer that is due will not come.
    pub(super) fn ask_again(&mut self, now_ms: u64) {
        if let Some(health) = &mut self.health {
            health.next_ms.get_or_insert(now_ms);
        }
    }
}

impl Machine {
    /// A worker accepts connections: it is ready, unless it has to prove that it can answer.
    pub(super) fn worker_listens(
        &mut self,
        worker: WorkerId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.process_mut(worker) else { return };
        process.journey.done(Step::Connect, now_ms);
        if matches!(process.release.spec.ready, ReadySpec::Answers(_)) {
            process.health =
                Some(Health { next_ms: Some(now_ms), pause_ms: PAUSE_MS_FIRST, last: None });
            self.ask_health(worker, now_ms, actions);
        } else {
            self.worker_ready(worker, now_ms, actions);
        }
    }

    /// Asks, if it is time.
    pub(super) fn ask_health(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let Self { slots, settings, .. } = self;
        let Some(slot) = slots.iter_mut().find(|slot| slot.place_of(worker).is_some()) else {
            return;
        };
        let (number, core) = (slot.number, slot.core);
        let Some(process) = slot.processes_mut().find(|process| process.worker == worker) else {
            return;
        };
        let Some(address) = process.address(number, core, settings) else { return };
        let ReadySpec::Answers(path) = &process.release.spec.ready else { return };
        let path = path.clone();
        // A command's own socket or port knows nothing of the line.
        let announced = process.transport == Transport::Frames && process.accepts.is_none();
        if let Some(health) = &mut process.health
            && health.next_ms.is_some_and(|next_ms| next_ms <= now_ms)
        {
            health.next_ms = None;
            actions.push(Action::Ask { worker, address: address.plain, path, announced });
        }
    }

    /// What a worker has answered: a status, or why there was none.
    pub(super) fn health_answered(
        &mut self,
        worker: WorkerId,
        answer: Result<u16, String>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, _)) = self.find(worker) else { return };
        let name = self.worker_name(index);
        let Some(process) = self.process_mut(worker) else { return };
        let starting = matches!(process.phase, ProcessPhase::Starting { .. });
        let Some(health) = process.health.as_mut().filter(|_| starting) else { return };
        // As Kubernetes has it: success and redirections.
        if let Ok(200..=399) = answer {
            process.health = None;
            process.journey.done(Step::Answer, now_ms);
            self.worker_ready(worker, now_ms, actions);
            return;
        }
        let last = match answer {
            Ok(status) => format!("status {status}"),
            Err(why) => why,
        };
        let is_new = health.last.as_ref() != Some(&last);
        health.next_ms = Some(now_ms + health.pause_ms);
        health.pause_ms = (health.pause_ms * 2).min(PAUSE_MS_MAX);
        health.last = Some(last.clone());
        if is_new {
            let text = format!("{name} is not ready: {last}");
            actions.push(Action::Log(Level::Info, text));
        }
    }
}

/// Why a worker that was asked never became ready.
pub(super) fn explain_health(process: &Process, limit_ms: u64) -> Option<String> {
    let health = process.health.as_ref()?;
    let ReadySpec::Answers(path) = &process.release.spec.ready else { return None };
    let last = health.last.as_deref().unwrap_or("there was no answer");
    let limit = duration_text(limit_ms);
    Some(format!("GET {path} was not answered with success within {limit}, the last time: {last}"))
}
