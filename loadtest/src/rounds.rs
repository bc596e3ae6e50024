//! Interleaved rounds: every peer once per round, in rotating order, from fresh processes.
//!
//! Owns: the order of measuring. Must never know: how a peer is started, what one measurement is.

use crate::Outcome;
use crate::figures::{Figure, Side, spread};
use crate::machine::Machine;
use crate::measure;
use crate::oha::Oha;
use crate::peers::Peer;
use crate::plan::{Plan, Tools};
use crate::record::{Participant, RateSeries, Record, Sample, Series};
use crate::scenarios::Scenario;

/// Measures a scenario.
pub(crate) fn run(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    tools: &Tools,
    machine: &Machine,
    command: String,
) -> Outcome<Record> {
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
        plan: plan.facts(scenario, tools),
        command,
        participants: peers.iter().map(participant).collect(),
        series: series.collect(),
        rates: Vec::new(),
    };
    saturate(plan, scenario, peers, tools, &mut record)?;
    if let Some(oha) = &tools.oha {
        at_rates(plan, scenario, peers, (tools, oha), &mut record)?;
    }
    Ok(record)
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
    tools: &Tools,
    record: &mut Record,
) -> Outcome<()> {
    let rounds = plan.rounds_of(scenario);
    for round in 0..rounds {
        for peer in rotated(peers, round) {
            for case in scenario.cases() {
                let sample = measure::saturated(plan, scenario, &case, peer, tools)
                    .map_err(|why| format!("{peer} serving {}: {why}", scenario.name))?;
                let step = format!("{} {} {}/{rounds}", scenario.name, case.name, round + 1);
                say(&step, peer, &sample);
                let of =
                    |series: &&mut Series| series.peer == peer.name() && series.case == case.name;
                record.series.iter_mut().find(of).expect("made above").samples.push(sample);
            }
        }
    }
    Ok(())
}

fn at_rates(
    plan: &Plan,
    scenario: &Scenario,
    peers: &[Peer],
    (tools, oha): (&Tools, &Oha),
    record: &mut Record,
) -> Outcome<()> {
    let shares = plan.rates_of(scenario);
    if shares.is_empty() {
        return Ok(());
    }
    let cases = scenario.cases();
    let node = Side::saturated(Peer::Node.name(), &cases[0].name);
    let Some(capacity) = spread(record, Figure::Throughput, node) else {
        eprintln!(
            "SKIPPED: fixed rates are shares of what Node alone can do, and it is not measured"
        );
        return Ok(());
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
    let rounds = plan.rounds_of(scenario);
    for round in 0..rounds {
        for peer in rotated(peers, round) {
            let at = |why| format!("{peer} serving {} at a fixed rate: {why}", scenario.name);
            let running = peer.start(scenario, plan.cores).map_err(at)?;
            measure::warm_up(plan, scenario, &running, tools).map_err(at)?;
            running.place(plan.cores);
            for series in record.rates.iter_mut().filter(|series| series.peer == peer.name()) {
                let wanted = series.wanted_per_second;
                let sample = measure::at_rate(plan, scenario, &running, oha, wanted).map_err(at)?;
                let step = format!("{} at {wanted}/s {}/{rounds}", scenario.name, round + 1);
                say(&step, peer, &sample);
                series.samples.push(sample);
            }
            running.stop();
        }
    }
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
