//! What an instance prints, collected line by line.
//!
//! Owns: reader threads and waiting for a line. Must never know: what a line means, except for the ready line.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Target;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

/// All lines printed so far, with a bell for waiters.
#[derive(Default)]
pub(super) struct Output {
    state: Mutex<Lines>,
    bell: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<(Source, String)>,
    closed: u32,
}

impl Output {
    pub(super) fn collect(self: &Arc<Self>, source: Source, pipe: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                output.state.lock().expect("lock").lines.push((source, line));
                output.bell.notify_all();
            }
            output.state.lock().expect("lock").closed += 1;
            output.bell.notify_all();
        });
    }

    pub(super) fn wait(&self, limit: Duration, accept: impl Fn(&str) -> bool) -> Option<String> {
        let start = Instant::now();
        let mut state = self.state.lock().expect("lock");
        loop {
            if let Some((_, line)) = state.lines.iter().find(|(_, line)| accept(line)) {
                return Some(line.clone());
            }
            let left = limit.checked_sub(start.elapsed())?;
            if state.closed == 2 {
                return None;
            }
            state = self.bell.wait_timeout(state, left).expect("lock").0;
        }
    }

    /// As `wait`, for a line of the instance itself on stdout; gives up when the process ends.
    pub(super) fn wait_or_exit(
        &self,
        child: &mut Child,
        limit: Duration,
        accept: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let start = Instant::now();
        while start.elapsed() < limit {
            let found = self.wait(Duration::from_millis(100), |line| accept(line));
            if found.is_some() || child.try_wait().expect("wait").is_some() {
                return found;
            }
        }
        None
    }

    /// Until both pipes are closed, so that the last words are in.
    pub(super) fn wait_closed(&self) {
        let state = self.state.lock().expect("lock");
        let open = |state: &mut Lines| state.closed < 2;
        let _ = self.bell.wait_timeout_while(state, Duration::from_secs(2), open).expect("lock");
    }

    pub(super) fn text(&self, source: Source) -> String {
        let state = self.state.lock().expect("lock");
        let lines = state.lines.iter().filter(|(from, _)| *from == source);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    pub(super) fn dump(&self) -> String {
        format!("{}{}", self.text(Source::Stdout), self.text(Source::Stderr))
    }
}

/// The addresses that a ready line names; empty for every other line.
pub(super) fn addresses_in(line: &str) -> Vec<Target> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else {
        return Vec::new();
    };
    let is_ready = fields.get("event").and_then(Value::as_str) == Some("ready");
    let Some(Value::Array(addresses)) = fields.get("listeners").filter(|_| is_ready) else {
        return Vec::new();
    };
    addresses.iter().filter_map(Value::as_str).map(parse_target).collect()
}

/// `http://127.0.0.1:3000`, `127.0.0.1:3000` or `unix:/path`.
fn parse_target(text: &str) -> Target {
    if let Some(path) = text.strip_prefix("unix:") {
        return Target::Unix(PathBuf::from(path));
    }
    let address = text.trim_start_matches("http://");
    let address: SocketAddr = address.parse().expect("an address in the ready line");
    // What is bound to every address is reached over loopback.
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            Target::Tcp((Ipv4Addr::LOCALHOST, v4.port()).into())
        }
        other => Target::Tcp(other),
    }
}
