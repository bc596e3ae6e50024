//! The machine without processes: one rule each. (Random lives with invariants: `lives`.)

use hostler_protocol::control::{
    FromProxy, IoChoice, PlainAddress, ToProxy, Transport, WorkerId, WorkerState,
};

use super::release::Kind;
use super::*;
use crate::config::{AppSpec, Launch, ReadySpec, RecycleSpec, ReloadSpec, SleepSpec};

mod adopt;
mod commands;
mod hang;
mod health;
mod lives;
mod naps;
mod recycle;
mod reload;
mod rig;
mod scale;
mod service;
mod sleep;
mod sleep_changes;
mod upgrade;

use rig::{Bench, first_release, settings, signals, spawned, spec, worker};

const TERM: i32 = 15;
const INT: i32 = 2;

#[test]
fn proxy_first_then_all_workers_and_one_ready_notice() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.last[0], Action::SpawnProxy);
    assert_eq!(spawned(&bench.last), [1, 2]);
    bench.send(Event::ProxySpawned { pid: 100 });
    bench.ready(1);
    let told = |action: &Action| {
        matches!(action, Action::SendProxy(ToProxy::WorkerReady(address))
        if address.plain.to_string().ends_with("web.0.1.sock") && address.core == Some(0))
    };
    assert!(bench.last.iter().any(told));
    assert!(bench.last.contains(&Action::Pin { pid: 1001, core: 0 }));
    let notice = |action: &Action| matches!(action, Action::Notice(Notice::Ready(_)));
    assert!(!bench.last.iter().any(notice), "the proxy does not serve yet");
    bench.serving();
    assert!(bench.last.iter().any(notice));
    bench.ready(2);
    assert!(!bench.last.iter().any(notice));
    assert_eq!(bench.machine.phase(), Phase::Running);
}

#[test]
fn a_first_start_that_dies_ends_the_instance_with_a_report() {
    let mut bench = Bench::new(2);
    bench.send(Event::ProxySpawned { pid: 100 });
    for number in [1, 2] {
        bench.send(Event::WorkerSpawned { worker: WorkerId(number), pid: number, offer: None });
    }
    bench.report(1, Report::Preload { node: "20.20.2".into(), pid: None });
    bench.report(1, Report::SelfTest { ok: true, why: None, untested: false });
    let line = br#"{"step":"error","name":"Error","message":"no database"}"#;
    bench.report(1, Report::parse(line).expect("a report"));
    bench.exit(1, HowDied::Exit(1));
    let why = &bench.failure().why;
    assert_eq!(why, "the app exited with code 1 before it called listen(): Error: no database");
    assert_eq!(bench.failure().journey.current(), crate::journey::Step::AppLoad);
    let expected = [(Target::Proxy, StopSignal::Kill), (worker(2), StopSignal::Term)];
    assert_eq!(signals(&bench.last), expected);
    bench.proxy_exit();
    assert_eq!(signals(bench.wait(2_000)), [(worker(2), StopSignal::Kill)]);
    bench.exit(2, HowDied::Signal { signal: 9, core: false });
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(1));
}

#[test]
fn start_failures_are_told_apart() {
    let exit = |code| Event::WorkerExited {
        worker: WorkerId(1),
        death: Death { how: HowDied::Exit(code), ..Death::default() },
    };
    let preload = Report::Preload { node: "20".into(), pid: None };
    let test = Report::SelfTest { ok: true, why: None, untested: false };
    let table = [
        (vec![], exit(9), "node exited with code 9 before the loader ran"),
        (
            vec![preload.clone(), test.clone()],
            exit(0),
            "exited with code 0 before it called listen()",
        ),
        (vec![preload, test, Report::Listen {}], exit(1), "after listen(), before"),
    ];
    for (reports, event, expected) in table {
        let mut bench = Bench::new(1);
        bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1, offer: None });
        reports.into_iter().for_each(|report| bench.report(1, report));
        bench.send(event);
        assert!(bench.failure().why.contains(expected), "{}", bench.failure().why);
    }
}

#[test]
fn an_app_that_never_listens_is_killed_and_told_what_it_did_instead() {
    let mut bench = Bench::new(1);
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1, offer: None });
    bench.report(1, Report::Preload { node: "20".into(), pid: None });
    bench.report(1, Report::OtherListen { what: "https".into() });
    assert_eq!(bench.machine.next_deadline_ms(), Some(61_000));
    assert_eq!(signals(bench.wait(60_000)), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    let expected = "the app did not call listen() on an http.Server within 60 s, only on: https";
    assert_eq!(bench.failure().why, expected);
}

#[test]
fn a_missing_node_ends_at_once_and_a_full_process_table_is_tried_again() {
    let failure = |retry| SpawnFailure { why: "no".into(), hint: None, retry };
    let mut bench = Bench::new(1);
    bench.send(Event::WorkerSpawnFailed { worker: WorkerId(1), failure: failure(false) });
    assert_eq!(bench.failure().journey.current(), crate::journey::Step::Exec);

    let mut bench = Bench::new(1);
    bench.send(Event::WorkerSpawnFailed { worker: WorkerId(1), failure: failure(true) });
    assert_eq!(spawned(bench.wait(100)), [2]);
    bench.now_ms += 60_000;
    bench.send(Event::WorkerSpawnFailed { worker: WorkerId(2), failure: failure(true) });
    assert_eq!(bench.failure().why, "no");
}

#[test]
fn back_off_starts_at_once_doubles_and_is_forgiven_after_a_minute() {
    let mut bench = Bench::running(1);
    let mut number = 1;
    let mut delays = Vec::new();
    for _ in 0..12 {
        bench.exit(number, HowDied::Exit(1));
        let before = bench.now_ms;
        while spawned(&bench.last).is_empty() {
            let next = bench.machine.next_deadline_ms().expect("a restart is due");
            bench.wait(next - bench.now_ms);
        }
        delays.push(bench.now_ms - before);
        number += 1;
        bench.ready(number);
    }
    assert_eq!(
        delays,
        [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
    );
    bench.now_ms += 60_000;
    assert_eq!(spawned(bench.exit(number, HowDied::Exit(1))), [number + 1]);
    let status = &bench.machine.worker_status(bench.now_ms)[0];
    assert_eq!(status.restarts, 13);
    assert!(status.last_death.as_ref().expect("died").contains("exited with code 1 after"));
}

#[test]
fn an_instance_with_a_worker_that_keeps_dying_is_degraded() {
    let mut bench = Bench::running(2);
    assert_eq!(bench.machine.state(), InstanceState::Running);
    bench.exit(1, HowDied::Exit(1));
    assert_eq!(bench.machine.state(), InstanceState::Running, "once is an accident");
    bench.send(Event::WorkerSpawned { worker: WorkerId(3), pid: 1003, offer: None });
    let death = Death { stderr_tail: vec!["no disk".into()], how: HowDied::Exit(1), oom: false };
    bench.send(Event::WorkerExited { worker: WorkerId(3), death });
    assert_eq!(bench.machine.state(), InstanceState::Degraded);
    assert_eq!(bench.machine.worker_status(bench.now_ms)[0].last_stderr, ["no disk"]);
    bench.wait(200);
    bench.ready(4);
    assert_eq!(bench.machine.state(), InstanceState::Running);
}

#[test]
fn a_death_is_told_to_the_proxy_and_to_people() {
    let mut bench = Bench::running(2);
    bench.exit(2, HowDied::Signal { signal: 9, core: false });
    let gone = Action::SendProxy(ToProxy::WorkerGone { worker: WorkerId(2) });
    assert!(bench.last.contains(&gone));
    let told = |action: &Action| {
        matches!(action, Action::Log(Level::Error, text)
        if text.starts_with("web.1 (pid 1002) was killed by SIGKILL"))
    };
    assert!(bench.last.iter().any(told), "{:?}", bench.last);
    assert_eq!(bench.state(0), WorkerState::Ready);
}

#[test]
fn a_new_proxy_learns_all_ready_workers() {
    let mut bench = Bench::running(2);
    assert!(bench.proxy_exit().contains(&Action::SpawnProxy));
    bench.send(Event::ProxySpawned { pid: 101 });
    let told = |action: &&Action| matches!(action, Action::SendProxy(ToProxy::WorkerReady(_)));
    assert_eq!(bench.last.iter().filter(told).count(), 2);
}

#[test]
fn a_proxy_in_a_crash_loop_ends_the_instance() {
    let mut bench = Bench::running(1);
    let mut delays = Vec::new();
    for _ in 0..4 {
        bench.proxy_exit();
        let before = bench.now_ms;
        while !bench.last.contains(&Action::SpawnProxy) {
            let next = bench.machine.next_deadline_ms().expect("a restart is due");
            bench.wait(next - bench.now_ms);
        }
        delays.push(bench.now_ms - before);
        bench.send(Event::ProxySpawned { pid: 101 });
    }
    assert_eq!(delays, [0, 100, 200, 400]);
    bench.proxy_exit();
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.exit(1, HowDied::Exit(0));
    let reason = bench.exit_reason().expect("ended");
    assert_eq!(reason.code(), 1);
    assert!(reason.to_string().contains("died 5 times within 10 s"), "{reason}");
}

#[test]
fn a_proxy_that_says_it_failed_ends_the_instance_with_its_text() {
    let mut bench = Bench::new(1);
    bench.send(Event::ProxySpawned { pid: 100 });
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1, offer: None });
    bench.send(Event::ProxyMessage(FromProxy::Failed { why: "io_uring is disabled".into() }));
    bench.proxy_exit();
    bench.exit(1, HowDied::Signal { signal: 15, core: false });
    let reason = bench.exit_reason().expect("ended");
    assert_eq!(reason.code(), 1);
    assert_eq!(reason.to_string(), "the proxy cannot start: io_uring is disabled");
}

#[test]
fn a_silent_proxy_is_killed() {
    let mut bench = Bench::new(1);
    bench.send(Event::ProxySpawned { pid: 100 });
    assert_eq!(signals(bench.wait(15_000)), [(Target::Proxy, StopSignal::Kill)]);
    assert!(bench.proxy_exit().contains(&Action::SpawnProxy));
}

#[test]
fn a_proxy_that_hangs_up_is_left_alone_for_a_moment() {
    let mut bench = Bench::running(1);
    bench.send(Event::ProxyHungUp);
    assert_eq!(signals(bench.wait(1_999)), []);
    assert_eq!(signals(bench.wait(1)), [(Target::Proxy, StopSignal::Kill)]);
    assert!(bench.proxy_exit().contains(&Action::SpawnProxy));
}

#[test]
fn a_graceful_stop_drains_then_asks_then_kills() {
    let mut bench = Bench::running(2);
    bench.send(Event::Signal(TERM));
    assert!(bench.last.contains(&Action::SendProxy(ToProxy::Drain { deadline_ms: 7_500 })));
    assert_eq!(signals(&bench.last), []);
    bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 3 }));
    let expected = [(worker(1), StopSignal::Term), (worker(2), StopSignal::Term)];
    assert_eq!(signals(&bench.last), expected);
    bench.proxy_exit();
    bench.exit(1, HowDied::Exit(0));
    assert_eq!(signals(bench.wait(9_999)), []);
    assert_eq!(signals(bench.wait(1)), [(worker(2), StopSignal::Kill)]);
    bench.exit(2, HowDied::Signal { signal: 9, core: false });
    assert_eq!(bench.exit_reason(), Some(&ExitReason::Stopped { cut: 3, killed: 1 }));
    assert_eq!(bench.machine.phase(), Phase::Ended);
}

#[test]
fn a_proxy_that_does_not_drain_is_killed_in_time() {
    let mut bench = Bench::running(1);
    bench.send(Event::StopCommand);
    assert_eq!(signals(bench.wait(7_999)), []);
    let expected = [(Target::Proxy, StopSignal::Kill), (worker(1), StopSignal::Term)];
    assert_eq!(signals(bench.wait(1)), expected);
}

#[test]
fn a_second_signal_kills_but_a_doubled_one_is_one() {
    let mut bench = Bench::running(1);
    bench.send(Event::Signal(INT));
    bench.now_ms += 50;
    assert_eq!(signals(bench.send(Event::Signal(INT))), [], "a shell passed it on again");
    let expected = [(Target::Proxy, StopSignal::Kill), (worker(1), StopSignal::Kill)];
    assert_eq!(signals(bench.send(Event::Signal(TERM))), expected);
    bench.proxy_exit();
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(143));
}

#[test]
fn a_stop_while_a_process_is_being_made_reaches_it() {
    let mut bench = Bench::new(1);
    bench.send(Event::Signal(TERM));
    assert_eq!(signals(&bench.last), []);
    bench.send(Event::ProxySpawned { pid: 100 });
    assert_eq!(signals(&bench.last), [(Target::Proxy, StopSignal::Kill)]);
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1, offer: None });
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.proxy_exit();
    bench.exit(1, HowDied::Exit(0));
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(0));
}

#[test]
fn other_signals_do_no_harm() {
    let mut bench = Bench::running(1);
    for signal in [10, 28] {
        bench.send(Event::Signal(signal));
        assert!(matches!(&bench.last[..], [Action::Log(Level::Warn, _)]), "{:?}", bench.last);
    }
    assert_eq!(bench.machine.phase(), Phase::Running);
}

#[test]
fn the_fallback_to_http_is_told_once() {
    let mut bench = Bench::new(2);
    for number in [1, 2] {
        bench.send(Event::WorkerSpawned { worker: WorkerId(number), pid: number, offer: None });
    }
    let told = |bench: &mut Bench, worker: u32, why: &str, untested: bool| {
        bench.report(worker, Report::SelfTest { ok: false, why: Some(why.into()), untested });
        bench.last.iter().find_map(|action| match action {
            Action::Log(Level::Warn, text) => Some(text.clone()),
            _ => None,
        })
    };
    let text = told(&mut bench, 1, "Node 18.0.0 is old", true).expect("told");
    assert!(text.contains("over http") && text.ends_with("frames: Node 18.0.0 is old"), "{text}");
    assert_eq!(told(&mut bench, 2, "Node 18.0.0 is old", true), None, "once is enough");
    let text = told(&mut bench, 2, "event 3", false).expect("something else");
    assert!(text.ends_with("the self-test differs: event 3"), "{text}");
}
