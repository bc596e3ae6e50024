//! From settings to what the supervisor and the proxy take.
//!
//! Owns: the mapping of names, nothing else. Must never know: text, sources, defaults. Used by `run` to start an
//! instance and by `check` to ask the proxy for its sizes.

use std::ffi::OsString;
use std::path::Path;

use hostler_protocol::control::{ProxySetup, Typed};
use hostler_spawner::{AppSpec, SupervisorConfig};

use crate::app_entry::Start;
use crate::args::LogFormat;
use crate::settings::Settings;

/// What the proxy process will be told.
pub(crate) fn proxy_setup(settings: &Settings) -> ProxySetup {
    ProxySetup {
        shards: settings.shards.value,
        cores: settings.shard_cores(),
        listeners: settings.listen.value.iter().map(ToString::to_string).collect(),
        io: settings.io.value,
        conns_max: settings.limits.conns_max.value,
        worker_requests_max: settings.limits.worker_requests_max.value,
        queue_requests_max: settings.limits.queue_requests_max.value,
        queue_ms_max: settings.limits.queue_ms_max.value,
        head_ms_max: settings.times.head_ms_max.value,
        idle_ms_max: settings.times.idle_ms_max.value,
        client_silence_ms_max: settings.times.client_silence_ms_max.value,
        worker_silence_ms_max: settings.times.worker_silence_ms_max.value,
        answer_ms_max: settings.times.answer_ms_max.value,
        hang_ms_max: settings.times.hang_ms_max.value,
        head_bytes_max: settings.limits.head_bytes_max.value,
        body_bytes_max: settings.limits.body_bytes_max.value,
        access_log: settings.access_log.clone(),
        log_json: log_json(settings),
        typed: Typed {
            head_ms_max: settings.times.head_ms_max.source.is_chosen(),
            idle_ms_max: settings.times.idle_ms_max.source.is_chosen(),
            head_bytes_max: settings.limits.head_bytes_max.source.is_chosen(),
        },
    }
}

/// What the supervisor is given; `own_binary` is started again as the proxy.
pub(crate) fn supervisor_config(settings: &Settings, own_binary: &Path) -> SupervisorConfig {
    let mut proxy_command: Vec<OsString> = vec![own_binary.into(), "proxy".into()];
    if log_json(settings) {
        proxy_command.extend(["--log-format".into(), "json".into()]);
    }
    SupervisorConfig {
        runtime_dir: settings.runtime_dir.value.clone(),
        app: AppSpec {
            name: settings.app.name.clone(),
            launch: settings.launch.clone(),
            cwd: settings.app.folder.clone(),
            env: match &settings.app.start {
                Start::Script { env, .. } => env.clone(),
                Start::Command { .. } => Vec::new(),
            },
            workers: settings.workers.value,
            transport: settings.transport.value,
        },
        listeners: settings.listen.value.clone(),
        proxy: proxy_setup(settings),
        proxy_command,
        worker_cores: settings.worker_cores(),
        pin: settings.pin.value,
        start_ms_max: settings.times.start_ms_max.value,
        stop_ms_max: settings.times.stop_ms_max.value,
        log_json: log_json(settings),
    }
}

fn log_json(settings: &Settings) -> bool {
    settings.log_format.value == LogFormat::Json
}
