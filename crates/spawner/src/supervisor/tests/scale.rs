//! More and fewer workers.

use hostler_protocol::control::CommandAnswer;

use super::rig::drained;
use super::*;
use crate::outcome::Ticket;

impl Bench {
    fn scale(&mut self, ticket: u64, scale: Scale) {
        let ticket = Some(Ticket(ticket));
        self.send(Event::Scale { cause: "hostler scale".to_owned(), scale, ticket });
    }
}

#[test]
fn more_workers_are_answered_when_they_are_ready() {
    let mut bench = Bench::running(1);
    bench.scale(7, Scale::By(2));
    assert_eq!(spawned(&bench.last), [2, 3]);
    assert_eq!(bench.verdict(7), None);
    bench.ready(2);
    bench.is_ready(3);
    assert_eq!(bench.verdict(7), Some(&CommandAnswer::Scaled { workers: 3, asleep: false }));
}

#[test]
fn fewer_workers_drain_and_their_slots_are_forgotten() {
    let mut bench = Bench::running(3);
    bench.scale(7, Scale::To(1));
    assert_eq!(drained(&bench.told()), [2, 3]);
    assert_eq!(bench.verdict(7), Some(&CommandAnswer::Scaled { workers: 1, asleep: false }));
    assert_eq!(signals(&bench.last), []);
    bench.is_drained(3);
    assert_eq!(signals(&bench.last), [(worker(3), StopSignal::Term)]);
    bench.exit(3, HowDied::Exit(0));
    assert_eq!(bench.machine.worker_status(bench.now_ms).len(), 2, "2 still drains");
    // Wanted again before it has gone: its slot gets a new worker beside it.
    bench.scale(8, Scale::To(2));
    assert_eq!(spawned(&bench.last), [4]);
    bench.is_drained(2);
    bench.exit(2, HowDied::Exit(0));
    assert_eq!(spawned(&bench.last), [0; 0]);
    bench.ready(4);
    assert_eq!(bench.takers().len(), 2);
}

#[test]
fn a_worker_that_does_not_start_is_told_and_tried_again() {
    let mut bench = Bench::running(1);
    bench.scale(7, Scale::To(2));
    bench.send(Event::WorkerSpawned { worker: WorkerId(2), pid: 1002, offer: None });
    bench.exit(2, HowDied::Exit(1));
    assert!(
        matches!(bench.verdict(7), Some(CommandAnswer::Refused { why }) if why.contains("again in"))
    );
    bench.wait(1_000);
    assert_eq!(spawned(&bench.last), [3]);
}

#[test]
fn bounds_are_told_and_signals_count_too() {
    let mut bench = Bench::running(1);
    for (ticket, scale) in [(1, Scale::To(0)), (2, Scale::By(-1)), (3, Scale::To(513))] {
        bench.scale(ticket, scale);
        let verdict = bench.verdict(ticket);
        assert!(
            matches!(verdict, Some(CommandAnswer::Refused { why }) if why.contains("1 to 512"))
        );
    }
    const TTIN: i32 = 21;
    const TTOU: i32 = 22;
    bench.send(Event::Signal(TTIN));
    assert_eq!(spawned(&bench.last), [2]);
    bench.ready(2);
    bench.send(Event::Signal(TTOU));
    assert_eq!(drained(&bench.told()), [2]);
}

#[test]
fn a_reload_and_a_change_of_number_wait_for_each_other() {
    let mut bench = Bench::running(2);
    let mut three = spec(Kind::Script);
    three.workers = 3;
    bench.reload_to(1, three);
    bench.scale(2, Scale::To(1));
    assert_eq!(drained(&bench.told()), [0; 0], "the reload comes first");
    for number in [3, 4] {
        bench.is_ready(number);
    }
    for number in [3, 4] {
        bench.is_serving(number);
    }
    bench.wait(3_000);
    assert_eq!(spawned(&bench.last), [5], "the release asks for three");
    bench.ready(5);
    bench.scale(3, Scale::To(1));
    bench.reload_to(4, spec(Kind::Script));
    assert_eq!(spawned(&bench.last), [6], "one slot is left, and the leaving ones are left alone");
}
