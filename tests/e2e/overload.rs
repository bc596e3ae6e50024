//! More work than the workers can do, and workers that do none: who waits, who is refused, what everybody is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostler_protocol::control::WorkerState;

use crate::support::{Instance, Setup, Variant, eventually, matrix};

matrix!(all: standing_overload, request_timeout);
matrix!(frames: a_saturated_loop_has_its_queue_here, idle_loops_have_no_limit, who_leaves_the_queue, blocked_loop, all_loops_blocked);

/// What a client saw of one request.
struct Seen {
    status: u16,
    took: Duration,
    error: Option<String>,
}

/// Clients that ask again as soon as they are answered, for this long.
fn closed_loop(instance: &Instance, clients: usize, target: &str, time: Duration) -> Vec<Seen> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                let mut client = instance.client();
                let over = &over;
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        let response = client.get(target);
                        let error = response.field("x-hostler-error").map(str::to_owned);
                        if response.status == 503 {
                            let after = response.field("retry-after").expect("when to try again");
                            assert!((1..=4).contains(&after.parse::<u32>().expect("seconds")));
                            assert!(response.field("connection").is_none(), "{response:?}");
                        }
                        seen.push(Seen { status: response.status, took: start.elapsed(), error });
                    }
                    seen
                })
            })
            .collect();
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    })
}

fn standing_overload(variant: Variant) {
    let options = "--worker-requests 2 --queue-timeout 2s";
    let instance = Setup::new(variant, "basic.js").options(options).start();
    instance.assert_serves();
    // Each request takes the loop for 10 ms, so 64 clients wait for over 600 ms, where 100 ms are meant.
    let seen = closed_loop(&instance, 64, "/block?ms=10", Duration::from_secs(3));
    let (served, refused): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.status == 200);
    assert!(refused.iter().all(|seen| seen.status == 503), "nothing but 200 and 503");
    assert!(refused.iter().all(|seen| seen.error.as_deref() == Some("overload")));
    assert!(!refused.is_empty() && served.len() > 20, "{} {}", served.len(), refused.len());
    // Twice the time-out: the test's own threads wait for the cores, too.
    let longest = served.iter().map(|seen| seen.took).max();
    assert!(longest < Some(Duration::from_secs(4)), "{longest:?}");
    assert_eq!(instance.shards().shed, refused.len() as u64);
    instance.assert_serves();
    instance.finish();
}

fn a_saturated_loop_has_its_queue_here(variant: Variant) {
    // So patient a queue refuses nobody.
    let options = "--queue-timeout 1h";
    let instance = Setup::new(variant, "basic.js").options(options).start();
    wait_beats(&instance);
    std::thread::scope(|scope| {
        let load =
            scope.spawn(|| closed_loop(&instance, 48, "/block?ms=10", Duration::from_secs(12)));
        // 48 of them take the loop for half a second, and a tenth is meant to wait there.
        eventually("most wait in the queue", || {
            let shards = instance.shards();
            (shards.in_flight <= 30 && shards.queued >= 10).then_some(())
        });
        assert!(load.join().expect("no panic").iter().all(|seen| seen.status == 200));
    });
    instance.assert_serves();
    instance.finish();
}

fn idle_loops_have_no_limit(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let mut clients: Vec<_> = (0..400).map(|_| instance.client()).collect();
    for client in &mut clients {
        client.send("GET /slow?ms=2000 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    eventually("all are at the worker", || (instance.shards().in_flight == 400).then_some(()));
    for client in &mut clients {
        assert_eq!(client.response().text(), "slow answer");
    }
    drop(clients);
    instance.finish();
}

fn who_leaves_the_queue(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--worker-requests 1").start();
    let mut busy = instance.client();
    busy.send("GET /hang?id=busy HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is at the worker", || (instance.shards().in_flight == 1).then_some(()));
    let mut leaver = instance.client();
    leaver.send("GET /leaver HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it waits", || (instance.shards().queued == 1).then_some(()));
    // Behind its request FIN would be a half close.
    std::thread::sleep(Duration::from_millis(150));
    drop(leaver);
    eventually("it has left", || (instance.shards().queued == 0).then_some(()));
    drop(busy);
    let seen = instance.get("/seen").text().to_owned();
    assert!(seen.contains("/hang") && !seen.contains("/leaver"), "{seen}");
    instance.finish();
}

/// All workers have beaten once.
fn wait_beats(instance: &Instance) {
    eventually("all workers beat", || {
        let status = instance.status();
        let mut loads = status.workers.iter().map(|worker| worker.load.as_ref());
        loads.all(|load| load.is_some_and(|load| load.heap_kib > 0)).then_some(())
    });
}

/// A worker with a request has missed its beats.
fn wait_blocked(instance: &Instance) {
    eventually("a loop is blocked", || {
        let status = instance.status();
        let mut loads = status.workers.iter().filter_map(|worker| worker.load.as_ref());
        loads.any(|load| load.in_flight > 0 && load.heartbeat_age_ms > 400).then_some(())
    });
}

fn blocked_loop(variant: Variant) {
    let options = "--workers 2 --shards 2 --hang-after 2s";
    let instance = Setup::new(variant, "basic.js").options(options).start();
    wait_beats(&instance);
    let mut blocker = instance.client();
    blocker.send("GET /block?ms=5000 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_blocked(&instance);
    for _ in 0..50 {
        let start = Instant::now();
        assert_eq!(instance.get("/hello").status, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "it waited for the blocked loop");
    }
    let response = blocker.response();
    assert_eq!((response.status, response.field("x-hostler-error")), (504, Some("worker-hangs")));
    instance.wait_output("the news", |line| line.contains(" hangs: nothing was heard of it for 2"));
    // Both shards have noticed.
    assert_eq!(instance.printed().matches(" hangs: nothing was heard").count(), 1);
    assert_eq!(blocker.get("/hello").status, 200, "its connection is kept");
    let death = eventually("it is replaced", || {
        let workers = instance.status().workers;
        let died = workers.into_iter().find(|worker| worker.restarts == 1)?;
        (died.state == WorkerState::Ready).then_some(died.last_death).flatten()
    });
    for part in ["its event loop did not turn for 2", "it is in /block (", "basic.js:"] {
        assert!(variant.transport() == "http" || death.contains(part), "{part}: {death}");
    }
    drop(blocker);
    instance.assert_serves();
    instance.finish();
}

fn all_loops_blocked(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    wait_beats(&instance);
    let mut blocker = instance.client();
    blocker.send("GET /block?ms=6000 HTTP/1.1\r\nHost: test\r\n\r\n");
    wait_blocked(&instance);
    let mut waiting = instance.client();
    waiting.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it waits in the queue", || (instance.shards().queued == 1).then_some(()));
    assert_eq!(waiting.response().status, 200);
    assert_eq!(blocker.response().text(), "blocked");
    drop((blocker, waiting));
    instance.finish();
}

fn request_timeout(variant: Variant) {
    let options = "--request-timeout 500ms";
    let instance = Setup::new(variant, "basic.js").options(options).start();
    let mut client = instance.client();
    let response = client.get("/hang?id=late");
    assert_eq!(
        (response.status, response.field("x-hostler-error")),
        (504, Some("request-timeout"))
    );
    assert_eq!(client.get("/hello").status, 200, "its connection is kept");
    eventually("the app sees its client leave", || {
        instance.get("/closed").text().contains("/hang").then_some(())
    });
    // The head is out in time, and the rest may take as long as it likes.
    client.send("GET /half?id=stream HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().expect("a head").status, 200);
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(instance.get("/release?id=stream").status, 200);
    assert_eq!(client.read_exact(11).expect("the whole"), b"first,later");
    drop(client);
    instance.finish();
}
