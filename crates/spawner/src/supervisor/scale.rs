//! Scaling: more or fewer worker slots while the instance serves.
//!
//! Owns: how many workers are wanted, and the slots that come and go with that. Must never know: why somebody wants another
//! number. Slots go from the highest number down, so that those who stay keep theirs.

use hostler_protocol::control::CommandAnswer;

use super::event::{Action, Level};
use super::process::ProcessPhase;
use super::slot::{Slot, SlotState};
use super::{Machine, Phase};
use crate::outcome::Ticket;

/// Most workers of an app.
const WORKERS_MAX: u32 = 512;

/// A number of workers, as somebody says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// So many.
    To(u32),
    /// So many more, or fewer if negative.
    By(i32),
}

impl Machine {
    /// `hostler scale`, SIGTTIN, SIGTTOU.
    pub(super) fn want_workers(
        &mut self,
        cause: &str,
        scale: Scale,
        ticket: Option<Ticket>,
        actions: &mut Vec<Action>,
    ) {
        let before = self.workers_wanted;
        let wanted = match scale {
            Scale::To(workers) => Some(workers),
            Scale::By(change) => before.checked_add_signed(change),
        };
        let refusal = match wanted {
            _ if self.ending.is_some() => Some("the instance is stopping".to_owned()),
            Some(1..=WORKERS_MAX) => None,
            _ => Some(format!(
                "there are {before} workers; 1 to {WORKERS_MAX} are possible (`hostler stop` ends the instance)"
            )),
        };
        let (Some(wanted), None) = (wanted, &refusal) else {
            let text = format!("{cause}: not scaled: {}", refusal.clone().unwrap_or_default());
            actions.push(Action::Log(Level::Warn, text));
            let answer = CommandAnswer::Refused { why: refusal.unwrap_or_default() };
            actions.extend(ticket.map(|ticket| Action::Answer(ticket, answer)));
            return;
        };
        let text = format!("{cause}: {wanted} workers instead of {before}");
        actions.push(Action::Log(Level::Info, text));
        self.workers_wanted = wanted;
        self.scale_tickets.extend(ticket);
    }

    /// Makes the slots as many as are wanted; called after each event. A change of release comes first: it counts on its slots.
    pub(super) fn advance_scale(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let waits = self.roll.is_some() || self.sleep.is_dozing();
        if self.ending.is_some() || self.phase != Phase::Running || waits {
            return;
        }
        let asleep = self.sleep.is_asleep();
        let wanted = self.workers_wanted as usize;
        for index in wanted..self.slots.len() {
            self.close_slot(index, now_ms, actions);
        }
        while self.slots.len() > wanted && self.slots.last().is_some_and(Slot::is_stopped) {
            self.slots.pop();
        }
        for index in 0..wanted {
            if index == self.slots.len() {
                self.slots.push(Slot::new(index as u32, self.settings.core(index), asleep));
            }
            let slot = &mut self.slots[index];
            match slot.state {
                SlotState::Live(_) | SlotState::Backoff { .. } => {}
                SlotState::Empty | SlotState::Asleep | SlotState::Stopped if asleep => {
                    slot.state = SlotState::Asleep;
                }
                SlotState::Empty | SlotState::Asleep | SlotState::Stopped => {
                    slot.failures = 0;
                    self.spawn_worker(index, now_ms, actions);
                }
            }
        }
        // Those that sleep are as many as they shall be when somebody wants them.
        let are_there = asleep || self.slots[..wanted].iter().all(Slot::is_ready);
        if !self.scale_tickets.is_empty() && are_there {
            let answer = CommandAnswer::Scaled { workers: self.workers_wanted, asleep };
            let tickets = std::mem::take(&mut self.scale_tickets);
            actions
                .extend(tickets.into_iter().map(|ticket| Action::Answer(ticket, answer.clone())));
        }
    }

    /// A slot that is not wanted any more: its worker finishes what it has.
    fn close_slot(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        if self.slots[index].next.is_some() {
            self.drop_replacement(now_ms, actions);
        }
        let state = std::mem::replace(&mut self.slots[index].state, SlotState::Stopped);
        let SlotState::Live(mut process) = state else { return };
        let (worker, serves) = (process.worker, process.phase == ProcessPhase::Ready);
        if !serves {
            process.ask_to_go(kill_at_ms, actions);
        }
        self.slots[index].leaving.push(*process);
        if serves {
            self.put_on_standby(worker, actions);
            self.let_go(worker, now_ms, actions);
        }
    }

    /// A worker did not start or has died: nobody should wait for it without knowing.
    pub(super) fn scaling_failed(&mut self, why: &str, actions: &mut Vec<Action>) {
        let answer = CommandAnswer::Refused { why: why.to_owned() };
        let tickets = std::mem::take(&mut self.scale_tickets);
        actions.extend(tickets.into_iter().map(|ticket| Action::Answer(ticket, answer.clone())));
    }
}
