//! oha: the load at saturation where wrk is missing.
//!
//! Owns: finding it, its command line, reading its report. Must never know: who answers.

use std::path::PathBuf;
use std::process::Command;

use crate::Outcome;
use crate::generator::{Load, Order, Request};
use crate::machine::{ask, repository};
use crate::process::Folder;

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Oha(PathBuf);

impl Oha {
    /// The one that was installed for this test, else any.
    pub(crate) fn find() -> Option<Self> {
        let own = repository().join("target/loadtest/tools/bin/oha");
        let path = if own.exists() { own } else { PathBuf::from("oha") };
        ask(&path.to_string_lossy(), &["--version"]).starts_with("oha").then_some(Self(path))
    }

    pub(crate) fn version(&self) -> String {
        ask(&self.0.to_string_lossy(), &["--version"])
    }

    /// As many requests as the connections allow.
    pub(crate) fn saturating(
        &self,
        order: Order<'_>,
        request: &Request<'_>,
        folder: &Folder,
    ) -> Outcome<Command> {
        if request.other.is_some() {
            return Err("oha cannot mix targets; install wrk".to_owned());
        }
        let mut command = Command::new(&self.0);
        // It has one core: a second thread would only make it switch.
        command.args(["--worker-threads", "1"]);
        command.args(["--no-tui", "--no-color", "--output-format", "json"]);
        command.args(["-c", &order.connections.to_string()]);
        command.args(["-z", &format!("{}s", order.duration.as_secs().max(1))]);
        if request.body_bytes > 0 {
            let body = folder.write("body", &"x".repeat(request.body_bytes as usize))?;
            command.args(["-m", "POST", "-D"]).arg(body);
        }
        if request.new_connections {
            command.arg("--disable-keepalive");
        }
        command.arg(&request.url);
        Ok(command)
    }
}

/// Reads its JSON report.
pub(crate) fn parse(text: &str) -> Option<Load> {
    let report: serde_json::Value = serde_json::from_str(text).ok()?;
    let statuses = report["statusCodeDistribution"].as_object()?;
    let count = |good: bool| -> u64 {
        let of_kind = statuses.iter().filter(|(status, _)| status.starts_with('2') == good);
        of_kind.filter_map(|(_, count)| count.as_u64()).sum()
    };
    // What the end of the time interrupts is no failure of the server.
    let failed = report["errorDistribution"].as_object().into_iter().flatten();
    let failed = failed.filter(|(why, _)| *why != "aborted due to deadline");
    let micros = |value: &serde_json::Value| value.as_f64().map(|seconds| (seconds * 1e6) as u64);
    let latency = &report["latencyPercentiles"];
    Some(Load {
        requests: count(true),
        duration_us: micros(&report["summary"]["total"])?,
        errors: count(false) + failed.filter_map(|(_, count)| count.as_u64()).sum::<u64>(),
        p50_us: micros(&latency["p50"])?,
        p90_us: micros(&latency["p90"])?,
        p99_us: micros(&latency["p99"])?,
        p999_us: micros(&latency["p99.9"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = r#"{"summary":{"total":2.0},"statusCodeDistribution":{"200":9,"502":1},
            "errorDistribution":{"aborted due to deadline":3,"connection refused":2},
            "latencyPercentiles":{"p50":0.001,"p90":0.002,"p99":0.003,"p99.9":0.004}}"#;
        let load = parse(text).expect("understood");
        assert_eq!((load.requests, load.errors, load.p99_us), (9, 3, 3000));
        assert!((load.per_second() - 4.5).abs() < 1e-9);
        assert!(load.without_errors(text).is_err());
        assert!(parse("not JSON").is_none());
    }
}
