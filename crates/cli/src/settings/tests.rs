//! Tests of `settings` with a machine made up for them.

use std::path::Path;

use clap::Parser;

use super::*;
use crate::args::{Cli, Verb};
use crate::cgroup::Limit;

/// A made-up machine; four cores, no quota, many descriptors.
pub(crate) struct Machine {
    pub(crate) env: &'static [(&'static str, &'static str)],
    pub(crate) cores: UsableCores,
    pub(crate) open_files_max: u64,
    pub(crate) default_runtime_dir: Option<&'static str>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            env: &[],
            cores: UsableCores {
                allowed: vec![0, 1, 2, 3],
                count: 4,
                quota: None,
                why: "affinity 0-3".to_owned(),
            },
            open_files_max: 1 << 20,
            default_runtime_dir: Some("/run/hostler"),
        }
    }
}

/// Resolves `hostler run examples/hello OPTIONS` on that machine.
pub(crate) fn with_machine(machine: &Machine, options: &[&str]) -> Result<Settings, SettingsError> {
    let typed = ["hostler", "run", "examples/hello"].into_iter().chain(options.iter().copied());
    let Verb::Run(args) = Cli::parse_from(typed).verb else { panic!("run was typed") };
    let env = |name: &str| {
        let set = machine.env.iter().find(|(known, _)| *known == name);
        let value = set.map(|(_, value)| (*value).to_owned());
        value
            .filter(|value| !value.is_empty())
            .or_else(|| (name == "PATH").then(|| "/bin".to_owned()))
    };
    let mut args = *args;
    // No Node is needed to test settings; any program will do.
    if args.command.is_none() {
        args.processes.node.get_or_insert_with(|| "/bin/sh".into());
    }
    Settings::resolve(
        &args,
        &Surroundings {
            env: &env,
            cores: machine.cores.clone(),
            open_files_max: machine.open_files_max,
            current_folder: env!("CARGO_MANIFEST_DIR").into(),
            system_file: "/no/such/hostler.toml".into(),
            default_runtime_dir: machine.default_runtime_dir.map(Into::into),
        },
    )
}

fn resolve(options: &[&str]) -> Settings {
    with_machine(&Machine::default(), options).expect("good settings")
}

fn error(options: &[&str]) -> String {
    with_machine(&Machine::default(), options).expect_err("bad settings").to_string()
}

#[test]
fn defaults() {
    let settings = resolve(&[]);
    assert_eq!(settings.app.name.value, "hello");
    assert_eq!(settings.listen.value[0].to_string(), "127.0.0.1:3000");
    assert_eq!((settings.workers.value, settings.shards.value), (4, 4));
    assert_eq!(settings.io.value, IoChoice::Auto);
    assert_eq!(settings.transport.value, Transport::Frames);
    assert!(settings.pin.value);
    assert_eq!(settings.worker_cores(), [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(settings.runtime_dir.value, Path::new("/run/hostler"));
    assert_eq!(settings.limits.conns_max.value, 10_000);
    assert_eq!(settings.limits.body_bytes_max.value, None);
}

#[test]
fn the_help_tells_the_true_defaults() {
    let settings = resolve(&[]);
    let help = {
        let mut command = <Cli as clap::CommandFactory>::command();
        let run = command.find_subcommand_mut("run").expect("there is run");
        run.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let ms = |setting: &Setting<u32>| crate::units::show_duration_ms(u64::from(setting.value));
    for (option, default) in [
        ("--head-timeout", ms(&settings.times.head_ms_max)),
        ("--idle-timeout", ms(&settings.times.idle_ms_max)),
        ("--client-timeout", ms(&settings.times.client_silence_ms_max)),
        ("--worker-timeout", ms(&settings.times.worker_silence_ms_max)),
        (
            "--request-timeout",
            settings
                .times
                .answer_ms_max
                .value
                .map_or("none".to_owned(), |ms| crate::units::show_duration_ms(u64::from(ms))),
        ),
        (
            "--hang-after",
            settings
                .times
                .hang_ms_max
                .value
                .map_or("off".to_owned(), |ms| crate::units::show_duration_ms(u64::from(ms))),
        ),
        ("--start-timeout", ms(&settings.times.start_ms_max)),
        ("--stop-timeout", ms(&settings.times.stop_ms_max)),
        ("--probation", ms(&settings.times.probation_ms)),
        ("--drain-timeout", ms(&settings.times.drain_ms_max)),
        ("--websocket-drain", ms(&settings.times.websocket_drain_ms_max)),
        ("--queue-timeout", ms(&settings.limits.queue_ms_max)),
        ("--max-connections", settings.limits.conns_max.value.to_string()),
        (
            "--max-head-size",
            crate::units::show_size_bytes(settings.limits.head_bytes_max.value.into()),
        ),
        ("--max-queue", settings.limits.queue_requests_max.value.to_string()),
        (
            "--worker-requests",
            settings
                .limits
                .worker_requests_max
                .value
                .map_or("auto".to_owned(), |many| many.to_string()),
        ),
    ] {
        let at =
            help.find(&format!("{option} <")).unwrap_or_else(|| panic!("no {option} in {help}"));
        let rest = &help[at + option.len()..];
        let text = &rest[..rest.find(" --").unwrap_or(rest.len())];
        // clap drops the full stop of a paragraph.
        let told = text.split("Default: ").nth(1).unwrap_or_default();
        let told = told.split([',', '.', ' ']).next().unwrap_or_default();
        assert_eq!(told, default, "{option}: {text}");
    }
}

#[test]
fn the_environment_counts_below_the_options() {
    let machine = Machine {
        env: &[("PORT", "8080"), ("HOST", "0.0.0.0"), ("WEB_CONCURRENCY", "3")],
        ..Machine::default()
    };
    let settings = with_machine(&machine, &[]).expect("good");
    assert_eq!(settings.listen.value[0].to_string(), "0.0.0.0:8080");
    assert_eq!(settings.listen.source, Source::Environment("HOST, PORT"));
    assert_eq!(settings.workers.value, 3);
    assert_eq!(settings.workers.source, Source::Environment("WEB_CONCURRENCY"));
    let settings =
        with_machine(&machine, &["--workers", "auto", "--listen", "9000"]).expect("good");
    assert_eq!(settings.listen.value[0].to_string(), "127.0.0.1:9000");
    assert_eq!(settings.workers.value, 4);
}

#[test]
fn empty_variables_are_not_set() {
    let machine = Machine {
        env: &[("PORT", ""), ("WEB_CONCURRENCY", ""), ("HOSTLER_RUNTIME_DIR", "")],
        ..Machine::default()
    };
    let settings = with_machine(&machine, &[]).expect("good");
    assert_eq!(settings.listen.value[0].to_string(), "127.0.0.1:3000");
    assert_eq!(settings.workers.value, 4);
}

#[test]
fn bad_variables_are_named() {
    let bad = |env| {
        let machine = Machine { env, ..Machine::default() };
        with_machine(&machine, &[]).expect_err("bad").to_string()
    };
    assert!(bad(&[("PORT", "http")]).starts_with("PORT: `http`"));
    assert!(bad(&[("WEB_CONCURRENCY", "many")]).starts_with("WEB_CONCURRENCY: `many`"));
}

#[test]
fn listeners() {
    let settings =
        resolve(&["--listen", "[::1]:0", "--listen", "unix:/run/a.sock", "--listen", "81"]);
    let shown: Vec<String> = settings.listen.value.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["[::1]:0", "unix:/run/a.sock", "127.0.0.1:81"]);
    let machine = Machine { env: &[("HOST", "::1")], ..Machine::default() };
    let settings = with_machine(&machine, &[]).expect("good");
    assert_eq!(settings.listen.value[0].to_string(), "[::1]:3000");
    assert!(error(&["--listen", "/run/a.sock"]).contains("--listen: "));
    assert!(error(&["--listen", "99999"]).contains("`99999` is not a port"));
}

#[test]
fn bad_values_name_the_option_the_value_and_what_is_expected() {
    for (options, parts) in [
        (["--workers", "0"], ["--workers: `0`", "auto, a whole number from 1 to 512 or a range"]),
        (["--shards", "1000"], ["--shards: `1000`", "from 1 to 256"]),
        (["--head-timeout", "10"], ["--head-timeout: `10`", "with a unit"]),
        (["--idle-timeout", "1ms"], ["--idle-timeout: `1ms`", "from 100ms to 24h"]),
        (["--max-head-size", "1M"], ["--max-head-size: `1M`", "from 1K to 60K"]),
        (["--max-body-size", "lots"], ["--max-body-size: `lots`", "a size"]),
        (["--max-connections", "3"], ["--max-connections: `3`", "from 16"]),
        (["--node", "/no/such/node"], ["--node: /no/such/node is not", "install Node.js"]),
        (["--worker-requests", "0"], ["--worker-requests: `0`", "from 1 to 100000"]),
    ] {
        let error = error(&options);
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }
}

#[test]
fn connections_fit_the_open_files() {
    let machine = Machine { open_files_max: 4_096, ..Machine::default() };
    let few = with_machine(&machine, &["--shards", "2", "--workers", "2"]).expect("good");
    assert_eq!(few.limits.conns_max.value, (4_096 - 64 - 16 - 2 - 4) / 2);
    assert_eq!(few.limits.conns_max.source, Source::DefaultBecause("RLIMIT_NOFILE is 4096".into()));
    let http = with_machine(&machine, &["--shards", "2", "--workers", "2", "--transport", "http"]);
    assert_eq!(http.expect("good").limits.conns_max.value, few.limits.conns_max.value / 2);
    let none = Machine { open_files_max: 10, ..Machine::default() };
    assert_eq!(with_machine(&none, &[]).expect("good").limits.conns_max.value, 16);
}

#[test]
fn a_quota_turns_pinning_off_unless_it_is_asked_for() {
    let cores = UsableCores {
        count: 2,
        quota: Some(Limit { value: 1.5, file: "/sys/fs/cgroup/cpu.max".into() }),
        ..Machine::default().cores
    };
    let machine = Machine { cores, ..Machine::default() };
    let silent = with_machine(&machine, &[]).expect("good");
    assert_eq!((silent.workers.value, silent.pin.value), (2, false));
    assert_eq!(silent.shard_cores(), [None, None]);
    let asked = with_machine(&machine, &["--pin", "on"]).expect("good");
    assert_eq!(asked.shard_cores(), [Some(0), Some(1)]);
}

#[test]
fn one_shard_and_one_worker_get_a_core_each() {
    let settings = resolve(&["--workers", "1", "--shards", "1"]);
    assert_eq!(settings.shard_cores(), [Some(0)]);
    assert_eq!(settings.worker_cores(), [Some(3)]);
}

#[test]
fn the_runtime_directory_is_absolute_and_short() {
    let settings = resolve(&["--runtime-dir", "run"]);
    assert_eq!(settings.runtime_dir.value, Path::new(env!("CARGO_MANIFEST_DIR")).join("run"));
    let error = error(&["--runtime-dir", &format!("/{}", "x".repeat(90))]);
    assert!(error.contains("91 bytes long"), "{error}");
    let homeless = Machine { default_runtime_dir: None, ..Machine::default() };
    let error = with_machine(&homeless, &[]).expect_err("no place").to_string();
    assert!(error.contains("name a folder"), "{error}");
}

#[test]
fn the_length_rule_is_the_supervisors() {
    use hostler_spawner::runtime_dir::RuntimeDir;
    let error = error(&["--runtime-dir", &format!("/{}", "x".repeat(90))]);
    let most = error.split("at most ").nth(1).and_then(|rest| rest.split(' ').next());
    let most: usize = most.and_then(|number| number.parse().ok()).expect("a number");
    let base = format!("{}/h{}-", std::env::temp_dir().display(), std::process::id());
    let longest = format!("{base}{}", "x".repeat(most - base.len()));
    RuntimeDir::acquire(Path::new(&longest), "hello").expect("the longest fits").remove();
    let refused = RuntimeDir::acquire(Path::new(&format!("{longest}x")), "hello");
    assert!(refused.expect_err("one more does not").to_string().contains("too long"));
}

#[test]
fn app_arguments_follow_the_start_line() {
    let Launch::Script { args, .. } = resolve(&["--", "--blue", "1"]).launch else { panic!() };
    assert_eq!(args, ["--blue", "1"]);
}

#[test]
fn a_command_needs_no_node_and_takes_arguments() {
    let settings = resolve(&["--command", "npm start", "--", "--blue"]);
    let Launch::Command { line, .. } = settings.launch else { panic!() };
    assert_eq!(line, "npm start '--blue'");
    assert!(settings.node.is_none());
    let machine = Machine { open_files_max: 10_000, ..Machine::default() };
    let conns =
        |options: &[&str]| with_machine(&machine, options).expect("good").limits.conns_max.value;
    assert!(conns(&["--command", "x"]) < conns(&[]), "a connection to the app for each client");
}
