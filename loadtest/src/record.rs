//! What a run leaves: everything that was measured of one scenario, with the circumstances.
//!
//! Owns: the form of a line in `loadtest/results/NAME.jsonl`, reading and appending. Must never know: what the
//! figures mean. Tables, verdicts and the page are all made from it, whether it was just measured or stored.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::{Machine, repository};

/// One run of one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) scenario: String,
    pub(crate) machine: Machine,
    pub(crate) plan: PlanFacts,
    /// Measures this again.
    pub(crate) command: String,
    pub(crate) participants: Vec<Participant>,
    pub(crate) series: Vec<Series>,
    /// Latency at fixed rates.
    #[serde(default)]
    pub(crate) rates: Vec<RateSeries>,
    /// Who could not be measured to the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<Failure>,
}

/// What went wrong; the peer is left out from there on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) peer: String,
    /// A case, or `at fixed rates`; empty where there is one case.
    pub(crate) place: String,
    pub(crate) why: String,
}

/// Who took part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Participant {
    pub(crate) peer: String,
    /// The essential switches.
    pub(crate) setup: String,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlanFacts {
    pub(crate) rounds: u32,
    pub(crate) measure_s: u64,
    pub(crate) warmup_s: u64,
    #[serde(default)]
    pub(crate) warmup_requests: u64,
    pub(crate) connections: u32,
    pub(crate) workers: u32,
    pub(crate) generator: String,
    pub(crate) front_core: usize,
    pub(crate) worker_core: usize,
    /// What counted system calls, if anything did.
    pub(crate) counter: Option<String>,
}

/// The samples of a peer in a case, in the order of the rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) peer: String,
    #[serde(default)]
    pub(crate) case: String,
    pub(crate) samples: Vec<Sample>,
}

/// The samples of a peer at a fixed rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RateSeries {
    pub(crate) peer: String,
    /// Of what Node alone can do.
    pub(crate) share: f64,
    /// What was asked for.
    pub(crate) wanted_per_second: f64,
    pub(crate) samples: Vec<Sample>,
}

/// One measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    /// Whether anything stands before the app.
    pub(crate) has_front: bool,
    /// CPU microseconds per request.
    pub(crate) front_us: f64,
    pub(crate) worker_us: f64,
    /// Largest resident memory since the start; pages that processes share count once for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) front_peak_kib: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker_peak_kib: Option<u64>,
    /// Context switches per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) front_switches: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker_switches: Option<f64>,
    /// System calls per request, counted in a window of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) front_syscalls: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker_syscalls: Option<f64>,
    /// What each idle connection adds to the pages that belong to no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection_front_bytes: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection_worker_bytes: Option<f64>,
    /// How many clients there were beside the load, and how many of them the server cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside_clients: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside_cut: Option<u32>,
    /// Resident memory of the front, sampled in even steps of a warm-up that is counted in requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) front_kib_over_time: Vec<u64>,
}

impl Record {
    /// The samples of a peer in a case; none if it was not measured.
    pub(crate) fn samples(&self, peer: &str, case: &str) -> &[Sample] {
        let of = |series: &&Series| series.peer == peer && series.case == case;
        self.series.iter().find(of).map_or(&[], |series| &series.samples)
    }

    /// The samples of a peer at a share of Node's capacity.
    pub(crate) fn samples_at(&self, peer: &str, share: f64) -> &[Sample] {
        let of = |series: &&RateSeries| series.peer == peer && (series.share - share).abs() < 1e-9;
        self.rates.iter().find(of).map_or(&[], |series| &series.samples)
    }

    /// Whether a peer (and the generator beside it) served what was asked for at this share.
    pub(crate) fn keeps_rate(&self, peer: &str, share: f64) -> bool {
        let of = |series: &&RateSeries| series.peer == peer && (series.share - share).abs() < 1e-9;
        self.rates.iter().find(of).is_some_and(|series| {
            let kept = |sample: &Sample| sample.per_second >= series.wanted_per_second * 0.97;
            !series.samples.is_empty() && series.samples.iter().all(kept)
        })
    }

    /// Notes a failure by its first line: the rest is a program's output, which belongs to the terminal.
    pub(crate) fn fail(&mut self, peer: &str, place: &str, why: &str) {
        let why = why.lines().next().unwrap_or_default().to_owned();
        self.failures.push(Failure { peer: peer.to_owned(), place: place.to_owned(), why });
    }

    pub(crate) fn has_failed(&self, peer: &str, place: &str) -> bool {
        self.failures.iter().any(|failure| failure.peer == peer && failure.place == place)
    }

    /// Names in the order of measuring, each once.
    pub(crate) fn peers(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|series| &*series.peer))
    }

    /// Cases in their order, each once.
    pub(crate) fn cases(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|series| &*series.case))
    }

    /// The shares of Node's capacity, ascending.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let mut shares: Vec<f64> = self.rates.iter().map(|series| series.share).collect();
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        shares
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The file for a scenario's runs.
pub(crate) fn file(scenario: &str) -> PathBuf {
    repository().join("loadtest/results").join(format!("{scenario}.jsonl"))
}

/// Adds a line.
pub(crate) fn append(file: &Path, record: &Record) -> Outcome<()> {
    let at = |error: std::io::Error| format!("{}: {error}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(at)?;
    }
    let line = serde_json::to_string(record).map_err(|error| error.to_string())?;
    let mut open = OpenOptions::new().create(true).append(true).open(file).map_err(at)?;
    writeln!(open, "{line}").map_err(at)
}

/// All runs of a file, oldest first; none if there is no such file.
pub(crate) fn read(file: &Path) -> Outcome<Vec<Record>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", file.display(), index + 1))
        })
        .collect()
}

/// The newest run for each release line of Node, in the order of the lines.
pub(crate) fn newest(records: Vec<Record>) -> Vec<Record> {
    let mut newest: Vec<Record> = Vec::new();
    for record in records {
        match newest.iter_mut().find(|other| other.machine.node_major == record.machine.node_major)
        {
            Some(older) if older.machine.time_unix_s <= record.machine.time_unix_s => {
                *older = record;
            }
            Some(_) => {}
            None => newest.push(record),
        }
    }
    newest.sort_by_key(|record| record.machine.node_major);
    newest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A sample with some throughput and worker CPU, of a peer that gets its front from `record`.
    pub(crate) fn sample(per_second: f64, worker_us: f64) -> Sample {
        Sample { requests: 1, per_second, worker_us, ..Sample::default() }
    }

    /// A record of these peers in the only case.
    pub(crate) fn record(peers: &[(&str, Vec<Sample>)]) -> Record {
        let series = peers.iter().map(|(peer, samples)| {
            let samples = samples.iter().cloned().map(|mut sample| {
                sample.has_front = *peer != "node";
                sample
            });
            Series { peer: (*peer).to_owned(), case: String::new(), samples: samples.collect() }
        });
        Record {
            scenario: "hello".to_owned(),
            machine: Machine::fixture(),
            plan: PlanFacts {
                rounds: 2,
                measure_s: 3,
                warmup_s: 1,
                warmup_requests: 0,
                connections: 64,
                workers: 1,
                generator: "wrk 4.1.0".to_owned(),
                front_core: 0,
                worker_core: 1,
                counter: Some("perf stat".to_owned()),
            },
            command: "cargo xtask loadtest --node 20 hello".to_owned(),
            participants: Vec::new(),
            series: series.collect(),
            rates: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_stored_line_is_read_as_it_was_written_and_the_newest_counts() {
        let folder = crate::process::Folder::new().expect("a folder");
        let file = folder.path().join("results/hello.jsonl");
        let mut old = record(&[("node", vec![sample(1.0, 2.0)])]);
        old.machine.time_unix_s = 1;
        let mut new = old.clone();
        new.machine.time_unix_s = 2;
        let mut other_line = old.clone();
        other_line.machine.node_major = 24;
        for record in [&new, &old, &other_line] {
            append(&file, record).expect("written");
        }
        let all = read(&file).expect("read");
        assert_eq!(serde_json::json!(all[0]), serde_json::json!(new));
        let newest = newest(all);
        let of =
            |index: usize| (newest[index].machine.node_major, newest[index].machine.time_unix_s);
        assert_eq!((newest.len(), of(0), of(1)), (2, (20, 2), (24, 1)));
        assert!(read(Path::new("/nowhere")).expect("no file, no runs").is_empty());
    }

    #[test]
    fn a_failure_concerns_its_peer_and_case_and_is_kept_without_output_of_programs() {
        let mut record = record(&[("node", Vec::new())]);
        record.fail("node", "64", "does not start\nat /some/folder");
        assert!(record.has_failed("node", "64"));
        assert!(!record.has_failed("node", "1") && !record.has_failed("uring", "64"));
        assert_eq!(record.failures[0].why, "does not start");
    }
}
