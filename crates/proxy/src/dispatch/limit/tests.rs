//! Apps that the limit must leave alone, and those that it must hold back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

const BEAT_MS: u64 = 100;

/// A worker with one loop: each request waits for something else first, then takes the loop for a while. Its clients ask again
/// as soon as they are answered.
struct App {
    limit: Limit,
    other_us: u64,
    loop_us: u64,
    /// Clients that are not at the worker.
    waiting: u32,
    /// Requests that wait for something else, by the time at which they stop.
    parked: BinaryHeap<Reverse<(u64, Began)>>,
    /// Requests that wait for the loop.
    ready: VecDeque<Began>,
    turn: u64,
    now_us: u64,
    busy_us: u64,
    answered: u64,
    in_node: Vec<u32>,
}

impl App {
    fn new(clients: u32, other_ms: u64, loop_us: u64) -> Self {
        Self {
            limit: Limit::new(None),
            other_us: other_ms * 1_000,
            loop_us,
            waiting: clients,
            parked: BinaryHeap::new(),
            ready: VecDeque::new(),
            turn: 0,
            now_us: 0,
            busy_us: 0,
            answered: 0,
            in_node: Vec::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    fn admit(&mut self) {
        while self.waiting > 0 && self.limit.has_room(0, self.now_ms()) {
            self.waiting -= 1;
            let began = self.limit.begin(self.now_ms());
            // From half to one and a half of it.
            self.turn = (self.turn * 31 + 7) % 101;
            let until_us = self.now_us + self.other_us / 2 + self.other_us * self.turn / 100;
            self.parked.push(Reverse((until_us, began)));
        }
    }

    fn run(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        let mut beat_due_us = self.now_us + BEAT_MS * 1_000;
        let mut beaten_us = self.now_us;
        while self.now_us < end_us {
            self.admit();
            while self.parked.peek().is_some_and(|next| next.0.0 <= self.now_us) {
                self.ready.extend(self.parked.pop().map(|next| next.0.1));
            }
            // One turn of the loop takes all that is ready: 32 reads of some 200 requests at most (uv__read of libuv).
            let batch: Vec<Began> = (0..6_400).map_while(|_| self.ready.pop_front()).collect();
            let took_us = batch.len() as u64 * self.loop_us;
            self.busy_us += took_us;
            self.now_us += took_us.max(100);
            for began in batch {
                self.limit.end(began, self.now_ms());
                self.waiting += 1;
                self.answered += 1;
            }
            if self.now_us >= beat_due_us {
                let elapsed_us = self.now_us - beaten_us;
                let beat = Beat {
                    utilisation_permille: (self.busy_us * 1_000 / elapsed_us) as u32,
                    late_us: (self.now_us - beat_due_us) as u32,
                    elapsed_ms: elapsed_us / 1_000,
                };
                let now_ms = self.now_ms();
                self.limit.beat(beat, now_ms);
                self.in_node.push(self.ready.len() as u32 + self.parked.len() as u32);
                (self.busy_us, beaten_us) = (0, self.now_us);
                beat_due_us = self.now_us + BEAT_MS * 1_000;
            }
        }
    }
}

#[test]
fn fast_apps_are_left_alone() {
    for clients in [64, 1_000, 4_000] {
        let mut app = App::new(clients, 0, 10);
        app.run(5_000);
        assert_eq!(app.limit.max, NONE, "{clients}");
    }
}

#[test]
fn waiting_for_something_else_is_no_load() {
    for other_ms in [1_000, 30_000] {
        let mut app = App::new(5_000, other_ms, 20);
        app.run(40_000);
        assert_eq!(app.limit.max, NONE, "{other_ms}");
        assert!(app.in_node.iter().all(|many| *many >= 4_000), "all are at the worker");
    }
}

#[test]
fn a_saturated_loop_is_held_back_and_kept_busy() {
    // Clients, time for something else, time in the loop, and what the loop takes in the time that may wait, three times.
    for (clients, other_ms, loop_us, many) in
        [(500, 0, 1_000, 300), (500, 0, 10_000, 30), (100, 0, 200_000, 3), (3_000, 0, 200, 1_500)]
    {
        let mut app = App::new(clients, other_ms, loop_us);
        app.run(10_000);
        (app.answered, app.in_node) = (0, Vec::new());
        app.run(20_000);
        let what = format!("{clients} clients, {loop_us} us");
        let capacity = 20_000_000 / loop_us;
        assert!(app.answered >= capacity * 95 / 100, "{what}: {} of {capacity}", app.answered);
        app.in_node.sort_unstable();
        let usual = app.in_node[app.in_node.len() * 9 / 10];
        assert!(usual <= many, "{what}: {usual} in Node");
    }
}

#[test]
fn an_app_that_waits_and_then_works_reaches_what_it_can() {
    // A second for something else, then 1 ms of the loop: a thousand must be in flight for a busy loop.
    let mut app = App::new(5_000, 1_000, 1_000);
    app.run(20_000);
    (app.answered, app.in_node) = (0, Vec::new());
    app.run(30_000);
    assert!(app.answered >= 30_000 * 90 / 100, "{}", app.answered);
    app.in_node.sort_unstable();
    let usual = app.in_node[app.in_node.len() * 9 / 10];
    assert!(usual < 1_600, "{usual} in Node {}", app.answered);
}

#[test]
fn parked_requests_take_no_places() {
    let mut limit = Limit::new(None);
    let parked: Vec<Began> = (0..2_000).map(|_| limit.begin(0)).collect();
    let beat = Beat { utilisation_permille: 1_000, late_us: 400_000, elapsed_ms: 500 };
    (0..40).for_each(|_| limit.beat(beat, 3_000));
    assert!(limit.max < 10 && limit.has_room(2_000, 3_000), "{limit:?}");
    for began in parked {
        limit.end(began, 3_000);
    }
    assert_eq!(limit.recent(3_000), 0);
}

#[test]
fn a_fixed_limit_counts_all_and_stays() {
    let mut limit = Limit::new(Some(3));
    limit.begin(0);
    let beat = Beat { utilisation_permille: 1_000, late_us: 400_000, elapsed_ms: 500 };
    limit.beat(beat, 3_000);
    assert!(limit.has_room(2, 9_000) && !limit.has_room(3, 9_000));
}

#[test]
fn counts_follow_the_seconds() {
    let mut limit = Limit::new(None);
    limit.end(Began::LONG_AGO, 0);
    let (first, second) = (limit.begin(0), limit.begin(1_500));
    assert_eq!([1_500, 2_100, 3_100].map(|now| limit.recent(now)), [2, 1, 0]);
    limit.end(second, 2_100);
    assert_eq!(limit.recent(2_100), 0);
    limit.end(first, 2_200);
    limit.end(Began::LONG_AGO, 2_200);
    assert_eq!(limit.recent(2_200), 0);
}
