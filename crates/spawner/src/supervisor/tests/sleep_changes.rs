//! Reloads and other numbers of workers while an app sleeps.

use hostler_protocol::control::{CommandAnswer, InstanceState};

use super::rig::drained;
use super::sleep::sleeping;
use super::*;
use crate::outcome::Ticket;

#[test]
fn a_reload_of_a_sleeping_app_proves_the_release_and_lets_it_sleep() {
    for idle_ms_max in [None, Some(60_000)] {
        let mut bench = Bench::of(sleeping(true, idle_ms_max), 2);
        bench.reload_to(1, sleeping(true, idle_ms_max));
        assert_eq!(spawned(&bench.last), [1, 2]);
        for worker in [1, 2] {
            bench.is_ready(worker);
        }
        for worker in [1, 2] {
            bench.is_serving(worker);
        }
        bench.wait(3_000);
        assert!(matches!(bench.verdict(1), Some(CommandAnswer::Reloaded { generation: 2, .. })));
        assert_eq!(bench.takers(), [(1, 2), (2, 2)]);
        bench.idle(2);
        assert_eq!(drained(&bench.told()), [1, 2]);
        bench.is_drained(1);
        bench.is_drained(2);
        assert_eq!(bench.machine.state(), InstanceState::Asleep);
        // Unless somebody has come meanwhile.
        bench.exit(1, HowDied::Exit(0));
        bench.exit(2, HowDied::Exit(0));
        bench.reload_to(2, sleeping(true, idle_ms_max));
        bench.want();
        assert!(bench.is_told(&ToProxy::WorkersStarting));
        assert_eq!(spawned(&bench.last), [0; 0], "those of the reload will do");
        for worker in [3, 4] {
            bench.is_ready(worker);
        }
        for worker in [3, 4] {
            bench.is_serving(worker);
        }
        bench.wait(3_000);
        assert_eq!(bench.machine.watches_idleness(), idle_ms_max.is_some());
    }
}

#[test]
fn a_bad_release_leaves_a_sleeping_app_asleep_and_who_waits_gets_the_old_one() {
    let mut bench = Bench::lazy(1);
    bench.reload_to(1, sleeping(true, None));
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1001, offer: None });
    bench.exit(1, HowDied::Exit(1));
    assert!(matches!(bench.verdict(1), Some(CommandAnswer::TakenBack { .. })));
    assert_eq!(bench.machine.state(), InstanceState::Asleep);
    bench.reload_to(2, sleeping(true, None));
    bench.want();
    bench.send(Event::WorkerSpawned { worker: WorkerId(2), pid: 1002, offer: None });
    bench.exit(2, HowDied::Exit(1));
    assert_eq!(spawned(&bench.last), [3]);
    bench.ready(3);
    assert_eq!(bench.takers(), [(3, 1)]);
}

#[test]
fn a_reload_of_an_app_that_fails_to_wake_saves_it() {
    let mut bench = Bench::lazy(1);
    bench.want();
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1001, offer: None });
    bench.reload_to(1, sleeping(true, None));
    assert_eq!(spawned(&bench.last), [2]);
    bench.exit(1, HowDied::Exit(1));
    assert_eq!(bench.problem(), None, "who waits is served by the new release");
    bench.is_ready(2);
    bench.is_serving(2);
    bench.wait(3_000);
    assert_eq!(bench.takers(), [(2, 2)]);
}

#[test]
fn the_number_of_a_sleeping_app_holds_from_the_next_start() {
    let mut bench = Bench::lazy(1);
    let ticket = Some(Ticket(5));
    bench.send(Event::Scale { cause: "hostler scale".to_owned(), scale: Scale::To(3), ticket });
    assert_eq!(bench.verdict(5), Some(&CommandAnswer::Scaled { workers: 3, asleep: true }));
    assert_eq!(spawned(&bench.last), [0; 0]);
    assert_eq!(bench.state(2), WorkerState::Asleep);
    bench.want();
    assert_eq!(spawned(&bench.last), [1, 2, 3]);
    for worker in 1..=3 {
        bench.ready(worker);
    }
    bench.idle(12);
    for worker in 1..=3 {
        bench.is_drained(worker);
    }
    let ticket = Some(Ticket(6));
    bench.send(Event::Scale { cause: "hostler scale".to_owned(), scale: Scale::By(-2), ticket });
    for worker in 1..=3 {
        bench.exit(worker, HowDied::Exit(0));
    }
    bench.want();
    assert_eq!(spawned(&bench.last), [4]);
}

#[test]
fn a_range_begins_anew_with_its_least() {
    let range = Some(crate::config::WorkerRange { min: 1, max: 4 });
    let mut bench = Bench::of(AppSpec { range, ..sleeping(true, Some(10_000)) }, 1);
    assert!(!bench.machine.limits_anything(), "nobody has to look at who sleeps");
    bench.want();
    bench.ready(1);
    bench.send(Event::Scale { cause: "load".to_owned(), scale: Scale::To(3), ticket: None });
    bench.ready(2);
    bench.ready(3);
    bench.idle(12);
    for worker in 1..=3 {
        bench.is_drained(worker);
    }
    assert!(!bench.machine.limits_anything());
    for worker in 1..=3 {
        bench.exit(worker, HowDied::Exit(0));
    }
    bench.want();
    assert_eq!(spawned(&bench.last), [4]);
}
