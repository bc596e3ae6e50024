//! Reload: all workers change to another release, and back if it is no good.
//!
//! Owns: the machine's decisions from the wish for a reload to its end. Must never know: where a release comes from (the
//! loop reads it), how a worker starts (`start`) or leaves (`leave`), how a bad release is taken back (`take_back`).
//!
//! ```text
//!              read               all of a batch ready      all of it serve, old ones drain      no crash for a while
//! asked for ---------> Starting --------------------> Shifting ---------------------> Probation ------------------> over
//!                        ^  |                             |  |                            |
//!                        |  | one fails to start          |  | a batch is left            | one crashes
//!                        |  v                             v  |                            v
//!                        |  taken back <------------------+--|----------------------------+
//!                        +-----------------------------------+
//! ```
//!
//! As long as it is not over the old workers of the last batch live on, without new requests, and take over again at once
//! if the new release is taken back. Those of earlier batches (there is more than one batch only if `max_surge` says so)
//! have gone by then, and are started again.

use std::rc::Rc;

use hostler_protocol::control::{CommandAnswer, WorkerId};
use serde::{Deserialize, Serialize};

use super::event::{Action, Level};
use super::process::{Process, ProcessPhase};
use super::release::Release;
use super::slot::SlotState;
use super::{Machine, Phase, duration_text};
use crate::config::AppSpec;
use crate::outcome::Ticket;

/// From telling the proxy of the new workers until it says that all shards reach them.
pub(super) const SHIFT_MS_MAX: u64 = 10_000;

/// A change of release under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Roll {
    /// What the workers change to.
    pub(super) release: Rc<Release>,
    stage: Stage,
    /// Who waits for the outcome.
    pub(super) tickets: Vec<Ticket>,
    begun_ms: u64,
    /// It undoes a roll that failed.
    pub(super) restores: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// A batch of new workers starts.
    Starting,
    /// It is complete, and the proxy has been told.
    Shifting {
        /// Then the proxy has failed to reach them.
        until_ms: u64,
    },
    /// All workers are new; the old ones of the last batch stand by.
    Probation {
        /// Then it is over.
        until_ms: u64,
    },
}

/// Somebody wants a reload.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Wish {
    cause: String,
    tickets: Vec<Ticket>,
    /// Back to the release before, instead of what is on disk.
    back: bool,
}

impl Roll {
    /// Back to the release that served before.
    pub(super) fn restoring(release: Rc<Release>, now_ms: u64) -> Self {
        let (stage, tickets) = (Stage::Starting, Vec::new());
        Self { release, stage, tickets, begun_ms: now_ms, restores: true }
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Starting => None,
            Stage::Shifting { until_ms } | Stage::Probation { until_ms } => Some(until_ms),
        }
    }
}

impl Machine {
    /// `hostler reload`, SIGHUP, restart.txt, `hostler rollback`. While another one is under way the wishes are collected:
    /// one reload after it satisfies them all.
    pub(super) fn want_reload(
        &mut self,
        cause: &str,
        ticket: Option<Ticket>,
        back: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.ending.is_some() {
            let why = "the instance is stopping".to_owned();
            actions.extend(
                ticket.map(|ticket| Action::Answer(ticket, CommandAnswer::Refused { why })),
            );
            return;
        }
        if back && self.previous.is_none() {
            let why = "no earlier release is known: there was no successful reload yet".to_owned();
            actions.extend(
                ticket.map(|ticket| Action::Answer(ticket, CommandAnswer::Refused { why })),
            );
            return;
        }
        let busy = if self.roll.is_some() {
            Some("it waits for the reload that is under way")
        } else if self.upgrade.is_some() {
            Some("it waits for the upgrade that is under way")
        } else if self.needs_its_workers() {
            Some("it waits for the clients of the proxy before the upgrade")
        } else {
            None
        };
        if let Some(busy) = busy {
            actions.push(Action::Log(Level::Info, format!("{cause}: {busy}")));
        }
        let wish = self.wish.get_or_insert_default();
        wish.cause = cause.to_owned();
        wish.back = back;
        wish.tickets.extend(ticket);
    }

    /// Takes the next step of whatever is under way; called after each event.
    pub(super) fn advance_roll(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        while self.ending.is_none() {
            let before = self.roll.as_ref().map(|roll| roll.stage);
            self.begin_wish(now_ms, actions);
            self.step_roll(now_ms, actions);
            if self.roll.as_ref().map(|roll| roll.stage) == before {
                return;
            }
        }
    }

    fn step_roll(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(roll) = &self.roll else { return };
        match roll.stage {
            Stage::Starting => self.advance_start(now_ms, actions),
            Stage::Shifting { until_ms } => {
                if self.nexts().all(|process| process.serving) {
                    self.shift(now_ms, actions);
                } else if until_ms <= now_ms {
                    self.cannot_be_reached(now_ms, actions);
                }
            }
            Stage::Probation { until_ms } if until_ms <= now_ms => self.approve(now_ms, actions),
            Stage::Probation { .. } => {}
        }
    }

    /// A wish is begun when the instance serves and no other one is under way.
    fn begin_wish(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let waits = self.roll.is_some() || self.reading.is_some() || self.upgrade.is_some();
        let waits = waits || self.sleep.is_dozing() || self.needs_its_workers();
        if self.phase != Phase::Running || waits {
            return;
        }
        let Some(wish) = self.wish.take() else { return };
        match self.previous.clone().filter(|_| wish.back) {
            Some(previous) => {
                let release = Rc::new(Release {
                    generation: self.next_generation(),
                    spec: previous.spec.clone(),
                });
                self.begin_roll(release, wish, now_ms, actions);
            }
            None => {
                self.reading = Some(wish);
                actions.push(Action::ReadRelease);
            }
        }
    }

    /// The app's settings have been read anew.
    pub(super) fn release_read(
        &mut self,
        read: Result<Box<AppSpec>, String>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(wish) = self.reading.take() else { return };
        match read {
            Ok(mut spec) if self.ending.is_none() => {
                // A folder gives its name to an app that has no other, and each release has its own folder.
                spec.name.clone_from(&self.settings.app);
                let release = Release::new(self.next_generation(), *spec);
                self.begin_roll(release, wish, now_ms, actions);
            }
            Ok(_) => refuse(wish.tickets, "the instance is stopping", actions),
            Err(why) => {
                let text = format!("{}: not reloaded: {why}", wish.cause);
                actions.push(Action::Log(Level::Error, text));
                refuse(wish.tickets, &why, actions);
            }
        }
    }

    fn next_generation(&mut self) -> u32 {
        self.generations += 1;
        self.generations
    }

    fn begin_roll(
        &mut self,
        release: Rc<Release>,
        wish: Wish,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let text = format!(
            "{}: generation {} starts in {}",
            wish.cause,
            release.generation,
            release.cwd()
        );
        actions.push(Action::Log(Level::Info, text));
        self.drop_replacement(now_ms, actions);
        self.reload_wakes();
        self.roll = Some(Roll {
            release,
            stage: Stage::Starting,
            tickets: wish.tickets,
            begun_ms: now_ms,
            restores: false,
        });
    }

    /// Orders the processes of a batch; tells the proxy of them when all are ready.
    fn advance_start(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(roll) = &self.roll else { return };
        let release = Rc::clone(&roll.release);
        if self.nexts().next().is_none() {
            let surge_max = release.spec.reload.surge_max.map_or(usize::MAX, |max| max as usize);
            let is_left =
                |&index: &usize| self.slots[index].is_wanted() && !self.slots[index].runs(&release);
            let left = (0..self.slots.len()).filter(is_left);
            let batch: Vec<usize> = left.take(surge_max.max(1)).collect();
            for index in batch {
                let process = self.new_process(index, Rc::clone(&release), now_ms, actions);
                self.slots[index].next = Some(process);
            }
        }
        if self.nexts().all(|process| process.phase == ProcessPhase::Warm) {
            let workers: Vec<WorkerId> = self.nexts().map(|process| process.worker).collect();
            self.set_stage(Stage::Shifting { until_ms: now_ms + SHIFT_MS_MAX });
            for worker in workers {
                if let Some(process) = self.process_mut(worker) {
                    process.phase = ProcessPhase::Ready;
                }
                self.announce_worker(worker, actions);
            }
        }
    }

    /// The new workers of the batch take over, the old ones get nothing new.
    fn shift(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(roll) = &self.roll else { return };
        let release = Rc::clone(&roll.release);
        let restores = roll.restores;
        for index in 0..self.slots.len() {
            self.take_over(index, now_ms, actions);
        }
        let is_done = |slot: &super::Slot| !slot.is_wanted() || slot.runs(&release);
        let is_complete = self.slots.iter().all(is_done);
        if !is_complete || restores {
            // The next batch needs their memory; and nobody wants a release back that was taken back.
            self.dismiss_standby(now_ms, actions);
        }
        let probation_ms = u64::from(release.spec.reload.probation_ms);
        if !is_complete {
            self.set_stage(Stage::Starting);
        } else if restores {
            self.roll = None;
        } else {
            let text = format!("generation {} serves", release.generation);
            actions.push(Action::Log(Level::Info, text));
            self.set_stage(Stage::Probation { until_ms: now_ms + probation_ms });
        }
    }

    /// The next process of a slot takes the place of its worker.
    pub(super) fn take_over(&mut self, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let slot = &mut self.slots[index];
        let Some(next) = slot.next.take() else { return };
        slot.failures = 0;
        let old = std::mem::replace(&mut slot.state, SlotState::Live(next));
        if let SlotState::Live(old) = old {
            let worker = old.worker;
            slot.leaving.push(*old);
            self.replaced(worker, now_ms, actions);
            self.hurry_oldest(index, now_ms, actions);
        }
    }

    /// What happens to a worker whose place is taken.
    fn replaced(&mut self, worker: WorkerId, now_ms: u64, actions: &mut Vec<Action>) {
        let kill_at_ms = now_ms + u64::from(self.settings.stop_ms_max);
        let Some(process) = self.process_mut(worker) else {
            return;
        };
        match process.phase {
            ProcessPhase::Ready => self.put_on_standby(worker, actions),
            ProcessPhase::Starting { .. } | ProcessPhase::Warm => {
                process.ask_to_go(kill_at_ms, actions);
            }
            ProcessPhase::Standby
            | ProcessPhase::Draining { .. }
            | ProcessPhase::Stopping { .. }
            | ProcessPhase::Killed => {}
        }
    }

    /// What the release before asked for; somebody may have changed it since by hand.
    fn previous_workers(&self) -> u32 {
        self.previous.as_ref().map_or(0, |previous| previous.spec.workers)
    }

    /// The workers that stand by are not needed any more.
    pub(super) fn dismiss_standby(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let stands_by = |process: &&Process| process.phase == ProcessPhase::Standby;
        let processes = self.slots.iter().flat_map(super::Slot::processes);
        let workers: Vec<WorkerId> =
            processes.filter(stands_by).map(|process| process.worker).collect();
        for worker in workers {
            self.let_go(worker, now_ms, actions);
        }
    }

    /// The new release has proved itself.
    fn approve(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(roll) = self.roll.take() else { return };
        let took_ms = now_ms.saturating_sub(roll.begun_ms);
        let generation = roll.release.generation;
        let text = format!("generation {generation} is in place after {}", duration_text(took_ms));
        actions.push(Action::Log(Level::Info, text));
        self.previous = Some(std::mem::replace(&mut self.release, roll.release));
        self.dismiss_standby(now_ms, actions);
        if self.release.spec.workers != self.previous_workers() {
            self.workers_wanted = self.release.spec.workers;
        }
        let workers = self.workers_wanted;
        for ticket in roll.tickets {
            let answer = CommandAnswer::Reloaded { generation, workers, took_ms };
            actions.push(Action::Answer(ticket, answer));
        }
    }

    /// Nobody waits any more.
    pub(super) fn forget_tickets(&mut self) {
        for wish in [&mut self.wish, &mut self.reading].into_iter().flatten() {
            wish.tickets.clear();
        }
        if let Some(roll) = &mut self.roll {
            roll.tickets.clear();
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.forget_tickets();
        }
    }

    /// The instance ends: nobody gets what was wished for.
    pub(super) fn drop_wishes(&mut self, actions: &mut Vec<Action>) {
        self.scaling_failed("the instance is stopping", actions);
        self.replacement = None;
        self.give_up("the instance is stopping".to_owned(), actions);
        let waiting = [self.wish.take(), self.reading.take()];
        let tickets = waiting.into_iter().flatten().flat_map(|wish| wish.tickets);
        let rolling = self.roll.take().into_iter().flat_map(|roll| roll.tickets);
        refuse(tickets.chain(rolling).collect(), "the instance is stopping", actions);
    }

    fn nexts(&self) -> impl Iterator<Item = &Process> {
        self.slots.iter().filter_map(|slot| slot.next.as_deref())
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(roll) = &mut self.roll {
            roll.stage = stage;
        }
    }
}

fn refuse(tickets: Vec<Ticket>, why: &str, actions: &mut Vec<Action>) {
    let answer = CommandAnswer::Refused { why: why.to_owned() };
    actions.extend(tickets.into_iter().map(|ticket| Action::Answer(ticket, answer.clone())));
}
