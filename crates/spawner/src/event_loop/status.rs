//! `hostler status`: the supervisor's facts and the proxy's figures in one answer.
//!
//! Owns: the questions to the proxy that wait for an answer, and putting the answer together. Must
//! never know: sockets. A proxy that does not answer delays the status, it does not prevent it.

use hostler_protocol::control::{
    InstanceState, InstanceStatus, ProxyStatus, SupervisorStatus, WorkerStatus,
};

use super::control::ClientId;
use super::figures::resident_kib;

/// Longest wait for the proxy.
const PROXY_MS_MAX: u64 = 1_000;

#[derive(Debug)]
struct Waiting {
    client: ClientId,
    request: u64,
    deadline_ms: u64,
}

/// The status questions under way.
#[derive(Debug, Default)]
pub(super) struct StatusDesk {
    waiting: Vec<Waiting>,
    last_request: u64,
}

impl StatusDesk {
    /// A client asks; gives the number for the question to the proxy.
    pub(super) fn ask(&mut self, client: ClientId, now_ms: u64) -> u64 {
        self.last_request += 1;
        let request = self.last_request;
        self.waiting.push(Waiting { client, request, deadline_ms: now_ms + PROXY_MS_MAX });
        request
    }

    /// The proxy has answered: the clients that wait for it.
    pub(super) fn answered(&mut self, request: u64) -> Vec<ClientId> {
        self.take(|waiting| waiting.request == request)
    }

    /// The clients that have waited long enough.
    pub(super) fn expired(&mut self, now_ms: u64) -> Vec<ClientId> {
        self.take(|waiting| waiting.deadline_ms <= now_ms)
    }

    /// The proxy is gone: all clients.
    pub(super) fn abandoned(&mut self) -> Vec<ClientId> {
        self.take(|_| true)
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.deadline_ms).min()
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<ClientId> {
        let (taken, kept) = std::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = kept;
        taken.into_iter().map(|waiting: Waiting| waiting.client).collect()
    }
}

/// What only the loop knows.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) state: InstanceState,
    pub(super) uptime_s: u64,
    pub(super) runtime_dir: String,
    pub(super) proxy_pid: Option<u32>,
    pub(super) listeners: Vec<String>,
}

/// Puts the answer together.
pub(super) fn gather(
    facts: Facts,
    mut workers: Vec<WorkerStatus>,
    proxy: Option<ProxyStatus>,
) -> InstanceStatus {
    for worker in &mut workers {
        worker.rss_kib = worker.pid.map_or(0, rss_kib);
        let mut loads = proxy.iter().flat_map(|proxy| &proxy.workers);
        worker.load = loads.find(|load| load.worker == worker.worker.0).cloned();
    }
    let pid = std::process::id();
    InstanceStatus {
        supervisor: SupervisorStatus {
            pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: facts.state,
            uptime_s: facts.uptime_s,
            rss_kib: rss_kib(pid),
            runtime_dir: facts.runtime_dir,
        },
        proxy_pid: facts.proxy_pid,
        proxy_rss_kib: facts.proxy_pid.map_or(0, rss_kib),
        proxy,
        listeners: facts.listeners,
        workers,
    }
}

/// Resident memory of a process; 0 when it is gone.
fn rss_kib(pid: u32) -> u64 {
    resident_kib(pid).unwrap_or(0)
}
