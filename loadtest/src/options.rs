//! What can be typed.
//!
//! Owns: the command line and its help. Must never know: what a command does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::Outcome;
use crate::idle;
use crate::packages;
use crate::place::{Cores, Layout};

const EXAMPLES: &str = "\
Examples:
  cargo xtask loadtest --quick               what every change should keep, within 3 minutes
  cargo xtask loadtest hello express         two scenarios, their usual peers and times
  cargo xtask loadtest --node 24 express     on Node 24; --node stands before all else
  cargo xtask loadtest hello --peers node,uring
  cargo xtask loadtest --record              all, stored in loadtest/results; takes hours
  cargo xtask loadtest docs                  docs/benchmarks.md from what is stored

How a figure comes about: every peer serves the same app from fresh processes; the worker (Node) has one core to \
itself, the front and the load generator share the other. Rounds are interleaved (A B C, B C A, ...), a warm-up is \
thrown away; ratios are taken within a round and their median counts, so that a slow minute of the machine hits both \
sides. CPU is what the kernel charged front and worker, divided by requests; the load generator is not in it. At fixed \
rates (shares of what Node alone could do in this very run) latency counts from the time a request's turn came.";

/// Measures Hostler beside its peers: throughput, latency, CPU, memory, context switches, system calls.
///
/// Needs wrk (or oha); uses perf or strace (system calls) and those peers that are installed.
#[derive(Parser)]
#[command(
    name = "loadtest",
    bin_name = "cargo xtask loadtest",
    max_term_width = 115,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Names that can be typed, with what they are, who takes part and how long they take.
    List,
    /// Memory and CPU of connections that only stay open, WebSockets above all.
    Idle(IdleArgs),
    /// Writes docs/benchmarks.md and its plots from the newest stored run of each scenario.
    Docs(DocsArgs),
    /// Installs what is missing of the peers and tools, into `target/loadtest/tools`.
    Setup(packages::Selection),
    /// Removes what `setup` has installed.
    Remove(packages::Selection),
    /// Starts each peer with one worker and with several, and checks answers, upgrades and that nothing is left.
    Check(CheckArgs),
}

/// Who is measured, and where.
#[derive(Args)]
pub(crate) struct FieldArgs {
    /// Peers, separated by commas; `node` is what the others are compared with. Each scenario has its usual ones.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Core of the worker.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) worker_core: usize,
    /// Core of the front and of the load generator.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) front_core: usize,
}

impl FieldArgs {
    pub(crate) fn cores(&self) -> Outcome<Cores> {
        let cores = Cores { front: self.front_core, worker: self.worker_core };
        cores.check()?;
        Ok(cores)
    }

    pub(crate) fn layout(&self, workers: u32) -> Outcome<Layout> {
        Layout::new(self.cores()?, workers)
    }
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Scenarios (`list` names them); all if none is named.
    pub(crate) names: Vec<String>,
    /// Few short rounds of a few scenarios: within 3 minutes, good enough to see that nothing broke.
    #[arg(long, conflicts_with = "record")]
    pub(crate) quick: bool,
    /// Rounds; each measures every peer once, from fresh processes. 5 if not said.
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u32>,
    /// Seconds of each measurement. 3 if not said.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u32>,
    /// Seconds of load before each measurement, thrown away. 1 if not said.
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<u32>,
    /// Keep-alive connections of the load generator, whatever a scenario says. 64 if nobody says anything.
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<u32>,
    #[command(flatten)]
    pub(crate) field: FieldArgs,
    /// Do not count system calls (each measurement is a second shorter).
    #[arg(long)]
    pub(crate) no_syscalls: bool,
    /// Append a JSON line for each scenario, with all samples, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Append it to loadtest/results/SCENARIO.jsonl, from where `docs` makes the page.
    #[arg(long)]
    pub(crate) record: bool,
}

#[derive(Args)]
pub(crate) struct IdleArgs {
    /// What stays open.
    #[arg(long, value_enum, default_value = "websocket")]
    pub(crate) kind: idle::Kind,
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: u32,
    #[command(flatten)]
    pub(crate) field: FieldArgs,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Numbers of workers, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub(crate) workers: Vec<u32>,
    /// Scenarios, separated by commas; by default a plain answer, a body and an upgrade.
    #[arg(long, value_delimiter = ',', default_value = "hello,upload-1k,websocket")]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) field: FieldArgs,
}

#[derive(Args)]
pub(crate) struct DocsArgs {
    /// Write nothing; fail if the page is not what the stored results give.
    #[arg(long)]
    pub(crate) check: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn scenarios_and_commands_can_be_told_apart() {
        Cli::command().debug_assert();
        let parse = |words: &[&str]| Cli::try_parse_from([&["loadtest"], words].concat());
        let run = parse(&["hello", "json", "--quick", "--peers", "node,uring"]).expect("right");
        assert!(run.command.is_none() && run.run.quick);
        assert_eq!((run.run.names.len(), run.run.field.peers.len()), (2, 2));
        let docs = parse(&["docs", "--check"]).expect("right");
        assert!(matches!(docs.command, Some(Command::Docs(DocsArgs { check: true }))));
        assert!(parse(&["--quick", "--record"]).is_err(), "a quick run is not worth keeping");
    }
}
