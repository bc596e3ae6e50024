//! `hostler check`: the effective settings, where each comes from, and the memory they cost.
//!
//! Owns: that report. Must never know: how settings are read; it starts nothing and opens nothing. Called
//! by `main`.

use std::fmt::Write as _;
use std::process::ExitCode;

use hostler_spawner::Launch;

use crate::app_entry::Start;
use crate::args::RunArgs;
use crate::console::{BAD_CONFIG, OK, end_with, print};
use crate::instance::proxy_setup;
use crate::settings::{Row, Section, Settings, Value, rows};
use crate::table::{Align, grouped, table};
use crate::units::show_memory;

/// Runs the verb.
pub(crate) fn check(args: &RunArgs) -> ExitCode {
    match Settings::read(args) {
        Ok(settings) => {
            print(&report(&settings));
            ExitCode::from(OK)
        }
        Err(error) => end_with(BAD_CONFIG, error),
    }
}

fn report(settings: &Settings) -> String {
    let left = ("", Align::Left);
    let mut text = table(&[left, left, left], &lines(settings));
    text.push('\n');
    text.push_str(&memory(settings));
    text
}

fn lines(settings: &Settings) -> Vec<Vec<String>> {
    let file = &settings.file;
    let mut lines = vec![plain("config file", file.shown().to_owned(), file.how())];
    let (app, server): (Vec<Row>, Vec<Row>) =
        rows(settings).into_iter().partition(|row| row.section == Section::App);
    lines.extend(start_lines(settings));
    lines.extend(app.iter().filter(|row| is_worth_a_line(row)).map(line));
    lines.extend(server.iter().map(line));
    lines.extend(core_lines(settings));
    lines
}

/// What is started has a line that says more.
fn is_worth_a_line(row: &Row) -> bool {
    !matches!(row.key.as_str(), "path" | "command") && row.value != Value::List(Vec::new())
}

/// Named as the options are.
fn line(row: &Row) -> Vec<String> {
    let name = match row.key.starts_with("env.") {
        true => row.key.clone(),
        false => row.key.replace('_', "-"),
    };
    plain(&name, format!("{}{}", row.value.text(), row.unit), &row.why())
}

fn plain(name: &str, value: String, why: &str) -> Vec<String> {
    let value = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    vec![name.to_owned(), value, format!("({why})")]
}

/// What is started, and what a start line in package.json adds to it.
fn start_lines(settings: &Settings) -> Vec<Vec<String>> {
    let entry = &settings.app.entry;
    let mut lines = Vec::new();
    match &settings.launch {
        Launch::Script { script, .. } => {
            lines.push(plain("script", script.display().to_string(), &entry.found_by));
        }
        Launch::Command { line, bin_folders } => {
            lines.push(plain("command", line.clone(), &entry.found_by));
            if !bin_folders.is_empty() {
                lines.push(plain("PATH", joined_paths(bin_folders), "in front of the rest"));
            }
        }
    }
    if let Start::Script { env, node_args, args, .. } = &entry.start {
        for (name, words) in [("node options", node_args), ("first args", args)] {
            if !words.is_empty() {
                lines.push(plain(name, words.join(" "), "start line"));
            }
        }
        for (name, value) in env {
            lines.push(plain("start env", format!("{name}={value}"), "start line"));
        }
    }
    lines
}

fn joined_paths(paths: &[std::path::PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

fn core_lines(settings: &Settings) -> Vec<Vec<String>> {
    let cores = &settings.cores;
    let mut lines = vec![plain("usable cores", cores.count.to_string(), &cores.why)];
    if settings.pin.value {
        let why = "shared only when there are too few";
        lines.push(plain("shard cores", joined(&settings.placement.shards), why));
        lines.push(plain("worker cores", joined(&settings.placement.workers), why));
    }
    lines
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
