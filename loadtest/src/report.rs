//! Tables for people and JSON lines for later.
//!
//! Owns: medians, ratios within a round, layout. Must never know: how a figure was measured.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::Outcome;
use crate::extras::Extra;
use crate::machine::Machine;
use crate::peers::Peer;
use crate::rounds::{Plan, Sample, ScenarioResult};
use crate::scenarios::{Figure, Target};

/// Median, smallest and largest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }

    fn ratio(self) -> String {
        format!("{:.2}x ({:.2}-{:.2})", self.median, self.min, self.max)
    }
}

/// A figure of a sample.
type Measure = fn(&Sample) -> f64;

/// Ratios of two peers, each taken within a round.
fn ratios(result: &ScenarioResult, figure: Measure, peer: Peer, base: Peer) -> Option<Spread> {
    let (ours, theirs) = (result.of(peer)?, result.of(base)?);
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| figure(ours) / figure(theirs)))
}

/// One line per peer.
pub(crate) fn scenario_table(result: &ScenarioResult) -> String {
    let mut text = format!(
        "\n{}: medians; CPU in microseconds per request; ratios against node alone within the round (min-max)\n\
         {:<20} {:>9} {:>8} {:>8} {:>7} {:>7} {:>7}  {:<18} {:<18} {:<18}\n",
        result.scenario.name,
        "",
        "req/s",
        "p50 us",
        "p99 us",
        "front",
        "worker",
        "both",
        "throughput",
        "worker CPU",
        "server CPU"
    );
    for (peer, samples) in &result.samples {
        let median = |figure: Measure| {
            Spread::of(samples.iter().map(figure)).map_or(f64::NAN, |spread| spread.median)
        };
        let ratio = |figure: Measure| {
            ratios(result, figure, *peer, Peer::Node).map_or_else(|| "-".to_owned(), Spread::ratio)
        };
        let _ = writeln!(
            text,
            "{:<20} {:>9.0} {:>8.0} {:>8.0} {:>7.2} {:>7.2} {:>7.2}  {:<18} {:<18} {:<18}",
            peer.to_string(),
            median(|s| s.per_second),
            median(|s| s.p50_us as f64),
            median(|s| s.p99_us as f64),
            median(|s| s.front_us),
            median(|s| s.worker_us),
            median(Sample::server_us),
            ratio(|s| s.per_second),
            ratio(|s| s.worker_us),
            ratio(Sample::server_us),
        );
    }
    text
}

/// The figures that the project has promised, beside what was measured.
pub(crate) fn targets(results: &[ScenarioResult], extras: &[Extra]) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for result in results {
        rows.extend(speed_rows(result));
    }
    for extra in extras {
        rows.extend(extra_rows(extra));
    }
    let mut text = format!("\n{:<66} {:>12}  {}\n", "figure", "target", "measured");
    for [figure, target, measured] in rows {
        let _ = writeln!(text, "{figure:<66} {target:>12}  {measured}");
    }
    text
}

/// The promises of a scenario that concern this Node and these peers.
fn speed_rows(result: &ScenarioResult) -> Vec<[String; 3]> {
    let node = crate::machine::node_major();
    let concerned = |target: &&Target| target.node.is_none() || target.node == node;
    let row = |target: &Target| {
        let (peer, base) =
            (Peer::by_name(&target.peer).ok()?, Peer::by_name(&target.against).ok()?);
        let (what, of): (_, Measure) = match target.figure {
            Figure::Throughput => ("throughput", |s| s.per_second),
            Figure::WorkerCpu => ("worker CPU", |s| s.worker_us),
            Figure::FrontCpu => ("front CPU", |s| s.front_us),
            Figure::ServerCpu => ("server CPU", Sample::server_us),
        };
        let measured = ratios(result, of, peer, base)?;
        let (wanted, holds) = match (target.at_most, target.at_least) {
            (Some(most), _) => (format!("<= {most}x"), measured.median <= most),
            (None, least) => {
                let least = least.unwrap_or_default();
                (format!(">= {least}x"), measured.median >= least)
            }
        };
        let mark = if holds { "" } else { "  short" };
        Some([
            format!("{}: {what}, {peer} against {base}", result.scenario.name),
            wanted,
            measured.ratio() + mark,
        ])
    };
    result.scenario.targets.iter().filter(concerned).filter_map(row).collect()
}

fn extra_rows(extra: &Extra) -> Vec<[String; 3]> {
    let row = |figure: String, target: &str, measured: String| {
        [format!("{}: {figure}", extra.peer), target.to_owned(), measured]
    };
    let mut rows: Vec<[String; 3]> = extra
        .syscalls
        .iter()
        .map(|(counter, calls)| {
            row(
                format!("system calls of the proxy per request ({counter})"),
                "<= 0.7",
                format!("{calls:.2}"),
            )
        })
        .collect();
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    rows.push(row("RSS of the proxy after start".to_owned(), "<= 16 MiB", mib(extra.resident_kib)));
    rows.push(row(
        "RSS of the proxy after load".to_owned(),
        "-",
        mib(extra.resident_after_load_kib),
    ));
    if let Some(bytes) = extra.idle_connection_bytes {
        let figure = "own memory per idle keep-alive connection".to_owned();
        rows.push(row(figure, "<= 1 KiB", format!("{bytes:.0} bytes")));
    }
    rows
}

/// One line with everything, for comparisons over time.
pub(crate) fn append_json(
    file: &Path,
    machine: &Machine,
    plan: &Plan,
    results: &[ScenarioResult],
    extras: &[Extra],
) -> Outcome<()> {
    let scenarios: Vec<_> = results
        .iter()
        .map(|result| {
            let peers: serde_json::Map<_, _> = result
                .samples
                .iter()
                .map(|(peer, samples)| (peer.name().to_owned(), json!(samples)))
                .collect();
            json!({ "scenario": result.scenario.name, "samples": peers })
        })
        .collect();
    let line = json!({
        "machine": machine,
        "plan": {
            "rounds": plan.rounds,
            "measure_s": plan.measure.as_secs(),
            "warmup_s": plan.warmup.as_secs(),
            "connections": plan.connections,
        },
        "scenarios": scenarios,
        "extras": extras,
    });
    let open = OpenOptions::new().create(true).append(true).open(file);
    let written = open.and_then(|mut file| writeln!(file, "{line}"));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::Scenario;

    fn sample(worker_us: f64) -> Sample {
        Sample {
            requests: 1,
            per_second: 1.0,
            p50_us: 1,
            p90_us: 1,
            p99_us: 1,
            p999_us: 1,
            front_us: 1.0,
            worker_us,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round: both peers saw it, the ratio does not.
        let result = ScenarioResult {
            scenario: Scenario::by_name("hello").expect("it is there"),
            samples: vec![
                (Peer::Node, vec![sample(10.0), sample(20.0)]),
                (Peer::Uring, vec![sample(3.0), sample(6.0)]),
            ],
        };
        let spread =
            ratios(&result, |s| s.worker_us, Peer::Uring, Peer::Node).expect("both are there");
        assert!((spread.median - 0.3).abs() < 1e-9 && (spread.max - spread.min).abs() < 1e-9);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).map(|s| s.median), Some(2.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }
}
