//! From settings to what the supervisor and the proxy take.
//!
//! Owns: the mapping of names, nothing else. Must never know: text, sources, defaults. Used by `run` to start an
//! instance to read its app anew, and by `check` to ask the proxy for its sizes.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use hostler_protocol::control::{ProxySetup, Sticky, Typed};
use hostler_spawner::{AppSpec, HangSpec, RecycleSpec, ReloadSpec, SleepSpec, SupervisorConfig};

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
        start_ms_max: settings.times.start_ms_max.value,
        head_ms_max: settings.times.head_ms_max.value,
        idle_ms_max: settings.times.idle_ms_max.value,
        client_silence_ms_max: settings.times.client_silence_ms_max.value,
        worker_silence_ms_max: settings.times.worker_silence_ms_max.value,
        answer_ms_max: settings.times.answer_ms_max.value,
        hang_ms_max: settings.times.hang_ms_max.value,
        sticky: sticky(settings),
        quarantine_ms: settings.routing.quarantine_ms.value,
        head_bytes_max: settings.limits.head_bytes_max.value,
        body_bytes_max: settings.limits.body_bytes_max.value,
        access_log: settings.access_log.value.clone(),
        log_json: log_json(settings),
        typed: Typed {
            head_ms_max: settings.times.head_ms_max.source.is_chosen(),
            idle_ms_max: settings.times.idle_ms_max.source.is_chosen(),
            head_bytes_max: settings.limits.head_bytes_max.source.is_chosen(),
        },
        keeps: false,
    }
}

/// None if requests are balanced one by one.
fn sticky(settings: &Settings) -> Option<Sticky> {
    let cookie = settings.routing.cookie().map(str::to_owned);
    let sessions = settings.routing.sessions();
    (cookie.is_some() || sessions).then_some(Sticky { cookie, sessions, key: [0; 2] })
}

/// Draws the secrets of an instance that is about to start.
pub(crate) fn with_secrets(mut config: SupervisorConfig) -> SupervisorConfig {
    // Every RandomState has other keys.
    let random = || RandomState::new().build_hasher().finish();
    if let Some(sticky) = &mut config.proxy.sticky {
        sticky.key = [random(), random()];
    }
    config
}

/// What the supervisor is given; `own_binary` is started again as the proxy.
pub(crate) fn supervisor_config(settings: &Settings, own_binary: &Path) -> SupervisorConfig {
    let mut proxy_command: Vec<OsString> = vec![own_binary.into(), "proxy".into()];
    if log_json(settings) {
        proxy_command.extend(["--log-format".into(), "json".into()]);
    }
    SupervisorConfig {
        runtime_dir: settings.runtime_dir.value.clone(),
        app: app_spec(settings),
        listeners: settings.listen.value.clone(),
        proxy: proxy_setup(settings),
        proxy_command,
        worker_cores: settings.worker_cores(),
        pin: settings.pin.value,
        start_ms_max: settings.times.start_ms_max.value,
        stop_ms_max: settings.times.stop_ms_max.value,
        restart_file: settings.app.cwd.value.join("tmp/restart.txt"),
        log_json: log_json(settings),
    }
}

/// What a reload reads anew.
pub(crate) fn app_spec(settings: &Settings) -> AppSpec {
    AppSpec {
        name: settings.app.name.value.clone(),
        launch: settings.launch.clone(),
        cwd: settings.app.cwd.value.clone(),
        env: app_env(settings),
        workers: settings.workers.value,
        range: settings.worker_range,
        transport: settings.transport.value,
        ready: settings.ready.value.clone(),
        hang: settings
            .times
            .hang_ms_max
            .value
            .map(|after_ms| HangSpec { after_ms, stack: settings.hang_stack.value }),
        reload: ReloadSpec {
            surge_max: settings.surge_max.value,
            probation_ms: settings.times.probation_ms.value,
            drain_ms_max: settings.times.drain_ms_max.value,
            websocket_drain_ms_max: settings.times.websocket_drain_ms_max.value,
        },
        recycle: RecycleSpec {
            memory_kib_max: settings.recycling.memory_bytes_max.value.map(|bytes| bytes >> 10),
            memory_kib_hard: settings.recycling.memory_bytes_hard.value.map(|bytes| bytes >> 10),
            age_ms_max: settings.recycling.age_ms_max.value.map(u64::from),
            requests_max: settings.recycling.requests_max.value.map(u64::from),
        },
        sleep: SleepSpec {
            lazy: settings.sleep.lazy.value,
            idle_ms_max: settings.sleep.idle_ms_max.value,
        },
    }
}

/// The file's variables come behind those of a start line: of two with one name the operator's holds.
fn app_env(settings: &Settings) -> Vec<(String, String)> {
    let mut env = match &settings.app.entry.start {
        Start::Script { env, .. } => env.clone(),
        Start::Command { .. } => Vec::new(),
    };
    let of_file = settings.app_env.iter();
    env.extend(of_file.map(|(name, said)| (name.clone(), said.text.clone())));
    env
}

fn log_json(settings: &Settings) -> bool {
    settings.log_format.value == LogFormat::Json
}
