//! Is every peer what a measurement takes it for?
//!
//! Owns: starting each peer in each layout, asking it what scenarios ask, and looking for processes afterwards. Must
//! never know: figures. Run by hand after a change to a peer: it needs all programs and takes some minutes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::family::{describe, running_below_us};
use crate::http::Connection;
use crate::machine::ask;
use crate::peers::{Peer, Running};
use crate::place::Layout;
use crate::process::wait_for;
use crate::scenarios::{Load, Scenario};
use crate::{Outcome, apps, cpu, websocket};

/// Connections at one time that must reach every worker: a front may well serve one after the other by one worker.
const CLIENTS: usize = 32;
const REQUESTS: usize = 50;

/// A worker with a smaller part of the work than this (of an equal one) is left out by its front.
const PART_MIN: f64 = 0.2;

/// Checks peers; a failure does not keep the others from being checked.
pub(crate) fn run(peers: &[Peer], layouts: &[Layout], names: &[String]) -> Outcome<()> {
    let scenarios = names.iter().map(|name| Scenario::by_name(name));
    let mut scenarios = scenarios.collect::<Outcome<Vec<_>>>()?;
    for scenario in &mut scenarios {
        scenario.folder = apps::install(scenario)?;
    }
    let mut failed = 0;
    for &peer in peers {
        for &layout in layouts {
            if let Some(why) = peer.unfit(layout) {
                println!("{:<20} {} workers  -  {why}", peer.to_string(), layout.workers());
                continue;
            }
            for scenario in &scenarios {
                let outcome = check(peer, layout, scenario);
                failed += usize::from(outcome.is_err());
                let said = outcome.unwrap_or_else(|why| format!("FAILED: {why}"));
                let (name, workers) = (peer.to_string(), layout.workers());
                println!("{name:<20} {workers} workers  {:<10} {said}", scenario.name);
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed")) }
}

fn check(peer: Peer, layout: Layout, scenario: &Scenario) -> Outcome<String> {
    let before = running_below_us();
    let running = peer.start(scenario, layout)?;
    let said = exercise(&running, layout, scenario);
    let outlived = running.stop();
    let left: BTreeSet<u32> = running_below_us().difference(&before).copied().collect();
    let said = said?;
    if outlived > 0 {
        return Err(format!("{outlived} processes outlived the front"));
    }
    if let Some(&pid) = left.first() {
        return Err(format!("{} processes are left, as {}", left.len(), describe(pid)));
    }
    Ok(said)
}

fn exercise(running: &Running, layout: Layout, scenario: &Scenario) -> Outcome<String> {
    all_on_the_same_node(running)?;
    // Twice on one connection: it must be kept.
    let mut kept = Connection::open(running.address)?;
    scenario.check(&mut kept)?;
    scenario.check(&mut kept)?;
    if let Load::Websocket { target, message_bytes } = &scenario.load {
        let (address, place) = (running.address, layout.load());
        let (connections, duration) = (4, Duration::from_millis(200));
        let message_bytes = *message_bytes;
        let order =
            websocket::Order { address, target, connections, message_bytes, duration, place };
        websocket::run(order)?;
    }
    let parts = parts(running, scenario)?;
    let least = PART_MIN / f64::from(layout.workers());
    if let Some(part) = parts.iter().find(|&&part| part < least) {
        return Err(format!("a worker did {:.0} % of the work", part * 100.0));
    }
    let shares: Vec<String> = parts.iter().map(|part| format!("{:.0} %", part * 100.0)).collect();
    let fronts = running.front.len();
    Ok(format!("right; {fronts} processes in front, workers' shares {}", shares.join(" ")))
}

/// A front may have ideas of its own about which Node is meant.
fn all_on_the_same_node(running: &Running) -> Outcome<()> {
    let wanted = std::fs::canonicalize(ask("node", &["-p", "process.execPath"])).ok();
    for &pid in &running.workers {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        if program.is_none() || program != wanted {
            return Err(format!("{} runs {program:?} instead of {wanted:?}", describe(pid)));
        }
    }
    Ok(())
}

/// What each worker did for many connections, as parts of their CPU time.
fn parts(running: &Running, scenario: &Scenario) -> Outcome<Vec<f64>> {
    let times = || running.workers.iter().map(|&pid| cpu::time(&[pid])).collect::<Vec<_>>();
    let before = times();
    let client = || -> Outcome<()> {
        let mut connection = Connection::open(running.address)?;
        (0..REQUESTS).try_for_each(|_| scenario.check(&mut connection))
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let joined = clients.into_iter().map(|client| client.join().map_err(|_| "a client failed"));
        joined.into_iter().try_for_each(|outcome| outcome?)
    })?;
    // The last one's end is still to be noticed.
    let _ = wait_for(Duration::from_millis(20), || None::<()>);
    let spent = times().into_iter().zip(before).map(|(after, before)| after.saturating_sub(before));
    let spent: Vec<f64> = spent.map(|spent| spent.as_secs_f64()).collect();
    let sum: f64 = spent.iter().sum();
    Ok(spent.into_iter().map(|spent| spent / sum).collect())
}
