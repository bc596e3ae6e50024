//! A supervisor dies, and what it has started goes on: the next start takes over.

use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;

use crate::reload::{code, told, verb};
use crate::support::{Instance, Setup, Variant, eventually, matrix, processes_with_tag, signal};

matrix!(all: the_next_start_takes_over, what_died_meanwhile_is_started_again);
matrix!(frames: a_stop_ends_what_is_left, nobody_is_left_behind, another_number_of_workers, below_a_command, who_cannot_take_over_changes_nothing);

fn setup(variant: Variant) -> Setup {
    Setup::new(variant, "basic.js").options("--probation 300ms")
}

/// The next start in the same folder.
fn again(setup: Setup, first: &Instance) -> Instance {
    let dir = first.runtime_dir().to_str().expect("text").to_owned();
    let mut second = setup.runtime_dir(&dir).spawn();
    second.wait_ready();
    second.wait_all_workers();
    second
}

/// Ends the second supervisor, and nothing of the first one is left.
fn finish(first: Instance, second: Instance) {
    second.finish();
    first.has_ended();
}

fn the_next_start_takes_over(variant: Variant) {
    let mut first = setup(variant).options("--workers 2").start();
    let (proxy, workers) = (first.proxy_pid(), [0, 1].map(|slot| first.worker_pid(slot)));
    let mut kept = first.client();
    assert_eq!(kept.get("/hello").status, 200);
    first.kill_supervisor();
    first.assert_serves();
    let status: Output = verb(&first, &["status"]);
    assert_eq!(code(&status), Some(69));
    assert!(told(&status).contains("its proxy and workers serve on"), "{}", told(&status));

    let second = again(setup(variant).options("--workers 2"), &first);
    assert_eq!(second.proxy_pid(), proxy);
    assert_eq!(workers, [0, 1].map(|slot| second.worker_pid(slot)));
    assert_eq!(second.port(), first.port(), "the listeners have not been closed");
    assert_eq!(kept.get("/hello").status, 200, "nor has any connection");
    // It is a supervisor like any other.
    signal(workers[0], Signal::KILL);
    eventually("a new worker", || Some(()).filter(|()| second.worker_pid(0) != workers[0]));
    signal(proxy, Signal::KILL);
    eventually("a new proxy", || second.try_status()?.proxy_pid.filter(|pid| *pid != proxy));
    second.assert_serves();
    let output = verb(&second, &["reload"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    let output = verb(&second, &["upgrade"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    second.assert_serves();
    finish(first, second);
}

fn what_died_meanwhile_is_started_again(variant: Variant) {
    let mut first = setup(variant).options("--workers 2").start();
    let (dead, alive) = (first.worker_pid(0), first.worker_pid(1));
    first.kill_supervisor();
    signal(dead, Signal::KILL);
    eventually("its end", || (!processes_with_tag(first.tag()).contains(&dead)).then_some(()));
    first.assert_serves();
    let second = again(setup(variant).options("--workers 2"), &first);
    assert_ne!(second.worker_pid(0), dead);
    assert_eq!(second.worker_pid(1), alive);
    second.assert_serves();
    finish(first, second);
}

fn a_stop_ends_what_is_left(variant: Variant) {
    let mut first = setup(variant).start();
    first.kill_supervisor();
    let output = verb(&first, &["stop"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    first.has_ended();
}

/// With the proxy dead too there is nothing to take over, and workers that nobody looks after end by themselves.
fn nobody_is_left_behind(variant: Variant) {
    let mut first = setup(variant).options("--workers 2").start();
    let (proxy, worker) = (first.proxy_pid(), first.worker_pid(0));
    first.kill_supervisor();
    signal(proxy, Signal::KILL);
    eventually("their end", || processes_with_tag(first.tag()).is_empty().then_some(()));
    let second = again(setup(variant), &first);
    assert_ne!(second.worker_pid(0), worker);
    second.assert_serves();
    finish(first, second);
}

/// A supervisor of another version does not understand what this one has written.
fn who_cannot_take_over_changes_nothing(variant: Variant) {
    let mut first = setup(variant).start();
    let worker = first.worker_pid(0);
    first.kill_supervisor();
    let state = first.runtime_dir().join("state.json");
    let understood = std::fs::read(&state).expect("a state");
    std::fs::write(&state, r#"{"format":4000000000,"version":"99.0.0","args":[]}"#)
        .expect("written");
    let dir = first.runtime_dir().to_str().expect("text").to_owned();
    for _ in 0..2 {
        let failure = setup(variant).runtime_dir(&dir).spawn_and_fail();
        assert_ne!(failure.code, Some(0));
        failure.expect(failure.code.expect("a code"), &["version 99.0.0", "It serves on"]);
        first.assert_serves();
    }
    let output = verb(&first, &["stop"]);
    assert_ne!(code(&output), Some(0));
    assert!(told(&output).contains("version 99.0.0"), "{}", told(&output));
    first.assert_serves();
    std::fs::write(&state, understood).expect("written");
    let second = again(setup(variant), &first);
    assert_eq!(second.worker_pid(0), worker);
    second.assert_serves();
    finish(first, second);
}

fn another_number_of_workers(variant: Variant) {
    let mut first = setup(variant).start();
    let worker = first.worker_pid(0);
    first.kill_supervisor();
    let second = again(setup(variant).options("--workers 3"), &first);
    eventually("three workers", || (second.status().workers.len() == 3).then_some(()));
    second.wait_all_workers();
    assert_ne!(second.worker_pid(0), worker, "what was typed differs: all are replaced");
    second.assert_serves();
    finish(first, second);
}

fn below_a_command(variant: Variant) {
    let command = || Setup::command(variant, "apps", "node basic.js; true");
    let mut first = command().start();
    let worker = first.worker_pid(0);
    first.kill_supervisor();
    first.assert_serves();
    let mut second = again(command(), &first);
    second.expect_plain();
    assert_eq!(second.worker_pid(0), worker);
    signal(worker, Signal::KILL);
    eventually("a new worker", || Some(()).filter(|()| second.worker_pid(0) != worker));
    second.assert_serves();
    finish(first, second);
}

impl Instance {
    /// SIGKILL to the supervisor alone.
    pub(crate) fn kill_supervisor(&mut self) {
        self.signal(Signal::KILL);
        self.reap_supervisor(Duration::from_secs(5));
    }
}
