//! Load tests: Hostler beside Node alone and other fronts, on one machine, fairly.
//!
//! Owns: the order of a run. Must never know: how a peer is started, how load is made, how CPU time is read. Started
//! by `cargo xtask loadtest`, which builds the release binary first. How a figure comes about: `options`, or `--help`.
#![forbid(unsafe_code)]

mod apps;
mod beside;
mod check;
mod cpu;
mod docs;
mod family;
mod figures;
mod generator;
mod http;
mod idle;
mod interrupt;
mod machine;
mod measure;
mod oha;
mod options;
mod paced;
mod packages;
mod peers;
mod place;
mod plan;
mod process;
mod record;
mod report;
mod rounds;
mod scenarios;
mod slow;
mod syscalls;
mod targets;
mod websocket;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::generator::Generator;
use crate::options::{CheckArgs, Cli, Command, IdleArgs, RunArgs};
use crate::peers::Peer;
use crate::plan::Plan;
use crate::record::Record;
use crate::scenarios::Scenario;
use crate::syscalls::Counter;

/// What any step of a load test may end with; the text is for people.
pub(crate) type Outcome<T> = Result<T, String>;

/// Whom `--quick` measures.
const QUICK_PEERS: [&str; 4] = ["node", "nginx", "uring", "epoll"];

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
    let cli = Cli::parse();
    match cli.command {
        None => measure(&cli.run),
        Some(Command::Idle(args)) => measure_idle(&args),
        Some(Command::List) => list(),
        Some(Command::Docs(args)) => docs::command(args.check),
        Some(Command::Setup(selection)) => packages::setup(&selection),
        Some(Command::Remove(selection)) => packages::remove(&selection),
        Some(Command::Check(args)) => check_peers(&args),
    }
}

fn check_peers(args: &CheckArgs) -> Outcome<()> {
    let layouts = args.workers.iter().map(|&workers| args.field.layout(workers));
    let layouts = layouts.collect::<Outcome<Vec<_>>>()?;
    let names = if args.field.peers.is_empty() {
        peers::names().into_iter().map(str::to_owned).collect()
    } else {
        args.field.peers.clone()
    };
    check::run(&available(&names, &mut Vec::new())?, &layouts, &args.only)
}

fn list() -> Outcome<()> {
    // What a run without options would do.
    let usual = Cli::parse_from(["loadtest"]).run;
    let plan = plan(&usual)?;
    let mut text = "scenarios (loadtest/scenarios) with their peers; * is in --quick:\n".to_owned();
    for scenario in scenarios::all()? {
        let mark = if scenario.quick { '*' } else { ' ' };
        let _ = writeln!(text, "{mark} {:<18} {}", scenario.name, scenario.about);
        let cases = scenario.cases();
        if cases.len() > 1 {
            let names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
            let _ = writeln!(text, "{:<21}cases: {}", "", names.join(", "));
        }
        let peers = scenario.peers();
        let took = plan.estimate(&scenario, peers.len()).as_secs().div_ceil(60);
        let _ = writeln!(text, "{:<21}{}; about {took} min", "", peers.join(", "));
    }
    let _ = writeln!(text, "peers: {}", peers::names().join(", "));
    // Whoever reads only the start of it, as `head` does, has what it wants.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn measure(args: &RunArgs) -> Outcome<()> {
    let plan = plan(args)?;
    let generator = Generator::find()?;
    let mut chosen = choose(args)?;
    let mut all_peers = Vec::new();
    for (scenario, peers) in &mut chosen {
        scenario.folder = apps::install(scenario)?;
        for &peer in peers.iter() {
            if !all_peers.contains(&peer) {
                all_peers.push(peer);
            }
        }
    }
    let machine = machine::describe(&[generator.version()], &all_peers);
    println!("{machine}\n{}\n{}", plan.describe(), peers::describe(&all_peers));
    let whole: Duration =
        chosen.iter().map(|(scenario, peers)| plan.estimate(scenario, peers.len())).sum();
    println!("{} scenarios, about {} minutes", chosen.len(), whole.as_secs().div_ceil(60));
    let (mut verdicts, mut failed) = (Vec::new(), Vec::new());
    for (scenario, peers) in &chosen {
        println!("{}: {}", scenario.name, plan.layout(scenario)?.describe());
        let command = command_line(args, scenario, &machine);
        let record = rounds::run(&plan, scenario, peers, &generator, &machine, command);
        let failures = &record.failures;
        failed.extend(failures.iter().map(|one| format!("{} ({})", scenario.name, one.peer)));
        if record.series.iter().all(|series| series.samples.is_empty()) {
            continue;
        }
        println!("{}", report::tables(&record));
        let judged = targets::judge_all(&scenario.targets, &record);
        verdicts.extend(judged.into_iter().map(|verdict| (scenario.name.clone(), verdict)));
        keep(args, &record)?;
    }
    println!("{}", report::verdicts(&verdicts));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn keep(args: &RunArgs, record: &Record) -> Outcome<()> {
    if let Some(file) = &args.json {
        record::append(file, record)?;
    }
    if args.record {
        record::append(&record::file(&record.scenario), record)?;
    }
    Ok(())
}

/// The plan that the command line asks for.
fn plan(args: &RunArgs) -> Outcome<Plan> {
    let (rounds, measure_s) = if args.quick { (2, 1) } else { (5, 3) };
    let seconds = |count: u32| Duration::from_secs(count.into());
    Ok(Plan {
        rounds: args.rounds.unwrap_or(rounds).max(1),
        measure: seconds(args.seconds.unwrap_or(measure_s).max(1)),
        warmup: seconds(args.warmup.unwrap_or(1)),
        connections: 64,
        connections_for_all: args.connections.map(|count| count.max(1)),
        counting: Duration::from_secs(1),
        counter: if args.no_syscalls { None } else { Counter::find() },
        one_rate: args.quick,
        cores: args.field.cores()?,
    })
}

/// The scenarios that the command line asks for, each with the peers that this machine has.
fn choose(args: &RunArgs) -> Outcome<Vec<(Scenario, Vec<Peer>)>> {
    let scenarios = if args.names.is_empty() {
        let all = scenarios::all()?.into_iter();
        all.filter(|scenario| scenario.quick || !args.quick).collect()
    } else {
        args.names.iter().map(|name| Scenario::by_name(name)).collect::<Outcome<Vec<_>>>()?
    };
    let mut missing = Vec::new();
    let mut chosen = Vec::new();
    for scenario in scenarios {
        let mut names =
            if args.field.peers.is_empty() { scenario.peers() } else { args.field.peers.clone() };
        if args.quick && args.field.peers.is_empty() {
            names.retain(|name| QUICK_PEERS.contains(&&**name));
        }
        let peers = available(&names, &mut missing)?;
        if peers.is_empty() {
            eprintln!("SKIPPED: nobody is here to serve {}", scenario.name);
            continue;
        }
        chosen.push((scenario, peers));
    }
    if chosen.is_empty() { Err("nothing is left to measure".to_owned()) } else { Ok(chosen) }
}

/// The peers that this machine has; a missing one is said loudly, once, and left out.
fn available(names: &[String], missing: &mut Vec<Peer>) -> Outcome<Vec<Peer>> {
    let mut found = Vec::new();
    for peer in peers::by_names(names)? {
        match peer.missing() {
            None => found.push(peer),
            Some(_) if missing.contains(&peer) => {}
            Some(remedy) => {
                eprintln!("SKIPPED: {peer} is not available here: {remedy}");
                missing.push(peer);
            }
        }
    }
    Ok(found)
}

/// What measures one of the scenarios again.
fn command_line(args: &RunArgs, scenario: &Scenario, machine: &machine::Machine) -> String {
    let mut line = format!("cargo xtask loadtest --node {} {}", machine.node_major, scenario.name);
    if args.quick {
        line += " --quick";
    }
    let numbers = [
        ("rounds", args.rounds),
        ("seconds", args.seconds),
        ("warmup", args.warmup),
        ("connections", args.connections),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            line += &format!(" --{name} {value}");
        }
    }
    if !args.field.peers.is_empty() {
        line += &format!(" --peers {}", args.field.peers.join(","));
    }
    line
}

fn measure_idle(args: &IdleArgs) -> Outcome<()> {
    let (field, layout) = (&args.field, args.field.layout(1)?);
    let names = if field.peers.is_empty() {
        QUICK_PEERS.map(str::to_owned).to_vec()
    } else {
        field.peers.clone()
    };
    let peers = available(&names, &mut Vec::new())?;
    println!("{}", machine::describe(&[], &peers));
    println!("{}", idle::measure(args.kind, args.connections, &peers, layout)?);
    Ok(())
}
