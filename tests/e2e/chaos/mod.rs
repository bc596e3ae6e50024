//! Chaos: what may happen to an instance happens, under load, and the clients count what it costs.
//!
//! Owns: the events and what each may cost; counts are exact. Must never know: how the instance survives.
//!
//! `HOSTLER_TEST_CHAOS=full` does each as often as the promise is made for; otherwise it is a few times. Times are judged
//! there alone, because they mean something on a quiet machine only.

mod clients;
mod crash_loop;
mod leaks;
mod pace;

use std::time::{Duration, Instant};

use hostler_protocol::control::WorkerState;
use rustix::process::Signal;

use crate::reload::{code, told, verb};
use crate::support::{Instance, Setup, Variant, eventually, matrix, signal, within};
use clients::{Crowd, Failure, Kind};

matrix!(all: kills_of_workers, reloads, broken_reloads, scaling, upgrades);
matrix!(frames: a_worker_that_hangs, kills_of_the_proxy, kills_of_the_supervisor, a_stop_under_load);

fn is_full() -> bool {
    std::env::var("HOSTLER_TEST_CHAOS").is_ok_and(|value| value == "full")
}

/// How often something is done.
fn times(full: u32, few: u32) -> u32 {
    if is_full() { full } else { few }
}

/// Three workers, 64 + 16 clients; or fewer clients where other tests run beside.
fn start(variant: Variant) -> (Instance, Crowd) {
    let setup = Setup::new(variant, "chaos.js").options("--workers 3 --probation 500ms");
    let instance = setup.options("--websocket-drain 300ms").start();
    instance.wait_all_workers();
    let crowd = if is_full() { Crowd::on(&instance, 64, 16) } else { Crowd::on(&instance, 16, 4) };
    wait_for_answers(&crowd, 100);
    (instance, crowd)
}

/// So many more right answers: whatever has happened, it goes on.
fn wait_for_answers(crowd: &Crowd, more: u64) {
    let goal = crowd.answers() + more;
    within(Duration::from_secs(60), "right answers", || (crowd.answers() >= goal).then_some(()));
}

/// A WebSocket has to go when its worker goes, and is told so.
fn is_service_restart(failure: &Failure) -> bool {
    failure.kind == Kind::Closed(Some(1012))
}

fn kills_of_workers(variant: Variant) {
    let (instance, crowd) = start(variant);
    let mut kills = Vec::new();
    for round in 0..times(50, 6) {
        let pid = instance.worker_pid(round % 3);
        kills.push(Instant::now());
        signal(pid, Signal::KILL);
        eventually("the worker is started again", || {
            let workers = instance.status().workers;
            let ready = workers.iter().filter(|worker| worker.state == WorkerState::Ready);
            (ready.clone().count() == 3 && ready.clone().all(|worker| worker.pid != Some(pid)))
                .then_some(())
        });
        wait_for_answers(&crowd, 50);
        // Fresh workers have a clean record; otherwise the pauses before their starts would grow to half a minute.
        if round % 6 == 5 {
            let output = verb(&instance, &["reload"]);
            assert_eq!(code(&output), Some(0), "{}", told(&output));
        }
    }
    let seen = crowd.finish();
    let time_is_right = |failure: &Failure| {
        let before = kills.iter().rfind(|kill| **kill < failure.at);
        let soon = before.is_some_and(|kill| failure.at - *kill < Duration::from_millis(100));
        !is_full() || soon
    };
    seen.assert_only(|failure| match failure.kind {
        // What was in the killed worker and may not be repeated.
        Kind::Status(502) => !failure.idempotent && time_is_right(failure),
        // The same, if its answer had begun: all that is left is to cut it.
        Kind::Lost => !failure.idempotent && failure.had_begun(),
        // Its WebSockets had no chance to say farewell.
        Kind::Closed(None) => true,
        Kind::Closed(Some(1012)) => true,
        _ => false,
    });
    instance.finish();
}

fn reloads(variant: Variant) {
    let (instance, crowd) = start(variant);
    for _ in 0..times(50, 3) {
        let output = verb(&instance, &["reload"]);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
        wait_for_answers(&crowd, 50);
    }
    let seen = crowd.finish();
    assert!(seen.echoes > 0);
    seen.assert_only(is_service_restart);
    instance.finish();
}

/// To a release that does not start: each is taken back.
fn broken_reloads(variant: Variant) {
    let file = std::env::temp_dir()
        .join(format!("hostler-broken-{variant}-{}", std::process::id()).replace('/', "-"));
    let setup = Setup::new(variant, "chaos.js").options("--workers 3 --websocket-drain 300ms");
    let instance = setup.env("CHAOS_BROKEN", file.to_str().expect("text")).start();
    let (http, websocket) = if is_full() { (64, 16) } else { (16, 4) };
    let crowd = Crowd::on(&instance, http, websocket);
    wait_for_answers(&crowd, 100);
    let workers = [0, 1, 2].map(|slot| instance.worker_pid(slot));
    std::fs::write(&file, "").expect("written");
    for _ in 0..times(20, 2) {
        let output = verb(&instance, &["reload"]);
        assert_eq!(code(&output), Some(1), "{}", told(&output));
        assert!(told(&output).contains("no database"), "{}", told(&output));
        wait_for_answers(&crowd, 50);
        assert_eq!(workers, [0, 1, 2].map(|slot| instance.worker_pid(slot)), "untouched");
    }
    std::fs::remove_file(&file).expect("removed");
    let seen = crowd.finish();
    assert!(seen.echoes > 0);
    seen.assert_only(|_| false);
    instance.finish();
}

fn scaling(variant: Variant) {
    let (instance, crowd) = start(variant);
    for _ in 0..times(10, 2) {
        for workers in ["4", "1"] {
            let output = verb(&instance, &["scale", workers]);
            assert_eq!(code(&output), Some(0), "{}", told(&output));
            wait_for_answers(&crowd, 50);
        }
    }
    let seen = crowd.finish();
    seen.assert_only(is_service_restart);
    instance.finish();
}

fn upgrades(variant: Variant) {
    let (instance, crowd) = start(variant);
    let workers = [0, 1, 2].map(|slot| instance.worker_pid(slot));
    for _ in 0..times(10, 3) {
        let proxy = instance.proxy_pid();
        let output = verb(&instance, &["upgrade"]);
        assert_eq!(code(&output), Some(0), "{}", told(&output));
        assert_ne!(instance.proxy_pid(), proxy);
        wait_for_answers(&crowd, 50);
    }
    assert_eq!(workers, [0, 1, 2].map(|slot| instance.worker_pid(slot)), "nobody touched them");
    let seen = crowd.finish();
    assert!(seen.echoes > 0);
    seen.assert_only(is_service_restart);
    instance.finish();
}

/// A worker that blocks its loop for a minute, beside two that do not.
fn a_worker_that_hangs(variant: Variant) {
    let setup = Setup::new(variant, "chaos.js").options("--workers 3 --hang-after 2s");
    let instance = setup.start();
    instance.wait_all_workers();
    let crowd = Crowd::on(&instance, times(64, 16) as usize, 0);
    wait_for_answers(&crowd, 100);
    for round in 0..times(5, 1) {
        let mut blocker = instance.client();
        // A target of its own: the same one would be refused as the one that hangs workers.
        let target = format!("/work/{}", 60_000 + round);
        blocker.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let response = blocker.response();
        assert_eq!(response.field("x-hostler-error"), Some("worker-hangs"), "{response:?}");
        wait_for_answers(&crowd, 50);
    }
    instance.wait_output("where it was", |line| {
        // Perhaps below something of Node's that it calls.
        line.contains("did not turn for 2") && line.contains(" work (")
    });
    let seen = crowd.finish();
    // What had reached the worker before anybody could know is lost with it, and told in time.
    seen.assert_only(|failure| match failure.kind {
        Kind::Status(502 | 504) => failure.after < Duration::from_secs(5),
        Kind::Lost => !failure.idempotent,
        _ => false,
    });
    instance.finish();
}

fn kills_of_the_proxy(variant: Variant) {
    let (instance, crowd) = start(variant);
    // Five deaths within ten seconds are a crash loop, which is another story.
    let pause = Duration::from_millis(2_600);
    for _ in 0..times(20, 3) {
        let pid = instance.proxy_pid();
        signal(pid, Signal::KILL);
        eventually("a new proxy", || instance.try_status()?.proxy_pid.filter(|new| *new != pid));
        wait_for_answers(&crowd, 50);
        std::thread::sleep(pause);
    }
    let seen = crowd.finish();
    // No connection is refused; what was in the dead proxy is lost.
    seen.assert_only(|failure| matches!(failure.kind, Kind::Lost | Kind::Closed(None)));
    instance.finish();
}

/// Each time the next start takes over.
fn kills_of_the_supervisor(variant: Variant) {
    let (mut first, crowd) = start(variant);
    let dir = first.runtime_dir().to_str().expect("text").to_owned();
    let workers = [0, 1, 2].map(|slot| first.worker_pid(slot));
    first.kill_supervisor();
    wait_for_answers(&crowd, 50);
    let mut latest: Option<Instance> = None;
    for round in 0..times(10, 2) {
        if let Some(mut before) = latest.take() {
            before.kill_supervisor();
            wait_for_answers(&crowd, 50);
            before.forget();
        }
        let setup = Setup::new(variant, "chaos.js").options("--workers 3 --probation 500ms");
        let mut next = setup.options("--websocket-drain 300ms").runtime_dir(&dir).spawn();
        next.wait_ready();
        wait_for_answers(&crowd, 50);
        let now = [0, 1, 2].map(|slot| next.worker_pid(slot));
        assert_eq!(workers, now, "nobody touched them, round {round}");
        latest = Some(next);
    }
    let seen = crowd.finish();
    assert!(seen.echoes > 0);
    seen.assert_only(|_| false);
    latest.expect("at least one").finish();
    first.has_ended();
}

fn a_stop_under_load(variant: Variant) {
    let (mut instance, crowd) = start(variant);
    instance.signal(Signal::TERM);
    let status = instance.wait_exit(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0));
    instance.assert_gone();
    let seen = crowd.finish();
    seen.assert_only(|failure| match failure.kind {
        // After the end nobody is there; a kept connection may end between two requests.
        Kind::Refused | Kind::Closed(_) => true,
        Kind::Lost => failure.text.contains("closed after \"\"") || failure.text.contains("reset"),
        Kind::Status(_) | Kind::Wrong => false,
    });
}
