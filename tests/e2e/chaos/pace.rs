//! Clients that come at their own pace, whatever becomes of those before them: a flood, and a worker that stands still.
//!
//! Owns: an open loop of requests and the times in which they are answered. Times are printed; judged only in a full run.

use std::thread;
use std::time::{Duration, Instant};

use super::is_full;
use crate::support::{Client, Instance, Setup, Variant, matrix, report};

matrix!(frames: five_times_too_much, a_blocked_worker_beside_others);

/// One answer.
#[derive(Clone, Debug)]
struct Answer {
    /// When it was asked for, from the start of the load.
    at: Duration,
    took: Duration,
    status: u16,
    slot: Option<String>,
}

/// So many clients, each of which asks once in every `period` if its last answer is there, for this long.
fn load(
    instance: &Instance,
    clients: u32,
    period: Duration,
    path: &str,
    time: Duration,
) -> Vec<Answer> {
    let start = Instant::now();
    thread::scope(|scope| {
        let client = |number: u32| {
            let mut client = instance.client();
            client.set_patience(Duration::from_secs(90));
            move || one_client(&mut client, start, period * number / clients, period, path, time)
        };
        let clients: Vec<_> = (0..clients).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    })
}

fn one_client(
    client: &mut Client,
    start: Instant,
    offset: Duration,
    period: Duration,
    path: &str,
    time: Duration,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut due = offset;
    while due < time {
        thread::sleep(due.saturating_sub(start.elapsed()));
        let at = start.elapsed();
        let response = client.get(path);
        answers.push(Answer {
            at,
            took: start.elapsed() - at,
            status: response.status,
            slot: response.field("x-slot").map(str::to_owned),
        });
        while due <= start.elapsed() {
            due += period;
        }
    }
    answers
}

/// The part of the times that is at most the result, in 1/100.
fn percentile(mut times: Vec<Duration>, part: usize) -> Duration {
    times.sort();
    times.get(times.len().saturating_sub(1) * part / 100).copied().unwrap_or_default()
}

fn times_of<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Vec<Duration> {
    answers.into_iter().map(|answer| answer.took).collect()
}

/// Five times the load that the app can bear.
fn five_times_too_much(variant: Variant) {
    let instance = Setup::new(variant, "chaos.js").start();
    let seconds = if is_full() { 30 } else { 4 };
    let time = Duration::from_secs(seconds);
    // Two clients are enough to keep the loop busy.
    let alone =
        load(&instance, 2, Duration::from_millis(1), "/work/20", time.min(Duration::from_secs(5)));
    let capacity = alone.len() as f64 / time.min(Duration::from_secs(5)).as_secs_f64();
    let clients = (capacity * 5.0) as u32;
    let answers = load(&instance, clients, Duration::from_secs(1), "/work/20", time);
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert!(refused.iter().all(|answer| answer.status == 503), "nothing but 200 and 503");
    assert!(!refused.is_empty() && served.len() > 20, "{} {}", served.len(), refused.len());
    assert_eq!(instance.shards().shed, refused.len() as u64);
    let early =
        times_of(served.iter().copied().filter(|answer| answer.at < Duration::from_secs(2)));
    let late =
        times_of(served.iter().copied().filter(|answer| answer.at >= Duration::from_secs(2)));
    let whole = served.iter().filter(|answer| answer.at + answer.took <= time).count();
    let part = whole as f64 / time.as_secs_f64() / capacity;
    let accepted = percentile(times_of(served.iter().copied()), 99);
    let told = percentile(times_of(refused.iter().copied()), 99);
    report(&format!(
        "{variant}: capacity {capacity:.1}/s, asked {:.1}/s; served {:.1} % of it; accepted p50 {:?} p99 {accepted:?}, first two \
         seconds p99 {:?} max {:?}, then p99 {:?}; refused {} p50 {:?} p99 {told:?}",
        answers.len() as f64 / time.as_secs_f64(),
        part * 100.0,
        percentile(times_of(served.iter().copied()), 50),
        percentile(early.clone(), 99),
        percentile(early, 100),
        percentile(late, 99),
        refused.len(),
        percentile(times_of(refused.iter().copied()), 50),
    ));
    if is_full() {
        assert!(part >= 0.9, "{part}");
        assert!(accepted < Duration::from_secs(10), "{accepted:?}");
        assert!(told < Duration::from_millis(50), "{told:?}");
    }
    instance.finish();
}

/// Two ways to stand still: asleep, as in a system call, and in a loop, which takes a core from the others as well.
fn a_blocked_worker_beside_others(variant: Variant) {
    let seconds = if is_full() { 60 } else { 2 };
    for way in ["sleep", "work"] {
        let options = "--workers 3 --hang-after off --worker-timeout 120s";
        let instance = Setup::new(variant, "chaos.js").options(options).start();
        instance.wait_all_workers();
        let (period, time) = (Duration::from_millis(200), Duration::from_secs(seconds));
        let free = load(&instance, 30, period, "/later/19", time);
        let mut blocker = instance.client();
        blocker.set_patience(time * 2 + Duration::from_secs(10));
        // It ends when the load has ended.
        blocker
            .send(format!("GET /{way}/{} HTTP/1.1\r\nHost: test\r\n\r\n", seconds * 1_000 + 1_000));
        let beside = load(&instance, 30, period, "/later/19", time);
        let response = blocker.response();
        assert_eq!(response.status, 200);
        let blocked = response.field("x-slot").map(str::to_owned);
        let at_others = |answer: &&Answer| answer.slot != blocked;
        let (others, stuck): (Vec<_>, Vec<_>) = beside.iter().partition(at_others);
        assert!(beside.iter().all(|answer| answer.status == 200));
        let (before, after) =
            (percentile(times_of(&free), 99), percentile(times_of(others.iter().copied()), 99));
        report(&format!(
            "{variant}: blocked by {way} for {time:?}: p99 of {} requests before {before:?}, of {} at others {after:?}; {} had \
             gone to the blocked one",
            free.len(),
            others.len(),
            stuck.len()
        ));
        // One for each beat that is waited for, or a few more: not all that come.
        assert!(stuck.len() <= 25 && others.len() > 10, "{} {}", stuck.len(), others.len());
        if is_full() && way == "sleep" {
            assert!(after <= before.mul_f64(1.2), "{before:?} -> {after:?}");
        }
        drop(blocker);
        instance.finish();
    }
}
