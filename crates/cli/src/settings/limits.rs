//! The limits: connections, sizes, the queue, requests in flight.
//!
//! Owns: their defaults and ranges, and the sum of file descriptors that bounds the connections.
//! Must never know: what happens at a limit. Used by `settings`.

use hostler_protocol::control::Transport;

use super::times::HOUR_MS;
use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError};

/// A head must fit one large buffer of the proxy, beside what the proxy adds to it.
const HEAD_BYTES_LARGEST: u64 = 60 * 1024;
const BODY_BYTES_LARGEST: u64 = 1 << 40;
const QUEUE_MS_LEAST: u32 = 10;
const CONNS_MAX_DEFAULT: u32 = 10_000;
pub(crate) const CONNS_MAX_LEAST: u32 = 16;
pub(crate) const CONNS_MAX_MOST: u32 = 1_000_000;
/// Of requests that wait or are in flight.
pub(crate) const COUNT_MOST: u32 = 100_000;

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
        all: &AsTyped<'_>,
        descriptors: &Descriptors,
    ) -> Result<Self, SettingsError> {
        let (typed, server, app) = (&all.args.limits, &all.file.server, &all.file.app);
        let (head, body) = (typed.max_head_size.as_deref(), typed.max_body_size.as_deref());
        let (queue, wait) = (typed.max_queue.as_deref(), typed.queue_timeout.as_deref());
        let requests = typed.worker_requests.as_deref();
        let head = all.read("--max-head-size", head, server.max_head_size.as_ref(), head_size)?;
        let body = all.read("--max-body-size", body, server.max_body_size.as_ref(), body_size)?;
        let queue = all.read("--max-queue", queue, app.max_queue.as_ref(), |text| {
            text.count(&(0..=COUNT_MOST))
        })?;
        let wait = all.read("--queue-timeout", wait, app.queue_timeout.as_ref(), |text| {
            text.duration_ms(&(QUEUE_MS_LEAST..=HOUR_MS))
        })?;
        let requests =
            all.read("--worker-requests", requests, app.worker_requests.as_ref(), |text| {
                text.count_or_auto(&(1..=COUNT_MOST))
            })?;
        Ok(Self {
            conns_max: read_conns_max(all, descriptors)?,
            head_bytes_max: Setting::chosen_or(head, 16_384),
            body_bytes_max: Setting::chosen_or(body, None),
            queue_requests_max: Setting::chosen_or(queue, 1_024),
            queue_ms_max: Setting::chosen_or(wait, 10_000),
            worker_requests_max: Setting::chosen_or(requests, None),
        })
    }
}

fn head_size(text: Named<'_>) -> Result<u32, SettingsError> {
    text.size_bytes(&(1_024..=HEAD_BYTES_LARGEST)).map(|bytes| bytes as u32)
}

fn body_size(text: Named<'_>) -> Result<Option<u64>, SettingsError> {
    match text.text.trim() {
        "none" => Ok(None),
        _ => text.size_bytes(&(0..=BODY_BYTES_LARGEST)).map(Some),
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

fn read_conns_max(
    all: &AsTyped<'_>,
    descriptors: &Descriptors,
) -> Result<Setting<u32>, SettingsError> {
    let typed = all.args.limits.max_connections.as_deref();
    let key = all.file.server.max_connections.as_ref();
    let range = CONNS_MAX_LEAST..=CONNS_MAX_MOST;
    if let Some(chosen) = all.read("--max-connections", typed, key, |text| text.count(&range))? {
        return Ok(chosen);
    }
    let possible = u32::try_from(descriptors.conns_max()).unwrap_or(u32::MAX);
    if possible >= CONNS_MAX_DEFAULT {
        return Ok(Setting::chosen_or(None, CONNS_MAX_DEFAULT));
    }
    let why = format!("RLIMIT_NOFILE is {}", descriptors.open_files_max);
    Ok(Setting::because(possible.max(CONNS_MAX_LEAST), why))
}
