//! The limits: connections, sizes, the queue, requests in flight.
//!
//! Owns: their defaults and ranges, and the sum of file descriptors that bounds the connections.
//! Must never know: what happens at a limit. Used by `settings`.

use hostler_protocol::control::Transport;

use super::times::HOUR_MS;
use super::value::{Named, Setting, SettingsError, Source, read_or};
use crate::args::LimitArgs;

/// A head must fit one large buffer of the proxy, beside what the proxy adds to it.
const HEAD_BYTES_LARGEST: u64 = 60 * 1024;
const BODY_BYTES_LARGEST: u64 = 1 << 40;
const QUEUE_MS_LEAST: u32 = 10;
const CONNS_MAX_DEFAULT: u32 = 10_000;
const CONNS_MAX_LEAST: u32 = 16;

/// The limits; connections and queue are per shard.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) conns_max: Setting<u32>,
    pub(crate) head_bytes_max: Setting<u32>,
    pub(crate) body_bytes_max: Setting<Option<u64>>,
    pub(crate) queue_requests_max: Setting<u32>,
    pub(crate) queue_ms_max: Setting<u32>,
    /// `None` is as many as a worker's event loop can take.
    pub(crate) worker_requests_max: Setting<Option<u32>>,
}

impl Limits {
    pub(super) fn read(
        typed: &LimitArgs,
        descriptors: &Descriptors,
    ) -> Result<Self, SettingsError> {
        let count = |name: &str, typed: &Option<String>, default: u32, least: u32| {
            read_or(name, typed.as_deref(), default, |text| text.count(&(least..=100_000)))
        };
        let body_size = |text: Named<'_>| match text.text.trim() {
            "none" => Ok(None),
            _ => text.size_bytes(&(0..=BODY_BYTES_LARGEST)).map(Some),
        };
        let head_size = |text: Named<'_>| {
            text.size_bytes(&(1_024..=HEAD_BYTES_LARGEST)).map(|bytes| bytes as u32)
        };
        let queue_time = |text: Named<'_>| text.duration_ms(&(QUEUE_MS_LEAST..=HOUR_MS));
        let head = typed.max_head_size.as_deref();
        let body = typed.max_body_size.as_deref();
        Ok(Self {
            conns_max: read_conns_max(typed.max_connections.as_deref(), descriptors)?,
            head_bytes_max: read_or("--max-head-size", head, 16_384, head_size)?,
            body_bytes_max: read_or("--max-body-size", body, None, body_size)?,
            queue_requests_max: count("--max-queue", &typed.max_queue, 1_024, 0)?,
            queue_ms_max: read_or(
                "--queue-timeout",
                typed.queue_timeout.as_deref(),
                10_000,
                queue_time,
            )?,
            worker_requests_max: read_or(
                "--worker-requests",
                typed.worker_requests.as_deref(),
                None,
                |text| text.count_or_auto(&(1..=100_000)),
            )?,
        })
    }
}

/// What bounds the file descriptors of the proxy process.
pub(super) struct Descriptors {
    pub(super) open_files_max: u64,
    pub(super) shards: u32,
    pub(super) workers: u32,
    pub(super) listeners: usize,
    pub(super) transport: Transport,
}

impl Descriptors {
    /// Client connections for which each shard has descriptors.
    fn conns_max(&self) -> u64 {
        let (shards, workers) = (u64::from(self.shards), u64::from(self.workers));
        let mut other = 64; // standard streams, control socket, files opened now and then
        other += shards * 8; // ring or epoll, wake-up, channel listener, spare
        other += shards * self.listeners as u64;
        other += shards * workers; // one channel to each worker
        let each = match self.transport {
            Transport::Frames => 1,
            Transport::Http => 2, // the client's socket and the worker's
        };
        self.open_files_max.saturating_sub(other) / (each * shards)
    }
}

pub(super) fn read_conns_max(
    typed: Option<&str>,
    descriptors: &Descriptors,
) -> Result<Setting<u32>, SettingsError> {
    let range = CONNS_MAX_LEAST..=1_000_000;
    if let Some(text) = typed {
        let value = Named { name: "--max-connections", text }.count(&range)?;
        return Ok(Setting { value, source: Source::Option });
    }
    let possible = u32::try_from(descriptors.conns_max()).unwrap_or(u32::MAX);
    if possible >= CONNS_MAX_DEFAULT {
        return Ok(Setting { value: CONNS_MAX_DEFAULT, source: Source::Default });
    }
    let why = format!("RLIMIT_NOFILE is {}", descriptors.open_files_max);
    Ok(Setting::because(possible.max(CONNS_MAX_LEAST), why))
}
