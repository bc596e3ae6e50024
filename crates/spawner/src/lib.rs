//! The meaning of a process: the supervisor that starts the proxy and the workers, watches them,
//! says why they died, starts them again and stops them all.
//!
//! Must never know: HTTP, frames, requests. Called by the command line: [`run`] is `hostler run`,
//! [`command`] and [`stop`] are the client side of `hostler status` and `hostler stop`.
#![deny(unsafe_code)]

mod address;
mod adoption;
mod client;
mod config;
mod event_loop;
mod exec;
mod exec_command;
mod group_listens;
mod hand_over;
mod journey;
mod listeners;
mod outcome;
mod output;
mod passed_fd;
mod port_owner;
mod run;
pub mod runtime_dir;
mod supervisor;
mod worker_command;

pub use address::{AddressError, ListenAddress};
pub use adoption::is_orphaned;
pub use client::{CommandError, command, stop};
pub use config::{
    AppSpec, HangSpec, Launch, ReadySpec, RecycleSpec, ReloadSpec, START_MS_MAX, STOP_MS_MAX,
    SleepSpec, SupervisorConfig, WorkerRange,
};
pub use exec_command::{ExecError, ExecSession, exit_code};
pub use hand_over::Inheritance;
pub use journey::{Journey, StartFailure, Step, StepRecord, StepState};
pub use outcome::{ExitReason, Notice, ReadyInfo};
pub use output::{LogWriter, log_writer};
pub use run::{ReadApp, resume, run, stop_orphans};
