//! Random naps: an app that sleeps as often as it can, and requests that come just then. None may be lost.

use std::collections::{BTreeMap, VecDeque};

use hostler_protocol::control::{ProgramFacts, ToProxy};

use super::lives::Dice;
use super::*;

const IDLE_MS: u32 = 3_000;

/// The slowest start here, and all the messages around it.
const WAIT_MS_MAX: u64 = 700;

/// What is on its way to the machine, in order.
enum News {
    Said(FromProxy),
    Figures(Load),
}

/// A worker as the proxy sees it.
#[derive(Default)]
struct Taker {
    drain: Option<u32>,
    in_flight: u32,
}

/// A machine, a proxy that does what it should, and clients that come at bad moments.
struct Nap {
    machine: Machine,
    dice: Dice,
    now_ms: u64,
    /// A start in so many fails; none if 0.
    bad_starts: u64,
    orders: VecDeque<(u64, ToProxy)>,
    news: VecDeque<(u64, News)>,
    soon: Vec<(u64, Event)>,
    takers: BTreeMap<WorkerId, Taker>,
    /// When each request ends, and who has it.
    running: Vec<(u64, WorkerId)>,
    waiting: Vec<u64>,
    asked: bool,
    served: u64,
    refused: u64,
    sleeps: u32,
    called_back: u32,
    starts: u32,
}

impl Nap {
    fn new(seed: u64, lazy: bool) -> Self {
        let sleep = SleepSpec { lazy, idle_ms_max: Some(IDLE_MS) };
        let release = Release { generation: 1, spec: AppSpec { sleep, ..spec(Kind::Script) } };
        let workers = 1 + (seed % 3) as u32;
        let mut nap = Self {
            machine: Machine::new(settings(workers), Rc::new(release)),
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            now_ms: 0,
            bad_starts: if lazy && seed.is_multiple_of(4) { 3 } else { 0 },
            orders: VecDeque::new(),
            news: VecDeque::new(),
            soon: Vec::new(),
            takers: BTreeMap::new(),
            running: Vec::new(),
            waiting: Vec::new(),
            asked: false,
            served: 0,
            refused: 0,
            sleeps: 0,
            called_back: 0,
            starts: 0,
        };
        nap.step(Event::Started);
        nap.step(Event::ProxySpawned { pid: 7 });
        let io_reason = String::new();
        nap.step(Event::ProxyMessage(FromProxy::Serving {
            io: IoChoice::Epoll,
            io_reason,
            program: ProgramFacts::own(),
        }));
        nap
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.machine.step(event, self.now_ms, &mut actions);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SendProxy(message) => {
                let at_ms = self.orders.back().map_or(0, |order| order.0);
                let at_ms = at_ms.max(self.now_ms + self.dice.roll(20));
                self.orders.push_back((at_ms, message));
            }
            Action::SpawnWorker { worker, .. } => {
                self.starts += 1;
                let born = Event::WorkerSpawned { worker, pid: 1_000 + worker.0, offer: None };
                self.soon.push((self.now_ms, born));
                let at_ms = self.now_ms + 1 + self.dice.roll(300);
                let ends = self.bad_starts > 0 && self.dice.roll(self.bad_starts) == 0;
                let fate = match ends {
                    true => Event::WorkerExited { worker, death: Death::default() },
                    false => {
                        let report = Report::Ready { transport: Transport::Frames };
                        Event::Report { worker, report }
                    }
                };
                self.soon.push((at_ms, fate));
            }
            Action::Signal { target: Target::Worker(worker), .. } => {
                let busy = self.takers.get(&worker).is_some_and(|taker| taker.in_flight > 0);
                assert!(!busy, "a worker is ended with a request in flight, at {}", self.now_ms);
                self.soon.retain(|(_, event)| !is_about(event, worker));
                let at_ms = self.now_ms + 1 + self.dice.roll(400);
                self.soon.push((at_ms, Event::WorkerExited { worker, death: Death::default() }));
            }
            Action::Exit(reason) => panic!("it ended: {reason}"),
            _ => {}
        }
    }

    fn say(&mut self, news: News) {
        let at_ms = self.news.back().map_or(0, |news| news.0);
        let at_ms = at_ms.max(self.now_ms + self.dice.roll(20));
        self.news.push_back((at_ms, news));
    }

    fn obey(&mut self, order: ToProxy) {
        match order {
            ToProxy::WorkerReady(address) => {
                self.takers.insert(address.worker, Taker::default());
                self.asked = false;
                self.say(News::Said(FromProxy::WorkerServing { worker: address.worker }));
            }
            ToProxy::WorkerDrain { worker, drain } => {
                self.takers.get_mut(&worker).expect("it was announced").drain = Some(drain);
                self.report_if_drained(worker);
            }
            ToProxy::WorkerResume { worker } => {
                self.called_back += 1;
                self.takers.get_mut(&worker).expect("it was announced").drain = None;
                self.asked = false;
            }
            ToProxy::WorkerGone { worker } => {
                let taker = self.takers.remove(&worker).expect("it was announced");
                assert_eq!(taker.in_flight, 0, "a request is lost at {}", self.now_ms);
            }
            ToProxy::Asleep => {
                self.sleeps += 1;
                self.asked = false;
            }
            ToProxy::StartFailed { .. } => {
                self.refused += self.waiting.len() as u64;
                self.waiting.clear();
                self.asked = false;
            }
            _ => {}
        }
    }

    fn report_if_drained(&mut self, worker: WorkerId) {
        let Some(taker) = self.takers.get(&worker) else { return };
        if let (Some(drain), 0) = (taker.drain, taker.in_flight) {
            self.say(News::Said(FromProxy::WorkerDrained { worker, drain }));
        }
    }

    /// What a shard does in each turn.
    fn turn(&mut self) {
        while let Some(index) = self.running.iter().position(|run| run.0 <= self.now_ms) {
            let (_, worker) = self.running.swap_remove(index);
            self.served += 1;
            self.takers.get_mut(&worker).expect("it lives").in_flight -= 1;
            self.report_if_drained(worker);
        }
        let mut takers = self.takers.iter_mut().filter(|(_, taker)| taker.drain.is_none());
        if let Some((worker, taker)) = takers.next() {
            for since_ms in self.waiting.drain(..) {
                let waited_ms = self.now_ms - since_ms;
                assert!(waited_ms <= WAIT_MS_MAX, "a request waited for {waited_ms} ms");
                taker.in_flight += 1;
                self.running.push((self.now_ms + self.dice.roll(60), *worker));
            }
        } else if !self.waiting.is_empty() && !std::mem::replace(&mut self.asked, true) {
            self.say(News::Said(FromProxy::WorkerWanted));
        }
    }

    fn figures(&mut self) {
        let in_flight = self.takers.values().map(|taker| taker.in_flight).sum();
        let load = Load {
            in_flight,
            queued: self.waiting.len() as u32,
            served: self.served,
            ..Load::default()
        };
        self.say(News::Figures(load));
    }

    fn live(&mut self, until_ms: u64, clients: bool) {
        let mut next_client_ms = self.now_ms;
        while self.now_ms < until_ms {
            self.now_ms += 1;
            while self.orders.front().is_some_and(|order| order.0 <= self.now_ms) {
                let (_, order) = self.orders.pop_front().expect("there is one");
                self.obey(order);
            }
            if clients && next_client_ms <= self.now_ms {
                self.waiting.push(self.now_ms);
                // Mostly around the moment at which it falls asleep: a look decides that, and there is one a second.
                let sleeps_ms = (self.now_ms + u64::from(IDLE_MS)).next_multiple_of(1_000);
                next_client_ms = match self.dice.roll(4) {
                    0 => self.now_ms + self.dice.roll(80),
                    looks => sleeps_ms + looks / 2 * 1_000 + self.dice.roll(120),
                };
            }
            self.turn();
            if self.now_ms.is_multiple_of(1_000) && self.machine.watches_idleness() {
                self.figures();
            }
            while self.news.front().is_some_and(|news| news.0 <= self.now_ms) {
                match self.news.pop_front().expect("there is one").1 {
                    News::Said(message) => self.step(Event::ProxyMessage(message)),
                    News::Figures(load) => self.step(Event::LoadSeen(load)),
                }
            }
            while let Some(index) = self.soon.iter().position(|event| event.0 <= self.now_ms) {
                let (_, event) = self.soon.remove(index);
                self.step(event);
            }
            if self.machine.next_deadline_ms().is_some_and(|ms| ms <= self.now_ms) {
                self.step(Event::Tick);
            }
        }
    }
}

fn is_about(event: &Event, worker: WorkerId) -> bool {
    match event {
        Event::WorkerExited { worker: other, .. } | Event::Report { worker: other, .. } => {
            *other == worker
        }
        _ => false,
    }
}

#[test]
fn no_request_is_lost_to_sleep() {
    let (mut sleeps, mut called_back, mut served, mut refused) = (0, 0, 0, 0);
    for seed in 1..=400 {
        let mut nap = Nap::new(seed, seed % 2 == 0);
        nap.live(60_000, true);
        nap.live(70_000, false);
        assert!(nap.waiting.is_empty() && nap.running.is_empty(), "seed {seed}: somebody waits");
        assert!(nap.machine.sleep.is_asleep(), "seed {seed}: nobody is there, and it is awake");
        let starts = nap.starts;
        nap.live(100_000, false);
        assert_eq!(nap.starts, starts, "seed {seed}: a start that nobody has asked for");
        assert!(nap.bad_starts > 0 || nap.refused == 0, "seed {seed}: {} refused", nap.refused);
        (sleeps, called_back) = (sleeps + nap.sleeps, called_back + nap.called_back);
        (served, refused) = (served + nap.served, refused + nap.refused);
    }
    // The moments that this is about have come, and more than once.
    assert!(sleeps > 500 && called_back > 20, "{sleeps} naps, {called_back} called back");
    assert!(served > 3_000 && refused > 50, "{served} served, {refused} refused");
}
