//! `hostler status`: the processes of a running instance and what they do.
//!
//! Owns: the table for people and the JSON for programs. Must never know: how the figures are gathered (the
//! supervisor answers over its control socket). Called by `main`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use hostler_protocol::control::{
    AppLimits, CommandAnswer, CommandRequest, InstanceState, InstanceStatus, ProxyStatus,
    WorkerState, WorkerStatus,
};
use hostler_spawner::CommandError;

use crate::args::StatusArgs;
use crate::console::{BAD_CONFIG, FAILED, OK, UNAVAILABLE, end_with, print, print_json};
use crate::run::{backend, transport_name};
use crate::settings::{runtime_dir, with_surroundings};
use crate::table::{Align, grouped, table};
use crate::units::{show_age_s, show_duration_ms, show_memory, show_size_bytes};

/// The supervisor itself waits at most a second for the proxy's figures.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker that is in use beats every 100 ms, an idle one every second.
const HEARTBEAT_LATE_MS: u32 = 3_000;

/// Runs the verb.
pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    let typed = &args.instance;
    let dir = match with_surroundings(|around| runtime_dir(typed, around)) {
        Ok(setting) => setting.value,
        Err(error) => return end_with(BAD_CONFIG, error),
    };
    match hostler_spawner::command(&dir, CommandRequest::Status, PATIENCE) {
        Ok(CommandAnswer::Status(status)) => {
            if args.json {
                print_json(&status);
            } else {
                print(&report(&status));
            }
            ExitCode::from(OK)
        }
        Ok(CommandAnswer::Refused { why }) => end_with(FAILED, why),
        Ok(_) => end_with(FAILED, "the instance gave an answer to another question"),
        Err(error) => end_with(code_of(&error), error),
    }
}

/// The exit code for a question that was not answered.
pub(crate) fn code_of(error: &CommandError) -> u8 {
    match error {
        CommandError::NoInstance(_) | CommandError::Orphaned(_) | CommandError::Closed(_) => {
            UNAVAILABLE
        }
        _ => FAILED,
    }
}

fn report(status: &InstanceStatus) -> String {
    let supervisor = &status.supervisor;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "hostler {} in {}, {}, up {}, on {}",
        supervisor.version,
        supervisor.runtime_dir,
        state_word(supervisor.state),
        show_age_s(supervisor.uptime_s),
        status.listeners.join(" and ")
    );
    if let Some(proxy) = &status.proxy {
        let _ = writeln!(text, "{}", backend(proxy.io, &proxy.io_reason));
        if let Some(limits) = proxy.shards.first().and_then(|shard| app_limits(&shard.app)) {
            let _ = writeln!(text, "of the app's own server: {limits}");
        }
    }
    let _ = writeln!(text, "\n{}", processes(status).trim_end());
    match &status.proxy {
        Some(proxy) => {
            let _ = writeln!(text, "\n{}", shards(proxy).trim_end());
        }
        None => text.push_str("\nThe proxy gave no figures; it may be starting again.\n"),
    }
    let _ = writeln!(text, "\n{}", workers(status).trim_end());
    let mut last_slot = None;
    for worker in &status.workers {
        // A slot has a line for each of its processes, and one last death.
        if last_slot.replace(worker.slot) == Some(worker.slot) {
            continue;
        }
        if let Some(death) = &worker.last_death {
            let _ = writeln!(text, "\n{}.{} last died: {death}", worker.app, worker.slot);
            for line in &worker.last_stderr {
                let _ = writeln!(text, "  | {line}");
            }
        }
    }
    text
}

fn state_word(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Starting => "starting",
        InstanceState::Running => "running",
        InstanceState::Asleep => "asleep",
        InstanceState::Degraded => "degraded",
        InstanceState::Reloading => "reloading",
        InstanceState::Stopping => "stopping",
    }
}

/// In the words of our options where there is one.
fn app_limits(app: &AppLimits) -> Option<String> {
    let time =
        |name: &str, ms: Option<u64>| ms.map(|ms| format!("{name} {}", show_duration_ms(ms)));
    let all = [
        time("idle-timeout", app.idle_ms_max),
        time("head-timeout", app.head_ms_max),
        time("requestTimeout", app.request_ms_max),
        app.head_bytes_max.map(|bytes| format!("max-head-size {}", show_size_bytes(bytes.into()))),
        app.requests_per_connection_max.map(|max| format!("{max} requests per connection")),
        app.client_error.then(|| "answers to client errors".to_owned()),
    ];
    let said: Vec<String> = all.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn processes(status: &InstanceStatus) -> String {
    let columns = [("PROCESS", Align::Left), ("PID", Align::Right), ("RSS", Align::Right)];
    let supervisor = &status.supervisor;
    let proxy_pid = status.proxy_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let rows = [
        vec![
            "supervisor".to_owned(),
            supervisor.pid.to_string(),
            show_memory(supervisor.rss_kib * 1024),
        ],
        vec!["proxy".to_owned(), proxy_pid, show_memory(status.proxy_rss_kib * 1024)],
    ];
    table(&columns, &rows)
}

fn shards(proxy: &ProxyStatus) -> String {
    let columns = [
        ("SHARD", Align::Left),
        ("CONNS", Align::Right),
        ("IN FLIGHT", Align::Right),
        ("UPGRADED", Align::Right),
        ("QUEUED", Align::Right),
        ("REQUESTS", Align::Right),
        ("OWN 4XX", Align::Right),
        ("OWN 5XX", Align::Right),
        ("SHED", Align::Right),
        ("RETRIED", Align::Right),
        ("NO BUFFER", Align::Right),
    ];
    let rows: Vec<Vec<String>> = proxy
        .shards
        .iter()
        .map(|shard| {
            let mut row = vec![shard.shard.to_string()];
            let figures = [
                u64::from(shard.conns),
                u64::from(shard.in_flight.saturating_sub(shard.upgraded)),
                u64::from(shard.upgraded),
                u64::from(shard.queued),
                shard.requests,
                shard.refused,
                shard.failed,
                shard.shed,
                shard.retried,
                shard.starved,
            ];
            row.extend(figures.map(grouped));
            row
        })
        .collect();
    table(&columns, &rows)
}

fn workers(status: &InstanceStatus) -> String {
    let columns = [
        ("WORKER", Align::Left),
        ("PID", Align::Right),
        ("STATE", Align::Left),
        ("GEN", Align::Right),
        ("CORE", Align::Right),
        ("TRANSPORT", Align::Left),
        ("IN FLIGHT", Align::Right),
        ("UPGRADED", Align::Right),
        ("REQUESTS", Align::Right),
        ("RESTARTS", Align::Right),
        ("RSS", Align::Right),
        ("HEAP", Align::Right),
        ("LOOP DELAY", Align::Right),
        ("LOOP BUSY", Align::Right),
        ("UP", Align::Right),
    ];
    let rows: Vec<Vec<String>> = status.workers.iter().map(worker_row).collect();
    table(&columns, &rows)
}

fn worker_row(worker: &WorkerStatus) -> Vec<String> {
    let none = || "-".to_owned();
    let load = worker.load.as_ref();
    let delay = load.map_or_else(none, |load| {
        if load.heartbeat_age_ms > HEARTBEAT_LATE_MS {
            return format!(
                "silent {}",
                show_duration_ms(u64::from(load.heartbeat_age_ms / 1000) * 1000)
            );
        }
        format!("{:.1} ms", f64::from(load.loop_delay_us) / 1000.0)
    });
    let busy =
        load.map_or_else(none, |load| format!("{:.1} %", f64::from(load.loop_utilisation) / 10.0));
    vec![
        format!("{}.{}", worker.app, worker.slot),
        worker.pid.map_or_else(none, |pid| pid.to_string()),
        state_name(worker.state).to_owned(),
        worker.generation.to_string(),
        worker.core.map_or_else(none, |core| core.to_string()),
        transport_name(worker.transport).to_owned(),
        load.map_or_else(none, |load| {
            grouped(u64::from(load.in_flight.saturating_sub(load.upgraded)))
        }),
        load.map_or_else(none, |load| grouped(u64::from(load.upgraded))),
        load.map_or_else(none, |load| grouped(load.requests)),
        worker.restarts.to_string(),
        show_memory(worker.rss_kib * 1024),
        load.map_or_else(none, |load| show_memory(u64::from(load.heap_kib) * 1024)),
        delay,
        busy,
        show_age_s(worker.uptime_s),
    ]
}

fn state_name(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Draining => "draining",
        WorkerState::Stopping => "stopping",
        WorkerState::Backoff => "back-off",
        WorkerState::Asleep => "asleep",
        WorkerState::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use hostler_protocol::control::{
        IoChoice, ShardStatus, SupervisorStatus, Transport, WorkerId, WorkerLoad,
    };

    use super::*;

    fn worker(slot: u32) -> WorkerStatus {
        WorkerStatus {
            app: "web".to_owned(),
            slot,
            worker: WorkerId(slot + 1),
            pid: Some(4_213 + slot),
            state: WorkerState::Ready,
            transport: Transport::Frames,
            generation: 1,
            core: Some(slot),
            uptime_s: 185,
            restarts: 0,
            last_death: None,
            last_stderr: Vec::new(),
            rss_kib: 58 * 1024,
            load: Some(WorkerLoad {
                worker: slot + 1,
                in_flight: 35,
                upgraded: 3,
                requests: 60_172,
                loop_delay_us: 1_240,
                loop_utilisation: 871,
                heap_kib: 12_000,
                heartbeat_age_ms: 80,
            }),
        }
    }

    fn instance() -> InstanceStatus {
        InstanceStatus {
            supervisor: SupervisorStatus {
                pid: 4_211,
                version: "0.1.0".to_owned(),
                state: InstanceState::Running,
                uptime_s: 190,
                rss_kib: 6_000,
                runtime_dir: "/run/hostler".to_owned(),
            },
            proxy_pid: Some(4_212),
            proxy_rss_kib: 12_345,
            proxy: Some(ProxyStatus {
                io: IoChoice::Uring,
                io_reason: "the self-test passed".to_owned(),
                shards: vec![ShardStatus {
                    conns: 64,
                    in_flight: 5,
                    upgraded: 5,
                    requests: 120_344,
                    ..ShardStatus::default()
                }],
                workers: Vec::new(),
            }),
            listeners: vec!["127.0.0.1:3000".to_owned()],
            workers: vec![worker(0), worker(1)],
        }
    }

    fn line<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
        let line = text.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in\n{text}")).split_whitespace().collect()
    }

    #[test]
    fn everything_is_shown_with_units() {
        let text = report(&instance());
        assert!(
            text.starts_with(
                "hostler 0.1.0 in /run/hostler, running, up 3m 10s, on 127.0.0.1:3000\n"
            ),
            "{text}"
        );
        assert!(text.contains("io_uring: the self-test passed\n"));
        assert_eq!(line(&text, "proxy"), ["proxy", "4212", "12.1", "MiB"]);
        assert_eq!(
            line(&text, "0 "),
            ["0", "64", "0", "5", "0", "120,344", "0", "0", "0", "0", "0"]
        );
        let web = line(&text, "web.1").join(" ");
        assert_eq!(
            web,
            "web.1 4214 ready 1 1 frames 32 3 60,172 0 58.0 MiB 11.7 MiB 1.2 ms 87.1 % 3m 05s"
        );
    }

    #[test]
    fn what_the_app_changed_is_shown() {
        let mut status = instance();
        assert!(!report(&status).contains("of the app's own server"));
        let shard = &mut status.proxy.as_mut().expect("figures").shards[0];
        shard.app = AppLimits {
            idle_ms_max: Some(65_000),
            head_bytes_max: Some(32_768),
            client_error: true,
            ..AppLimits::default()
        };
        let text = report(&status);
        let line = "\nof the app's own server: idle-timeout 65s, max-head-size 32K, answers to client errors\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_is_not_known_is_a_dash_and_deaths_are_explained() {
        let mut status = instance();
        status.proxy = None;
        status.proxy_pid = None;
        let dead = &mut status.workers[1];
        dead.pid = None;
        dead.load = None;
        dead.state = WorkerState::Backoff;
        dead.last_death = Some("exit code 1 after 3 s".to_owned());
        dead.last_stderr = vec!["Error: no database".to_owned()];
        status.supervisor.state = InstanceState::Degraded;
        let text = report(&status);
        assert_eq!(line(&text, "proxy")[1], "-");
        assert_eq!(&line(&text, "web.1")[1..3], ["-", "back-off"]);
        assert!(
            text.contains("web.1 last died: exit code 1 after 3 s\n  | Error: no database\n"),
            "{text}"
        );
        assert!(text.contains(" degraded, "), "{text}");
        assert!(text.contains("The proxy gave no figures"), "{text}");
    }

    #[test]
    fn a_blocked_loop_is_seen_by_its_silence() {
        let mut status = instance();
        let load = status.workers[0].load.as_mut().expect("a load");
        load.heartbeat_age_ms = 7_450;
        assert!(line(&report(&status), "web.0").join(" ").contains("silent 7s"));
    }
}
