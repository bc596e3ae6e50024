//! The settings of a shard: made from the supervisor's message; `app_settings` joins them with the app's own.
//!
//! Owns: limits and time-outs as the stages use them. Must never know: where they were typed.

use std::sync::Arc;

use hostler_driver::{DriverConfig, PoolSize, PoolSizes};
use hostler_protocol::control::{ProxySetup, Typed};
use hostler_protocol::http1::{HEAD_BYTES_CAP, HeadLimits, REQUEST_FIELDS_CAP};

use crate::quarantine::Quarantine;
use crate::sticky::Sticky;

/// An address the proxy listens on, as apps and headers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// `127.0.0.1:3000` or `unix:/path`.
    pub display: String,
    /// TCP address and port as text, `None` for a unix socket.
    pub tcp: Option<(String, u16)>,
    /// The port as header text (`3000`), empty for unix sockets.
    pub port_text: String,
}

impl ListenerInfo {
    /// Reads the supervisor's text form.
    pub fn parse(display: &str) -> Self {
        let tcp = display.parse::<std::net::SocketAddr>().ok();
        Self {
            display: display.to_owned(),
            port_text: tcp.map(|address| address.port().to_string()).unwrap_or_default(),
            tcp: tcp.map(|address| (address.ip().to_string(), address.port())),
        }
    }
}

/// Everything a shard needs to know that no request changes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This shard's number.
    pub shard: u32,
    /// Number of shards.
    pub shards: u32,
    /// The core this shard is pinned to.
    pub core: Option<u32>,
    /// What the proxy listens on.
    pub listeners: Vec<ListenerInfo>,
    /// Client connections at one time.
    pub conns_max: u32,
    /// Requests in flight per worker; `None`: as many as its loop can take.
    pub worker_requests_max: Option<u32>,
    /// Requests waiting for a worker.
    pub queue_requests_max: u32,
    /// Longest wait for a worker.
    pub queue_ms_max: u64,
    /// What workers may take to start; so much longer may a request wait for one that is started because of it.
    pub start_ms_max: u64,
    /// Time for a whole request head.
    pub head_ms_max: u64,
    /// Idle keep-alive time.
    pub idle_ms_max: u64,
    /// Silence of the client while it owes body bytes or takes none.
    pub client_silence_ms_max: u64,
    /// Silence of the worker while it owes an answer.
    pub worker_silence_ms_max: u64,
    /// From a whole request head to the end of the answer's head; `u64::MAX` is no limit.
    pub answer_ms_max: u64,
    /// Silence of a worker's event loop after which it hangs; `u64::MAX` if it may be silent for ever.
    pub hang_ms_max: u64,
    /// Silence of both sides of an upgraded connection.
    pub tunnel_idle_ms_max: u64,
    /// Time for a whole request, its body included; `u64::MAX` unless the app has a limit.
    pub request_ms_max: u64,
    /// Clients are told how long an idle connection stays: as long as the app says.
    pub announces_idle: bool,
    /// The app answers client errors itself.
    pub client_error: bool,
    /// Requests of one client connection, counted by the worker: all of them go to the same one.
    pub requests_per_connection_max: Option<u64>,
    /// Requests that belong together go to one worker. Shared by all shards.
    pub sticky: Option<Arc<Sticky>>,
    /// Requests that have ended two workers are refused. Shared by all shards.
    pub quarantine: Option<Arc<Quarantine>>,
    /// Which values the operator chose; the app changes only others ([`with_app`](crate::app_settings::with_app)).
    pub typed: Typed,
    /// Limits of request heads.
    pub head_limits: HeadLimits,
    /// Limits of response heads: an app may send more than a client.
    pub response_limits: HeadLimits,
    /// Size of a request body.
    pub body_bytes_max: u64,
    /// Requests are logged.
    pub access_log: bool,
    /// Logs are JSON lines.
    pub log_json: bool,
    /// Processes offer connections that they accepted (`hostler exec`).
    pub takes_offers: bool,
    /// Bytes that slow readers may make the shard copy to the heap before they are cut off.
    pub spill_bytes_max: u64,
    /// Is the process with this id on its way out? A shard does not look by itself: in tests there are no processes.
    pub is_ending: fn(u32) -> bool,
    /// Whether that is because somebody else has killed it.
    pub was_killed: fn(u32) -> bool,
}

/// Plain connections to workers that a shard may hold beside its clients (the `http` transport, and refused requests).
pub const PLAIN_CONNS_PER_CLIENT: u32 = 1;
/// Sockets for channels, listeners and connections in their last moments.
const SPARE_SOCKETS: u32 = 256;
/// An upgraded connection that says nothing for an hour has lost its client: WebSocket libraries ping far more often.
const TUNNEL_IDLE_MS_MAX: u64 = 3_600_000;
/// Batches being filled or sent: a busy worker has two or three, one that does not read six. Memory is touched only as it is used.
const BATCH_BUFFERS: u32 = 64;
/// About two hundred requests of a browser, or one head of the largest size.
const BATCH_BYTES: u32 = 64 * 1024;
/// From the end of the time for a start until the supervisor has seen the end of the process and said so.
const START_NEWS_MS_MAX: u64 = 2_000;
const SPILL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Connections of all processes under `hostler exec`; further ones stay with Node.
const EXEC_CONNS_MAX: u32 = 20_000;
/// How long a client under exec may take nothing of what a process wrote before it closed the connection.
const EXEC_CLOSING_MS_MAX: u64 = 600_000;
/// Tests stop reading on purpose; Node alone would keep these bytes in its own heap.
const EXEC_SPILL_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl Settings {
    /// The settings of shard `shard`.
    pub fn from_setup(setup: &ProxySetup, shard: u32) -> Self {
        let head_limits =
            HeadLimits { head_bytes_max: setup.head_bytes_max, ..HeadLimits::default() };
        Self {
            shard,
            shards: setup.shards,
            core: setup.cores.get(shard as usize).copied().flatten(),
            listeners: setup.listeners.iter().map(|text| ListenerInfo::parse(text)).collect(),
            conns_max: setup.conns_max,
            worker_requests_max: setup.worker_requests_max,
            queue_requests_max: setup.queue_requests_max,
            queue_ms_max: setup.queue_ms_max.into(),
            start_ms_max: setup.start_ms_max.into(),
            head_ms_max: setup.head_ms_max.into(),
            idle_ms_max: setup.idle_ms_max.into(),
            client_silence_ms_max: setup.client_silence_ms_max.into(),
            worker_silence_ms_max: setup.worker_silence_ms_max.into(),
            answer_ms_max: setup.answer_ms_max.map_or(u64::MAX, u64::from),
            hang_ms_max: setup.hang_ms_max.map_or(u64::MAX, u64::from),
            tunnel_idle_ms_max: TUNNEL_IDLE_MS_MAX,
            request_ms_max: u64::MAX,
            announces_idle: false,
            client_error: false,
            requests_per_connection_max: None,
            sticky: setup.sticky.as_ref().map(|sticky| {
                let clients = setup.conns_max.saturating_mul(setup.shards);
                Arc::new(Sticky::new(sticky, clients))
            }),
            quarantine: setup.quarantine_ms.map(|ms| Arc::new(Quarantine::new(ms))),
            typed: setup.typed,
            head_limits,
            response_limits: HeadLimits::RESPONSE,
            body_bytes_max: setup.body_bytes_max.unwrap_or(u64::MAX),
            access_log: setup.access_log.is_some(),
            log_json: setup.log_json,
            takes_offers: false,
            spill_bytes_max: SPILL_BYTES_MAX,
            is_ending: |_| false,
            was_killed: |_| false,
        }
    }

    /// The settings of the one shard under `hostler exec`: nothing that Node would not do by itself is done, so there are no
    /// time-outs, and limits only where the machine has one.
    pub fn for_exec() -> Self {
        let head_limits = HeadLimits {
            head_bytes_max: HEAD_BYTES_CAP,
            target_bytes_max: HEAD_BYTES_CAP,
            fields_max: REQUEST_FIELDS_CAP as u32,
        };
        Self {
            shard: 0,
            shards: 1,
            core: None,
            listeners: vec![ListenerInfo::parse("exec")],
            conns_max: EXEC_CONNS_MAX,
            worker_requests_max: None,
            queue_requests_max: 0,
            queue_ms_max: u64::MAX,
            start_ms_max: 0,
            head_ms_max: u64::MAX,
            idle_ms_max: u64::MAX,
            client_silence_ms_max: EXEC_CLOSING_MS_MAX,
            worker_silence_ms_max: u64::MAX,
            answer_ms_max: u64::MAX,
            hang_ms_max: u64::MAX,
            tunnel_idle_ms_max: u64::MAX,
            request_ms_max: u64::MAX,
            announces_idle: false,
            client_error: false,
            requests_per_connection_max: None,
            sticky: None,
            quarantine: None,
            typed: Typed::default(),
            head_limits,
            response_limits: HeadLimits::RESPONSE,
            body_bytes_max: u64::MAX,
            access_log: false,
            log_json: false,
            takes_offers: true,
            is_ending: |_| false,
            was_killed: |_| false,
            spill_bytes_max: EXEC_SPILL_BYTES_MAX,
        }
    }

    /// How long a request may wait for workers that start because of it, before its time in the queue begins.
    pub fn start_wait_ms(&self) -> u64 {
        self.start_ms_max.saturating_add(START_NEWS_MS_MAX)
    }

    /// The driver's sizes that go with these settings.
    pub fn driver_config(&self) -> DriverConfig {
        DriverConfig {
            sockets_max: self.conns_max * (1 + PLAIN_CONNS_PER_CLIENT) + SPARE_SOCKETS,
            pools: PoolSizes {
                batch: PoolSize { count: BATCH_BUFFERS, bytes: BATCH_BYTES },
                ..PoolSizes::default()
            },
        }
    }
}
