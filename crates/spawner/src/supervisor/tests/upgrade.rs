//! Another program takes over, or does not.

use hostler_protocol::control::{CommandAnswer, ProgramFacts};

use super::*;
use crate::outcome::Ticket;

const PROGRAM: &str = "/opt/new/hostler";

impl Bench {
    fn want_upgrade(&mut self, ticket: u64) {
        let (cause, ticket) = ("hostler upgrade".to_owned(), Some(Ticket(ticket)));
        self.send(Event::Upgrade { cause, program: PROGRAM.into(), ticket });
    }

    fn successor_serves(&mut self, program: ProgramFacts) {
        let io_reason = "self-test passed".to_owned();
        let serving = FromProxy::Serving { io: IoChoice::Epoll, io_reason, program };
        self.send(Event::SuccessorMessage(serving));
    }

    fn reached_by_successor(&mut self, worker: u32) {
        let worker = WorkerId(worker);
        self.send(Event::SuccessorMessage(FromProxy::WorkerServing { worker }));
    }

    /// Two workers, and the new program waits for them.
    fn moving() -> Self {
        let mut bench = Self::running(2);
        bench.want_upgrade(7);
        assert!(bench.last.contains(&Action::SpawnSuccessor { program: PROGRAM.into() }));
        bench.send(Event::SuccessorSpawned);
        bench.successor_serves(ProgramFacts::own());
        bench
    }

    fn upgraded() -> Self {
        let mut bench = Self::moving();
        bench.reached_by_successor(1);
        bench.reached_by_successor(2);
        bench.send(Event::Tried(Ok(())));
        bench.send(Event::TookOver { from: "0.1.0".into() });
        bench
    }

    fn retired_said(&mut self, message: FromProxy) {
        self.send(Event::RetiredMessage { proxy: 1, message });
    }

    fn retired_ends(&mut self) {
        let death = Death { how: HowDied::Exit(0), ..Death::default() };
        self.send(Event::RetiredExited { proxy: 1, death });
    }

    fn told_retired(&self) -> Vec<ToProxy> {
        let told = |action: &Action| match action {
            Action::TellRetired(1, message) => Some(message.clone()),
            _ => None,
        };
        self.last.iter().filter_map(told).collect()
    }

    /// Nothing has come of it.
    fn assert_given_up(&self, ticket: u64, part: &str) {
        let Some(CommandAnswer::Refused { why }) = self.verdict(ticket) else {
            panic!("no refusal in {:?}", self.last);
        };
        assert!(why.contains(part), "{why}");
        assert_eq!(self.machine.phase(), Phase::Running);
    }
}

#[test]
fn the_program_changes_when_every_worker_is_there() {
    let mut bench = Bench::moving();
    assert!(bench.last.contains(&Action::MoveWorkers { to_successor: true }));
    let introduced = |action: &Action| match action {
        Action::TellSuccessor(ToProxy::WorkerReady(address)) => Some(address.worker.0),
        _ => None,
    };
    let all: Vec<u32> = bench.last.iter().filter_map(introduced).collect();
    assert_eq!(all, [1, 2]);
    bench.reached_by_successor(2);
    assert_eq!(bench.last, []);
    bench.reached_by_successor(1);
    assert_eq!(bench.last, [Action::TryProgram { program: PROGRAM.into() }]);
    bench.send(Event::Tried(Ok(())));
    assert_eq!(bench.last, [Action::HandOver { program: PROGRAM.into() }]);
    bench.send(Event::TookOver { from: "0.1.0".into() });
    // In this order: whom a number means changes with it.
    assert_eq!(bench.last[0], Action::Crown { retired: 1 });
    let retire = ToProxy::Retire { idle_ms: 30_000, deadline_ms: 133_000 };
    assert_eq!(bench.last[1], Action::TellRetired(1, retire));
    let upgraded =
        CommandAnswer::Upgraded { from: "0.1.0".into(), to: env!("CARGO_PKG_VERSION").into() };
    assert_eq!(bench.verdict(7), Some(&upgraded));
    assert_eq!(bench.takers(), [(1, 1), (2, 1)], "nobody was started anew");
}

#[test]
fn a_program_that_is_no_use_changes_nothing() {
    let spawned = |bench: &mut Bench| {
        bench.want_upgrade(7);
        bench.send(Event::SuccessorSpawned);
    };
    let kill = Action::Signal { target: Target::Successor, signal: StopSignal::Kill };

    let mut bench = Bench::running(1);
    bench.want_upgrade(7);
    let why = "/opt/new/hostler was not found".to_owned();
    let hint = Some("put it there".to_owned());
    bench.send(Event::SuccessorSpawnFailed(SpawnFailure { why, hint, retry: false }));
    bench.assert_given_up(7, "was not found (put it there)");

    let mut bench = Bench::running(1);
    spawned(&mut bench);
    bench.send(Event::SuccessorExited(Death { how: HowDied::Exit(2), ..Death::default() }));
    bench.assert_given_up(7, "its proxy exited with code 2");

    let mut bench = Bench::running(1);
    spawned(&mut bench);
    bench.wait(15_000);
    bench.assert_given_up(7, "did not serve within 15 s");
    assert!(bench.last.contains(&kill));

    let mut bench = Bench::running(1);
    spawned(&mut bench);
    let facts =
        ProgramFacts { worker_protocol: 99, version: "9.0.0".into(), ..ProgramFacts::own() };
    bench.successor_serves(facts);
    bench.assert_given_up(7, "9.0.0 cannot take over");
    assert!(bench.last.contains(&kill));
}

#[test]
fn workers_that_do_not_follow_are_called_back() {
    let back = Action::MoveWorkers { to_successor: false };
    let mut bench = Bench::moving();
    bench.reached_by_successor(1);
    bench.wait(15_000);
    bench.assert_given_up(7, "was not reached by web.1 within 15.0 s");
    assert!(bench.last.contains(&back), "{:?}", bench.last);

    let mut bench = Bench::moving();
    bench.proxy_exit();
    bench.assert_given_up(7, "the proxy that serves died meanwhile");
    assert!(bench.last.contains(&back) && bench.last.contains(&Action::SpawnProxy));

    let mut bench = Bench::moving();
    bench.reached_by_successor(1);
    bench.reached_by_successor(2);
    bench.send(Event::Tried(Err("invalid type".into())));
    bench.assert_given_up(7, "it cannot go on with our state: invalid type");
    assert!(bench.last.contains(&back));

    let mut bench = Bench::moving();
    bench.reached_by_successor(1);
    bench.reached_by_successor(2);
    bench.wait(10_000);
    bench.assert_given_up(7, "did not read our state within 10.0 s");
    let kill = |target| Action::Signal { target, signal: StopSignal::Kill };
    assert!(bench.last.contains(&kill(Target::Trial)), "{:?}", bench.last);
    assert!(bench.last.contains(&kill(Target::Successor)), "{:?}", bench.last);

    let mut bench = Bench::moving();
    bench.reached_by_successor(1);
    bench.reached_by_successor(2);
    bench.send(Event::Tried(Ok(())));
    bench.send(Event::HandOverFailed("cannot be executed".into()));
    bench.assert_given_up(7, "cannot be executed");
    assert!(bench.last.contains(&back));
    bench.want_upgrade(8);
    bench.assert_given_up(8, "try again");
    bench.send(Event::SuccessorExited(Death::default()));
    bench.want_upgrade(9);
    assert!(bench.last.contains(&Action::SpawnSuccessor { program: PROGRAM.into() }));
}

#[test]
fn one_at_a_time_and_not_into_a_reload() {
    let mut bench = Bench::moving();
    bench.want_upgrade(8);
    assert!(matches!(bench.verdict(8), Some(CommandAnswer::Refused { .. })));
    bench.ask(9, false);
    assert!(!bench.last.contains(&Action::ReadRelease), "a reload waits");
    bench.send(Event::HandOverFailed("no".into()));
    bench.send(Event::SuccessorExited(Death::default()));
    assert!(bench.last.contains(&Action::ReadRelease));

    let mut bench = Bench::on_probation();
    bench.want_upgrade(8);
    assert_eq!(bench.verdict(8), None);
    bench.wait(3_000);
    assert!(bench.last.contains(&Action::SpawnSuccessor { program: PROGRAM.into() }));
}

#[test]
fn a_worker_that_comes_meanwhile_is_told_to_both() {
    let mut bench = Bench::moving();
    bench.exit(1, HowDied::Exit(1));
    let gone = ToProxy::WorkerGone { worker: WorkerId(1) };
    assert!(bench.last.contains(&Action::TellSuccessor(gone.clone())));
    assert!(bench.last.contains(&Action::SendProxy(gone)));
    bench.wait(1);
    bench.reached_by_successor(2);
    assert!(bench.last.contains(&Action::TryProgram { program: PROGRAM.into() }), "who is left");
}

#[test]
fn a_reload_waits_for_clients_that_only_the_retired_proxy_has() {
    let mut bench = Bench::upgraded();
    bench.ask(8, false);
    assert!(!bench.last.contains(&Action::ReadRelease), "its workers are still needed");
    bench.wait(30_000);
    assert!(bench.last.contains(&Action::ReadRelease), "only WebSockets are left");

    let mut bench = Bench::upgraded();
    bench.ask(8, false);
    bench.retired_ends();
    assert!(bench.last.contains(&Action::ReadRelease));
}

#[test]
fn a_worker_goes_when_both_proxies_have_nothing_of_it() {
    for retired_first in [false, true] {
        let mut bench = Bench::upgraded();
        let (cause, scale) = ("hostler scale".to_owned(), Scale::To(1));
        bench.send(Event::Scale { cause, scale, ticket: None });
        let drain = ToProxy::WorkerDrain { worker: WorkerId(2), drain: 1 };
        assert!(bench.told().contains(&drain));
        assert_eq!(bench.told_retired(), [drain]);
        let drained = FromProxy::WorkerDrained { worker: WorkerId(2), drain: 1 };
        if retired_first {
            bench.retired_said(drained);
        } else {
            bench.is_drained(2);
        }
        assert_eq!(signals(&bench.last), []);
        if retired_first {
            bench.is_drained(2);
        } else {
            bench.retired_ends();
        }
        assert_eq!(signals(&bench.last), [(worker(2), StopSignal::Term)]);
    }
}

#[test]
fn a_retired_proxy_has_its_time_and_no_more() {
    let mut bench = Bench::upgraded();
    bench.wait(120_000);
    let close = |worker| ToProxy::CloseUpgraded { worker: WorkerId(worker), within_ms: 10_000 };
    assert_eq!(bench.told_retired(), [close(1), close(2)]);
    bench.wait(16_000);
    let expected = [(Target::Retired(1), StopSignal::Kill)];
    assert_eq!(signals(&bench.last), expected);
    bench.retired_ends();
    assert_eq!(bench.machine.next_deadline_ms(), None);
}

#[test]
fn a_stop_waits_for_all_proxies() {
    let mut bench = Bench::upgraded();
    bench.send(Event::Signal(TERM));
    assert_eq!(bench.told_retired(), [ToProxy::Drain { deadline_ms: 7_500 }]);
    bench.send(Event::ProxyMessage(FromProxy::Drained { cut: 0 }));
    assert_eq!(signals(&bench.last), [], "requests are in flight in the other one");
    bench.retired_ends();
    let expected = [(worker(1), StopSignal::Term), (worker(2), StopSignal::Term)];
    assert_eq!(signals(&bench.last), expected);
    bench.proxy_exit();
    bench.exit(1, HowDied::Exit(0));
    bench.exit(2, HowDied::Exit(0));
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(0));
}

#[test]
fn sigusr2_takes_the_program_of_the_start() {
    let mut bench = Bench::running(1);
    bench.send(Event::Signal(12));
    assert!(bench.last.contains(&Action::SpawnSuccessor { program: "/usr/bin/hostler".into() }));
    // It is stopped, and nothing is left of either.
    bench.send(Event::SuccessorSpawned);
    bench.send(Event::Signal(TERM));
    assert!(signals(&bench.last).contains(&(Target::Successor, StopSignal::Kill)));
    bench.send(Event::SuccessorExited(Death::default()));
    bench.proxy_exit();
    bench.exit(1, HowDied::Exit(0));
    assert_eq!(bench.exit_reason().map(ExitReason::code), Some(0));
}
