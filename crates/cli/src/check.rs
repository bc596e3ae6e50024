//! `hostler check`: the effective settings, where each comes from, and the memory they cost.
//!
//! Owns: that report. Must never know: how settings are read; it starts nothing and opens nothing. Called
//! by `main`.

use std::fmt::Write as _;
use std::process::ExitCode;

use hostler_spawner::Launch;

use crate::app_entry::Start;
use crate::args::{LogFormat, RunArgs};
use crate::console::{BAD_CONFIG, OK, end_with, print};
use crate::instance::proxy_setup;
use crate::run::{io_name, transport_name};
use crate::settings::{Limits, Setting, Settings, Times, with_surroundings};
use crate::table::{Align, grouped, table};
use crate::units::{show_duration_ms, show_memory, show_size_bytes};

/// Runs the verb.
pub(crate) fn check(args: &RunArgs) -> ExitCode {
    match with_surroundings(|around| Settings::resolve(args, around)) {
        Ok(settings) => {
            print(&report(&settings));
            ExitCode::from(OK)
        }
        Err(error) => end_with(BAD_CONFIG, error),
    }
}

fn report(settings: &Settings) -> String {
    let left = ("", Align::Left);
    let mut text = table(&[left, left, left], &rows(settings));
    text.push('\n');
    text.push_str(&memory(settings));
    text
}

fn rows(settings: &Settings) -> Vec<Vec<String>> {
    let mut rows = app_rows(settings);
    rows.extend(process_rows(settings));
    rows.extend(time_rows(&settings.times));
    rows.extend(limit_rows(&settings.limits));
    rows
}

fn row<T>(name: &str, setting: &Setting<T>, show: impl FnOnce(&T) -> String) -> Vec<String> {
    plain(name, show(&setting.value), &setting.source.to_string())
}

fn plain(name: &str, value: String, why: &str) -> Vec<String> {
    vec![name.to_owned(), value, format!("({why})")]
}

fn app_rows(settings: &Settings) -> Vec<Vec<String>> {
    let app = &settings.app;
    let folder = app.folder.display().to_string();
    let mut rows = vec![plain("app", app.name.clone(), "package.json or folder")];
    match &settings.launch {
        Launch::Script { script, .. } => {
            rows.push(plain("script", script.display().to_string(), &app.found_by));
        }
        Launch::Command { line, .. } => rows.push(plain("command", line.clone(), &app.found_by)),
    }
    rows.push(plain("folder", folder, "working directory of the workers"));
    match &settings.launch {
        Launch::Script { args, node_args, .. } => {
            if !args.is_empty() {
                rows.push(plain("app args", args.join(" "), "start line and command line"));
            }
            if !node_args.is_empty() {
                rows.push(plain("node options", node_args.join(" "), "start line"));
            }
        }
        Launch::Command { bin_folders, .. } if !bin_folders.is_empty() => {
            let folders: Vec<_> =
                bin_folders.iter().map(|path| path.display().to_string()).collect();
            rows.push(plain("path", folders.join(":"), "in front of PATH"));
        }
        Launch::Command { .. } => {}
    }
    if let Start::Script { env, .. } = &app.start {
        for (name, value) in env {
            rows.push(plain("app env", format!("{name}={value}"), "start line"));
        }
    }
    if let Some(node) = &settings.node {
        rows.push(row("node", node, |path| path.display().to_string()));
    }
    rows
}

fn process_rows(settings: &Settings) -> Vec<Vec<String>> {
    let cores = &settings.cores;
    let mut rows = vec![
        row("listen", &settings.listen, |list| joined(list)),
        plain("usable cores", cores.count.to_string(), &cores.why),
        row("workers", &settings.workers, ToString::to_string),
        row("shards", &settings.shards, ToString::to_string),
        row("pin", &settings.pin, |pin| if *pin { "on" } else { "off" }.to_owned()),
    ];
    if settings.pin.value {
        let why = "shared only when there are too few";
        rows.push(plain("shard cores", joined(&settings.placement.shards), why));
        rows.push(plain("worker cores", joined(&settings.placement.workers), why));
    }
    rows.extend([
        row("io", &settings.io, |io| io_name(*io).to_owned()),
        row("transport", &settings.transport, |way| transport_name(*way).to_owned()),
        row("runtime-dir", &settings.runtime_dir, |dir| dir.display().to_string()),
        row("log-format", &settings.log_format, |format| match format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        }),
    ]);
    rows
}

/// A value that the app's server has too: unless the operator chose ours, the app may change it.
fn row_of_both<T>(
    name: &str,
    setting: &Setting<T>,
    of_server: &str,
    show: impl FnOnce(&T) -> String,
) -> Vec<String> {
    if setting.source.is_chosen() {
        return row(name, setting, show);
    }
    let why = format!("{}, unless the app sets {of_server}", setting.source);
    plain(name, show(&setting.value), &why)
}

fn time_rows(times: &Times) -> [Vec<String>; 8] {
    [
        row_of_both("head-timeout", &times.head_ms_max, "headersTimeout", show_ms),
        row_of_both("idle-timeout", &times.idle_ms_max, "keepAliveTimeout", show_ms),
        row("client-timeout", &times.client_silence_ms_max, show_ms),
        row("worker-timeout", &times.worker_silence_ms_max, show_ms),
        row("request-timeout", &times.answer_ms_max, |ms| {
            ms.map_or_else(|| "none".to_owned(), |ms| show_ms(&ms))
        }),
        row("hang-after", &times.hang_ms_max, |ms| {
            ms.map_or_else(|| "off".to_owned(), |ms| show_ms(&ms))
        }),
        row("start-timeout", &times.start_ms_max, show_ms),
        row("stop-timeout", &times.stop_ms_max, show_ms),
    ]
}

fn limit_rows(limits: &Limits) -> [Vec<String>; 6] {
    [
        row("max-connections", &limits.conns_max, |n| format!("{n} per shard")),
        row_of_both("max-head-size", &limits.head_bytes_max, "maxHeaderSize", |n| {
            show_size_bytes(u64::from(*n))
        }),
        row("max-body-size", &limits.body_bytes_max, |bytes| {
            bytes.map_or_else(|| "none".to_owned(), show_size_bytes)
        }),
        row("max-queue", &limits.queue_requests_max, |n| format!("{n} per shard")),
        row("queue-timeout", &limits.queue_ms_max, show_ms),
        row("worker-requests", &limits.worker_requests_max, |n| {
            n.map_or_else(|| "auto".to_owned(), |n| format!("{n} per worker and shard"))
        }),
    ]
}

fn show_ms(ms: &u32) -> String {
    show_duration_ms(u64::from(*ms))
}

fn joined<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The proxy's pools and limits as sums. Node's memory is the app's business and not in here.
fn memory(settings: &Settings) -> String {
    let shard = hostler_proxy::Settings::from_setup(&proxy_setup(settings), 0);
    let driver = shard.driver_config();
    let mut rows = Vec::new();
    for (class, count, bytes) in driver.pools.iter() {
        let sum = u64::from(count) * u64::from(bytes);
        let name = format!("{class:?}").to_lowercase();
        rows.push(vec![
            format!("{name} buffers"),
            grouped(u64::from(count)),
            show_memory(u64::from(bytes)),
            show_memory(sum),
        ]);
    }
    let pools = driver.pools.bytes_total();
    let shards = u64::from(settings.shards.value);
    let columns = [
        ("PROXY MEMORY PER SHARD", Align::Left),
        ("COUNT", Align::Right),
        ("EACH", Align::Right),
        ("SUM", Align::Right),
    ];
    let mut text = table(&columns, &rows);
    let _ = writeln!(text, "\nbuffers of one shard     {}", show_memory(pools));
    let _ = writeln!(text, "buffers of all shards    {}", show_memory(pools * shards));
    let _ = writeln!(
        text,
        "sockets of one shard     {} slots, touched as they are used",
        grouped(u64::from(driver.sockets_max))
    );
    let _ = writeln!(
        text,
        "for slow readers         at most {} more per shard, only while answers wait",
        show_memory(shard.spill_bytes_max)
    );
    text.push_str("Buffers are reserved at start and become resident when they are first used.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{Machine, with_machine};

    #[test]
    fn every_setting_is_shown_with_its_source() {
        let machine = Machine { env: &[("PORT", "8080")], ..Machine::default() };
        let settings =
            with_machine(&machine, &["--workers", "2", "--head-timeout", "3s"]).expect("good");
        let text = report(&settings);
        for (name, value, source) in [
            ("workers", "2", "(option)"),
            ("head-timeout", "3s", "(option)"),
            ("idle-timeout", "75s", "(default, unless the app sets keepAliveTimeout)"),
            ("listen", "127.0.0.1:8080", "(environment: PORT)"),
            ("shards", "4", "(default: auto, one per usable core)"),
            ("max-body-size", "none", "(default)"),
        ] {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
            let line = line.unwrap_or_else(|| panic!("no line for {name} in\n{text}"));
            assert!(line.contains(value) && line.ends_with(source), "{line}");
        }
    }

    #[test]
    fn a_command_is_shown_in_the_place_of_the_script() {
        let text = |options: &[&str]| {
            report(&with_machine(&Machine::default(), options).expect("good settings"))
        };
        let shown = text(&["--command", "uvicorn app:app --uds $SOCKET"]);
        let line = shown.lines().find(|line| line.starts_with("command ")).expect("a line");
        assert!(
            line.contains("uvicorn app:app --uds $SOCKET") && line.ends_with("(option)"),
            "{line}"
        );
        assert!(!shown.contains("\nscript ") && !shown.contains("\nnode "), "{shown}");
        assert!(text(&[]).contains("\nscript "));
    }

    #[test]
    fn the_sums_add_up() {
        let settings = with_machine(&Machine::default(), &["--shards", "3"]).expect("good");
        let text = memory(&settings);
        let shard = hostler_proxy::Settings::from_setup(&proxy_setup(&settings), 0);
        let one = shard.driver_config().pools.bytes_total();
        assert!(
            text.contains(&format!("buffers of one shard     {}\n", show_memory(one))),
            "{text}"
        );
        assert!(
            text.contains(&format!("buffers of all shards    {}\n", show_memory(3 * one))),
            "{text}"
        );
    }
}
