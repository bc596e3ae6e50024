//! Workers that have had their time.

use super::rig::drained;
use super::*;

const LIMITS: RecycleSpec = RecycleSpec {
    memory_kib_max: Some(100 << 10),
    memory_kib_hard: Some(200 << 10),
    age_ms_max: None,
    requests_max: Some(1_000),
};

impl Bench {
    fn limited(workers: u32, recycle: RecycleSpec) -> Self {
        let mut bench = Self::of(AppSpec { recycle, ..spec(Kind::Script) }, workers);
        (1..=workers).for_each(|worker| bench.ready(worker));
        bench
    }

    fn measure(&mut self, worker: u32, memory_mib: u64, requests: u64) {
        let memory_kib = Some(memory_mib << 10);
        let figures = Figures { memory_kib, requests: Some(requests) };
        self.send(Event::Measured { worker: WorkerId(worker), figures });
    }
}

#[test]
fn a_worn_worker_serves_until_its_successor_does_and_one_goes_at_a_time() {
    let mut bench = Bench::limited(2, LIMITS);
    bench.measure(1, 99, 999);
    assert_eq!(spawned(&bench.last), [0; 0], "below the limits");
    bench.measure(1, 100, 0);
    assert_eq!(spawned(&bench.last), [3]);
    bench.measure(2, 0, 1_000);
    assert_eq!(spawned(&bench.last), [0; 0], "the other one has to wait");
    bench.is_ready(3);
    assert_eq!(drained(&bench.told()), [0; 0]);
    bench.is_serving(3);
    assert_eq!(drained(&bench.told()), [1]);
    assert_eq!(spawned(&bench.last), [4], "now the other one's turn has come");
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
    bench.is_ready(4);
    bench.is_serving(4);
    assert_eq!(bench.takers(), [(3, 1), (4, 1)]);
    bench.exit(1, HowDied::Exit(0));
    assert_eq!(spawned(&bench.last), [0; 0]);
}

#[test]
fn the_hard_limit_kills_and_says_why() {
    let mut bench = Bench::limited(1, LIMITS);
    bench.measure(1, 250, 0);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)]);
    bench.measure(1, 260, 0);
    assert_eq!(signals(&bench.last), [], "once");
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    assert_eq!(spawned(&bench.last), [2]);
    let death = bench.machine.worker_status(bench.now_ms)[0].last_death.clone().expect("told");
    assert!(death.contains("it used 250 MiB, and the hard limit is 200 MiB"), "{death}");
}

#[test]
fn age_counts_from_ready_and_differs_a_little() {
    let hour = 3_600_000;
    let spec = RecycleSpec { age_ms_max: Some(hour), ..RecycleSpec::default() };
    let mut bench = Bench::limited(2, spec);
    let first_ms = bench.machine.next_deadline_ms().expect("somebody will be old") - bench.now_ms;
    assert!((hour * 9 / 10..=hour).contains(&first_ms), "{first_ms}");
    bench.wait(first_ms);
    assert_eq!(spawned(&bench.last), [3]);
    bench.is_ready(3);
    bench.is_serving(3);
    let second_ms = bench.machine.next_deadline_ms().expect("and the other one");
    assert!(second_ms > bench.now_ms, "not at the same time");
}

#[test]
fn a_successor_that_does_not_start_changes_nothing_for_a_while() {
    let mut bench = Bench::limited(1, LIMITS);
    bench.measure(1, 120, 0);
    bench.send(Event::WorkerSpawned { worker: WorkerId(2), pid: 1002, offer: None });
    bench.exit(2, HowDied::Exit(1));
    assert_eq!(bench.takers(), [(1, 1)]);
    bench.measure(1, 120, 0);
    assert_eq!(spawned(&bench.last), [0; 0]);
    bench.wait(60_000);
    assert_eq!(spawned(&bench.last), [3]);
}

#[test]
fn a_reload_goes_before() {
    let mut bench = Bench::limited(1, LIMITS);
    bench.measure(1, 120, 0);
    bench.is_ready(2);
    bench.reload(7);
    assert_eq!(drained(&bench.told()), [2], "it had been told to the proxy");
    assert_eq!(spawned(&bench.last), [3], "the new release");
    bench.is_drained(2);
    assert_eq!(signals(&bench.last), [(worker(2), StopSignal::Term)]);
    bench.exit(2, HowDied::Exit(0));
    bench.is_ready(3);
    bench.is_serving(3);
    assert_eq!(bench.takers(), [(3, 2)]);
}
