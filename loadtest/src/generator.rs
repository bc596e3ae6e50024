//! The load generator: wrk, or oha where wrk is missing; for WebSockets our own.
//!
//! Owns: its command line and reading its exact counts. Must never know: who answers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::Outcome;
use crate::machine::ask;
use crate::place::{Place, spawn_on};
use crate::process::{Folder, Owned};
use crate::scenarios::Load as Kind;
use crate::websocket;

/// Printed by wrk at its end: exact figures instead of rounded ones.
const WRK_SCRIPT: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"errors":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9)))
end
"#;

/// Which program makes the load.
pub(crate) enum Generator {
    Wrk,
    Oha,
}

/// What a run of it saw.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    errors: u64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) load: &'a Kind,
    pub(crate) connections: u32,
    pub(crate) duration: Duration,
    pub(crate) place: Place,
}

impl Generator {
    pub(crate) fn find() -> Outcome<Self> {
        if ask("wrk", &["-v"]).starts_with("wrk") {
            return Ok(Self::Wrk);
        }
        if ask("oha", &["--version"]).starts_with("oha") {
            eprintln!("note: wrk is missing, oha makes the load");
            return Ok(Self::Oha);
        }
        Err("a load generator is missing; install one: apt-get install -y wrk".to_owned())
    }

    pub(crate) fn version(&self) -> String {
        let line = match self {
            Self::Wrk => ask("wrk", &["-v"]),
            Self::Oha => ask("oha", &["--version"]),
        };
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Loads the server; an error of any kind makes the run worthless and is reported as such.
    pub(crate) fn run(&self, order: Order<'_>) -> Outcome<Load> {
        let Order { address, load, connections, duration, place } = order;
        let request = match *load {
            Kind::Websocket { ref target, message_bytes } => {
                let order = websocket::Order {
                    address,
                    target,
                    connections,
                    message_bytes,
                    duration,
                    place,
                };
                return websocket::run(order);
            }
            Kind::Http { ref target, body_bytes, new_connections } => {
                Request { url: format!("http://{address}{target}"), body_bytes, new_connections }
            }
        };
        let folder = Folder::new()?;
        let mut command = match self {
            Self::Wrk => wrk(order, &request, &folder)?,
            Self::Oha => oha(order, &request, &folder)?,
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Owned::new(spawn_on(order.place, &mut command)?);
        let text = process.output(order.duration + Duration::from_secs(20))?;
        let load = match self {
            Self::Wrk => parse_wrk(&text),
            Self::Oha => parse_oha(&text),
        };
        let load =
            load.ok_or_else(|| format!("the load generator's output is not understood: {text}"))?;
        if load.errors > 0 || load.requests == 0 {
            return Err(format!("the load generator saw errors: {text}"));
        }
        Ok(load)
    }
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us.max(1) as f64
    }
}

/// What wrk or oha ask for, again and again.
struct Request {
    url: String,
    body_bytes: u32,
    new_connections: bool,
}

/// Of latencies in microseconds.
pub(crate) fn percentiles(mut latencies: Vec<u32>, took: Duration) -> Load {
    latencies.sort_unstable();
    let at = |part: f64| -> u64 {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0).into()
    };
    Load {
        requests: latencies.len() as u64,
        duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        errors: 0,
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
    }
}

fn wrk(order: Order<'_>, request: &Request, folder: &Folder) -> Outcome<Command> {
    let mut script = WRK_SCRIPT.to_owned();
    if request.body_bytes > 0 {
        let bytes = request.body_bytes;
        script += &format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n");
    }
    if request.new_connections {
        script += "wrk.headers['Connection'] = 'close'\n";
    }
    let script = folder.write("wrk.lua", &script)?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{}", order.connections)]);
    command.arg(format!("-d{}s", order.duration.as_secs().max(1)));
    command.arg("-s").arg(script).arg(&request.url);
    Ok(command)
}

fn parse_wrk(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    serde_json::from_str(line).ok()
}

fn oha(order: Order<'_>, request: &Request, folder: &Folder) -> Outcome<Command> {
    let mut command = Command::new("oha");
    command.args(["--no-tui", "--output-format", "json", "-c", &order.connections.to_string()]);
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

fn parse_oha(text: &str) -> Option<Load> {
    let report: serde_json::Value = serde_json::from_str(text).ok()?;
    let statuses = report["statusCodeDistribution"].as_object()?;
    let count = |good: bool| -> u64 {
        let of_kind = statuses.iter().filter(|(status, _)| status.starts_with('2') == good);
        of_kind.filter_map(|(_, count)| count.as_u64()).sum()
    };
    let micros = |value: &serde_json::Value| value.as_f64().map(|seconds| (seconds * 1e6) as u64);
    let latency = &report["latencyPercentiles"];
    Some(Load {
        requests: count(true),
        duration_us: micros(&report["summary"]["total"])?,
        errors: count(false),
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
    fn percentiles_of_latencies() {
        let load = percentiles((1..=1000).rev().collect(), Duration::from_secs(1));
        assert_eq!((load.requests, load.p50_us, load.p99_us), (1000, 501, 991));
        assert_eq!(percentiles(Vec::new(), Duration::from_secs(1)).p999_us, 0);
    }

    #[test]
    fn exact_counts_are_read() {
        let text = "Running 1s test\nRESULT {\"requests\":10,\"duration_us\":2000000,\"errors\":0,\
                    \"p50_us\":1,\"p90_us\":2,\"p99_us\":3,\"p999_us\":4}\n";
        let load = parse_wrk(text).expect("understood");
        assert_eq!((load.requests, load.p999_us), (10, 4));
        assert!((load.per_second() - 5.0).abs() < 1e-9);
        let text = r#"{"summary":{"total":2.0},"statusCodeDistribution":{"200":9,"502":1},
            "latencyPercentiles":{"p50":0.001,"p90":0.002,"p99":0.003,"p99.9":0.004}}"#;
        let load = parse_oha(text).expect("understood");
        assert_eq!((load.requests, load.errors, load.p99_us), (9, 1, 3000));
    }
}
