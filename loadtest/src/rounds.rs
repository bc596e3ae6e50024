//! Interleaved rounds: every peer once per round, in rotating order, from fresh processes.
//!
//! Owns: the order of measuring and what one measurement is. Must never know: how a peer is started.

use serde::Serialize;
use std::time::Duration;

use crate::Outcome;
use crate::cpu;
use crate::generator::{Generator, Load, Order};
use crate::peers::{Peer, Running};
use crate::place::Layout;
use crate::scenarios::Scenario;

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) measure: Duration,
    pub(crate) warmup: Duration,
    pub(crate) connections: u32,
    pub(crate) layout: Layout,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    /// CPU microseconds per request.
    pub(crate) front_us: f64,
    pub(crate) worker_us: f64,
}

impl Sample {
    /// Front and worker.
    pub(crate) fn server_us(&self) -> f64 {
        self.front_us + self.worker_us
    }
}

/// All samples of a scenario: one per peer and round.
pub(crate) struct ScenarioResult {
    pub(crate) scenario: Scenario,
    /// In the order of the rounds.
    pub(crate) samples: Vec<(Peer, Vec<Sample>)>,
}

impl ScenarioResult {
    /// The samples of a peer.
    pub(crate) fn of(&self, peer: Peer) -> Option<&[Sample]> {
        self.samples.iter().find(|(other, _)| *other == peer).map(|(_, samples)| &**samples)
    }
}

impl Plan {
    pub(crate) fn describe(&self, generator: &Generator) -> String {
        format!(
            "plan      {} rounds of {} s after {} s of warm-up, {} connections of {}, {}\n",
            self.rounds,
            self.measure.as_secs(),
            self.warmup.as_secs(),
            self.connections,
            generator.version(),
            self.layout.describe()
        )
    }

    /// Loads a running peer for a while.
    pub(crate) fn load(
        &self,
        running: &Running,
        scenario: &Scenario,
        generator: &Generator,
        duration: Duration,
    ) -> Outcome<Load> {
        generator.run(Order {
            address: running.address,
            load: &scenario.load,
            connections: self.connections,
            duration,
            place: self.layout.load(),
        })
    }
}

/// Measures a scenario.
pub(crate) fn run(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    generator: &Generator,
) -> Outcome<ScenarioResult> {
    let mut samples: Vec<(Peer, Vec<Sample>)> =
        peers.iter().map(|&peer| (peer, Vec::new())).collect();
    for round in 0..plan.rounds {
        for turn in 0..peers.len() {
            // A rotating start, so that no peer always follows the same one.
            let index = (turn + round as usize) % peers.len();
            let sample = measure(plan, scenario, peers[index], generator)
                .map_err(|why| format!("{} serving {}: {why}", peers[index], scenario.name))?;
            eprintln!(
                "  {} {}/{} {:<20} {:>8.0}/s  front {:>5.2} us  worker {:>5.2} us",
                scenario.name,
                round + 1,
                plan.rounds,
                peers[index].to_string(),
                sample.per_second,
                sample.front_us,
                sample.worker_us
            );
            samples[index].1.push(sample);
        }
    }
    Ok(ScenarioResult { scenario: scenario.clone(), samples })
}

fn measure(plan: &Plan, scenario: &Scenario, peer: Peer, generator: &Generator) -> Outcome<Sample> {
    let running = peer.start(scenario, plan.layout)?;
    if !plan.warmup.is_zero() {
        plan.load(&running, scenario, generator, plan.warmup)?;
    }
    running.place();
    let before = (cpu::time(&running.front), cpu::time(&running.workers));
    let load = plan.load(&running, scenario, generator, plan.measure)?;
    let after = (cpu::time(&running.front), cpu::time(&running.workers));
    running.stop();
    let per_request = |from: Duration, to: Duration| {
        to.saturating_sub(from).as_secs_f64() * 1e6 / load.requests as f64
    };
    Ok(Sample {
        requests: load.requests,
        per_second: load.per_second(),
        p50_us: load.p50_us,
        p90_us: load.p90_us,
        p99_us: load.p99_us,
        p999_us: load.p999_us,
        front_us: per_request(before.0, after.0),
        worker_us: per_request(before.1, after.1),
    })
}
