//! Workers that are commands, and Node processes below them.

use super::*;

/// A machine whose workers are commands; the first one has been started.
fn commands() -> Bench {
    let machine = Machine::new(settings(1), first_release(Kind::Command));
    let mut bench = Bench { machine, now_ms: 1_000, last: Vec::new() };
    bench.send(Event::Started);
    bench.send(Event::ProxySpawned { pid: 100 });
    bench.serving();
    let offer = Some(offer());
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 7, offer });
    bench
}

pub(super) fn offer() -> crate::worker_command::Offer {
    crate::worker_command::Offer { socket: "/run/h/app.on.0.1.sock".into(), port: 40_001 }
}

#[test]
fn a_command_is_tried_with_growing_pauses() {
    let mut bench = commands();
    let mut tries = Vec::new();
    while bench.now_ms < 3_000 {
        let next_ms = bench.machine.next_deadline_ms().expect("something to do");
        assert!(next_ms > bench.now_ms, "it would not wait");
        bench.now_ms = next_ms;
        let probe = Action::Probe { worker: WorkerId(1), offer: offer() };
        if bench.send(Event::Tick).contains(&probe) {
            tries.push(bench.now_ms - 1_000);
        }
    }
    assert_eq!(tries[..7], [10, 20, 40, 80, 160, 320, 520]);
}

#[test]
fn a_command_that_accepts_is_announced_where_it_does() {
    let mut bench = commands();
    bench.wait(10);
    let plain = PlainAddress::Tcp(([127, 0, 0, 1], 40_001).into());
    bench.send(Event::Accepts { worker: WorkerId(1), address: plain.clone() });
    let told = |action: &Action| {
        matches!(action, Action::SendProxy(ToProxy::WorkerReady(address))
            if address.plain == plain && address.transport == Transport::Http
                && address.core.is_none() && address.plain_idle_ms_max < 2_000)
    };
    assert!(bench.last.iter().any(told), "{:?}", bench.last);
    assert!(!bench.last.iter().any(|action| matches!(action, Action::Pin { .. })));
    // A second answer changes nothing, and nobody tries any more.
    let worker = WorkerId(1);
    assert!(bench.send(Event::Accepts { worker, address: plain }).is_empty());
    assert_eq!(bench.machine.next_deadline_ms(), None);
}

#[test]
fn a_command_that_listens_elsewhere_is_told_early_and_at_the_end() {
    let mut bench = commands();
    let look = Action::LookAround { worker: WorkerId(1) };
    assert!(bench.wait(5_000).contains(&look));
    let found = vec!["127.0.0.1:8000".to_owned()];
    bench.send(Event::LookedAround { worker: WorkerId(1), found: found.clone() });
    let Some(Action::Log(Level::Warn, text)) = bench.last.first() else {
        panic!("{:?}", bench.last);
    };
    assert!(text.contains("it listens on 127.0.0.1:8000 and neither on unix:/run/h/"), "{text}");
    assert!(!bench.wait(54_000).contains(&look), "once is enough");
    assert!(bench.wait(1_000).contains(&look));
    bench.send(Event::LookedAround { worker: WorkerId(1), found });
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    let failure = bench.failure();
    assert!(failure.why.contains("within 60.0 s, neither on"), "{}", failure.why);
    assert!(failure.why.ends_with("; it listens on 127.0.0.1:8000 instead"), "{}", failure.why);
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("gunicorn --bind")));
}

/// A Node process below the command has become the worker and is ready.
fn claimed() -> Bench {
    let mut bench = commands();
    bench.report(1, Report::Preload { node: "22.1.0".into(), pid: Some(77) });
    assert!(bench.last.contains(&Action::Watch { worker: WorkerId(1), pid: 77 }));
    bench.report(1, Report::SelfTest { ok: true, why: None, untested: false });
    bench.report(1, Report::Listen {});
    bench.report(1, Report::Ready { transport: Transport::Frames });
    bench
}

#[test]
fn a_node_process_below_a_command_becomes_the_worker() {
    let mut bench = claimed();
    let told = |action: &Action| {
        matches!(action, Action::SendProxy(ToProxy::WorkerReady(address))
            if address.pid == 77 && address.transport == Transport::Frames && address.core == Some(0)
                && address.plain.to_string().ends_with("web.0.1.sock"))
    };
    assert!(bench.last.iter().any(told), "{:?}", bench.last);
    assert!(bench.last.contains(&Action::Pin { pid: 77, core: 0 }));
    assert_eq!(bench.machine.next_deadline_ms(), None, "nobody tries to connect any more");
    bench.send(Event::ProxyMessage(FromProxy::WorkerServing { worker: WorkerId(1) }));
    bench.send(Event::Signal(TERM));
    let mut actions = bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 0 })).to_vec();
    actions.extend_from_slice(bench.proxy_exit());
    assert!(actions.contains(&Action::TermApp { worker: WorkerId(1) }), "{actions:?}");
    assert_eq!(signals(&actions), [], "not yet the others");
    // The others of the group are asked when the app has ended.
    bench.send(Event::AppEnded { worker: WorkerId(1) });
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.exit(1, HowDied::Exit(0));
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(0));
}

#[test]
fn a_command_follows_its_node_process_or_is_killed() {
    let gone = Action::SendProxy(ToProxy::WorkerGone { worker: WorkerId(1) });
    let mut bench = claimed();
    bench.send(Event::ProxyMessage(FromProxy::WorkerServing { worker: WorkerId(1) }));
    assert!(bench.send(Event::AppEnded { worker: WorkerId(1) }).contains(&gone));
    assert_eq!(spawned(bench.exit(1, HowDied::Exit(7))), [2], "started again at once");

    let mut bench = claimed();
    bench.send(Event::ProxyMessage(FromProxy::WorkerServing { worker: WorkerId(1) }));
    bench.send(Event::AppEnded { worker: WorkerId(1) });
    // A proxy that starts meanwhile must not hear of it.
    let told = |action: &Action| matches!(action, Action::SendProxy(ToProxy::WorkerReady(_)));
    bench.proxy_exit();
    bench.wait(100);
    bench.send(Event::ProxySpawned { pid: 101 });
    bench.serving();
    assert!(!bench.last.iter().any(told), "{:?}", bench.last);
    assert_eq!(signals(bench.wait(3_000)), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    let text = bench.machine.worker_status(bench.now_ms)[0].last_death.clone().expect("told");
    assert!(text.contains("its Node process (pid 77) ended"), "{text}");
}
