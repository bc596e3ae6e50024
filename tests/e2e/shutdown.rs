//! The end of an instance: graceful, forced, crashed; nothing stays behind.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Instance, PATIENCE, Setup, Target, Variant, eventually, matrix, processes_with_tag, signal,
    within,
};

matrix!(all: in_flight_requests_finish, unfinished_requests_are_cut, who_waits_in_vain_is_told);

fn start(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").start()
}

fn assert_clean_end(mut instance: Instance, code: i32) {
    let status = instance.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(code), "{}", instance.printed());
    instance.assert_gone();
}

fn in_flight_requests_finish(variant: Variant) {
    let instance = start(variant);
    let mut idle = instance.client();
    assert_eq!(idle.get("/hello").status, 200);
    let mut busy: Vec<_> = (0..4).map(|_| instance.client()).collect();
    for client in &mut busy {
        client.send("GET /slow?ms=700 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let mut half = instance.client();
    half.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf");
    eventually("all at the worker", || (instance.shards().in_flight == 5).then_some(()));
    instance.signal(Signal::TERM);
    // Idle connections are closed at once, new ones are refused.
    idle.expect_close();
    let Target::Tcp(address) = instance.target() else { panic!("tcp") };
    within(Duration::from_secs(2), "new connections are refused", || {
        TcpStream::connect_timeout(&address, PATIENCE).is_err().then_some(())
    });
    half.send("done");
    assert_eq!(half.response().text(), "halfdone");
    for client in &mut busy {
        let response = client.response();
        assert_eq!(response.text(), "slow answer");
        assert!(response.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")));
        client.expect_close();
    }
    assert_clean_end(instance, 0);
}

/// A stop while no worker is there: the kept connection's request waits for one that will not come.
fn who_waits_in_vain_is_told(variant: Variant) {
    // The same request kills again and again.
    let instance = Setup::new(variant, "basic.js").options("--quarantine off").start();
    let mut client = instance.client();
    // Its deaths in a row make the pauses longer than the rest of this test.
    for _ in 0..6 {
        client.send("POST /exit-before HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().status, 502);
    }
    client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it waits", || (instance.shards().queued == 1).then_some(()));
    instance.signal(Signal::TERM);
    let response = client.response();
    assert_eq!((response.status, response.field("x-hostler-error")), (503, Some("draining")));
    client.expect_close();
    assert_clean_end(instance, 0);
}

fn unfinished_requests_are_cut(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--stop-timeout 1s").start();
    let mut client = instance.client();
    client.send("GET /hang?id=x HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut slow_reader = instance.client();
    slow_reader.send("GET /download?bytes=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    slow_reader.read_exact(1000).expect("a beginning");
    let start = Instant::now();
    instance.signal(Signal::TERM);
    if let Ok(response) = client.try_response("GET") {
        assert!(matches!(response.status, 502..=504), "{response:?}");
    }
    assert_clean_end(instance, 0);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[test]
fn sigint_and_sigquit_are_graceful_too() {
    for which in [Signal::INT, Signal::QUIT] {
        let instance = start(Variant::PLAIN);
        let mut client = instance.client();
        client.send("GET /slow?ms=300 HTTP/1.1\r\nHost: test\r\n\r\n");
        eventually("at the worker", || (instance.shards().in_flight == 1).then_some(()));
        instance.signal(which);
        assert_eq!(client.response().text(), "slow answer");
        assert_clean_end(instance, 0);
    }
}

#[test]
fn other_signals_do_not_end_it() {
    let instance = start(Variant::PLAIN);
    for which in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::PIPE] {
        instance.signal(which);
        instance.assert_serves();
    }
    instance.finish();
}

#[test]
fn a_second_signal_stops_at_once() {
    let instance = Setup::new(Variant::PLAIN, "basic.js").options("--stop-timeout 60s").start();
    let mut client = instance.client();
    client.send("GET /hang?id=x HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("at the worker", || (instance.shards().in_flight == 1).then_some(()));
    instance.signal(Signal::TERM);
    let Target::Tcp(address) = instance.target() else { panic!("tcp") };
    within(PATIENCE, "the stop has begun", || TcpStream::connect(address).is_err().then_some(()));
    let start = Instant::now();
    // Another one: the same signal twice at once counts as one, because terminals and npm both pass on a Ctrl-C.
    instance.signal(Signal::INT);
    assert_clean_end(instance, 128 + 2);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn an_app_that_ignores_sigterm_is_killed_with_its_children() {
    let instance =
        Setup::new(Variant::PLAIN, "ignores-sigterm.js").options("--stop-timeout 1s").start();
    let child = instance.get("/").json()["child"].as_u64().expect("a pid");
    assert!(processes_with_tag(instance.tag()).contains(&(child as u32)), "the child is tagged");
    let start = Instant::now();
    instance.signal(Signal::TERM);
    assert_clean_end(instance, 0);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// A proxy lives without a supervisor, and workers without one of the two (`adoption`).
#[test]
fn nothing_outlives_a_killed_supervisor_and_its_proxy() {
    let mut instance = Setup::new(Variant::PLAIN, "basic.js").options("--workers 2").start();
    let tag = instance.tag().to_owned();
    assert_eq!(processes_with_tag(&tag).len(), 4, "supervisor, proxy, two workers");
    let proxy = instance.proxy_pid();
    instance.kill_supervisor();
    signal(proxy, Signal::KILL);
    within(Duration::from_secs(5), "all processes are gone", || {
        processes_with_tag(&tag).is_empty().then_some(())
    });
    // The next instance takes over what the dead one left in the directory.
    let dir = instance.runtime_dir().to_str().expect("utf-8").to_owned();
    let next = Setup::new(Variant::PLAIN, "basic.js").runtime_dir(&dir).start();
    next.assert_serves();
    next.finish();
}

#[test]
fn the_stop_verb() {
    let mut instance = start(Variant::PLAIN);
    let stopped = Command::new(env!("CARGO_BIN_EXE_hostler"))
        .arg("stop")
        .arg("--runtime-dir")
        .arg(instance.runtime_dir())
        .output()
        .expect("hostler stop");
    assert!(stopped.status.success(), "{stopped:?}");
    let status = instance.wait_exit(Duration::from_secs(2));
    assert_eq!(status.code(), Some(0));
    instance.assert_gone();
}

#[test]
fn a_signal_while_the_app_starts() {
    let mut instance = Setup::new(Variant::PLAIN, "never-listens.js").spawn();
    instance.wait_output("the app's first words", |line| line.contains("thinking"));
    instance.signal(Signal::TERM);
    let status = instance.wait_exit(PATIENCE);
    assert!(matches!(status.code(), Some(0 | 1)), "{status:?}: {}", instance.printed());
    instance.assert_gone();
}

#[test]
fn a_stop_while_a_worker_is_being_restarted() {
    let instance = start(Variant::PLAIN);
    for _ in 0..3 {
        signal(instance.worker_pid(0), Signal::KILL);
    }
    instance.signal(Signal::TERM);
    assert_clean_end(instance, 0);
}
