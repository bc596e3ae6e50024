//! Interleaved rounds: every peer once per round, in rotating order, from fresh processes.
//!
//! Owns: the order of measuring. Must never know: how a peer is started, what one measurement is.

use crate::Outcome;
use crate::figures::{Figure, Side, spread};
use crate::generator::Generator;
use crate::machine::Machine;
use crate::measure;
use crate::peers::Peer;
use crate::plan::Plan;
use crate::record::{Participant, RateSeries, Record, Sample, Series};
use crate::scenarios::Scenario;

/// Where a peer fails at a fixed rate.
const AT_RATES: &str = "at fixed rates";

/// Measures a scenario. A peer that fails is left out from there on: it must not cost the figures of the others.
pub(crate) fn run(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    generator: &Generator,
    machine: &Machine,
    command: String,
) -> Record {
    let series = peers.iter().flat_map(|peer| {
        scenario.cases().into_iter().map(|case| Series {
            peer: peer.name().to_owned(),
            case: case.name,
            samples: Vec::new(),
        })
    });
    let mut record = Record {
        scenario: scenario.name.clone(),
        machine: machine.clone(),
        plan: plan.facts(scenario, generator),
        command,
        participants: peers.iter().map(participant).collect(),
        series: series.collect(),
        rates: Vec::new(),
        failures: Vec::new(),
    };
    saturate(plan, scenario, peers, generator, &mut record);
    at_rates(plan, scenario, peers, generator, &mut record);
    record
}

fn participant(peer: &Peer) -> Participant {
    Participant { peer: peer.name().to_owned(), setup: peer.setup().to_owned() }
}

/// A rotating start, so that no peer always follows the same one.
fn rotated(peers: &[Peer], round: u32) -> impl Iterator<Item = Peer> {
    let start = round as usize % peers.len();
    peers[start..].iter().chain(&peers[..start]).copied()
}

fn saturate(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    generator: &Generator,
    record: &mut Record,
) {
    let rounds = plan.rounds_of(scenario);
    for round in 0..rounds {
        for peer in rotated(peers, round) {
            for case in scenario.cases() {
                if record.has_failed(peer.name(), &case.name) {
                    continue;
                }
                let step = format!("{} {} {}/{rounds}", scenario.name, case.name, round + 1);
                match measure::saturated(plan, scenario, &case, peer, generator) {
                    Ok(sample) => {
                        say(&step, peer, &sample);
                        let of = |series: &&mut Series| {
                            series.peer == peer.name() && series.case == case.name
                        };
                        let series = record.series.iter_mut().find(of).expect("made above");
                        series.samples.push(sample);
                    }
                    Err(why) => {
                        eprintln!("FAILED: {step}, {peer}: {why}");
                        record.fail(peer.name(), &case.name, &why);
                    }
                }
            }
        }
    }
}

fn at_rates(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    generator: &Generator,
    record: &mut Record,
) {
    let shares = plan.rates_of(scenario);
    if shares.is_empty() {
        return;
    }
    let cases = scenario.cases();
    let node = Side::saturated(Peer::Node.name(), &cases[0].name);
    let Some(capacity) = spread(record, Figure::Throughput, node) else {
        eprintln!(
            "SKIPPED: fixed rates are shares of what Node alone can do, and it is not measured"
        );
        return;
    };
    let each = peers.iter().flat_map(|peer| {
        shares.iter().map(|&share| RateSeries {
            peer: peer.name().to_owned(),
            share,
            wanted_per_second: (capacity.median * share).round(),
            samples: Vec::new(),
        })
    });
    record.rates = each.collect();
    for round in 0..plan.rounds_of(scenario) {
        for peer in rotated(peers, round) {
            if record.has_failed(peer.name(), AT_RATES) {
                continue;
            }
            let mut rates = std::mem::take(&mut record.rates);
            let own = rates.iter_mut().filter(|series| series.peer == peer.name());
            if let Err(why) = round_at_rates(plan, scenario, peer, generator, own) {
                eprintln!("FAILED: {} at fixed rates, {peer}: {why}", scenario.name);
                record.fail(peer.name(), AT_RATES, &why);
            }
            record.rates = rates;
        }
    }
}

/// One peer at all its rates, in one life.
fn round_at_rates<'a>(
    plan: &Plan,
    scenario: &Scenario,
    peer: Peer,
    generator: &Generator,
    rates: impl Iterator<Item = &'a mut RateSeries>,
) -> Outcome<()> {
    let running = peer.start(scenario, plan.layout(scenario)?)?;
    measure::warm_up(plan, scenario, &running, generator)?;
    running.place();
    for series in rates {
        let wanted = series.wanted_per_second;
        let sample = measure::at_rate(plan, scenario, &running, wanted)?;
        say(&format!("{} at {wanted}/s", scenario.name), peer, &sample);
        series.samples.push(sample);
    }
    running.stop();
    Ok(())
}

fn say(step: &str, peer: Peer, sample: &Sample) {
    eprintln!(
        "  {step:<30} {:<20} {:>8.0}/s  p50 {:>6} us  p99 {:>7} us  front {:>6.2} us  worker {:>6.2} us",
        peer.to_string(),
        sample.per_second,
        sample.p50_us,
        sample.p99_us,
        sample.front_us,
        sample.worker_us
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_comes_first_once() {
        let peers = [Peer::Node, Peer::Nginx, Peer::Uring];
        let order = |round| rotated(&peers, round).collect::<Vec<_>>();
        assert_eq!(order(1), [Peer::Nginx, Peer::Uring, Peer::Node]);
        assert_eq!(order(3), peers);
    }
}
