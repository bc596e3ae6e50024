//! Workers that have to answer before they are ready.

use super::*;
use crate::config::ReadySpec;

impl Bench {
    fn asking(workers: u32) -> Self {
        let ready = ReadySpec::Answers("/health".to_owned());
        Self::of(AppSpec { ready, ..spec(Kind::Script) }, workers)
    }

    fn asked(&self) -> usize {
        let asks =
            |action: &&Action| matches!(action, Action::Ask { path, .. } if path == "/health");
        self.last.iter().filter(asks).count()
    }

    fn answer(&mut self, worker: u32, answer: Result<u16, &str>) {
        let answer = answer.map_err(str::to_owned);
        self.send(Event::Answered { worker: WorkerId(worker), answer });
    }
}

#[test]
fn it_is_asked_with_growing_pauses_until_it_says_yes() {
    let mut bench = Bench::asking(1);
    bench.is_ready(1);
    assert_eq!((bench.asked(), bench.told().len()), (1, 0));
    bench.answer(1, Err("refused"));
    assert_eq!(bench.asked(), 0);
    bench.wait(50);
    assert_eq!(bench.asked(), 1);
    bench.wait(5_000);
    assert_eq!(bench.asked(), 0, "one question at a time");
    bench.answer(1, Ok(503));
    bench.wait(99);
    assert_eq!(bench.asked(), 0);
    bench.wait(1);
    assert_eq!(bench.asked(), 1);
    bench.answer(1, Ok(204));
    assert_eq!(bench.told().len(), 1, "the proxy is told");
    assert_eq!(bench.takers(), [(1, 1)]);
    bench.answer(1, Ok(503));
    assert_eq!(bench.takers(), [(1, 1)], "it is not asked any more");
}

#[test]
fn one_that_never_says_yes_has_failed_with_its_last_answer() {
    let mut bench = Bench::asking(1);
    bench.is_ready(1);
    bench.answer(1, Ok(503));
    bench.wait(60_000);
    assert_eq!(signals(&bench.last), [(worker(1), StopSignal::Kill)]);
    bench.exit(1, HowDied::Signal { signal: 9, core: false });
    let failure = bench.failure();
    assert!(failure.why.contains("GET /health") && failure.why.contains("status 503"), "{failure}");
    assert!(failure.to_string().contains("FAIL  answer that it is ready"), "{failure}");
}
