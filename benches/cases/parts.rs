//! What a shard does for a request beside its connection: timers, the choice of a worker, ids, log lines.
//!
//! Owns: these cases. Must never know: what the parts do together; see `exchange` and `turn`.

use std::hint::black_box;
use std::sync::Arc;

use hostler_protocol::control::{PlainAddress, Transport, WorkerAddress, WorkerId};
use hostler_proxy::access_log::{AccessLog, Record};
use hostler_proxy::dispatch::queue::Queue;
use hostler_proxy::dispatch::{Dispatch, Home, WorkerPhase};
use hostler_proxy::request_id::RequestIds;
use hostler_proxy::stats::WorkerGauge;
use hostler_proxy::timers::Wheel;

use super::Case;

const TIMERS: u32 = 1_024;

pub(super) fn add(cases: &mut Vec<Case>) {
    cases.push(Case::new("timers", "arm_later_and_wait", arm_later_and_wait));
    cases.push(Case::new("timers", "fire_and_arm_again", fire_and_arm_again));
    for workers in [1, 4, 16] {
        cases.push(choose(workers));
    }
    cases.push(Case::new("request_id", "make", request_id));
    cases.push(access_log("text", false));
    cases.push(access_log("json", true));
}

/// What a request does: its deadline moves away from the wheel's entry.
fn arm_later_and_wait() -> impl FnMut() {
    let mut wheel = Wheel::new(TIMERS);
    (0..TIMERS).for_each(|timer| wheel.arm(timer, 60_000));
    let mut deadline_ms = 60_000;
    move || {
        deadline_ms += 1;
        wheel.arm(black_box(7), deadline_ms);
        black_box(wheel.wait_ms(0));
    }
}

fn fire_and_arm_again() -> impl FnMut() {
    let mut wheel = Wheel::new(TIMERS);
    let mut now_ms = 0;
    (0..TIMERS).for_each(|timer| wheel.arm(timer, u64::from(timer) * 100));
    move || {
        now_ms += 100;
        while let Some(timer) = wheel.expire(now_ms) {
            wheel.arm(timer, now_ms + u64::from(TIMERS) * 50);
        }
    }
}

fn choose(workers: u32) -> Case {
    let prepare = move || {
        let mut dispatch = Dispatch::new(
            Home { core: Some(0), shard: 0, shards: 1 },
            None,
            Queue::new(1_024, 10_000),
        );
        for number in 0..workers {
            let address = WorkerAddress {
                worker: WorkerId(number),
                app: "web".into(),
                slot: number,
                pid: number,
                core: Some(number),
                transport: Transport::Frames,
                plain: PlainAddress::Unix("/x".into()),
                plain_idle_ms_max: 4_000,
            };
            let index = dispatch.add(address, Arc::new(WorkerGauge::default()), 0);
            let worker = dispatch.get_mut(index).expect("added");
            worker.phase = WorkerPhase::Ready;
            worker.channel = Some(index);
            worker.gauge.begin();
        }
        move || {
            let chosen = dispatch.choose(black_box(5), None, false, |_| true);
            black_box(chosen.expect("one is free"));
        }
    };
    Case::new("dispatch_choose", &format!("{workers}_workers"), prepare)
}

fn request_id() -> impl FnMut() {
    let mut ids = RequestIds::new(1);
    move || {
        black_box(ids.make(black_box(1_700_000_000_000)));
    }
}

fn access_log(name: &str, json: bool) -> Case {
    let prepare = move || {
        let record = Record {
            unix_ms: 1_700_000_000_000,
            client: b"192.0.2.1",
            method: "GET",
            target: b"/articles/2024/11/a-longer-title?page=2&sort=new",
            status: 200,
            body_bytes: 14,
            duration_ms: 3,
            request_id: b"01912345-6789-7abc-8def-0123456789ab",
            worker: Some(1),
            referer: b"",
            user_agent: b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        };
        let mut log = AccessLog::new(json);
        move || {
            log.record(black_box(&record), 0);
            // Nothing, but for once in a batch.
            black_box(log.take(0, false));
        }
    };
    Case::new("access_log", name, prepare)
}
