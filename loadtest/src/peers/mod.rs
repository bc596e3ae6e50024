//! The peers: who can serve the app.
//!
//! Owns: the list, and what the command line and the report say of each. Each peer's file owns how it is started, as
//! its manual advises for this job. Must never know: figures.

mod cluster;
mod daemon;
mod haproxy;
mod hostler;
mod nginx;
mod node;
mod passenger;
mod pm2;
mod running;

use std::fmt;

use crate::Outcome;
use crate::machine::ask;
use crate::place::Layout;
use crate::scenarios::Scenario;

pub(crate) use running::Running;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Node's own HTTP server: what the others are compared with.
    Node,
    /// Node's own cluster.
    Cluster,
    /// PM2 in cluster mode.
    Pm2,
    /// nginx in front of Node on unix sockets.
    Nginx,
    /// HAProxy in front of Node on unix sockets.
    Haproxy,
    /// Passenger Standalone.
    Passenger,
    /// Hostler with the ring.
    Uring,
    /// Hostler with epoll.
    Epoll,
    /// Hostler with the ring and the plain path to the worker.
    UringHttp,
}

const ALL: [Peer; 9] = [
    Peer::Node,
    Peer::Cluster,
    Peer::Pm2,
    Peer::Nginx,
    Peer::Haproxy,
    Peer::Passenger,
    Peer::Uring,
    Peer::Epoll,
    Peer::UringHttp,
];

/// Names for the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|peer| peer.name()).collect()
}

/// The peers of these names; `all` means every one.
pub(crate) fn by_names(names: &[String]) -> Outcome<Vec<Peer>> {
    if names.iter().any(|name| name == "all") {
        return Ok(ALL.to_vec());
    }
    names.iter().map(|name| Peer::by_name(name)).collect()
}

/// How each peer was set up, a line each: a figure means nothing without that.
pub(crate) fn describe(peers: &[Peer]) -> String {
    peers.iter().map(|peer| format!("{:<20} {}\n", peer.to_string(), peer.setup())).collect()
}

impl Peer {
    pub(crate) fn by_name(name: &str) -> Outcome<Self> {
        let found = ALL.into_iter().find(|peer| peer.name() == name);
        found.ok_or_else(|| format!("no peer `{name}`; there are: {}", names().join(", ")))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Cluster => "cluster",
            Self::Pm2 => "pm2",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Passenger => "passenger",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::UringHttp => "uring-http",
        }
    }

    /// How it is set up, in the words of its own command line or configuration.
    pub(crate) const fn setup(self) -> &'static str {
        match self {
            Self::Node => "node server.js",
            Self::Cluster => {
                "node:cluster, round-robin; the primary (front) accepts, workers serve"
            }
            Self::Pm2 => "pm2 start server.js -i N; the daemon (front) accepts, workers serve",
            Self::Nginx => {
                "worker_processes N, N unix sockets, keepalive 256 per process, proxy_http_version 1.1, access_log off"
            }
            Self::Haproxy => {
                "mode http, nbthread N, N unix sockets, option http-keep-alive, http-reuse always, no log"
            }
            Self::Passenger => {
                "passenger start --engine builtin --environment production, pool of N, controller_threads=N, queue unlimited, no error pages, checks or telemetry"
            }
            Self::Uring => "hostler run --workers N --shards N --io uring; --pin off if N > 1",
            Self::Epoll => "hostler run --workers N --shards N --io epoll; --pin off if N > 1",
            Self::UringHttp => "as uring, with --transport http",
        }
    }

    /// What to do if it cannot run here; `None` if it can.
    pub(crate) fn missing(self) -> Option<String> {
        if ask("node", &["--version"]).is_empty() {
            return Some("apt-get install -y nodejs".to_owned());
        }
        match self {
            Self::Uring | Self::UringHttp => hostler::missing("uring"),
            Self::Epoll => hostler::missing("epoll"),
            Self::Node | Self::Cluster => None,
            Self::Pm2 | Self::Nginx | Self::Haproxy | Self::Passenger => {
                let remedy = || format!("cargo xtask loadtest setup --only {}", self.name());
                self.version().is_none().then(remedy)
            }
        }
    }

    /// Why it has no part in a run of this layout; `None` if it has.
    pub(crate) fn unfit(self, layout: Layout) -> Option<String> {
        let many = self == Self::Node && layout.workers() > 1;
        many.then(|| "node alone is one process; `cluster` is Node with several".to_owned())
    }

    /// Its version, where it is not told elsewhere.
    pub(crate) fn version(&self) -> Option<String> {
        let text = match self {
            Self::Node | Self::Cluster => return None,
            Self::Pm2 => pm2::version()?,
            Self::Nginx => ask("nginx", &["-v"]).replace("nginx version: ", ""),
            Self::Haproxy => haproxy::version(&ask("haproxy", &["-v"])),
            Self::Passenger => {
                ask("passenger", &["--version"]).replace("Phusion Passenger(R)", "passenger")
            }
            _ => ask(&hostler::binary().to_string_lossy(), &["--version"]),
        };
        (!text.is_empty()).then_some(text)
    }

    /// Starts it from nothing, waits until its answers are right and puts its threads where they belong.
    pub(crate) fn start(self, scenario: &Scenario, layout: Layout) -> Outcome<Running> {
        if let Some(why) = self.unfit(layout) {
            return Err(why);
        }
        let start = || {
            let mut running = match self {
                Self::Node => node::start(scenario, layout),
                Self::Cluster => cluster::start(scenario, layout),
                Self::Pm2 => pm2::start(scenario, layout),
                Self::Nginx => nginx::start(scenario, layout),
                Self::Haproxy => haproxy::start(scenario, layout),
                Self::Passenger => passenger::start(scenario, layout),
                Self::Uring => hostler::start(scenario, layout, "uring", "frames"),
                Self::Epoll => hostler::start(scenario, layout, "epoll", "frames"),
                Self::UringHttp => hostler::start(scenario, layout, "uring", "http"),
            }?;
            running.wait_right(scenario)?;
            running.wait_complete(|running| self.processes(running))
        };
        let running = start().map_err(|why| format!("{self}: {why}"))?;
        running.place();
        Ok(running)
    }

    /// Front and workers as they are now.
    fn processes(self, running: &Running) -> (Vec<u32>, Vec<u32>) {
        let roots = running.roots();
        match self {
            Self::Cluster => cluster::processes(roots[0]),
            Self::Pm2 => pm2::processes(roots[0]),
            Self::Nginx => (nginx::processes(roots[0]), running.workers.clone()),
            Self::Passenger => passenger::processes(&roots, running.folder()),
            // Told at their start.
            _ => (running.front.clone(), running.workers.clone()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node alone",
            Self::Cluster => "node cluster",
            Self::Pm2 => "pm2 cluster",
            Self::Nginx => "nginx -> node",
            Self::Haproxy => "haproxy -> node",
            Self::Passenger => "passenger -> node",
            Self::Uring => "hostler uring",
            Self::Epoll => "hostler epoll",
            Self::UringHttp => "hostler uring, http",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Cores;

    #[test]
    fn names_lead_to_their_peers() {
        for peer in ALL {
            assert_eq!(Peer::by_name(peer.name()), Ok(peer));
        }
        let names = |names: &[&str]| {
            by_names(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["pm2", "node"]), Ok(vec![Peer::Pm2, Peer::Node]));
        assert_eq!(names(&["node", "all"]).map(|peers| peers.len()), Ok(ALL.len()));
        assert!(names(&["apache"]).is_err_and(|why| why.contains("passenger")));
    }

    #[test]
    fn only_node_alone_cannot_have_several_workers() {
        let layout =
            |workers| Layout::new(Cores { front: 0, worker: 1 }, workers).expect("allowed");
        assert!(ALL.iter().all(|peer| peer.unfit(layout(1)).is_none()));
        let unfit = ALL.into_iter().filter(|peer| peer.unfit(layout(2)).is_some());
        assert_eq!(unfit.collect::<Vec<_>>(), [Peer::Node]);
    }
}
