//! Who waits, how long, and who is refused.

use std::collections::HashSet;

use super::*;

fn queue(len_max: u32) -> Queue {
    Queue::new(len_max, 10_000)
}

#[test]
fn it_is_bounded_and_can_be_left() {
    let mut queue = queue(2);
    let places = [1, 2, 3].map(|conn| queue.enqueue(conn, 0));
    assert_eq!(places, [Place::Waiting, Place::Waiting, Place::Full]);
    queue.leave(1);
    assert_eq!((queue.get(0), queue.get(1), queue.len()), (Some(2), None, 1));
}

#[test]
fn each_wait_ends_at_its_millisecond() {
    let mut queue = queue(9);
    queue.enqueue(1, 0);
    queue.enqueue(2, 7);
    assert_eq!((queue.expires_in_ms(9_000), queue.expire(9_999)), (Some(1_000), None));
    assert_eq!((queue.expire(10_000), queue.expire(10_000)), (Some(1), None));
    assert_eq!(queue.expires_in_ms(10_000), Some(7));
    assert_eq!(queue.expire(10_007), Some(2));
    assert_eq!(queue.expires_in_ms(10_007), None);
}

/// Open arrivals at a server that takes one request each `service_us`; what became of each.
struct Load {
    queue: Queue,
    service_us: u64,
    now_ms: u64,
    free_us: u64,
    began: Vec<u64>,
    shed: HashSet<u32>,
    served_waits_ms: Vec<u64>,
    refused_waits_ms: Vec<u64>,
    expired: usize,
}

impl Load {
    fn new(timeout_ms: u64, service_us: u64) -> Self {
        Self {
            queue: Queue::new(100_000, timeout_ms),
            service_us,
            now_ms: 0,
            free_us: 0,
            began: Vec::new(),
            shed: HashSet::new(),
            served_waits_ms: Vec::new(),
            refused_waits_ms: Vec::new(),
            expired: 0,
        }
    }

    /// As many arrivals as `percent` of what the server can take.
    fn run(&mut self, percent: u64, ms: u64) {
        let mut due_us = 0;
        for _ in 0..ms {
            self.now_ms += 1;
            due_us += 10 * percent;
            while due_us >= self.service_us {
                due_us -= self.service_us;
                self.arrive();
            }
            self.serve();
            self.expire();
        }
    }

    fn arrive(&mut self) {
        let conn = self.began.len() as u32;
        self.began.push(self.now_ms);
        match self.queue.enqueue(conn, self.now_ms) {
            Place::Waiting => {}
            Place::Shed => drop(self.shed.insert(conn)),
            Place::Full => self.refused_waits_ms.push(0),
        }
    }

    fn serve(&mut self) {
        while self.free_us <= self.now_ms * 1_000
            && let Some(conn) = self.queue.get(0)
        {
            self.queue.serve(0, self.now_ms);
            self.free_us = self.free_us.max((self.now_ms - 1) * 1_000) + self.service_us;
            self.served_waits_ms.push(self.now_ms - self.began[conn as usize]);
        }
    }

    fn expire(&mut self) {
        while let Some(conn) = self.queue.expire(self.now_ms) {
            let wait_ms = self.now_ms - self.began[conn as usize];
            match self.shed.contains(&conn) {
                true => self.refused_waits_ms.push(wait_ms),
                false => self.expired += 1,
            }
        }
    }
}

#[test]
fn five_times_too_much_keeps_the_server_busy_and_the_waits_short() {
    for (timeout_ms, service_us) in
        [(10_000, 100), (10_000, 1_000), (10_000, 20_000), (1_000, 1_000)]
    {
        let mut load = Load::new(timeout_ms, service_us);
        load.run(500, 30_000);
        let what = format!("time-out {timeout_ms} ms, each takes {service_us} us");
        let capacity = 30_000_000 / service_us;
        assert!(load.served_waits_ms.len() as u64 >= capacity * 9 / 10, "{what}");
        load.served_waits_ms.sort_unstable();
        let percentile =
            |part: usize| load.served_waits_ms[load.served_waits_ms.len() * part / 100];
        assert!(percentile(99) < timeout_ms, "{what}: {}", percentile(99));
        assert!(percentile(50) <= timeout_ms / TARGET_PART * 3 / 2, "{what}: {}", percentile(50));
        assert!(load.refused_waits_ms.iter().all(|wait_ms| *wait_ms <= 50), "{what}");
        assert_eq!(load.expired, 0, "{what}");
    }
}

#[test]
fn when_the_overload_is_over_nobody_is_refused() {
    let mut load = Load::new(10_000, 1_000);
    load.run(500, 3_000);
    assert!(!load.refused_waits_ms.is_empty());
    // What is left is worked off, and then there is room for all.
    load.run(0, 2_000);
    load.refused_waits_ms.clear();
    load.run(90, 3_000);
    assert_eq!((load.refused_waits_ms.len(), load.expired), (0, 0));
}

#[test]
fn a_burst_is_served_to_its_end() {
    let mut queue = queue(1_000);
    for conn in 0..1_000 {
        assert_eq!(queue.enqueue(conn, 0), Place::Waiting);
    }
    let seen = (1..=5_000).filter(|now| now % 5 == 0).map(|now| queue.serve(0, now)).count();
    assert_eq!((seen, queue.len()), (1_000, 0));
}

#[test]
fn without_a_worker_all_wait_and_few_are_never_too_many() {
    let mut queue = queue(1_000);
    for now in 0..900 {
        assert_eq!(queue.enqueue(now as u32, now), Place::Waiting, "no worker yet");
    }
    let mut queue = Queue::new(1_000, 10_000);
    // One each second: the pace is known, and eight would still be served in time.
    for conn in 0..3 {
        queue.enqueue(conn, 0);
    }
    queue.serve(0, 1_000);
    for conn in 3..9 {
        assert_eq!(queue.enqueue(conn, 1_500 + u64::from(conn) * 50), Place::Waiting, "{conn}");
    }
    assert_eq!(queue.enqueue(9, 2_500), Place::Shed);
    // Unless the wait would be in vain.
    let mut queue = Queue::new(1_000, 2_000);
    for conn in 0..4 {
        queue.enqueue(conn, 0);
    }
    queue.serve(0, 1_000);
    assert_eq!(queue.enqueue(9, 1_000), Place::Waiting, "nothing stands yet");
    assert_eq!(queue.enqueue(9, 1_100), Place::Shed);
    queue.leave(9);
    assert_eq!(queue.expire(1_999), Some(9), "the other one with this number is refused");
}

/// A flood reaches Node before anybody knows that its loop is late, and nothing leaves the queue until Node has worked it off.
#[test]
fn the_pace_is_known_before_the_first_has_left() {
    let mut queue = queue(100_000);
    let (mut waiting, mut shed) = (0, 0);
    // Each takes 20 ms, and five times as many come.
    for now in 0..2_000 {
        if now % 4 == 0 {
            match queue.enqueue(now as u32, now) {
                Place::Waiting => waiting += 1,
                Place::Shed => shed += 1,
                Place::Full => panic!("there is room"),
            }
        }
        if now % 20 == 19 {
            queue.done(now);
        }
        while queue.expire(now).is_some() {}
    }
    // Half a second's work, and what comes until that is noticed.
    assert!((25..100).contains(&waiting) && shed > 400, "{waiting} {shed}");
}

#[test]
fn who_waits_for_the_first_answers_of_a_burst_is_not_refused() {
    let mut queue = queue(1_000);
    for now in 0..900 {
        assert_eq!(queue.enqueue(now as u32, now), Place::Waiting, "its database takes a second");
    }
    // Then all places are free at once, and again.
    (0..300).for_each(|_| queue.done(1_000));
    assert_eq!(queue.enqueue(900, 1_000), Place::Waiting);
}
