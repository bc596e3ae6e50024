//! The load at saturation: by wrk, or by oha where wrk is missing; for WebSockets by our own client. At a fixed rate the
//! load is `paced`'s.
//!
//! Owns: choosing, wrk's command line, reading its exact counts. Must never know: who answers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::Outcome;
use crate::machine::ask;
use crate::oha::Oha;
use crate::place::{Place, spawn_on};
use crate::process::{Folder, Owned};
use crate::scenarios::{Load as Kind, Other};
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
    Oha(Oha),
}

/// What a run of it saw.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    pub(crate) errors: u64,
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
        if let Some(oha) = Oha::find() {
            eprintln!("note: wrk is missing, oha makes the load");
            return Ok(Self::Oha(oha));
        }
        Err("a load generator is missing; cargo xtask loadtest setup --only wrk".to_owned())
    }

    pub(crate) fn version(&self) -> String {
        match self {
            Self::Wrk => {
                let line = ask("wrk", &["-v"]);
                line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
            }
            Self::Oha(oha) => oha.version(),
        }
    }

    /// Loads the server; an error of any kind makes the run worthless and is reported as such.
    pub(crate) fn run(&self, order: Order<'_>) -> Outcome<Load> {
        let request = match Request::of(order.address, order.load) {
            Ok(request) => request,
            Err(messages) => return websocket::run(messages.with(order)),
        };
        let folder = Folder::new()?;
        let mut command = match self {
            Self::Wrk => wrk(order, &request, &folder)?,
            Self::Oha(oha) => oha.saturating(order, &request, &folder)?,
        };
        let text = run_on(order, &mut command)?;
        let load = match self {
            Self::Wrk => parse_wrk(&text),
            Self::Oha(_) => crate::oha::parse(&text),
        };
        load.ok_or_else(|| format!("the load generator's output is not understood: {text}"))?
            .without_errors(&text)
    }
}

/// Runs a load generator on its core to its end and gives what it printed.
pub(crate) fn run_on(order: Order<'_>, command: &mut Command) -> Outcome<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Owned::new(spawn_on(order.place, command)?);
    process.output(order.duration + Duration::from_secs(20))
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us.max(1) as f64
    }

    /// Itself, unless something went wrong.
    pub(crate) fn without_errors(self, text: &str) -> Outcome<Self> {
        if self.errors > 0 || self.requests == 0 {
            return Err(format!("the load generator saw errors: {text}"));
        }
        Ok(self)
    }
}

/// What wrk or oha ask for, again and again.
pub(crate) struct Request<'a> {
    pub(crate) url: String,
    pub(crate) target: &'a str,
    pub(crate) body_bytes: u32,
    pub(crate) new_connections: bool,
    pub(crate) other: Option<&'a Other>,
}

/// What our own client sends, again and again.
pub(crate) struct Messages<'a> {
    target: &'a str,
    bytes: u16,
}

impl<'a> Request<'a> {
    pub(crate) fn of(address: SocketAddr, load: &'a Kind) -> Result<Self, Messages<'a>> {
        match *load {
            Kind::Websocket { ref target, message_bytes } => {
                Err(Messages { target, bytes: message_bytes })
            }
            Kind::Http { ref target, body_bytes, new_connections, ref other } => Ok(Self {
                url: format!("http://{address}{target}"),
                target,
                body_bytes,
                new_connections,
                other: other.as_ref(),
            }),
        }
    }
}

impl Request<'_> {
    /// Nothing but one GET, again and again on connections that stay.
    pub(crate) fn is_one_get(&self) -> bool {
        self.body_bytes == 0 && !self.new_connections && self.other.is_none()
    }
}

impl<'a> Messages<'a> {
    fn with(self, order: Order<'a>) -> websocket::Order<'a> {
        websocket::Order {
            address: order.address,
            target: self.target,
            connections: order.connections,
            message_bytes: self.bytes,
            duration: order.duration,
            place: order.place,
        }
    }
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

fn wrk(order: Order<'_>, request: &Request<'_>, folder: &Folder) -> Outcome<Command> {
    let mut script = WRK_SCRIPT.to_owned();
    if request.body_bytes > 0 {
        let bytes = request.body_bytes;
        script += &format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n");
    }
    if request.new_connections {
        script += "wrk.headers['Connection'] = 'close'\n";
    }
    if let Some(Other { target, every }) = request.other {
        script += &format!(
            "local sent = 0\nrequest = function()\n  sent = sent + 1\n  \
             if sent % {every} == 0 then return wrk.format(nil, '{target}') end\n  \
             return wrk.format()\nend\n"
        );
    }
    let script = folder.write("wrk.lua", &script)?;
    let mut command = Command::new("wrk");
    // A thread for each core that it may use: with one, the core that it happens to be on would have another load.
    let threads = order.place.cores().min(order.connections);
    command.args([format!("-t{threads}"), format!("-c{}", order.connections)]);
    command.arg(format!("-d{}s", order.duration.as_secs().max(1)));
    command.arg("-s").arg(script).arg(&request.url);
    Ok(command)
}

fn parse_wrk(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    serde_json::from_str(line).ok()
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
    }
}
