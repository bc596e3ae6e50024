//! HAProxy in front of Node.
//!
//! Owns: its configuration, as its manual advises for this job: HTTP mode, connections kept on both sides and shared
//! among clients (`http-reuse always`), one thread per worker, no log. Upgrades need no setting. Called by `peers`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, getrlimit};

use super::{Running, node};
use crate::Outcome;
use crate::place::{Layout, spawn_on};
use crate::process::{Folder, Owned, free_port};
use crate::scenarios::Scenario;

/// Connections at one time; the idle ones of a measurement are many.
const CONNECTIONS_MAX: u64 = 20_000;

/// Requests at one time at a Node process; more wait in HAProxy, as its manual advises. Less than the 511 connections that
/// Node lets wait at a socket: the kernel refuses those beyond.
const REQUESTS_MAX: u32 = 500;

/// Starts the app on sockets and HAProxy before it.
pub(super) fn start(scenario: &Scenario, layout: Layout) -> Outcome<Running> {
    let folder = Folder::new()?;
    let port = free_port()?;
    let (mut processes, sockets) = node::spawn_on_sockets(scenario, layout, &folder)?;
    let workers = processes.iter().map(Owned::pid).collect();
    let connections = connections_max(getrlimit(Resource::Nofile).maximum);
    let text = config(&sockets, port, layout.front_threads(), connections);
    let config = folder.write("haproxy.cfg", &text)?;
    let mut command = Command::new("haproxy");
    // -db: in the foreground, one process.
    command.arg("-db").arg("-q").arg("-f").arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let front = Owned::new(spawn_on(layout.front(), &mut command)?);
    let front_pid = front.pid();
    processes.insert(0, front);
    Ok(Running::new(port, layout, folder, processes).with(vec![front_pid], workers))
}

/// `HAProxy version 2.6.12-1 2023/03/28 - https://...` without date and address.
pub(super) fn version(line: &str) -> String {
    let words = line.split_whitespace().skip_while(|&word| word != "version").nth(1);
    words.map_or_else(String::new, |number| format!("haproxy {number}"))
}

/// Two descriptors for each and some for itself: HAProxy does not start with more than the limit allows.
fn connections_max(files_max: Option<u64>) -> u64 {
    files_max
        .map_or(CONNECTIONS_MAX, |files| (files.saturating_sub(200) / 2).clamp(1, CONNECTIONS_MAX))
}

fn config(sockets: &[PathBuf], port: u16, threads: u32, connections: u64) -> String {
    let servers: String = sockets
        .iter()
        .enumerate()
        .map(|(index, socket)| {
            format!("  server app{index} unix@{} maxconn {REQUESTS_MAX}\n", socket.display())
        })
        .collect();
    format!(
        "global
  nbthread {threads}
  maxconn {connections}
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  maxconn {connections}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:{port} backlog 4096
  default_backend app
backend app
  balance roundrobin
{servers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_a_server() {
        let sockets = [PathBuf::from("/tmp/a.sock"), PathBuf::from("/tmp/b.sock")];
        let text = config(&sockets, 8080, 2, 100);
        assert!(text.contains(
            "  server app0 unix@/tmp/a.sock maxconn 500\n  server app1 unix@/tmp/b.sock maxconn 500\n"));
        assert!(text.contains("\n  nbthread 2\n") && text.contains("bind 127.0.0.1:8080 "));
    }

    #[test]
    fn the_version_is_the_word_behind_version() {
        let line = "HAProxy version 2.6.12-1+deb12u4 2025/11/12 - https://haproxy.org/";
        assert_eq!(version(line), "haproxy 2.6.12-1+deb12u4");
        assert_eq!(version("HA-Proxy version 1.8.4"), "haproxy 1.8.4");
        assert_eq!(version(""), "");
    }

    #[test]
    fn connections_fit_the_limit_of_open_files() {
        assert_eq!(connections_max(Some(1024)), 412);
        assert_eq!(connections_max(Some(100)), 1);
        assert_eq!(connections_max(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(connections_max(None), CONNECTIONS_MAX);
    }
}
