//! What the page says of one run: circumstances, plots, tables, reading, the command that measures it again.
//!
//! Owns: their order and the columns. Must never know: other runs, files; sentences about figures are made in `reading`,
//! plots in `plots`.

use std::fmt::Write as _;

use super::{plots, reading};
use crate::figures::{Figure, Side, number, ratio, spread, title};
use crate::record::Record;

/// One run: circumstances, plots, tables, reading, command.
pub(super) fn section(record: &Record) -> String {
    let (machine, plan) = (&record.machine, &record.plan);
    let mut text = format!(
        "\n#### {} on Node {}\n\n{}, commit {}; {} cores of {}, {}; {}.\n",
        record.scenario,
        machine.node_major,
        machine.date,
        machine.commit,
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.versions.join("; ")
    );
    let workers = if plan.workers == 1 { "1 worker" } else { &format!("{} workers", plan.workers) };
    let _ = write!(
        text,
        "{} rounds of {} s after {} s of warm-up",
        plan.rounds, plan.measure_s, plan.warmup_s
    );
    if plan.warmup_requests > 0 {
        let _ = write!(text, " and {} requests", plan.warmup_requests);
    }
    let _ = writeln!(
        text,
        "; {} connections of {}, {workers} (where the case says nothing else); system calls by {}.",
        plan.connections,
        plan.generator,
        plan.counter.as_deref().unwrap_or("nobody")
    );
    for plot in plots::of(record).unwrap_or_default() {
        let _ =
            writeln!(text, "\n![{}: {}](benchmarks/{})", record.scenario, plot.about, plot.file);
    }
    for case in record.cases() {
        if !case.is_empty() {
            let _ = writeln!(text, "\n**{case}**");
        }
        text += &speed(record, case);
        text += &cost(record, case);
    }
    text += &rates(record);
    text += &company(record);
    for failure in &record.failures {
        let _ = writeln!(
            text,
            "\n**{} could not be measured** {}: {}",
            title(&failure.peer),
            failure.place,
            failure.why
        );
    }
    for sentence in reading::sentences(record) {
        let _ = writeln!(text, "\n{sentence}");
    }
    let _ = writeln!(text, "\nAgain: `{}`", record.command);
    text
}

fn medians(record: &Record, side: Side<'_>, figures: &[Figure]) -> String {
    let cell = |&figure: &Figure| {
        let median = spread(record, figure, side).map(|spread| number(spread.median));
        median.unwrap_or_else(|| "-".to_owned())
    };
    figures.iter().map(cell).collect::<Vec<_>>().join(" | ")
}

fn speed(record: &Record, case: &str) -> String {
    let mut text = "
| | requests/s | against node | p50 us | p90 us | p99 us | p99.9 us | CPU us: front | worker | both | both against node |
|---|---|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for peer in record.peers() {
        let side = Side::saturated(peer, case);
        let Some(throughput) = spread(record, Figure::Throughput, side) else {
            continue;
        };
        let against_node = |figure| {
            let ratio = ratio(record, figure, side, Side::saturated("node", case));
            ratio.map_or_else(|| "-".to_owned(), |spread| spread.ratio())
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            title(peer),
            throughput.plain(),
            against_node(Figure::Throughput),
            medians(record, side, &[Figure::P50, Figure::P90, Figure::P99, Figure::P999]),
            medians(record, side, &[Figure::FrontCpu, Figure::WorkerCpu, Figure::ServerCpu]),
            against_node(Figure::ServerCpu),
        );
    }
    text
}

fn cost(record: &Record, case: &str) -> String {
    const FIGURES: [Figure; 6] = [
        Figure::FrontRss,
        Figure::WorkerRss,
        Figure::FrontSwitches,
        Figure::WorkerSwitches,
        Figure::FrontSyscalls,
        Figure::WorkerSyscalls,
    ];
    let mut text = "
| | memory MiB: front | worker | context switches a request: front | worker | system calls a request: front | worker |
|---|---|---|---|---|---|---|
"
    .to_owned();
    for peer in record.peers() {
        if record.samples(peer, case).is_empty() {
            continue;
        }
        let medians = medians(record, Side::saturated(peer, case), &FIGURES);
        let _ = writeln!(text, "| {} | {medians} |", title(peer));
    }
    text
}

fn rates(record: &Record) -> String {
    const LATENCIES: [Figure; 4] = [Figure::P50, Figure::P90, Figure::P99, Figure::P999];
    if record.rates.is_empty() {
        return String::new();
    }
    let mut text = "
| latency at a fixed rate | of node alone | requests/s | p50 us | p90 us | p99 us | p99.9 us | CPU us: both | |
|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for share in record.shares() {
        for peer in record.peers() {
            let side = Side { peer, case: "", rate: Some(share) };
            let kept = if record.keeps_rate(peer, share) { "" } else { "did not keep the rate" };
            let _ = writeln!(
                text,
                "| {} | {:.0} % | {} | {} | {} | {kept} |",
                title(peer),
                share * 100.0,
                medians(record, side, &[Figure::Throughput]),
                medians(record, side, &LATENCIES),
                medians(record, side, &[Figure::ServerCpu]),
            );
        }
    }
    text
}

/// What became of the clients beside the load.
fn company(record: &Record) -> String {
    let mut rows = String::new();
    for series in &record.series {
        let Some((sample, clients)) =
            series.samples.last().and_then(|sample| Some((sample, sample.beside_clients?)))
        else {
            continue;
        };
        let bytes =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.0}"));
        let _ = writeln!(
            rows,
            "| {} | {clients} | {} | {} | {} |",
            title(&series.peer),
            sample.beside_cut.unwrap_or(0),
            bytes(sample.connection_front_bytes),
            bytes(sample.connection_worker_bytes),
        );
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "
| clients beside the load | clients | cut by the server | each adds to the front, bytes | to the worker |
|---|---|---|---|---|
{rows}"
    )
}
