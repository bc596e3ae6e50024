//! A supervisor goes on with the state of one that has died.

use super::*;
use crate::outcome::Ticket;

impl Bench {
    /// Through the file.
    fn adopted(&mut self) {
        let state = serde_json::to_vec(&self.machine).expect("written");
        self.machine = serde_json::from_slice(&state).expect("read");
        self.machine.resume(self.now_ms);
        self.send(Event::Adopted);
    }
}

#[test]
fn it_serves_on_and_says_so() {
    let mut bench = Bench::running(2);
    bench.adopted();
    let ready = |action: &Action| matches!(action, Action::Notice(Notice::Ready(_)));
    assert!(bench.last.iter().any(ready), "{:?}", bench.last);
    assert_eq!(spawned(&bench.last), [0; 0]);
    assert_eq!(bench.takers(), [(1, 1), (2, 1)]);
    bench.exit(1, HowDied::Unknown);
    assert_eq!(spawned(&bench.last), [3], "who died meanwhile has a successor");
}

#[test]
fn what_was_under_way_goes_on_and_nobody_is_answered_who_has_left() {
    let mut bench = Bench::on_probation();
    bench.adopted();
    // The answer may have been given while nobody listened.
    assert_eq!(rig::drained(&bench.told()), [1, 2]);
    bench.wait(3_000);
    assert_eq!(bench.takers(), [(3, 2), (4, 2)]);
    assert_eq!(bench.verdict(7), None, "who asked has seen the end of the one who was asked");
    bench.is_drained(1);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Term)]);
}

#[test]
fn an_upgrade_dies_with_its_supervisor() {
    let mut bench = Bench::running(1);
    let (cause, ticket) = ("hostler upgrade".to_owned(), Some(Ticket(7)));
    bench.send(Event::Upgrade { cause, program: "/opt/new/hostler".into(), ticket });
    bench.send(Event::SuccessorSpawned);
    bench.adopted();
    bench.send(Event::SuccessorExited(Death::default()));
    assert_eq!(bench.verdict(7), None);
    bench.ask(8, false);
    assert!(bench.last.contains(&Action::ReadRelease), "it stands in nobody's way");
}
