//! Load tests: Hostler beside Node alone and nginx, on one machine, fairly.
//!
//! Owns: the command line and the order of a run. Must never know: how a peer is started, how load is made, how
//! CPU time is read. Started by `cargo xtask loadtest`, which builds the release binary first.
//!
//! How a figure comes about: every peer serves the same app from fresh processes; the worker (Node) has one core to
//! itself, the front and the load generator share the other; rounds are interleaved (A B C, B C A, ...), a
//! warm-up is thrown away; ratios are taken within a round, so that a slow minute of the machine hits both sides.
#![forbid(unsafe_code)]

mod apps;
mod check;
mod cpu;
mod extras;
mod family;
mod generator;
mod http;
mod idle;
mod interrupt;
mod machine;
mod packages;
mod peers;
mod place;
mod process;
mod report;
mod rounds;
mod scenarios;
mod syscalls;
mod websocket;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::generator::Generator;
use crate::peers::Peer;
use crate::place::{Cores, Layout};
use crate::rounds::Plan;
use crate::scenarios::Scenario;

/// What any step of a load test may end with; the text is for people.
pub(crate) type Outcome<T> = Result<T, String>;

/// Measures Hostler beside its peers. Needs wrk or oha; uses nginx and strace if they are installed.
#[derive(Parser)]
#[command(name = "cargo xtask loadtest", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The figures that every change should keep: hello and json, some minutes.
    Quick(QuickArgs),
    /// Memory and CPU of connections that only stay open.
    Idle(IdleArgs),
    /// The names that --only and --peers understand.
    List,
    /// Installs what is missing of the peers and tools, into `target/loadtest/tools`.
    Setup(packages::Selection),
    /// Removes what `setup` has installed.
    Remove(packages::Selection),
    /// Starts each peer with one worker and with several, and checks answers, upgrades and that nothing is left.
    Check(CheckArgs),
}

/// Who is measured, and where.
#[derive(Args)]
struct FieldArgs {
    /// Peers, separated by commas; `node` is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_value = "node,nginx,uring,epoll")]
    peers: Vec<String>,
    /// Core of the worker.
    #[arg(long, default_value_t = 1)]
    worker_core: usize,
    /// Core of the front and of the load generator.
    #[arg(long, default_value_t = 0)]
    front_core: usize,
}

impl FieldArgs {
    fn layout(&self, workers: u32) -> Outcome<Layout> {
        let cores = Cores { front: self.front_core, worker: self.worker_core };
        cores.check()?;
        Layout::new(cores, workers)
    }
}

#[derive(Args)]
struct QuickArgs {
    /// Rounds; each measures every peer once, from fresh processes.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Seconds of load before each measurement, thrown away.
    #[arg(long, default_value_t = 1)]
    warmup: u32,
    /// Processes of the app; with more than one everybody shares both cores.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Keep-alive connections of the load generator.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Scenarios, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "hello,json")]
    only: Vec<String>,
    #[command(flatten)]
    field: FieldArgs,
    /// Leave out system calls and memory.
    #[arg(long)]
    no_extras: bool,
    /// Append one JSON line with all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct IdleArgs {
    /// What stays open.
    #[arg(long, value_enum, default_value = "websocket")]
    kind: idle::Kind,
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    field: FieldArgs,
}

#[derive(Args)]
struct CheckArgs {
    /// Numbers of workers, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<u32>,
    /// Scenarios, separated by commas; by default a plain answer, a body and an upgrade.
    #[arg(long, value_delimiter = ',', default_value = "hello,upload-1k,websocket")]
    only: Vec<String>,
    #[command(flatten)]
    field: FieldArgs,
}

fn main() -> ExitCode {
    let outcome = family::become_reaper().and_then(|()| interrupt::watch()).and_then(|()| run());
    interrupt::finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("loadtest: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    match Cli::parse().command {
        Command::Quick(args) => quick(&args),
        Command::Idle(args) => idle(&args),
        Command::List => list(),
        Command::Setup(selection) => packages::setup(&selection),
        Command::Remove(selection) => packages::remove(&selection),
        Command::Check(args) => {
            let layouts = args.workers.iter().map(|&workers| args.field.layout(workers));
            let layouts = layouts.collect::<Outcome<Vec<_>>>()?;
            check::run(&available(&args.field.peers)?, &layouts, &args.only)
        }
    }
}

fn list() -> Outcome<()> {
    println!("scenarios (loadtest/scenarios):");
    for scenario in scenarios::all()? {
        println!("  {:<16} {}", scenario.name, scenario.about);
    }
    println!("peers: {}", peers::names().join(", "));
    Ok(())
}

fn quick(args: &QuickArgs) -> Outcome<()> {
    let layout = args.field.layout(args.workers)?;
    let generator = Generator::find()?;
    let mut scenarios =
        args.only.iter().map(|name| Scenario::by_name(name)).collect::<Outcome<Vec<_>>>()?;
    for scenario in &mut scenarios {
        scenario.folder = apps::install(scenario)?;
    }
    let mut peers = available(&args.field.peers)?;
    peers.retain(|peer| {
        let why = peer.unfit(layout);
        why.iter().for_each(|why| eprintln!("SKIPPED: {peer}: {why}"));
        why.is_none()
    });
    let plan = Plan {
        rounds: args.rounds.max(1),
        measure: Duration::from_secs(args.seconds.max(1).into()),
        warmup: Duration::from_secs(args.warmup.into()),
        connections: args.connections.max(1),
        layout,
    };
    let machine = machine::describe(&generator, &peers);
    println!("{machine}");
    println!("{}", plan.describe(&generator));
    println!("{}", peers::describe(&peers));
    let mut results = Vec::new();
    for scenario in &scenarios {
        let result = rounds::run(&plan, scenario, &peers, &generator)?;
        println!("{}", report::scenario_table(&result));
        results.push(result);
    }
    let extras =
        if args.no_extras { Vec::new() } else { extras::measure(&plan, &peers, &generator)? };
    println!("{}", report::targets(&results, &extras));
    if let Some(file) = &args.json {
        report::append_json(file, &machine, &plan, &results, &extras)?;
    }
    Ok(())
}

fn idle(args: &IdleArgs) -> Outcome<()> {
    let layout = args.field.layout(1)?;
    let peers = available(&args.field.peers)?;
    println!("{}", machine::describe(&Generator::find()?, &peers));
    println!("{}", idle::measure(args.kind, args.connections, &peers, layout)?);
    Ok(())
}

/// The peers that this machine has; a missing one is said loudly and left out.
fn available(names: &[String]) -> Outcome<Vec<Peer>> {
    let mut found = Vec::new();
    for peer in peers::by_names(names)? {
        match peer.missing() {
            None => found.push(peer),
            Some(remedy) => eprintln!("SKIPPED: {peer} is not available here: {remedy}"),
        }
    }
    if found.is_empty() { Err("no peer is left to measure".to_owned()) } else { Ok(found) }
}
