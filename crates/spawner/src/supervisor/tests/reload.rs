//! Reloads: one rule each, and a world in which only new releases fail.

use hostler_protocol::control::CommandAnswer;

use super::rig::{drained, resumed};
use super::*;

#[test]
fn old_workers_serve_until_all_new_ones_are_reached_and_stand_by_until_the_end() {
    let mut bench = Bench::running(2);
    bench.reload(7);
    assert_eq!(spawned(&bench.last), [3, 4], "all at once");
    bench.is_ready(3);
    assert_eq!(bench.told(), [], "it waits for the other one");
    bench.is_ready(4);
    assert_eq!(bench.told().len(), 2, "both are told at once: {:?}", bench.told());
    bench.is_serving(4);
    assert_eq!(drained(&bench.told()), [0; 0]);
    bench.is_serving(3);
    assert_eq!(drained(&bench.told()), [1, 2]);
    assert_eq!(bench.takers(), [(3, 2), (4, 2)]);
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), [], "it may be needed again");
    assert_eq!(bench.verdict(7), None);
    bench.wait(u64::from(ReloadSpec::default().probation_ms));
    let took_ms = u64::from(ReloadSpec::default().probation_ms);
    let good = CommandAnswer::Reloaded { generation: 2, workers: 2, took_ms };
    assert_eq!(bench.verdict(7), Some(&good));
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)], "2 is not drained");
    bench.is_drained(2);
    assert_eq!(signals(&bench.last), [(worker(2), StopSignal::Term)]);
    bench.exit(1, HowDied::Exit(0));
    bench.exit(2, HowDied::Exit(0));
    assert_eq!(spawned(&bench.last), [0; 0], "nobody follows them");
    bench.exit(3, HowDied::Exit(1));
    assert_eq!(spawned(&bench.last), [5], "an ordinary death is an ordinary restart");
}

#[test]
fn a_release_that_does_not_start_changes_nothing() {
    let mut bench = Bench::running(2);
    bench.reload(7);
    bench.is_ready(3);
    bench.send(Event::WorkerSpawned { worker: WorkerId(4), pid: 1004, offer: None });
    bench.exit(4, HowDied::Exit(1));
    assert_eq!(bench.told(), [], "the proxy has never heard of it");
    assert_eq!(signals(&bench.last), [(worker(3), StopSignal::Term)]);
    let Some(CommandAnswer::TakenBack { why, report }) = bench.verdict(7) else {
        panic!("{:?}", bench.last);
    };
    assert!(why.contains("exited with code 1") && report.contains("did not start"), "{report}");
    assert_eq!(bench.takers(), [(1, 1), (2, 1)]);
    bench.exit(3, HowDied::Exit(0));
    bench.exit(1, HowDied::Exit(1));
    let restarted = bench.last.iter().any(
        |action| matches!(action, Action::SpawnWorker { release, .. } if release.generation == 1),
    );
    assert!(restarted, "the old release goes on: {:?}", bench.last);
}

#[test]
fn a_crash_on_probation_brings_the_old_workers_back_at_once() {
    let mut bench = Bench::on_probation();
    bench.wait(500);
    bench.exit(3, HowDied::Exit(1));
    assert_eq!(resumed(&bench.told()), [1, 2]);
    assert_eq!(drained(&bench.told()), [4]);
    let calls_back = |message: &ToProxy| matches!(message, ToProxy::WorkerResume { .. });
    let order: Vec<bool> = bench.told().iter().map(calls_back).collect();
    let drain = bench.told().iter().position(|m| matches!(m, ToProxy::WorkerDrain { .. }));
    assert!(order[drain.expect("drained") - 1], "first back, then away: {:?}", bench.told());
    assert!(matches!(bench.verdict(7), Some(CommandAnswer::TakenBack { .. })));
    assert_eq!(bench.takers(), [(1, 1), (2, 1)]);
    bench.is_drained(4);
    assert_eq!(signals(&bench.last), [(worker(4), StopSignal::Term)]);
}

#[test]
fn a_batch_at_a_time_and_the_early_ones_are_started_again_if_it_fails() {
    let mut bench = Bench::running(3);
    let mut careful = spec(Kind::Script);
    careful.reload.surge_max = Some(1);
    bench.reload_to(7, careful);
    assert_eq!(spawned(&bench.last), [4]);
    bench.is_ready(4);
    bench.is_serving(4);
    assert_eq!(drained(&bench.told()), [1]);
    assert_eq!(spawned(&bench.last), [5], "the next batch");
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.send(Event::WorkerSpawned { worker: WorkerId(5), pid: 1005, offer: None });
    bench.exit(5, HowDied::Exit(1));
    assert!(matches!(bench.verdict(7), Some(CommandAnswer::TakenBack { .. })));
    assert_eq!(drained(&bench.told()), [0; 0], "4 serves until its place is taken");
    assert_eq!(spawned(&bench.last), [6], "the old release, again");
    assert_eq!(bench.takers(), [(4, 2), (2, 1), (3, 1)]);
    bench.is_ready(6);
    bench.is_serving(6);
    assert_eq!(drained(&bench.told()), [4]);
    assert_eq!(bench.takers(), [(6, 1), (2, 1), (3, 1)]);
    bench.is_drained(4);
    assert_eq!(signals(&bench.last), [(worker(4), StopSignal::Term)]);
    assert_eq!(bench.machine.next_deadline_ms(), Some(bench.now_ms + 10_000), "its SIGKILL");
}

#[test]
fn wishes_during_a_reload_are_one_reload_after_it() {
    let mut bench = Bench::on_probation();
    bench.ask(8, false);
    bench.ask(9, false);
    assert!(!bench.last.contains(&Action::ReadRelease), "one after the other");
    bench.wait(u64::from(ReloadSpec::default().probation_ms));
    assert!(bench.last.contains(&Action::ReadRelease), "at once: {:?}", bench.last);
    bench.send(Event::ReleaseRead(Err("hostler.toml:3: nonsense".to_owned())));
    for ticket in [8, 9] {
        assert!(
            matches!(bench.verdict(ticket), Some(CommandAnswer::Refused { why }) if why.contains(":3"))
        );
    }
    assert_eq!(bench.takers(), [(3, 2), (4, 2)], "nothing has changed");
}

#[test]
fn rollback_goes_to_the_release_before_under_a_new_number() {
    let mut bench = Bench::running(1);
    bench.ask(1, true);
    assert!(
        matches!(bench.verdict(1), Some(CommandAnswer::Refused { why }) if why.contains("no earlier"))
    );
    let mut other = spec(Kind::Script);
    other.cwd = "/other".into();
    bench.reload_to(2, other);
    bench.is_ready(2);
    bench.is_serving(2);
    bench.wait(3_000);
    bench.ask(3, true);
    let back = bench.last.iter().find_map(|action| match action {
        Action::SpawnWorker { release, .. } => Some((release.generation, release.spec.cwd.clone())),
        _ => None,
    });
    assert_eq!(back, Some((3, "/srv".into())));
}

#[test]
fn websockets_have_their_time_and_then_are_closed() {
    let mut bench = Bench::on_probation();
    bench.wait(3_000);
    bench.wait(u64::from(ReloadSpec::default().websocket_drain_ms_max));
    let closed = |message: &ToProxy| matches!(message, ToProxy::CloseUpgraded { .. });
    assert_eq!(bench.told().iter().filter(|message| closed(message)).count(), 2);
    assert_eq!(signals(&bench.last), []);
    bench.wait(60_000);
    assert_eq!(
        signals(&bench.last),
        [(worker(1), StopSignal::Term), (worker(2), StopSignal::Term)],
        "a proxy that never says drained does not keep them"
    );
    bench.wait(10_000);
    assert_eq!(
        signals(&bench.last),
        [(worker(1), StopSignal::Kill), (worker(2), StopSignal::Kill)]
    );
}

#[test]
fn a_new_proxy_learns_who_stands_by_and_nothing_is_in_flight_any_more() {
    let mut bench = Bench::on_probation();
    bench.proxy_exit();
    bench.send(Event::ProxySpawned { pid: 101 });
    assert_eq!(drained(&bench.told()), [1, 2]);
    assert_eq!(bench.told().len(), 6, "{:?}", bench.told());
    bench.wait(3_000);
    assert_eq!(
        signals(&bench.last),
        [(worker(1), StopSignal::Term), (worker(2), StopSignal::Term)]
    );
}

#[test]
fn a_stop_in_the_middle_of_a_reload_ends_everything() {
    let mut bench = Bench::on_probation();
    bench.ask(8, false);
    bench.send(Event::Signal(TERM));
    for ticket in [7, 8] {
        assert!(
            matches!(bench.verdict(ticket), Some(CommandAnswer::Refused { why }) if why.contains("stopping"))
        );
    }
    bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 0 }));
    assert_eq!(signals(&bench.last).len(), 4, "old ones and new ones: {:?}", bench.last);
    for number in 1..=4 {
        bench.exit(number, HowDied::Exit(0));
    }
    bench.proxy_exit();
    assert_eq!(bench.exit_reason(), Some(&ExitReason::Stopped { cut: 0, killed: 0 }));
}

#[test]
fn sighup_reloads() {
    let mut bench = Bench::running(1);
    bench.send(Event::Signal(1));
    assert!(bench.last.contains(&Action::ReadRelease));
}

#[test]
fn an_answer_to_an_earlier_drain_is_not_taken_for_that_to_the_next() {
    let mut bench = Bench::on_probation();
    bench.exit(3, HowDied::Exit(1));
    assert_eq!(resumed(&bench.told()), [1, 2]);
    bench.reload(8);
    for worker in [5, 6] {
        bench.is_ready(worker);
    }
    for worker in [5, 6] {
        bench.is_serving(worker);
    }
    assert_eq!(drained(&bench.told()), [1, 2], "for the second time");
    bench.wait(3_000);
    bench.send(Event::ProxyMessage(FromProxy::WorkerDrained { worker: WorkerId(1), drain: 1 }));
    assert_eq!(signals(&bench.last), [], "it was on its way when the worker was called back");
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
}
