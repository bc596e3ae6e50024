//! Running a suite on both sides, as often as it takes to tell a difference from chance.
//!
//! Owns: the order of the runs and the record of a suite. Must never know: how a runner is called, what the
//! report looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::compare::{ROUNDS_MAX, Verdict, differing, judge};
use super::options::Options;
use super::outcome::{Counts, Outcome, Results, TestResult, read_results};
use super::process::{Ended, run_logged};
use super::runner::{End, Job, Ready, Side};
use super::sources::work;

/// One run of a suite on one side.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) results: Results,
    pub(crate) counts: Counts,
    /// What went wrong outside of the tests.
    pub(crate) troubles: Vec<String>,
    pub(crate) seconds: u64,
}

/// What is known about one side of a suite beside Node alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SideRecord {
    /// `exec` or `run`.
    pub(crate) side: String,
    pub(crate) passed: usize,
    pub(crate) counts: Counts,
    /// Tests that did not always end the same.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    pub(crate) troubles: Vec<String>,
}

/// What is known about a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) tests: usize,
    pub(crate) skipped: usize,
    pub(crate) passed: usize,
    pub(crate) sides: Vec<SideRecord>,
}

impl Record {
    /// Differences without a reason, and what else went wrong.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for side in &self.sides {
            let unexplained = side.verdicts.iter().filter_map(|(test, verdict)| match verdict {
                Verdict::Different { node, hostler, reason: None } => {
                    let end = if hostler.passes() { "passes" } else { &*hostler.instead };
                    let alone = if node.passes() { "passes" } else { &*node.instead };
                    Some(format!("{test}: {end} ({}); Node alone: {alone}", side.side))
                }
                _ => None,
            });
            found.extend(unexplained);
            found.extend(side.troubles.iter().map(|trouble| format!("{}: {trouble}", side.side)));
        }
        found
    }
}

/// One run on Node alone.
pub(crate) fn plain(ready: &Ready, options: &Options) -> Result<Round, String> {
    round(ready, Side::Node, 1, options, None)
}

/// Runs a suite on all its sides and compares.
pub(crate) fn compare(ready: &Ready, options: &Options) -> Result<Record, String> {
    let mut node = vec![round(ready, Side::Node, 1, options, None)?];
    let served = ready.suite.served.then_some(Side::Run);
    let mut sides = Vec::new();
    for side in [Some(Side::Exec), served].into_iter().flatten() {
        let mut hostler = vec![round(ready, side, 1, options, None)?];
        let tests = differing(&node[0].results, &hostler[0].results);
        if !tests.is_empty() {
            eprintln!("{} tests differ; once more, to tell it from chance", tests.len());
            for number in 2..=ROUNDS_MAX {
                if node.len() < number {
                    node.push(round(ready, Side::Node, number, options, Some(&tests))?);
                }
                hostler.push(round(ready, side, number, options, Some(&tests))?);
            }
        }
        sides.push(side_record(ready, side, &tests, &node, &hostler));
    }
    let of = |outcome| node[0].results.values().filter(|result| result.outcome == outcome).count();
    if node[0].results.is_empty() {
        return Err(format!(
            "no result at all; see {}",
            log_file(ready, Side::Node, 1, "log").display()
        ));
    }
    let (tests, skipped, passed) = (node[0].results.len(), of(Outcome::Skip), of(Outcome::Pass));
    Ok(Record { tests, skipped, passed, sides })
}

fn side_record(
    ready: &Ready,
    side: Side,
    tests: &BTreeSet<String>,
    node: &[Round],
    hostler: &[Round],
) -> SideRecord {
    let results = |rounds: &[Round]| -> Vec<Results> {
        rounds.iter().map(|round| round.results.clone()).collect()
    };
    let verdicts = judge(&ready.suite, tests, &results(node), &results(hostler));
    let first = &hostler[0];
    let steady = first
        .results
        .iter()
        .filter(|(name, result)| !verdicts.contains_key(*name) && result.outcome == Outcome::Pass);
    let judged = verdicts.values().filter(|verdict| match verdict {
        Verdict::Different { hostler, .. } | Verdict::Unsteady { hostler, .. } => hostler.passes(),
    });
    let mut troubles = first.troubles.clone();
    let through = first.counts.requests > 0;
    if side == Side::Exec && !through && !ready.suite.no_requests {
        troubles.push("no request went through Hostler".to_owned());
    }
    SideRecord {
        side: side.name().to_owned(),
        passed: steady.count() + judged.count(),
        counts: first.counts,
        troubles,
        verdicts,
    }
}

fn log_file(ready: &Ready, side: Side, number: usize, kind: &str) -> PathBuf {
    work().join("logs").join(format!("{}.{}.{number}.{kind}", ready.suite.name, side.name()))
}

/// `only` is an offer: runners that start each file alone run just those.
fn round(
    ready: &Ready,
    side: Side,
    number: usize,
    options: &Options,
    only: Option<&BTreeSet<String>>,
) -> Result<Round, String> {
    let log = log_file(ready, side, number, "log");
    let written = log_file(ready, side, number, "results");
    for file in [&log, &written] {
        fs::create_dir_all(file.parent().expect("in a folder"))
            .map_err(|error| error.to_string())?;
        fs::write(file, "").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let started = Instant::now();
    let mut done = Round::default();
    let jobs = ready.jobs(side, &written, options, only)?;
    eprintln!("{} on {}, round {number}: {}", ready.suite.name, side.name(), log.display());
    run_all(jobs, &log, &mut done)?;
    let text = fs::read_to_string(&written).map_err(|error| error.to_string())?;
    done.results.extend(read_results(&text, &ready.folder)?);
    let output = fs::read(&log).map_err(|error| error.to_string())?;
    done.counts = Counts::read(&String::from_utf8_lossy(&output));
    done.seconds = started.elapsed().as_secs();
    Ok(done)
}

/// Files that run alone do so two at a time: most of them wait for timers. A suite with one program is one job.
const JOBS_AT_ONCE: usize = 2;

fn run_all(jobs: Vec<Job>, log: &Path, done: &mut Round) -> Result<(), String> {
    let (jobs, shared) = (Mutex::new(jobs.into_iter()), Mutex::new(done));
    let work = || -> Result<(), String> {
        loop {
            // Taken in a statement of its own, so that the others are not kept waiting for this job.
            let job = jobs.lock().expect("no panic holds it").next();
            let Some(job) = job else { return Ok(()) };
            let ended = run_logged(job.command, log, job.deadline)?;
            note(job.end, ended, &mut shared.lock().expect("no panic holds it"));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..JOBS_AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

fn note(end: End, ended: Ended, done: &mut Round) {
    let test = match end {
        End::Run => {
            done.troubles.extend(ended.trouble());
            return;
        }
        End::File(file) => {
            let (outcome, error) = match ended.trouble() {
                None => (Outcome::Pass, String::new()),
                Some(trouble) => (Outcome::Fail, trouble),
            };
            done.results
                .insert(format!("{file} > (its process ends)"), TestResult { outcome, error });
            return;
        }
        End::Test(test) => test,
    };
    let (outcome, error) = match ended {
        Ended::Code(0) => (Outcome::Pass, String::new()),
        Ended::Code(code) => (Outcome::Fail, format!("exit status {code}")),
        Ended::Signal(_) | Ended::Deadline => (Outcome::Fail, ended.trouble().unwrap_or_default()),
    };
    done.results.insert(test, TestResult { outcome, error });
}
