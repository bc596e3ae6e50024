//! The peers: who can serve the app.
//!
//! Owns: the list, and what a running peer looks like to a measurement. Each peer's file owns how it is started,
//! as its manual advises for this job. Must never know: figures.

mod hostler;
mod nginx;
mod node;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Outcome;
use crate::http::Connection;
use crate::machine::ask;
use crate::place::{Cores, move_all_threads};
use crate::process::{Folder, Owned, wait_for};
use crate::scenarios::Scenario;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Node's own HTTP server: what the others are compared with.
    Node,
    /// nginx in front of Node on a unix socket.
    Nginx,
    /// Hostler with the ring.
    Uring,
    /// Hostler with epoll.
    Epoll,
    /// Hostler with the ring and the plain path to the worker.
    UringHttp,
}

const ALL: [Peer; 5] = [Peer::Node, Peer::Nginx, Peer::Uring, Peer::Epoll, Peer::UringHttp];

/// Names for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|peer| peer.name()).collect()
}

/// A peer that serves.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Processes of the front; empty for Node alone.
    pub(crate) front: Vec<u32>,
    /// Processes of the app.
    pub(crate) workers: Vec<u32>,
    /// Ended in this order.
    processes: Vec<Owned>,
    _folder: Folder,
}

impl Peer {
    pub(crate) fn by_name(name: &str) -> Outcome<Self> {
        let found = ALL.into_iter().find(|peer| peer.name() == name);
        found.ok_or_else(|| format!("no peer `{name}`; there are: {}", names().join(", ")))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Nginx => "nginx",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::UringHttp => "uring-http",
        }
    }

    /// The essential switches.
    pub(crate) const fn setup(self) -> &'static str {
        match self {
            Self::Node => "node server.js",
            Self::Nginx => {
                "worker_processes 1, unix socket, keepalive 256, proxy_http_version 1.1, access_log off"
            }
            Self::Uring => "hostler run --workers 1 --shards 1 --io uring",
            Self::Epoll => "hostler run --workers 1 --shards 1 --io epoll",
            Self::UringHttp => "as uring, with --transport http",
        }
    }

    /// What to do if it cannot run here; `None` if it can.
    pub(crate) fn missing(self) -> Option<String> {
        if ask("node", &["--version"]).is_empty() {
            return Some("apt-get install -y nodejs".to_owned());
        }
        match self {
            Self::Node => None,
            Self::Nginx => {
                ask("nginx", &["-v"]).is_empty().then(|| "apt-get install -y nginx".to_owned())
            }
            Self::Uring | Self::UringHttp => hostler::missing("uring"),
            Self::Epoll => hostler::missing("epoll"),
        }
    }

    /// Its version, where it is not told elsewhere.
    pub(crate) fn version(&self) -> Option<String> {
        match self {
            Self::Node => None,
            Self::Nginx => Some(ask("nginx", &["-v"]).replace("nginx version: ", "")),
            _ => Some(ask(&hostler::binary().to_string_lossy(), &["--version"])),
        }
    }

    /// Starts it from nothing, waits until its answers are right and puts its threads where they belong.
    pub(crate) fn start(self, scenario: &Scenario, cores: Cores) -> Outcome<Running> {
        let mut running = match self {
            Self::Node => node::start(scenario, cores),
            Self::Nginx => nginx::start(scenario, cores),
            Self::Uring => hostler::start(scenario, "uring", "frames"),
            Self::Epoll => hostler::start(scenario, "epoll", "frames"),
            Self::UringHttp => hostler::start(scenario, "uring", "http"),
        }?;
        running.wait_right(scenario).map_err(|why| format!("{self}: {why}"))?;
        if self == Self::Nginx {
            running.front = nginx::processes(running.front[0]);
        }
        running.place(cores);
        Ok(running)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node alone",
            Self::Nginx => "nginx -> node",
            Self::Uring => "hostler uring",
            Self::Epoll => "hostler epoll",
            Self::UringHttp => "hostler uring, http",
        })
    }
}

impl Running {
    /// Threads come and go while a program warms up: called again before each measurement.
    pub(crate) fn place(&self, cores: Cores) {
        for &pid in &self.front {
            move_all_threads(pid, cores.front);
        }
        for &pid in &self.workers {
            move_all_threads(pid, cores.worker);
        }
    }

    fn wait_right(&mut self, scenario: &Scenario) -> Outcome<()> {
        let mut last = "no answer".to_owned();
        let right = wait_for(Duration::from_secs(20), || {
            if let Some(status) = self.processes.iter_mut().find_map(Owned::ended) {
                last = format!("ended by itself: {status}");
                return Some(false);
            }
            match Connection::open(self.address).and_then(|mut c| scenario.check(&mut c)) {
                Ok(()) => return Some(true),
                Err(why) => last = why,
            }
            None
        });
        if right == Some(true) { Ok(()) } else { Err(last) }
    }

    /// Ends its processes; the front first, so that it does not complain about a lost app.
    pub(crate) fn stop(mut self) {
        for process in &mut self.processes {
            process.stop();
        }
    }
}
