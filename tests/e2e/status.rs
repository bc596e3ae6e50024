//! What an operator sees: `status`, `doctor`, `check`, the ready line, prefixed output.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Instance, Setup, Transport, Variant, app, eventually, matrix};

matrix!(all: figures);

fn hostler(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hostler")).args(arguments).output().expect("hostler runs")
}

fn status_json(instance: &Instance) -> Value {
    let dir = instance.runtime_dir().to_str().expect("utf-8");
    let output = hostler(&["status", "--json", "--runtime-dir", dir]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn figures(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--workers 2 --shards 2").start();
    let mut clients: Vec<_> = (0..3).map(|_| instance.client()).collect();
    for client in &mut clients {
        for _ in 0..10 {
            assert_eq!(client.get("/hello").status, 200);
        }
    }
    let mut busy = instance.client();
    busy.send("GET /hang?id=busy HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the request is in flight", || (instance.shards().in_flight == 1).then_some(()));
    let status = status_json(&instance);
    assert_eq!(status["supervisor"]["pid"], instance.supervisor_pid());
    assert_eq!(status["supervisor"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["supervisor"]["rss_kib"].as_u64() > Some(500));
    assert_eq!(status["proxy_pid"], instance.proxy_pid());
    assert!(status["proxy_rss_kib"].as_u64() > Some(500));
    assert_eq!(status["proxy"]["io"], variant.io());
    assert_eq!(status["listeners"][0], format!("127.0.0.1:{}", instance.port()));
    let sum = |key: &str| -> u64 {
        let shards = status["proxy"]["shards"].as_array().expect("shards");
        assert_eq!(shards.len(), 2);
        shards.iter().map(|shard| shard[key].as_u64().expect("a number")).sum()
    };
    assert_eq!((sum("conns"), sum("in_flight"), sum("queued")), (4, 1, 0));
    assert_eq!(sum("requests"), 30);
    assert_eq!((sum("refused"), sum("failed"), sum("retried")), (0, 0, 0));
    let workers = status["workers"].as_array().expect("workers");
    assert_eq!(workers.len(), 2);
    for (slot, worker) in workers.iter().enumerate() {
        assert_eq!(worker["slot"], slot);
        assert_eq!(worker["state"], "ready");
        assert_eq!(worker["transport"], variant.transport());
        assert_eq!((&worker["generation"], &worker["restarts"]), (&1.into(), &0.into()));
        assert!(worker["rss_kib"].as_u64() > Some(10_000), "{worker}");
    }
    let served = |key: &str| -> u64 {
        workers.iter().filter_map(|worker| worker["load"][key].as_u64()).sum()
    };
    assert_eq!(served("requests"), 30);
    assert_eq!(served("in_flight"), 1);
    drop((clients, busy));
    if variant.transport == Transport::Frames {
        heartbeats(&instance);
    }
    instance.finish();
}

/// A blocked event loop shows in the next heartbeat; the one after it says that all is well again.
fn heartbeats(instance: &Instance) {
    let longest_delay_us = || {
        let workers = instance.status().workers;
        let delays = workers.iter().filter_map(|worker| Some(worker.load.as_ref()?.loop_delay_us));
        delays.max().unwrap_or(0)
    };
    eventually("the event-loop delay is seen", || {
        assert_eq!(instance.get("/block?ms=300").status, 200);
        (0..100).any(|_| longest_delay_us() > 100_000).then_some(())
    });
}

#[test]
fn status_for_people() {
    let instance = Setup::new(Variant::PLAIN, "basic.js").start();
    let dir = instance.runtime_dir().to_str().expect("utf-8");
    let output = hostler(&["status", "--runtime-dir", dir]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    for needle in ["epoll", "ready", &instance.worker_pid(0).to_string()] {
        assert!(text.contains(needle), "no {needle:?} in:\n{text}");
    }
    instance.finish();
}

#[test]
fn status_without_an_instance() {
    let output = hostler(&["status", "--runtime-dir", "/tmp/hostler-e2e-no-such-instance"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/tmp/hostler-e2e-no-such-instance"));
}

#[test]
fn doctor_examines_this_machine() {
    let output = hostler(&["doctor", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = report.to_string();
    for needle in ["io_uring", "node", "kernel"] {
        assert!(text.to_lowercase().contains(needle), "no {needle:?} in {text}");
    }
}

#[test]
fn check_starts_nothing_and_names_a_bad_setting() {
    let app = app("basic.js");
    let app = app.to_str().expect("utf-8");
    let good = hostler(&["check", app, "--workers", "2"]);
    assert!(good.status.success(), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("workers"));
    let bad = hostler(&["check", app, "--head-timeout", "soon"]);
    assert_eq!(bad.status.code(), Some(78), "{bad:?}");
    let text = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(text.contains("head-timeout") && text.contains("soon"), "{text}");
}

#[test]
fn output_of_the_app_is_told_apart() {
    let instance = Setup::new(Variant::PLAIN, "basic.js").start();
    assert_eq!(instance.get("/log?text=some-words").status, 200);
    for stream in ["stdout", "stderr"] {
        let line = instance.wait_output("the app's words", |line| {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                return false;
            };
            line["stream"] == stream && line["line"] == "some-words"
        });
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["slot"], 0);
        assert!(line["app"].is_string() && line["time"].is_string(), "{line}");
    }
    instance.finish();
}
