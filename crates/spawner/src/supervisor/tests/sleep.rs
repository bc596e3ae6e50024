//! Apps that sleep.

use hostler_protocol::control::{InstanceState, StartProblem};

use super::rig::{drained, resumed};
use super::*;

pub(super) fn sleeping(lazy: bool, idle_ms_max: Option<u32>) -> AppSpec {
    AppSpec { sleep: SleepSpec { lazy, idle_ms_max }, ..spec(Kind::Script) }
}

impl Bench {
    /// A lazy app that sleeps again after ten seconds, and a proxy that serves.
    pub(super) fn lazy(workers: u32) -> Self {
        Self::of(sleeping(true, Some(10_000)), workers)
    }

    /// The same, woken.
    fn woken(workers: u32) -> Self {
        let mut bench = Self::lazy(workers);
        bench.want();
        for worker in 1..=workers {
            bench.ready(worker);
        }
        bench
    }

    /// The same, with the workers on standby.
    fn dozing(workers: u32) -> Self {
        let mut bench = Self::woken(workers);
        bench.idle(12);
        assert_eq!(drained(&bench.told()).len(), workers as usize);
        bench
    }

    pub(super) fn want(&mut self) {
        self.send(Event::ProxyMessage(FromProxy::WorkerWanted));
    }

    fn look(&mut self, load: Load) {
        self.now_ms += 1_000;
        self.send(Event::LoadSeen(load));
    }

    /// So many looks that see nobody.
    pub(super) fn idle(&mut self, looks: u32) {
        for _ in 0..looks {
            assert!(self.machine.watches_idleness());
            self.look(Load { served: 7, ..Load::default() });
            if !self.machine.watches_idleness() {
                return;
            }
        }
    }

    pub(super) fn problem(&self) -> Option<(StartProblem, u32)> {
        self.told().into_iter().find_map(|message| match message {
            ToProxy::StartFailed { problem, retry_ms } => Some((problem, retry_ms)),
            _ => None,
        })
    }

    pub(super) fn is_told(&self, message: &ToProxy) -> bool {
        self.told().contains(message)
    }
}

#[test]
fn a_lazy_app_is_announced_without_a_worker_and_woken_by_a_request() {
    let mut bench = Bench::new_of(sleeping(true, None), 2);
    assert_eq!(spawned(&bench.last), [0; 0]);
    bench.send(Event::ProxySpawned { pid: 100 });
    assert_eq!(bench.machine.state(), InstanceState::Starting);
    bench.serving();
    let ready = |action: &Action| matches!(action, Action::Notice(Notice::Ready(info)) if info.asleep && info.workers == 2);
    assert!(bench.last.iter().any(ready));
    assert_eq!(bench.machine.state(), InstanceState::Asleep);
    assert_eq!((bench.state(0), bench.state(1)), (WorkerState::Asleep, WorkerState::Asleep));
    assert_eq!(bench.machine.next_deadline_ms(), None, "nothing has to be done");
    bench.want();
    assert_eq!(spawned(&bench.last), [1, 2]);
    assert!(bench.is_told(&ToProxy::WorkersStarting));
    assert_eq!(bench.machine.state(), InstanceState::Starting);
    bench.want();
    assert_eq!(spawned(&bench.last), [0; 0], "asked again by a proxy that has just been started");
    assert!(bench.is_told(&ToProxy::WorkersStarting));
    bench.ready(2);
    assert_eq!(bench.machine.state(), InstanceState::Running);
    bench.ready(1);
    bench.want();
    assert_eq!(bench.last, [], "it is late");
    assert!(!bench.machine.watches_idleness(), "it never sleeps again");
}

#[test]
fn it_sleeps_when_nobody_has_used_it_for_long_enough() {
    let mut bench = Bench::woken(2);
    let nobody = Load { served: 7, ..Load::default() };
    bench.idle(8);
    for somebody in [
        Load { in_flight: 1, ..nobody },
        Load { upgraded: 1, ..nobody },
        Load { queued: 1, ..nobody },
        Load { served: 8, ..nobody },
    ] {
        bench.look(somebody);
        assert_eq!(bench.told(), [], "{somebody:?}");
        for _ in 0..9 {
            bench.look(Load { served: somebody.served, ..nobody });
            assert_eq!(bench.told(), [], "{somebody:?}");
        }
    }
    bench.look(Load { served: 8, ..nobody });
    assert_eq!(drained(&bench.told()), [1, 2]);
    assert_eq!(signals(&bench.last), []);
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), []);
    bench.is_drained(2);
    assert_eq!(
        signals(&bench.last),
        [(worker(1), StopSignal::Term), (worker(2), StopSignal::Term)]
    );
    assert!(bench.is_told(&ToProxy::Asleep));
    assert_eq!(bench.machine.state(), InstanceState::Asleep);
    // Wanted again before they have gone: new ones beside them.
    bench.want();
    assert_eq!(spawned(&bench.last), [3, 4]);
    bench.exit(1, HowDied::Exit(0));
    bench.exit(2, HowDied::Exit(0));
    assert_eq!(spawned(&bench.last), [0; 0]);
    bench.ready(3);
    assert_eq!(bench.machine.state(), InstanceState::Running);
}

#[test]
fn a_request_while_it_dozes_calls_the_workers_back() {
    let mut bench = Bench::dozing(2);
    bench.is_drained(1);
    bench.want();
    assert_eq!(resumed(&bench.told()), [1, 2]);
    assert_eq!((signals(&bench.last), spawned(&bench.last)), (Vec::new(), Vec::new()));
    assert_eq!(bench.takers().len(), 2);
    // The answers that were on their way are about the drain before.
    bench.is_drained(1);
    bench.is_drained(2);
    assert_eq!(signals(&bench.last), []);
}

#[test]
fn somebody_who_stays_keeps_it_awake() {
    let mut bench = Bench::dozing(2);
    bench.is_drained(1);
    bench.wait(999);
    assert_eq!(resumed(&bench.told()), [0; 0]);
    bench.wait(1);
    assert_eq!(resumed(&bench.told()), [1, 2]);
    bench.idle(9);
    assert_eq!(bench.told(), [], "and the time begins anew");
}

#[test]
fn who_still_leaves_is_waited_for() {
    let mut bench = Bench::dozing(1);
    bench.is_drained(1);
    bench.want();
    bench.ready(2);
    bench.idle(30);
    assert!(bench.machine.watches_idleness(), "worker 1 takes its time to end");
    bench.exit(1, HowDied::Exit(0));
    bench.idle(1);
    assert_eq!(drained(&bench.told()), [2]);
}

#[test]
fn a_start_that_fails_is_told_at_once_and_not_tried_without_a_request() {
    let mut bench = Bench::lazy(2);
    let mut number = 1;
    for (failure, delay_ms) in [(1, 100), (2, 200), (3, 400)] {
        bench.want();
        assert_eq!(spawned(&bench.last), [number, number + 1]);
        for worker in [number, number + 1] {
            let worker = WorkerId(worker);
            bench.send(Event::WorkerSpawned { worker, pid: 1000 + worker.0, offer: None });
        }
        bench.exit(number, HowDied::Exit(1));
        assert_eq!(bench.problem(), Some((StartProblem::Died, delay_ms)));
        assert_eq!(signals(&bench.last), [(worker(number + 1), StopSignal::Kill)]);
        let notice = |action: &Action| matches!(action, Action::Notice(Notice::StartFailed(_)));
        assert_eq!(bench.last.iter().any(notice), failure == 1, "the full report once");
        assert_eq!(bench.machine.state(), InstanceState::Degraded);
        assert_eq!(bench.exit_reason(), None);
        bench.exit(number + 1, HowDied::Signal { signal: 9, core: false });
        assert_eq!(bench.machine.next_deadline_ms(), None, "no request, no start");
        bench.now_ms += u64::from(delay_ms) - 1;
        bench.want();
        assert_eq!(spawned(&bench.last), [0; 0]);
        assert_eq!(bench.problem(), Some((StartProblem::Died, 1)));
        bench.now_ms += 1;
        number += 2;
    }
    let status = &bench.machine.worker_status(bench.now_ms)[0];
    assert!(status.last_death.as_ref().is_some_and(|text| text.contains("web.0 did not start")));
    bench.want();
    bench.ready(number);
    assert_eq!(bench.machine.state(), InstanceState::Running, "forgiven");
}

#[test]
fn a_start_that_takes_too_long_is_told_as_that() {
    let mut bench = Bench::lazy(1);
    bench.want();
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1001, offer: None });
    assert_eq!(signals(bench.wait(60_000)), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    assert_eq!(bench.problem(), Some((StartProblem::TimedOut, 100)));
    let failure = SpawnFailure { why: "no".into(), hint: None, retry: true };
    bench.now_ms += 100;
    bench.want();
    bench.send(Event::WorkerSpawnFailed { worker: WorkerId(2), failure });
    assert_eq!(bench.problem(), Some((StartProblem::Died, 200)));
}

#[test]
fn one_of_two_that_starts_is_enough() {
    let mut bench = Bench::lazy(2);
    bench.want();
    bench.ready(1);
    bench.send(Event::WorkerSpawned { worker: WorkerId(2), pid: 1002, offer: None });
    bench.exit(2, HowDied::Exit(1));
    assert_eq!(bench.problem(), None);
    assert_eq!(spawned(bench.wait(100)), [3], "as ever");
}

#[test]
fn a_restart_that_fails_sends_a_lazy_app_to_sleep() {
    let mut bench = Bench::woken(1);
    bench.exit(1, HowDied::Exit(1));
    assert_eq!(spawned(&bench.last), [2], "the death of one that worked is an accident");
    bench.exit(2, HowDied::Exit(1));
    assert_eq!(bench.problem(), Some((StartProblem::Died, 100)));
    assert_eq!(bench.machine.next_deadline_ms(), None);
}

#[test]
fn it_ends_from_every_depth() {
    for woken in [false, true] {
        let mut bench = Bench::lazy(1);
        if woken {
            bench.want();
        }
        bench.send(Event::Signal(TERM));
        bench.want();
        assert_eq!(bench.last, [], "nobody comes any more");
        bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 0 }));
        if woken {
            bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1001, offer: None });
            assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
            bench.exit(1, HowDied::Exit(0));
        }
        bench.proxy_exit();
        assert_eq!(bench.exit_reason().map(ExitReason::code), Some(0));
    }
    let mut bench = Bench::dozing(1);
    bench.send(Event::Signal(TERM));
    bench.is_drained(1);
    bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 0 }));
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
}

#[test]
fn a_proxy_that_dies_meanwhile_loses_nothing() {
    // Dozing: nothing is in flight any more, and whoever comes then wakes it.
    let mut bench = Bench::dozing(1);
    bench.proxy_exit();
    assert_eq!(bench.machine.state(), InstanceState::Degraded);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.send(Event::ProxySpawned { pid: 101 });
    bench.serving();
    bench.want();
    assert_eq!(spawned(&bench.last), [2]);
    // Waking: the new one asks again.
    bench.proxy_exit();
    bench.now_ms += 10;
    bench.wait(100);
    bench.send(Event::ProxySpawned { pid: 102 });
    bench.serving();
    bench.want();
    assert!(bench.is_told(&ToProxy::WorkersStarting));
    bench.ready(2);
    assert_eq!(bench.takers().len(), 1);
}

#[test]
fn an_app_that_is_not_lazy_starts_at_once_and_may_sleep_later() {
    let mut bench = Bench::of(sleeping(false, Some(10_000)), 1);
    assert_eq!(bench.machine.state(), InstanceState::Starting);
    bench.ready(1);
    bench.idle(12);
    bench.is_drained(1);
    assert_eq!(bench.machine.state(), InstanceState::Asleep);
    // Its first start must succeed, as ever.
    let mut bench = Bench::of(sleeping(false, Some(10_000)), 1);
    bench.send(Event::WorkerSpawned { worker: WorkerId(1), pid: 1001, offer: None });
    bench.exit(1, HowDied::Exit(1));
    assert!(bench.failure().why.contains("exited with code 1"));
    assert_eq!(bench.problem(), None);
}
