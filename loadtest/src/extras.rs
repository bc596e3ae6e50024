//! Figures beside speed: system calls per request and memory of the proxy.
//!
//! Owns: what is measured once per run, on the first scenario. Must never know: how rounds are interleaved.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::Outcome;
use crate::cpu;
use crate::generator::Generator;
use crate::http::Connection;
use crate::peers::Peer;
use crate::process::wait_for;
use crate::rounds::Plan;
use crate::scenarios::Scenario;
use crate::syscalls::{Attached, Counter};

const IDLE_CONNECTIONS: u32 = 2000;
const WINDOW: Duration = Duration::from_secs(2);

/// The extra figures of one peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Extra {
    pub(crate) peer: &'static str,
    /// By which counter, and how many calls per request.
    pub(crate) syscalls: Vec<(&'static str, f64)>,
    /// Resident memory of the proxy after start, KiB.
    pub(crate) resident_kib: u64,
    /// What each of many idle connections adds to the proxy's own pages, bytes.
    pub(crate) idle_connection_bytes: Option<f64>,
    /// After some hundred thousand requests, KiB.
    pub(crate) resident_after_load_kib: u64,
}

/// Measures the peers that are ours.
pub(crate) fn measure(plan: &Plan, peers: &[Peer], generator: &Generator) -> Outcome<Vec<Extra>> {
    let scenario = Scenario::by_name("hello")?;
    let counters = Counter::available();
    let mut extras = Vec::new();
    for &peer in peers.iter().filter(|peer| peer.is_hostler()) {
        extras.push(measure_peer(plan, peer, &scenario, generator, &counters)?);
    }
    Ok(extras)
}

fn measure_peer(
    plan: &Plan,
    peer: Peer,
    scenario: &Scenario,
    generator: &Generator,
    counters: &[Counter],
) -> Outcome<Extra> {
    let running = peer.start(scenario, plan.layout)?;
    let proxy = running.front[0];
    let resident_kib = cpu::memory(proxy).resident_kib;
    let idle_connection_bytes = idle_connections(proxy, &running, scenario)?;
    plan.load(&running, scenario, generator, plan.warmup.max(Duration::from_secs(1)))?;
    let mut syscalls = Vec::new();
    for &counter in counters {
        match count(plan, &running, scenario, generator, counter) {
            Ok(per_request) => syscalls.push((counter.name(), per_request)),
            Err(why) => eprintln!("SKIPPED: {} on {peer}: {why}", counter.name()),
        }
    }
    let resident_after_load_kib = cpu::memory(proxy).resident_kib;
    running.stop();
    let peer = peer.name();
    Ok(Extra { peer, syscalls, resident_kib, idle_connection_bytes, resident_after_load_kib })
}

/// System calls of the proxy per request, with the counter attached during the whole window.
fn count(
    plan: &Plan,
    running: &crate::peers::Running,
    scenario: &Scenario,
    generator: &Generator,
    counter: Counter,
) -> Outcome<f64> {
    let attached = Attached::to(counter, running.front[0])?;
    let load = plan.load(running, scenario, generator, WINDOW)?;
    Ok(attached.finish()? as f64 / load.requests as f64)
}

/// Opens idle keep-alive connections, each after one served request.
fn idle_connections(
    proxy: u32,
    running: &crate::peers::Running,
    scenario: &Scenario,
) -> Outcome<Option<f64>> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(IDLE_CONNECTIONS) + 100;
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    let enough = limit.current.is_none_or(|now| now >= wanted);
    if !enough && setrlimit(Resource::Nofile, raised).is_err() {
        eprintln!("SKIPPED: memory of idle connections needs `ulimit -n` of {wanted} or more");
        return Ok(None);
    }
    // The first connections fill pools that all share.
    let mut held = Vec::new();
    open(100, &mut held, running, scenario)?;
    let before = settled(proxy);
    open(IDLE_CONNECTIONS, &mut held, running, scenario)?;
    let after = settled(proxy);
    let added = after.saturating_sub(before) * 1024;
    Ok(Some(added as f64 / f64::from(IDLE_CONNECTIONS)))
}

fn open(
    count: u32,
    held: &mut Vec<Connection>,
    running: &crate::peers::Running,
    scenario: &Scenario,
) -> Outcome<()> {
    for _ in 0..count {
        let mut connection = Connection::open(running.address)?;
        scenario.check(&mut connection)?;
        held.push(connection);
    }
    Ok(())
}

/// The proxy's own pages, once two readings agree.
fn settled(pid: u32) -> u64 {
    let mut last = 0;
    let agreed = wait_for(Duration::from_secs(2), || {
        let now = cpu::memory(pid).anonymous_kib;
        let same = now == last;
        last = now;
        same.then_some(now)
    });
    agreed.unwrap_or(last)
}
