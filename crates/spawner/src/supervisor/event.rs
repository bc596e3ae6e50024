//! What goes into the supervisor machine and what comes out of it.
//!
//! Owns: the two vocabularies. Must never know: how an event was noticed or how an action is done;
//! that is the loop's work.

use std::path::PathBuf;
use std::rc::Rc;

use hostler_protocol::control::{CommandAnswer, FromProxy, PlainAddress, ToProxy, WorkerId};
use serde::{Deserialize, Serialize};

use super::autoscale::Load;
use super::death::Death;
use super::recycle::Figures;
use super::release::Release;
use super::report::Report;
use super::scale::Scale;
use crate::config::AppSpec;
use crate::outcome::{ExitReason, Notice, Ticket};
use crate::worker_command::Offer;

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The listeners are open: begin.
    Started,
    /// [`Action::SpawnProxy`] worked.
    ProxySpawned {
        /// Its process id.
        pid: u32,
    },
    /// [`Action::SpawnProxy`] did not work.
    ProxySpawnFailed(SpawnFailure),
    /// The proxy said something.
    ProxyMessage(FromProxy),
    /// The proxy closed its control socket: it ends, or is of no use.
    ProxyHungUp,
    /// The proxy process is gone and reaped.
    ProxyExited(Death),
    /// Another program shall take over.
    Upgrade {
        /// Who says so, for the log.
        cause: String,
        /// Which.
        program: PathBuf,
        /// Who waits for the outcome.
        ticket: Option<Ticket>,
    },
    /// [`Action::SpawnSuccessor`] worked.
    SuccessorSpawned,
    /// [`Action::SpawnSuccessor`] did not work.
    SuccessorSpawnFailed(SpawnFailure),
    /// The new program's proxy said something.
    SuccessorMessage(FromProxy),
    /// It is gone and reaped.
    SuccessorExited(Death),
    /// [`Action::TryProgram`] is done: nothing, or why the program is of no use.
    Tried(Result<(), String>),
    /// [`Action::HandOver`] did not work: the program is still the old one.
    HandOverFailed(String),
    /// [`Action::HandOver`] worked: this is the new program.
    TookOver {
        /// Version of the old one.
        from: String,
    },
    /// The supervisor before has died, and this one has all that the proxy has kept.
    Adopted,
    /// A retired proxy said something.
    RetiredMessage {
        /// Which.
        proxy: u32,
        /// What.
        message: FromProxy,
    },
    /// A retired proxy is gone and reaped.
    RetiredExited {
        /// Which.
        proxy: u32,
        /// How it ended.
        death: Death,
    },
    /// [`Action::SpawnWorker`] worked.
    WorkerSpawned {
        /// Which.
        worker: WorkerId,
        /// Its process id.
        pid: u32,
        /// Where it may listen, if it is a command.
        offer: Option<Offer>,
    },
    /// [`Action::Probe`] was accepted.
    Accepts {
        /// Which.
        worker: WorkerId,
        /// Where.
        address: PlainAddress,
    },
    /// [`Action::LookAround`] is done.
    LookedAround {
        /// Which.
        worker: WorkerId,
        /// Where its processes listen.
        found: Vec<String>,
    },
    /// [`Action::SpawnWorker`] did not work.
    WorkerSpawnFailed {
        /// Which.
        worker: WorkerId,
        /// Why.
        failure: SpawnFailure,
    },
    /// A worker's loader reports a step.
    Report {
        /// Which.
        worker: WorkerId,
        /// What it says.
        report: Report,
    },
    /// The process below a command that was [`Action::Watch`]ed has ended.
    AppEnded {
        /// Whose.
        worker: WorkerId,
    },
    /// A worker process is gone and reaped, and so is its process group.
    WorkerExited {
        /// Which.
        worker: WorkerId,
        /// How it ended.
        death: Death,
    },
    /// The supervisor got a signal.
    Signal(i32),
    /// `hostler stop`.
    StopCommand,
    /// The workers shall change to another release.
    Reload {
        /// Who says so, for the log.
        cause: String,
        /// Who waits for the outcome.
        ticket: Option<Ticket>,
        /// To the release before the last reload, instead of what is on disk now.
        back: bool,
    },
    /// There shall be another number of workers.
    Scale {
        /// Who says so, for the log.
        cause: String,
        /// The number.
        scale: Scale,
        /// Who waits until they are ready.
        ticket: Option<Ticket>,
    },
    /// [`Action::Ask`] is done.
    Answered {
        /// Who was asked.
        worker: WorkerId,
        /// The status, or why there was no answer.
        answer: Result<u16, String>,
    },
    /// What all workers together are doing.
    LoadSeen(Load),
    /// Somebody has looked at a worker from outside.
    Measured {
        /// Which.
        worker: WorkerId,
        /// What was seen.
        figures: Figures,
    },
    /// [`Action::ReadRelease`] is done: the app's settings, or what is wrong with them.
    ReleaseRead(Result<Box<AppSpec>, String>),
    /// Time has passed.
    Tick,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpawnFailure {
    /// What went wrong.
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether it may work later (no memory, no free process) or never will (no such program).
    pub(crate) retry: bool,
}

impl SpawnFailure {
    /// Both in one line.
    pub(crate) fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.why),
            None => self.why.clone(),
        }
    }
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Start the proxy process and send it its setup.
    SpawnProxy,
    /// Start a worker process.
    SpawnWorker {
        /// For this slot.
        slot: u32,
        /// With this number.
        worker: WorkerId,
        /// Of this release.
        release: Rc<Release>,
    },
    /// Start a proxy of another program beside the one that serves, with the same listeners.
    SpawnSuccessor {
        /// Which.
        program: PathBuf,
    },
    /// Have the workers connect to the new program's proxy beside the one that serves; or take that back.
    MoveWorkers {
        /// Which of the two.
        to_successor: bool,
    },
    /// Tell the new program's proxy something.
    TellSuccessor(ToProxy),
    /// Have a process of the new program read our state, and change nothing.
    TryProgram {
        /// Which.
        program: PathBuf,
    },
    /// Become the new program, with all that the old one has.
    HandOver {
        /// Which.
        program: PathBuf,
    },
    /// The new program's proxy is the proxy from now on, and the one before has this number.
    Crown {
        /// A number that no other has.
        retired: u32,
    },
    /// Tell a retired proxy something.
    TellRetired(u32, ToProxy),
    /// Send a worker a GET request; [`Event::Answered`] follows.
    Ask {
        /// Which.
        worker: WorkerId,
        /// Where it is.
        address: PlainAddress,
        /// The request target.
        path: String,
        /// Its connections begin with a line of ours.
        announced: bool,
    },
    /// Read the app's settings anew; [`Event::ReleaseRead`] follows.
    ReadRelease,
    /// Tell somebody how a reload ended.
    Answer(Ticket, CommandAnswer),
    /// Try whether a command accepts connections; [`Event::Accepts`] follows if it does.
    Probe {
        /// Which.
        worker: WorkerId,
        /// Where it may listen.
        offer: Offer,
    },
    /// Look where the processes of a command listen; [`Event::LookedAround`] follows.
    LookAround {
        /// Which.
        worker: WorkerId,
    },
    /// A process below a command is the worker's app: tell when it ends, by [`Event::AppEnded`].
    Watch {
        /// Whose.
        worker: WorkerId,
        /// Its process id.
        pid: u32,
    },
    /// SIGTERM to a watched process alone. What started it may pass the signal on, and an app that gets it twice may take the
    /// second for an order to end at once.
    TermApp {
        /// Whose.
        worker: WorkerId,
    },
    /// Tell the proxy something.
    SendProxy(ToProxy),
    /// Signal a process group.
    Signal {
        /// Whose.
        target: Target,
        /// Which signal.
        signal: StopSignal,
    },
    /// Pin the main thread of a worker to a core.
    Pin {
        /// Its process id.
        pid: u32,
        /// The core.
        core: u32,
    },
    /// Write a log line.
    Log(Level, String),
    /// Tell the caller.
    Notice(Notice),
    /// All children are gone: clean up and end.
    Exit(ExitReason),
}

/// A child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The proxy.
    Proxy,
    /// The proxy of the program that shall take over.
    Successor,
    /// A proxy of an earlier program.
    Retired(u32),
    /// A process of the program that shall take over, which tries whether it can.
    Trial,
    /// A worker.
    Worker(WorkerId),
}

/// The signals the machine sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// Importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// All is well.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something failed.
    Error,
}
