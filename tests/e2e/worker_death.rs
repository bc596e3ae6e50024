//! Workers that die or write nonsense: the client gets an answer or a closed connection, never a hang, and the
//! next client is served.

use rustix::process::Signal;

use crate::support::{Instance, Setup, Transport, Variant, eventually, fixtures, matrix, signal};

matrix!(all:
    dies_before_its_answer, dies_during_its_answer, dies_after_its_answer, idle_death,
    one_of_two_dies_under_load, requests_in_hand_at_a_kill, uncaught_exception,
);
matrix!(frames: broken_frames, broken_responses, odd_but_allowed_frames, proxy_death);

fn start(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").start()
}

/// The slot has been started again so many times and serves.
fn wait_restarted(instance: &Instance, restarts: u32) {
    eventually("the worker is started again", || {
        (instance.status().workers[0].restarts >= restarts).then_some(())
    });
    instance.worker_pid(0);
    instance.assert_serves();
}

fn dies_before_its_answer(variant: Variant) {
    let instance = start(variant);
    let mut client = instance.client();
    // Not idempotent: it may have changed something, so it is never sent twice.
    client.send("POST /exit-before HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    let response = client.response();
    assert_eq!(response.status, 502, "{response:?}");
    wait_restarted(&instance, 1);
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains("exited with code 3"), "{death}");
    let place = "last words: process.exit(3) was called at ";
    assert!(death.contains(place) && death.contains("basic.js:"), "{death}");
    if variant.transport == Transport::Frames {
        assert!(death.contains(", with 1 request(s) unanswered"), "{death}");
    }
    drop(client);
    instance.finish();
}

fn dies_during_its_answer(variant: Variant) {
    let instance = start(variant);
    let mut client = instance.client();
    client.send("GET /exit-during HTTP/1.1\r\nHost: test\r\n\r\n");
    // The head is out: all that can be done is to cut the connection, so that the client sees it is unfinished.
    let head = client.read_head().expect("head");
    assert_eq!(head.status, 200);
    let rest = client.read_to_close();
    assert!(rest.len() < 100, "the response was completed: {}", rest.len());
    wait_restarted(&instance, 1);
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains("KILL"), "the signal is told: {death}");
    drop(client);
    instance.finish();
}

fn dies_after_its_answer(variant: Variant) {
    let instance = start(variant);
    let mut client = instance.client();
    assert_eq!(client.get("/exit-after").text(), "goodbye");
    eventually("the death is noticed", || {
        (instance.status().workers[0].restarts >= 1).then_some(())
    });
    wait_restarted(&instance, 1);
    // The client's connection is the proxy's, not the worker's: it lives on.
    assert_eq!(client.get("/hello").text(), "Hello, world!\n");
    drop(client);
    instance.finish();
}

fn idle_death(variant: Variant) {
    let instance = start(variant);
    let mut client = instance.client();
    assert_eq!(client.get("/hello").status, 200);
    signal(instance.worker_pid(0), Signal::KILL);
    // The request waits in the queue for the new worker.
    assert_eq!(client.get("/hello").status, 200);
    wait_restarted(&instance, 1);
    drop(client);
    instance.finish();
}

fn one_of_two_dies_under_load(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--workers 2").start();
    let victim = instance.worker_pid(0);
    let mut clients: Vec<_> = (0..16).map(|_| instance.client()).collect();
    for round in 0..60 {
        if round == 10 {
            signal(victim, Signal::KILL);
        }
        for client in &mut clients {
            client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        // A GET that the dead worker did not answer goes to the other one: nobody notices.
        for client in &mut clients {
            assert_eq!(client.response().status, 200, "round {round}");
        }
    }
    wait_restarted(&instance, 1);
    drop(clients);
    instance.finish();
}

/// What may be repeated is, at the next worker; the others hear at once that they were lost.
fn requests_in_hand_at_a_kill(variant: Variant) {
    const EACH: usize = 8;
    let instance = start(variant);
    let waiting = |wanted: usize| {
        eventually("the worker has the requests", || {
            let ids = instance.get("/waiting").json();
            (ids.as_array().map(Vec::len) == Some(wanted)).then_some(())
        });
    };
    let ask = |method: &str, id: usize| {
        let mut client = instance.client();
        client.send(format!(
            "{method} /hang?id={method}{id} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
        ));
        client
    };
    let gets: Vec<_> = (0..EACH).map(|id| ask("GET", id)).collect();
    let posts: Vec<_> = (0..EACH).map(|id| ask("POST", id)).collect();
    waiting(2 * EACH);
    signal(instance.worker_pid(0), Signal::KILL);
    // No time-out is that short: the end of the worker's connections tells.
    for mut client in posts {
        assert_eq!(client.response().status, 502);
    }
    waiting(EACH);
    for (id, mut client) in gets.into_iter().enumerate() {
        instance.get(&format!("/release?id=GET{id}"));
        assert_eq!(client.response().text(), "released");
    }
    wait_restarted(&instance, 1);
    instance.finish();
}

fn uncaught_exception(variant: Variant) {
    let instance = start(variant);
    let mut client = instance.client();
    client.send("POST /throw HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 502);
    wait_restarted(&instance, 1);
    instance.wait_output("the stack", |line| line.contains("thrown by the fixture"));
    let death = instance.status().workers[0].last_death.clone().expect("a reason");
    assert!(death.contains("last words: Error: thrown by the fixture (at "), "{death}");
    assert!(death.contains("basic.js:"), "{death}");
    drop(client);
    instance.finish();
}

fn fake(variant: Variant) -> Instance {
    let node = fixtures().join("fake-worker.cjs");
    let node = node.to_str().expect("utf-8");
    Setup::new(variant, "basic.js").options("--worker-timeout 2s --node").option(node).start()
}

/// The fake worker answers again.
fn recovers(instance: &Instance, after: &str) {
    eventually(&format!("the worker serves after {after}"), || {
        let mut client = instance.client();
        client.send("GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.try_response("GET").ok()?;
        (response.status == 200 && response.body == b"ok").then_some(())
    });
}

fn broken_frames(variant: Variant) {
    let instance = fake(variant);
    let bad = [
        "/unknown-type",
        "/to-worker-type",
        "/too-long",
        "/garbage",
        "/zeroes",
        "/bad-json",
        "/second-hello",
        "/window-abuse",
        "/hang-up",
        "/die",
        "/die-in-frame",
        "/die-in-response",
        "/silence",
    ];
    for target in bad {
        let mut client = instance.client();
        // POST, so that it is not tried again.
        client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        match client.try_response("GET") {
            Ok(response) => {
                assert!(matches!(response.status, 502..=504), "{target}: {response:?}");
            }
            Err(error) => assert!(!error.to_string().contains("silent"), "{target}: {error}"),
        }
        recovers(&instance, target);
    }
    instance.finish();
}

fn broken_responses(variant: Variant) {
    let instance = fake(variant);
    let bad = [
        "/not-http",
        "/bare-lf",
        "/two-framings",
        "/empty",
        "/half-head",
        "/too-short",
        "/too-much",
        "/bad-chunk",
        "/endless-head",
        "/reset",
    ];
    for target in bad {
        let mut client = instance.client();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        match client.try_response("GET") {
            // More than announced: the announced part is good, the rest must not become a second response.
            Ok(response) if target == "/too-much" && response.status == 200 => {
                assert_eq!(response.body, b"ok");
            }
            Ok(response) => assert_eq!(response.status, 502, "{target}: {response:?}"),
            Err(error) => assert!(!error.to_string().contains("silent"), "{target}: {error}"),
        }
        let rest = client.try_send("GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
        if rest.is_ok()
            && let Ok(next) = client.try_response("GET")
        {
            assert_ne!(next.body, b"evil", "{target}");
        }
        recovers(&instance, target);
    }
    instance.finish();
}

fn odd_but_allowed_frames(variant: Variant) {
    let instance = fake(variant);
    let mut client = instance.client();
    for _ in 0..3 {
        for target in ["/ok", "/drip", "/late"] {
            let response = client.get(target);
            assert_eq!((response.status, &*response.body), (200, &b"ok"[..]), "{target}");
        }
    }
    assert_eq!(client.get("/close").body, b"ok");
    client.expect_close();
    drop(client);
    instance.finish();
}

fn proxy_death(variant: Variant) {
    let instance = start(variant);
    let old = instance.proxy_pid();
    let worker = instance.worker_pid(0);
    let mut client = instance.client();
    assert_eq!(client.get("/hello").status, 200);
    signal(old, Signal::KILL);
    client.expect_close();
    // Connections wait in the kernel meanwhile: none is refused.
    assert_eq!(instance.get("/hello").status, 200);
    let new = eventually("another proxy", || instance.status().proxy_pid.filter(|&pid| pid != old));
    assert_ne!(new, old);
    assert_eq!(instance.worker_pid(0), worker, "the worker was not restarted");
    instance.assert_serves();
    drop(client);
    instance.finish();
}
