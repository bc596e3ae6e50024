//! Tables for the terminal.
//!
//! Owns: layout. Must never know: how a figure was measured, how verdicts come about.

use std::fmt::Write as _;

use crate::figures::{Figure, Side, number, ratio, spread, title};
use crate::record::Record;
use crate::targets::Verdict;

/// The columns of the first table: figure, heading, width.
const SPEED: [(Figure, &str); 8] = [
    (Figure::Throughput, "req/s"),
    (Figure::P50, "p50 us"),
    (Figure::P90, "p90 us"),
    (Figure::P99, "p99 us"),
    (Figure::P999, "p99.9 us"),
    (Figure::FrontCpu, "front"),
    (Figure::WorkerCpu, "worker"),
    (Figure::ServerCpu, "both"),
];

/// The columns of the second.
const COST: [(Figure, &str); 6] = [
    (Figure::FrontRss, "front MiB"),
    (Figure::WorkerRss, "worker MiB"),
    (Figure::FrontSwitches, "switches f"),
    (Figure::WorkerSwitches, "switches w"),
    (Figure::FrontSyscalls, "syscalls f"),
    (Figure::WorkerSyscalls, "syscalls w"),
];

/// Everything about a scenario.
pub(crate) fn tables(record: &Record) -> String {
    let mut text = String::new();
    for case in record.cases() {
        let name = if case.is_empty() { String::new() } else { format!(" ({case})") };
        let _ = writeln!(
            text,
            "\n{}{name}: medians; CPU in microseconds per request; ratios against node alone within the round (min-max)",
            record.scenario
        );
        text += &speed(record, case);
        text += "\npeak memory; context switches and system calls per request of front (f) and worker (w)\n";
        text += &cost(record, case);
    }
    text += &rates(record);
    text + &company(record)
}

fn heading(columns: &[(Figure, &str)]) -> String {
    let mut line = format!("{:<22}", "");
    for (_, name) in columns {
        let _ = write!(line, " {name:>10}");
    }
    line
}

fn medians(record: &Record, side: Side<'_>, columns: &[(Figure, &str)]) -> String {
    let mut line = format!("{:<22}", title(side.peer));
    for &(figure, _) in columns {
        let median = spread(record, figure, side).map_or("-".to_owned(), |s| number(s.median));
        let _ = write!(line, " {median:>10}");
    }
    line
}

fn speed(record: &Record, case: &str) -> String {
    let mut text = format!(
        "{}  {:<18} {:<18} {:<18}\n",
        heading(&SPEED),
        "throughput",
        "worker CPU",
        "server CPU"
    );
    for peer in record.peers().into_iter().filter(|peer| !record.samples(peer, case).is_empty()) {
        let side = Side::saturated(peer, case);
        let against_node = |figure| {
            let node = Side::saturated("node", case);
            ratio(record, figure, side, node).map_or("-".to_owned(), |spread| spread.ratio())
        };
        let _ = writeln!(
            text,
            "{}  {:<18} {:<18} {:<18}",
            medians(record, side, &SPEED),
            against_node(Figure::Throughput),
            against_node(Figure::WorkerCpu),
            against_node(Figure::ServerCpu),
        );
    }
    text
}

fn cost(record: &Record, case: &str) -> String {
    let mut text = heading(&COST) + "\n";
    for peer in record.peers().into_iter().filter(|peer| !record.samples(peer, case).is_empty()) {
        text += &(medians(record, Side::saturated(peer, case), &COST) + "\n");
    }
    text
}

/// Latency at fixed rates.
fn rates(record: &Record) -> String {
    let mut text = String::new();
    for share in record.shares() {
        let wanted = record.rates.iter().find(|series| (series.share - share).abs() < 1e-9);
        let _ = writeln!(
            text,
            "\n{} at {:.0} requests/s, {:.0} % of node alone\n{}",
            record.scenario,
            wanted.map_or(0.0, |series| series.wanted_per_second),
            share * 100.0,
            heading(&SPEED)
        );
        for peer in record.peers() {
            text += &medians(record, Side { peer, case: "", rate: Some(share) }, &SPEED);
            if !record.keeps_rate(peer, share) {
                text += "  did not keep the rate";
            }
            text += "\n";
        }
    }
    text
}

/// What became of the clients beside the load.
fn company(record: &Record) -> String {
    let mut text = String::new();
    for series in &record.series {
        let Some(last) = series.samples.last() else {
            continue;
        };
        let Some(clients) = last.beside_clients else {
            continue;
        };
        let _ = write!(
            text,
            "{} ({}): {clients} clients beside the load, {} cut by the server",
            title(&series.peer),
            series.case,
            last.beside_cut.unwrap_or(0)
        );
        if let Some(bytes) = last.connection_worker_bytes {
            let front = last.connection_front_bytes.unwrap_or(0.0);
            let _ = write!(
                text,
                "; each takes {front:.0} bytes of the front, {bytes:.0} of the worker"
            );
        }
        text += "\n";
    }
    text
}

/// The promises, beside what was measured.
pub(crate) fn verdicts(rows: &[(String, Verdict)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{:<90} {:>22}  {:<12} {}\n", "target", "wanted", "", "measured");
    for (scenario, verdict) in rows {
        let figure = format!("{scenario}: {}", verdict.figure);
        let measured = verdict.measured.as_deref().unwrap_or("");
        let _ = writeln!(
            text,
            "{figure:<90} {:>22}  {:<12} {measured}",
            verdict.wanted,
            verdict.mark()
        );
    }
    text
}
