//! Apps that sleep: the first request wakes them, and none is lost when they fall asleep.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hostler_protocol::control::{InstanceState, WorkerState};
use rustix::process::Signal;

use crate::reload::{code, told, verb};
use crate::support::{Instance, Setup, Transport, Variant, app, eventually, matrix, within};
use crate::websocket::{Socket, TEXT};

matrix!(all: the_first_request_starts_the_workers, light_load_and_a_tiny_idle_stop, an_app_that_does_not_start);
matrix!(all: an_open_websocket_keeps_it_awake, a_start_that_takes_longer_than_the_queue_allows);
matrix!(frames: changes_while_it_sleeps, every_kind_of_ready, the_end_at_any_moment, a_command);

/// Started, and nothing but the proxy runs.
fn asleep(setup: Setup) -> Instance {
    let mut instance = setup.spawn();
    instance.wait_ready();
    expect_asleep(&instance);
    instance
}

fn expect_asleep(instance: &Instance) {
    eventually("it sleeps", || {
        let status = instance.status();
        let none = status.workers.iter().all(|worker| worker.state == WorkerState::Asleep);
        (status.supervisor.state == InstanceState::Asleep && none).then_some(())
    });
}

/// How often it has fallen asleep.
fn naps(instance: &Instance) -> usize {
    instance.printed().matches("sleeps: nobody uses it").count()
}

fn the_first_request_starts_the_workers(variant: Variant) {
    let instance = asleep(Setup::new(variant, "basic.js").options("--lazy --workers 2"));
    let line = instance.printed();
    assert!(line.contains("\"asleep\":true"), "{line}");
    assert!(instance.status().workers.iter().all(|worker| worker.pid.is_none()));
    let status = verb(&instance, &["status"]);
    assert!(told(&status).contains(", asleep, up "), "{}", told(&status));
    // A request that the proxy answers by itself is nobody's wish.
    let mut client = instance.client();
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status, 400);
    expect_asleep(&instance);
    // Many at the same moment wake it once.
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = instance.client();
            thread::spawn(move || client.get("/hello").status)
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("answered"), 200);
    }
    instance.wait_all_workers();
    assert_eq!(instance.printed().matches("wakes: a request waits").count(), 1);
    let events = verb(&instance, &["events"]);
    assert!(told(&events).contains("wakes: a request waits"), "{}", told(&events));
    instance.finish();
}

/// The pauses are about as long as it takes to fall asleep, so that requests come before it, in the middle of it, and after.
fn light_load_and_a_tiny_idle_stop(variant: Variant) {
    let setup = Setup::new(variant, "basic.js").options("--idle-stop 1s --workers 2 --shards 2");
    let mut instance = setup.spawn();
    instance.wait_ready();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (instance, over) = (&instance, &over);
        scope.spawn(move || {
            let enough = Duration::from_secs(120);
            within(enough, "some naps", || (naps(instance) >= 4).then_some(()));
            over.store(true, Ordering::Relaxed);
        });
        let mut kept = instance.client();
        for round in 0_u64.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let others = [instance.client(), instance.client()];
            let others = others.map(|mut client| {
                scope.spawn(move || assert_eq!(client.get("/hello").status, 200))
            });
            assert_eq!(kept.get("/hello").text(), "Hello, world!\n", "round {round}");
            for other in others {
                other.join().expect("answered");
            }
            // No event says when the next visitor comes.
            thread::sleep(Duration::from_millis(1_000 + round * 137 % 1_400));
        }
    });
    let sum = instance.shards();
    assert_eq!((sum.failed, sum.shed), (0, 0), "{sum:?}");
    instance.finish();
}

fn an_app_that_does_not_start(variant: Variant) {
    let folder = std::env::temp_dir().join(format!(
        "hostler-sleep-{}-{}",
        variant.to_string().replace('/', "-"),
        std::process::id()
    ));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("app.js");
    fs::copy(app("throws.js"), &file).expect("copied");
    // The wait would be an hour; nobody waits when there is nothing to wait for.
    let options = "--lazy --workers 2 --queue-timeout 1h";
    let instance = asleep(Setup::path(variant, file.clone()).options(options));
    let response = instance.get("/");
    assert_eq!((response.status, response.field("x-hostler-error")), (503, Some("start-failed")));
    assert!(response.field("retry-after").is_some());
    instance.wait_output("the report", |line| line.contains("the database is not there"));
    assert_eq!(instance.status().supervisor.state, InstanceState::Degraded);
    fs::copy(app("basic.js"), &file).expect("copied");
    eventually("the next try after the pause", || {
        (instance.get("/hello").status == 200).then_some(())
    });
    instance.finish();
    // One that never listens.
    let options = "--lazy --start-timeout 1s --queue-timeout 1h";
    let instance = asleep(Setup::new(variant, "never-listens.js").options(options));
    let response = instance.get("/");
    assert_eq!((response.status, response.field("x-hostler-error")), (503, Some("start-timeout")));
    instance.finish();
    let _ = fs::remove_dir_all(&folder);
}

fn an_open_websocket_keeps_it_awake(variant: Variant) {
    let instance = asleep(Setup::new(variant, "websocket.js").options("--lazy --idle-stop 1s"));
    // The first request of all is the upgrade itself.
    let mut socket = Socket::open(&instance);
    let pid = instance.worker_pid(0);
    let until_s = instance.status().supervisor.uptime_s + 4;
    within(Duration::from_secs(30), "some looks", || {
        (instance.status().supervisor.uptime_s >= until_s).then_some(())
    });
    assert_eq!(naps(&instance), 0, "{}", instance.printed());
    socket.send(TEXT, b"still there");
    assert_eq!(socket.receive(), (TEXT, b"still there".to_vec()));
    assert_eq!(instance.worker_pid(0), pid);
    drop(socket);
    expect_asleep(&instance);
    instance.finish();
}

fn a_start_that_takes_longer_than_the_queue_allows(variant: Variant) {
    let setup = Setup::new(variant, "slow-start.js").env("START_MS", "1500");
    let instance = asleep(setup.options("--lazy --queue-timeout 500ms"));
    instance.assert_serves();
    instance.finish();
}

fn changes_while_it_sleeps(variant: Variant) {
    let instance = asleep(Setup::new(variant, "basic.js").options("--lazy --probation 100ms"));
    let output = verb(&instance, &["scale", "2"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    assert!(told(&output).contains("2 workers start at the next request"), "{}", told(&output));
    expect_asleep(&instance);
    // A reload proves what it says, and leaves things as they were.
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    assert!(told(&output).contains("2 workers run generation 2"), "{}", told(&output));
    expect_asleep(&instance);
    assert_eq!(naps(&instance), 1);
    instance.assert_serves();
    let generations = instance.status().workers;
    assert!(generations.iter().all(|worker| worker.generation == 2));
    instance.finish();
}

fn every_kind_of_ready(variant: Variant) {
    for (app, options, args) in [
        ("says-ready.js", "--ready message", &["at-once"][..]),
        ("warming.js", "--ready /health", &[]),
    ] {
        let setup = Setup::new(variant, app).options("--lazy").options(options).app_args(args);
        let instance = asleep(setup);
        assert_eq!(instance.get("/hello").status, 200, "{options}");
        instance.finish();
    }
}

fn the_end_at_any_moment(variant: Variant) {
    let instance = asleep(Setup::new(variant, "basic.js").options("--lazy"));
    instance.finish();
    let setup = Setup::new(variant, "slow-start.js").env("START_MS", "60000");
    let mut instance = asleep(setup.options("--lazy"));
    let mut client = instance.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("a start", || {
        let status = instance.status();
        (status.supervisor.state == InstanceState::Starting).then_some(())
    });
    instance.signal(Signal::TERM);
    let response = client.response();
    assert_eq!((response.status, response.field("x-hostler-error")), (503, Some("draining")));
    assert_eq!(instance.wait_exit(crate::support::PATIENCE).code(), Some(0));
    instance.assert_gone();
}

fn a_command(variant: Variant) {
    let node = app("basic.js");
    let line = format!("node {}", node.display());
    let setup = Setup::command(variant, "commands", &line).options("--lazy --idle-stop 1s");
    let instance = asleep(setup);
    for _ in 0..2 {
        instance.assert_serves();
        let transport = instance.status().workers[0].transport;
        assert_eq!(
            transport == hostler_protocol::control::Transport::Frames,
            variant.transport == Transport::Frames
        );
        expect_asleep(&instance);
    }
    instance.finish();
}
