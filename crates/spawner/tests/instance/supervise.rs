//! The role of the supervisor: `hostler_spawner::run` with a configuration from JSON, as the
//! command line would call it.

use std::io::Write;
use std::path::PathBuf;

use hostler_protocol::control::{IoChoice, ProxySetup, Transport, Typed};
use hostler_spawner::{
    AppSpec, ExitReason, Launch, Notice, ReadySpec, RecycleSpec, ReloadSpec, SleepSpec,
    SupervisorConfig,
};
use serde_json::Value;

/// Runs an instance and ends with its exit code.
pub(crate) fn main(json: &str) {
    let given: Value = serde_json::from_str(json).expect("the test's own JSON");
    tracing_subscriber::fmt().with_ansi(false).with_writer(hostler_spawner::log_writer).init();
    let mut read_app = || Ok(config(&given).app);
    let reason = hostler_spawner::run(config(&given), &mut read_app, &mut |notice| match notice {
        Notice::Ready(ready) => say(&format!("NOTICE ready {}", ready.listeners.join(" "))),
        Notice::StartFailed(failure) => {
            say(&format!("NOTICE start failed\n{failure}"));
            say(&format!("JSON {}", failure.to_json()));
        }
    });
    end(&reason);
}

/// To stderr and without waiting: one of the tests never reads its instance's stdout.
fn say(text: &str) {
    let _ = writeln!(hostler_spawner::log_writer(), "{text}");
}

fn end(reason: &ExitReason) -> ! {
    say(&format!("END {reason}"));
    std::process::exit(i32::from(reason.code()))
}

fn config(given: &Value) -> SupervisorConfig {
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let number = |name: &str, default: u32| {
        given[name].as_u64().map_or(default, |n| u32::try_from(n).expect("u32"))
    };
    let me = std::env::current_exe().expect("own path");
    let shards = number("shards", 1);
    let listen = text("listen").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let args = given["args"].as_array().cloned().unwrap_or_default();
    SupervisorConfig {
        runtime_dir: PathBuf::from(text("dir").expect("dir")),
        app: AppSpec {
            name: "web".to_owned(),
            launch: match text("command") {
                Some(line) => Launch::Command { line, bin_folders: Vec::new() },
                None => Launch::Script {
                    script: PathBuf::from(text("script").expect("script")),
                    args: args.iter().map(|arg| arg.as_str().expect("text").to_owned()).collect(),
                    node: text("node").map_or_else(|| me.clone(), PathBuf::from),
                    node_args: Vec::new(),
                },
            },
            cwd: text("cwd").map_or_else(std::env::temp_dir, PathBuf::from),
            env: Vec::new(),
            workers: number("workers", 1),
            transport: match given["transport"].as_str() {
                Some("http") => Transport::Http,
                _ => Transport::Frames,
            },
            range: None,
            ready: ReadySpec::default(),
            hang: None,
            reload: ReloadSpec::default(),
            recycle: RecycleSpec::default(),
            sleep: SleepSpec::default(),
        },
        listeners: vec![listen.parse().expect("an address")],
        proxy: proxy_setup(shards),
        proxy_command: vec![
            me.into_os_string(),
            "fake-proxy".into(),
            text("proxy").unwrap_or_else(|| "good".to_owned()).into(),
        ],
        worker_cores: vec![Some(0)],
        pin: true,
        start_ms_max: number("start_ms_max", 20_000),
        stop_ms_max: number("stop_ms_max", 10_000),
        restart_file: PathBuf::from(text("dir").expect("dir")).join("restart.txt"),
        log_json: given["json"].as_bool().unwrap_or(false),
    }
}

fn proxy_setup(shards: u32) -> ProxySetup {
    ProxySetup {
        shards,
        cores: vec![None; shards as usize],
        listeners: Vec::new(),
        io: IoChoice::Auto,
        conns_max: 100,
        worker_requests_max: Some(10),
        queue_requests_max: 10,
        queue_ms_max: 1_000,
        start_ms_max: 60_000,
        head_ms_max: 1_000,
        idle_ms_max: 1_000,
        client_silence_ms_max: 1_000,
        worker_silence_ms_max: 1_000,
        answer_ms_max: None,
        hang_ms_max: Some(10_000),
        sticky: None,
        quarantine_ms: None,
        head_bytes_max: 16_384,
        body_bytes_max: None,
        access_log: None,
        log_json: false,
        typed: Typed::default(),
        keeps: false,
    }
}
