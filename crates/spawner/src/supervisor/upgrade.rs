//! Upgrade: another program takes the place of this one, and neither a worker nor a client notices.
//!
//! Owns: the machine's decisions from the wish to the moment when the new program speaks as the supervisor. Must never know: how a
//! process becomes another program; the loop does that.
//!
//! The new program shows what it is worth before anything depends on it: its proxy is started beside the old one, must serve, and must
//! be reached by every worker; then a process of it reads our state, as a trial. Only then does the supervisor become the new program,
//! and the old proxy [retires](super::retired). Up to that moment going back means to kill one process.
//!
//! ```text
//! Waiting -> Spawning -> Starting -> Moving -> Trying -> HandingOver -> (the new program: crowned)
//!    |          |           |          |         |           |
//!    +----------+-----------+----------+---------+-----------+--------> Failed -> (nothing has changed)
//! ```

use std::path::PathBuf;

use hostler_protocol::control::{CommandAnswer, FromProxy, IoChoice, ProgramFacts, WorkerId};
use serde::{Deserialize, Serialize};

use super::death::Death;
use super::event::{Action, Level, SpawnFailure, StopSignal, Target};
use super::proxy::{Proxy, START_MS_MAX};
use super::retired::RETIRED_MAX;
use super::{Machine, Phase, duration_text, lower};
use crate::outcome::Ticket;

/// A reload that is under way is waited for.
const WAIT_MS_MAX: u64 = 120_000;

/// Workers connect within a turn of their loops.
const MOVE_MS_MAX: u64 = 15_000;

/// To read some kilobytes.
const TRY_MS_MAX: u64 = 10_000;

/// An upgrade under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upgrade {
    cause: String,
    program: PathBuf,
    tickets: Vec<Ticket>,
    begun_ms: u64,
    stage: Stage,
    /// What the new program says of itself.
    facts: ProgramFacts,
    /// How its proxy serves.
    io: Option<(IoChoice, String)>,
    /// Workers that its proxy reaches.
    pub(super) reached: Vec<WorkerId>,
}

/// See the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Something else has to end first.
    Waiting { until_ms: u64 },
    /// The new program's proxy is being made.
    Spawning,
    /// It runs and prepares.
    Starting { until_ms: u64 },
    /// It serves, and the workers connect to it.
    Moving { until_ms: u64 },
    /// Every worker is there. A process of the new program reads our state.
    Trying { until_ms: u64 },
    /// The program changes.
    HandingOver,
    /// It was given up; its proxy has been killed and is not gone yet.
    Failed,
}

impl Upgrade {
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Waiting { until_ms }
            | Stage::Starting { until_ms }
            | Stage::Moving { until_ms }
            | Stage::Trying { until_ms } => Some(until_ms),
            Stage::Spawning | Stage::HandingOver | Stage::Failed => None,
        }
    }

    /// Nobody waits any more.
    pub(super) fn forget_tickets(&mut self) {
        self.tickets.clear();
    }

    /// Its proxy wants to know of every worker.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.stage, Stage::Moving { .. } | Stage::Trying { .. } | Stage::HandingOver)
    }
}

impl Machine {
    /// `hostler upgrade`, SIGUSR2.
    pub(super) fn want_upgrade(
        &mut self,
        cause: &str,
        program: PathBuf,
        ticket: Option<Ticket>,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let refusal = match &self.upgrade {
            _ if self.ending.is_some() => Some("the instance is stopping"),
            Some(upgrade) if upgrade.stage != Stage::Failed => Some("an upgrade is under way"),
            _ => None,
        };
        if let Some(why) = refusal {
            actions.push(Action::Log(Level::Warn, format!("{cause}: not upgraded: {why}")));
            refuse(ticket, why, actions);
            return;
        }
        if self.upgrade.is_some() {
            refuse(ticket, "the upgrade before has just failed; try again", actions);
            return;
        }
        self.upgrade = Some(Upgrade {
            cause: cause.to_owned(),
            program,
            tickets: ticket.into_iter().collect(),
            begun_ms: now_ms,
            stage: Stage::Waiting { until_ms: now_ms + WAIT_MS_MAX },
            facts: ProgramFacts::default(),
            io: None,
            reached: Vec::new(),
        });
    }

    /// Takes the next step; called after each event.
    pub(super) fn advance_upgrade(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(upgrade) = &self.upgrade else { return };
        let late = upgrade.deadline_ms().is_some_and(|until_ms| until_ms <= now_ms);
        match upgrade.stage {
            Stage::Waiting { .. } => match self.is_busy() {
                None => self.start_successor(actions),
                Some(why) if late => self.give_up(why.to_owned(), actions),
                Some(_) => {}
            },
            Stage::Starting { .. } | Stage::Moving { .. } | Stage::Trying { .. }
                if !self.proxy.is_serving() =>
            {
                self.give_up("the proxy that serves died meanwhile".to_owned(), actions);
            }
            Stage::Starting { .. } if late => {
                let why = format!("its proxy did not serve within {} s", START_MS_MAX / 1_000);
                self.give_up(why, actions);
            }
            Stage::Moving { .. } => match self.left_behind() {
                None => self.try_program(now_ms, actions),
                Some(name) if late => {
                    let limit = duration_text(MOVE_MS_MAX);
                    let why = format!("its proxy was not reached by {name} within {limit}");
                    self.give_up(why, actions);
                }
                Some(_) => {}
            },
            Stage::Trying { .. } if late => {
                let limit = duration_text(TRY_MS_MAX);
                self.give_up(format!("it did not read our state within {limit}"), actions);
            }
            Stage::Starting { .. }
            | Stage::Spawning
            | Stage::Trying { .. }
            | Stage::HandingOver
            | Stage::Failed => {}
        }
    }

    /// What an upgrade has to wait for.
    fn is_busy(&self) -> Option<&'static str> {
        if self.phase != Phase::Running {
            Some("no worker has been ready yet")
        } else if self.roll.is_some() || self.reading.is_some() {
            Some("a reload is under way")
        } else if self.replacement.is_some() {
            Some("a worker is being replaced")
        } else if self.sleep.is_dozing() {
            Some("the app falls asleep")
        } else if !self.proxy.is_serving() {
            Some("the proxy is being started again")
        } else if self.retired.len() >= RETIRED_MAX {
            Some("the proxies of earlier upgrades still have clients")
        } else {
            None
        }
    }

    fn start_successor(&mut self, actions: &mut Vec<Action>) {
        let Some(upgrade) = &mut self.upgrade else { return };
        upgrade.stage = Stage::Spawning;
        let program = upgrade.program.clone();
        let text = format!("{}: trying {}", upgrade.cause, program.display());
        actions.push(Action::Log(Level::Info, text));
        actions.push(Action::SpawnSuccessor { program });
    }

    pub(super) fn successor_spawned(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        match &mut self.upgrade {
            Some(upgrade) if upgrade.stage == Stage::Spawning => {
                upgrade.stage = Stage::Starting { until_ms: now_ms + START_MS_MAX };
            }
            _ => actions.push(kill()),
        }
    }

    pub(super) fn successor_spawn_failed(
        &mut self,
        failure: SpawnFailure,
        actions: &mut Vec<Action>,
    ) {
        self.give_up(failure.text(), actions);
        self.upgrade = None;
    }

    /// The new program's proxy has said something.
    pub(super) fn successor_said(
        &mut self,
        message: FromProxy,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(upgrade) = &mut self.upgrade else { return };
        match message {
            FromProxy::Serving { io, io_reason, program }
                if matches!(upgrade.stage, Stage::Starting { .. }) =>
            {
                if let Some(why) = incompatible(&program) {
                    self.give_up(why, actions);
                    return;
                }
                upgrade.facts = program;
                upgrade.io = Some((io, io_reason));
                upgrade.stage = Stage::Moving { until_ms: now_ms + MOVE_MS_MAX };
                actions.push(Action::MoveWorkers { to_successor: true });
                self.introduce_to_successor(actions);
            }
            FromProxy::Failed { why } => self.give_up(format!("its proxy failed: {why}"), actions),
            FromProxy::WorkerServing { worker } => upgrade.reached.push(worker),
            // It accepts clients already, and the app sleeps.
            FromProxy::WorkerWanted => self.worker_wanted(actions),
            // It has no clients yet.
            _ => {}
        }
    }

    fn try_program(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.stage = Stage::Trying { until_ms: now_ms + TRY_MS_MAX };
            actions.push(Action::TryProgram { program: upgrade.program.clone() });
        }
    }

    /// The process that was to read our state has ended, or could not be started.
    pub(super) fn tried(&mut self, result: Result<(), String>, actions: &mut Vec<Action>) {
        let Some(upgrade) = &mut self.upgrade else { return };
        if !matches!(upgrade.stage, Stage::Trying { .. }) {
            return;
        }
        match result {
            Ok(()) => {
                upgrade.stage = Stage::HandingOver;
                actions.push(Action::HandOver { program: upgrade.program.clone() });
            }
            Err(why) => self.give_up(format!("it cannot go on with our state: {why}"), actions),
        }
    }

    /// The program has not changed after all.
    pub(super) fn hand_over_failed(&mut self, why: String, actions: &mut Vec<Action>) {
        self.give_up(why, actions);
    }

    /// We are the new program, and have all that the old one had.
    pub(super) fn took_over(&mut self, from: &str, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let (io, io_reason) = upgrade.io.unwrap_or((IoChoice::Auto, String::new()));
        let how = format!("by {}: {io_reason}", lower(io));
        self.retire_proxy(now_ms, actions);
        self.proxy = Proxy::serving(io, io_reason);
        let took = duration_text(now_ms.saturating_sub(upgrade.begun_ms));
        let to = upgrade.facts.version;
        let text = format!(
            "{}: version {to} of {} has taken over from {from} after {took}; its proxy serves {how}",
            upgrade.cause,
            upgrade.program.display(),
        );
        actions.push(Action::Log(Level::Info, text));
        for ticket in upgrade.tickets {
            let answer = CommandAnswer::Upgraded { from: from.to_owned(), to: to.clone() };
            actions.push(Action::Answer(ticket, answer));
        }
    }

    /// The new program's proxy is gone, and reaped.
    pub(super) fn successor_exited(&mut self, death: &Death, actions: &mut Vec<Action>) {
        let mut why = format!("its proxy {}", death.explained());
        if let Some(words) = death.last_words() {
            why.push_str(&format!("; its last words: {words}"));
        }
        self.give_up(why, actions);
        self.upgrade = None;
    }

    /// All stays as it was.
    pub(super) fn give_up(&mut self, why: String, actions: &mut Vec<Action>) {
        let Some(upgrade) = &mut self.upgrade else { return };
        let stage = std::mem::replace(&mut upgrade.stage, Stage::Failed);
        if stage == Stage::Failed {
            return;
        }
        let text = format!(
            "{}: not upgraded to {}: {why}; the old program serves on",
            upgrade.cause,
            upgrade.program.display()
        );
        actions.push(Action::Log(Level::Error, text));
        for ticket in std::mem::take(&mut upgrade.tickets) {
            refuse(Some(ticket), &why, actions);
        }
        match stage {
            Stage::Waiting { .. } => self.upgrade = None,
            // It is killed as soon as it is there.
            Stage::Spawning | Stage::Failed => {}
            Stage::Starting { .. } => actions.push(kill()),
            Stage::Moving { .. } | Stage::Trying { .. } | Stage::HandingOver => {
                if let Stage::Trying { .. } = stage {
                    let (target, signal) = (Target::Trial, StopSignal::Kill);
                    actions.push(Action::Signal { target, signal });
                }
                actions.push(Action::MoveWorkers { to_successor: false });
                actions.push(kill());
            }
        }
    }
}

/// Why a program cannot go on with what this one has.
fn incompatible(program: &ProgramFacts) -> Option<String> {
    let own = ProgramFacts::own();
    let differs = if program.worker_protocol != own.worker_protocol {
        "it speaks another protocol with workers"
    } else if program.state_format != own.state_format {
        "it cannot read the state of this version"
    } else {
        return None;
    };
    let version = if program.version.is_empty() { "an older version" } else { &program.version };
    Some(format!(
        "{version} cannot take over from {}: {differs}; use `hostler stop` and start it anew",
        own.version
    ))
}

fn refuse(ticket: Option<Ticket>, why: &str, actions: &mut Vec<Action>) {
    let answer = CommandAnswer::Refused { why: why.to_owned() };
    actions.extend(ticket.map(|ticket| Action::Answer(ticket, answer)));
}

fn kill() -> Action {
    Action::Signal { target: Target::Successor, signal: StopSignal::Kill }
}
