//! Who gets the next request, and why.

use super::*;
use hostler_protocol::control::{PlainAddress, WorkerId};

fn worker(dispatch: &mut Dispatch, number: u32, core: Option<u32>) -> u16 {
    let address = WorkerAddress {
        worker: WorkerId(number),
        app: "web".into(),
        slot: number,
        pid: number,
        core,
        transport: Transport::Http,
        plain: PlainAddress::Unix("/x".into()),
        plain_idle_ms_max: 4_000,
    };
    let index = dispatch.add(address, Arc::default(), 0);
    dispatch.get_mut(index).expect("added").phase = WorkerPhase::Ready;
    index
}

/// The second shard of two.
fn home(core: Option<u32>) -> Home {
    Home { core, shard: 1, shards: 2 }
}

fn load(dispatch: &Dispatch, index: u16, requests: u32) {
    for _ in 0..requests {
        dispatch.get(index).expect("there").gauge.begin();
    }
}

#[test]
fn the_own_core_is_preferred_until_it_is_clearly_busier() {
    let mut dispatch = Dispatch::new(home(Some(1)), Some(100), Queue::new(10, 1_000));
    let other = worker(&mut dispatch, 1, Some(0));
    let own = worker(&mut dispatch, 2, Some(1));
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(own));
    load(&dispatch, own, PREFERENCE);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(own));
    load(&dispatch, own, 1);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(other));
}

#[test]
fn who_is_not_pinned_has_a_home_by_its_number() {
    let mut dispatch = Dispatch::new(home(None), Some(100), Queue::new(10, 1_000));
    let strangers = [worker(&mut dispatch, 0, None), worker(&mut dispatch, 2, None)];
    let own = worker(&mut dispatch, 1, None);
    let second = worker(&mut dispatch, 3, None);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(own));
    load(&dispatch, own, 1);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(second), "two at home share");
    load(&dispatch, own, PREFERENCE);
    load(&dispatch, second, PREFERENCE + 1);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(strangers[0]));
}

#[test]
fn short_requests_stay_at_home_and_long_ones_go_where_nobody_waits() {
    // Answers within 100 ms of a loop that was always busy, and how far ahead the own worker may be.
    for (answers, ahead) in
        [(50_000, 32), (10_000, 10), (1_000, 1), (900, 0), (5, 0), (0, PREFERENCE)]
    {
        let mut dispatch = Dispatch::new(home(None), Some(1_000), Queue::new(10, 1_000));
        let other = worker(&mut dispatch, 0, None);
        let own = worker(&mut dispatch, 1, None);
        for _ in 0..answers {
            let gauge = &dispatch.get(own).expect("there").gauge;
            gauge.begin();
            gauge.end();
        }
        dispatch.get_mut(own).expect("there").measure(1_000, 0, 100);
        load(&dispatch, own, ahead);
        assert_eq!(dispatch.choose(100, None, false, |_| true), Ok(own), "{answers}");
        load(&dispatch, own, 1);
        assert_eq!(dispatch.choose(100, None, false, |_| true), Ok(other), "{answers}");
    }
}

#[test]
fn who_becomes_slow_is_no_longer_ahead() {
    let mut dispatch = Dispatch::new(home(None), Some(1_000), Queue::new(10, 1_000));
    let other = worker(&mut dispatch, 0, None);
    let own = worker(&mut dispatch, 1, None);
    for _ in 0..50_000 {
        let gauge = &dispatch.get(own).expect("there").gauge;
        gauge.begin();
        gauge.end();
    }
    dispatch.get_mut(own).expect("there").measure(1_000, 0, 100);
    load(&dispatch, own, 5);
    assert_eq!(dispatch.choose(100, None, false, |_| true), Ok(own));
    assert_eq!(dispatch.choose(100, None, true, |_| true), Ok(other), "connections that stay");
    // Not one answer in the next 100 ms, and the loop was busy.
    dispatch.get_mut(own).expect("there").measure(1_000, 0, 200);
    assert_eq!(dispatch.choose(200, None, false, |_| true), Ok(other));
}

#[test]
fn no_worker_and_full_workers_are_told_apart() {
    let mut dispatch = Dispatch::new(home(None), Some(1), Queue::new(10, 1_000));
    assert_eq!(dispatch.choose(0, None, false, |_| true), Err(Busy::NoWorker));
    let only = worker(&mut dispatch, 1, None);
    assert_eq!(dispatch.choose(0, None, false, |_| true), Ok(only));
    dispatch.get_mut(only).expect("there").in_flight = 1;
    assert_eq!(dispatch.choose(0, None, false, |_| true), Err(Busy::AllFull));
    dispatch.get_mut(only).expect("there").phase = WorkerPhase::Draining(Drain::new(1));
    assert_eq!(dispatch.choose(0, None, false, |_| true), Err(Busy::NoWorker));
}

#[test]
fn a_stuck_loop_gets_nothing_even_if_there_is_no_other() {
    let mut dispatch = Dispatch::new(home(None), Some(100), Queue::new(10, 1_000));
    let stuck = worker(&mut dispatch, 1, None);
    dispatch.get_mut(stuck).expect("there").pulse.beat(1, 0);
    let free = worker(&mut dispatch, 2, None);
    load(&dispatch, free, 50);
    assert_eq!(dispatch.choose(350, None, false, |_| true), Ok(stuck));
    assert_eq!(dispatch.choose(351, None, false, |_| true), Ok(free));
    assert_eq!(dispatch.choose(351, Some(1), false, |_| true), Ok(free));
    dispatch.remove(free);
    assert_eq!(dispatch.choose(351, None, false, |_| true), Err(Busy::AllFull));
    assert!(!dispatch.is_served(351));
    dispatch.get_mut(stuck).expect("there").pulse.hear(360);
    assert_eq!(dispatch.choose(360, None, false, |_| true), Ok(stuck));
}

#[test]
fn a_loop_that_does_not_come_to_beat_gets_no_more_where_it_decides() {
    for fixed in [None, Some(100)] {
        let mut dispatch = Dispatch::new(home(None), fixed, Queue::new(10, 1_000));
        let flooded = worker(&mut dispatch, 1, None);
        let pulse = &mut dispatch.get_mut(flooded).expect("there").pulse;
        pulse.beat(1, 0);
        pulse.hear(150);
        assert_eq!(dispatch.choose(200, None, false, |_| true), Ok(flooded));
        let chosen = dispatch.choose(201, None, false, |_| true);
        assert_eq!(chosen.is_ok(), fixed.is_some());
    }
}

#[test]
fn sessions_are_dealt_out_in_turn_to_those_who_take_requests() {
    let mut dispatch = Dispatch::new(home(None), Some(100), Queue::new(10, 1_000));
    assert_eq!(dispatch.in_turn(7), None);
    let first = worker(&mut dispatch, 1, None);
    worker(&mut dispatch, 2, None);
    worker(&mut dispatch, 3, None);
    load(&dispatch, first, 5);
    let turns = |dispatch: &Dispatch| {
        let mut dealt: Vec<_> = (0..6).filter_map(|turn| dispatch.in_turn(turn)).collect();
        dealt.sort_unstable();
        dealt
    };
    assert_eq!(turns(&dispatch), [1, 1, 2, 2, 3, 3]);
    dispatch.get_mut(first).expect("added").phase = WorkerPhase::Draining(Drain::new(1));
    assert_eq!(turns(&dispatch), [2, 2, 2, 3, 3, 3]);
}
