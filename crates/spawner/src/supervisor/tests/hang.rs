//! Workers whose event loop does not turn.

use super::*;
use crate::config::HangSpec;

impl Bench {
    fn watched(workers: u32) -> Self {
        let hang = Some(HangSpec { after_ms: 10_000, stack: true });
        let release =
            Rc::new(Release { generation: 1, spec: AppSpec { hang, ..spec(Kind::Script) } });
        let machine = Machine::new(settings(workers), release);
        let mut bench = Self { machine, now_ms: 1_000, last: Vec::new() };
        bench.send(Event::Started);
        bench.send(Event::ProxySpawned { pid: 100 });
        bench.serving();
        (1..=workers).for_each(|worker| bench.ready(worker));
        bench
    }

    fn stuck(&mut self, debugged: bool) {
        let line = format!(
            r#"{{"step":"stuck","silent_ms":5000,"debugged":{debugged},"stack":["spin (/app.js:3:1)"]}}"#
        );
        self.report(1, Report::parse(line.as_bytes()).expect("a report"));
    }

    fn silent(&mut self) {
        let worker = WorkerId(1);
        let message = FromProxy::WorkerSilent { worker, silent_ms: 10_050, in_flight: 3 };
        self.send(Event::ProxyMessage(message));
    }

    fn last_death(&self) -> String {
        self.machine.worker_status(self.now_ms)[0].last_death.clone().expect("told")
    }
}

const KILLED: HowDied = HowDied::Signal { signal: 9, core: false };

#[test]
fn it_is_killed_when_the_proxy_has_not_heard_of_it_and_its_death_says_where_it_was() {
    let mut bench = Bench::watched(1);
    bench.stuck(false);
    assert_eq!(signals(&bench.last), []);
    bench.silent();
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, KILLED);
    assert_eq!(spawned(&bench.last), [2]);
    let death = bench.last_death();
    assert!(death.contains("did not turn for 10.0 s; it is in spin (/app.js:3:1)"), "{death}");
}

#[test]
fn without_beats_its_own_word_is_enough() {
    let mut bench = Bench::watched(1);
    bench.stuck(false);
    bench.wait(4_999);
    assert_eq!(signals(&bench.last), []);
    bench.wait(1);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, KILLED);
    assert!(bench.last_death().contains("spin (/app.js:3:1)"), "{}", bench.last_death());
}

#[test]
fn one_that_turns_again_is_left_alone() {
    let mut bench = Bench::watched(1);
    bench.stuck(false);
    bench.report(1, Report::Unstuck { silent_ms: 7_000 });
    bench.wait(60_000);
    assert_eq!(signals(&bench.last), []);
}

#[test]
fn a_debugger_is_no_hang() {
    let mut bench = Bench::watched(1);
    bench.stuck(true);
    bench.silent();
    bench.wait(60_000);
    assert_eq!(signals(&bench.last), []);
    bench.send(Event::ProxyMessage(FromProxy::WorkerBack { worker: WorkerId(1) }));
    bench.silent();
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)], "the next silence counts");
}
