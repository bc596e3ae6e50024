//! The page: what it says and in which order.
//!
//! Owns: headings, the tables over all runs, the text that does not change. Must never know: files; what is said of one
//! run is made in `run`.

use std::fmt::Write as _;

use super::{Measured, run};
use crate::figures::{Figure, Side, ratio, title};
use crate::record::Record;
use crate::targets::{Verdict, judge_all};

const OPENING: &str = "\
# Benchmarks

Written by `cargo xtask loadtest docs` from the runs in `loadtest/results`; do not edit. A test fails when this page is not
what the stored runs give.

Hostler beside Node alone and other ways to serve a Node app, on one machine. The app is the same file in each case and
knows nothing of who serves it. *Front* is whatever stands before the app (with all its processes), *worker* the app's
own processes; Node alone has no front.
";

const METHOD: &str = "
## How it is measured

* **Fresh processes.** Each measurement starts its peer anew, checks that its answer is right, and throws a warm-up away. A
  peer with an error of any kind is left out and named.
* **Interleaved rounds.** Each round measures every peer once, in rotating order. A ratio is taken within a round and the
  median of the rounds counts, so that a slow minute of the machine hits both sides; the range behind it is smallest to
  largest.
* **CPU** is what the kernel charged all threads of front and worker (`schedstat`), divided by requests. The load
  generator is not in it. It depends less on how cores are shared than throughput does.
* **Memory** is the largest resident size of each process (`VmHWM`), added up; pages that processes share count once for each.
* **Context switches** are all of all threads, wanted or not. **System calls** are counted in a window of their own.
* **Latency at saturation** is what as many requests as the connections allow wait, behind each other: it says who serves
  more, not how fast an answer is. **Latency at a fixed rate** says that: requests arrive at a share of what Node alone could
  do in the same run, whatever the server does, with the random gaps of many independent users (the same ones for every
  peer); one that finds no free connection waits, and its latency counts from its arrival. The client of this measurement
  is the load test's own. It shares its core with the front: at high rates each waits for the other, which Node alone,
  without a front, does not feel; with a core of its own for the client every front would look better.
* Front and load generator share one core, the app has the other to itself. So a front that needs little CPU leaves more to
  the client, as it does on a machine where they are neighbours; and Node alone, which has no front, leaves it all. With
  more than one worker nobody is pinned.
";

/// The whole page.
pub(super) fn page(measured: &[Measured]) -> String {
    let mut text = OPENING.to_owned();
    let runs = || measured.iter().flat_map(|one| one.records.iter().map(move |run| (one, run)));
    if runs().next().is_none() {
        text += "\nNo run is stored yet. `cargo xtask loadtest --record` measures and stores all scenarios.\n";
        return text + METHOD;
    }
    text += &summary(runs());
    text += &targets(runs());
    text += METHOD;
    text += &setups(runs().map(|(_, record)| record));
    text += "\n## Scenarios\n";
    for one in measured.iter().filter(|one| !one.records.is_empty()) {
        let _ = writeln!(text, "\n### {}\n\n{}.", one.scenario.name, sentence(&one.scenario.about));
        for record in &one.records {
            text += &run::section(record);
        }
        if let Some(why) = &one.scenario.why {
            let _ = writeln!(text, "\n*Why:* {}", why.trim());
        }
    }
    text
}

/// With a capital.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

type Runs<'a> = (&'a Measured, &'a Record);

fn summary<'a>(runs: impl Iterator<Item = Runs<'a>>) -> String {
    let mut text = "
## In short

Hostler (`hostler uring`) against Node alone and against nginx in front of Node: medians of ratios. Throughput above 1 and
CPU below 1 are in Hostler's favour.

| scenario | Node | throughput against node | server CPU against node | worker CPU against node | throughput against nginx | front CPU against nginx |
|---|---|---|---|---|---|---|
"
    .to_owned();
    for (_, record) in runs {
        for case in record.cases() {
            let against = |peer, figure| {
                let (ours, theirs) = (Side::saturated("uring", case), Side::saturated(peer, case));
                let ratio = ratio(record, figure, ours, theirs);
                ratio.map_or_else(|| "-".to_owned(), |spread| format!("{:.2}x", spread.median))
            };
            let name = if case.is_empty() { String::new() } else { format!(", {case}") };
            let _ = writeln!(
                text,
                "| {}{name} | {} | {} | {} | {} | {} | {} |",
                link(&record.scenario),
                record.machine.node_major,
                against("node", Figure::Throughput),
                against("node", Figure::ServerCpu),
                against("node", Figure::WorkerCpu),
                against("nginx", Figure::Throughput),
                against("nginx", Figure::FrontCpu),
            );
        }
    }
    text
}

fn link(scenario: &str) -> String {
    format!("[{scenario}](#{scenario})")
}

fn targets<'a>(runs: impl Iterator<Item = Runs<'a>>) -> String {
    let verdicts: Vec<(&Record, Verdict)> = runs
        .flat_map(|(one, record)| {
            let verdicts = judge_all(&one.scenario.targets, record);
            verdicts.into_iter().map(move |verdict| (record, verdict))
        })
        .collect();
    let holds = verdicts.iter().filter(|(_, verdict)| verdict.holds).count();
    let unknown = verdicts.iter().filter(|(_, verdict)| verdict.measured.is_none()).count();
    let mut text = format!(
        "
## Targets

What the project wants of itself, written in the scenarios' files: {holds} of {} hold, {} fall short,
{unknown} were not measured.

| scenario | Node | target | wanted | measured | |
|---|---|---|---|---|---|
",
        verdicts.len(),
        verdicts.len() - holds - unknown
    );
    for (record, verdict) in &verdicts {
        let mark =
            if verdict.holds { "holds".to_owned() } else { format!("**{}**", verdict.mark()) };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {mark} |",
            link(&record.scenario),
            record.machine.node_major,
            verdict.figure,
            verdict.wanted.replace('<', "&lt;").replace('>', "&gt;"),
            verdict.measured.as_deref().unwrap_or("-"),
        );
    }
    text
}

/// How each peer was set up, as the newest record that has it says.
fn setups<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut known: Vec<(&str, &str)> = Vec::new();
    for participant in records.flat_map(|record| &record.participants) {
        let found = (&*participant.peer, &*participant.setup);
        match known.iter_mut().find(|(peer, _)| *peer == participant.peer) {
            Some(older) => *older = found,
            None => known.push(found),
        }
    }
    let mut text = "\n## How each peer is set up\n\n| peer | set-up |\n|---|---|\n".to_owned();
    for (peer, setup) in known {
        let _ = writeln!(text, "| {} | {} |", title(peer), setup.replace('|', "\\|"));
    }
    text
}
