//! A world: one shard, its clients and workers, the clock, and the supervisor's part.
//!
//! Owns: the order of things. Must never know: what is right (`oracle`). Called by `main` and by the tests.
//!
//! A round: faults strike, workers and clients act in an order that chance decides, the shard takes a turn, and
//! what must hold after every turn is checked. When nobody has anything to do the clock jumps to the next wish.

mod check;
mod standby;
mod supervise;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hostler_driver::Key;
use hostler_driver::fake::{FakeDriver, FakeNet, FakePeer};
use hostler_proxy::clock::Now;
use hostler_proxy::shard::ShardParts;
use hostler_proxy::{Shard, ShardEvent};

use self::standby::Drained;
use crate::client::Client;
use crate::faults::Faults;
use crate::oracle::Ledger;
use crate::rng::Rng;
use crate::scenario::{PORT, Scenario};
use crate::worker::{Worker, forget_the_dead};

/// Keys that the shard gives its listeners (`shard/owner.rs`).
pub const CLIENT_LISTENER: Key = Key(0);
/// The listener for channels.
pub const CHANNEL_LISTENER: Key = Key(1 << 29);

/// Wall-clock time of virtual time 0.
const UNIX_MS: u64 = 1_750_000_000_000;
/// A world that takes longer hangs.
const WORLD_MS_MAX: u64 = 900_000;
/// No faults later.
const FAULTS_MS_MAX: u64 = 60_000;
/// Rounds without anything happening before the clock jumps.
const QUIET_ROUNDS: u32 = 3;
/// Workers started in the place of dead ones.
const RESTARTS_MAX: u32 = 12;

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Broken promises.
    pub violations: Vec<String>,
    /// Rounds taken.
    pub rounds: u64,
    /// Virtual time taken.
    pub ms: u64,
    /// Requests entered, answered by apps, answered by the proxy, delivered twice.
    pub requests: (u64, u64, u64, u64),
}

/// What the supervisor means to do about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Announce(u64),
    Running,
    Standby(u64),
    Draining,
    SayGone(u64),
    Restart(u64),
    Nothing,
}

/// One world.
pub struct World {
    /// What is known about all requests.
    pub ledger: Ledger,
    scenario: Scenario,
    rng: Rng,
    net: FakeNet,
    shard: Shard<FakeDriver>,
    events: Rc<RefCell<Vec<ShardEvent>>>,
    clients: Vec<Client>,
    workers: Vec<Worker>,
    plans: Vec<Plan>,
    /// Workers that are drained, by number.
    drains: BTreeMap<u32, Drained>,
    drains_begun: u32,
    /// The time of the shard: that of its last turn.
    turned_ms: u64,
    faults: Faults,
    worker_numbers: u32,
    restarts: u32,
    ended: bool,
    rounds: u64,
    unread_before: usize,
}

/// Runs the world of a seed.
pub fn run_seed(seed: u64, rounds_max: u64, trace: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::choose(&mut rng);
    if trace {
        eprintln!("{scenario:#?}");
    }
    World::new(scenario, rng, trace).run(rounds_max)
}

impl World {
    /// The world of a scenario, at time 0.
    pub fn new(scenario: Scenario, mut rng: Rng, trace: bool) -> Self {
        forget_the_dead();
        let (driver, net) =
            FakeDriver::new(&scenario.driver_config()).expect("memory for the pools");
        let body_max = scenario.setup.body_bytes_max.unwrap_or(u64::MAX);
        let mut ledger = Ledger::new(scenario.times(), PORT, body_max, trace);
        ledger.asks = scenario.apps.client_errors;
        let events = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&events);
        let parts = ShardParts {
            settings: scenario.settings(),
            client_listeners: vec![net.listener_fd().expect("a descriptor")],
            channel_listener: net.listener_fd().expect("a descriptor"),
            commands: sync_channel(1).1,
            events: Box::new(move |event| sink.borrow_mut().push(event)),
            seed: rng.next(),
        };
        let shard = Shard::new(driver, parts, now(0)).expect("listeners");
        let clients = (0..scenario.clients)
            .map(|number| {
                let mut rng = rng.fork();
                let (plan, habits) = scenario.client(number, &mut rng, &mut ledger);
                let start_ms = rng.ms(0, scenario.arrivals_ms);
                Client::new(number, start_ms, plan, habits, rng)
            })
            .collect();
        let faults = Faults::new(scenario.faults, &net, rng.fork());
        let mut world = Self {
            ledger,
            scenario,
            rng,
            net,
            shard,
            events,
            clients,
            workers: Vec::new(),
            plans: Vec::new(),
            drains: BTreeMap::new(),
            drains_begun: 0,
            turned_ms: 0,
            faults,
            worker_numbers: 0,
            restarts: 0,
            ended: false,
            rounds: 0,
            unread_before: 0,
        };
        for index in 0..world.scenario.workers.len() {
            let worker = world.start_worker(index);
            world.workers.push(worker);
            let announce = world.rng.ms(0, 40);
            world.plans.push(Plan::Announce(announce));
        }
        world
    }

    /// Runs to the end and checks what must be left.
    pub fn run(mut self, rounds_max: u64) -> Outcome {
        let mut quiet = 0;
        while self.rounds < rounds_max && self.ledger.violations.is_empty() && !self.ended {
            if self.clients.iter().all(|client| client.finished) {
                break;
            }
            if self.ledger.now_ms > WORLD_MS_MAX + self.jumped() {
                let waiting: Vec<_> = self
                    .clients
                    .iter()
                    .filter(|client| !client.finished)
                    .map(|client| client.number)
                    .collect();
                let status = self.shard.status();
                self.ledger.violation(format!(
                    "no end in sight: clients {waiting:?} still wait: {status:?}\n{}",
                    self.shard.dump()
                ));
                break;
            }
            if self.ledger.now_ms > FAULTS_MS_MAX {
                self.faults.stop(&self.net, &mut self.workers, &mut self.ledger);
            }
            quiet = if self.round() { 0 } else { quiet + 1 };
            self.pass_time(quiet >= QUIET_ROUNDS);
        }
        if self.ledger.violations.is_empty() && self.rounds < rounds_max {
            self.settle();
        }
        let count = |number: usize| number as u64;
        Outcome {
            requests: (
                count(self.ledger.records.len()),
                self.ledger.answered,
                self.ledger.own_answers,
                self.ledger.retried,
            ),
            violations: std::mem::take(&mut self.ledger.violations),
            rounds: self.rounds,
            ms: self.ledger.now_ms,
        }
    }

    fn jumped(&self) -> u64 {
        if self.ledger.jumped_ms.is_some() { 3 * 600_000 } else { 0 }
    }

    /// One round; true when something happened.
    fn round(&mut self) -> bool {
        self.rounds += 1;
        let mut happened = self.supervise();
        let order = self.faults.act(
            &self.net,
            CLIENT_LISTENER,
            &mut self.clients,
            &mut self.workers,
            &mut self.ledger,
        );
        happened |= order.is_some();
        if let Some(order) = order {
            self.order(order);
        }
        for index in 0..self.workers.len() {
            if self.rng.chance(85) {
                happened |= self.workers[index].act(&self.net, CHANNEL_LISTENER, &mut self.ledger);
            }
        }
        for client in &mut self.clients {
            if self.rng.chance(85) {
                happened |= client.act(&self.net, CLIENT_LISTENER, &mut self.ledger);
            }
        }
        self.turn();
        let unread = self.unread();
        happened |= unread != self.unread_before;
        self.unread_before = unread;
        happened
    }

    /// Bytes that the shard has not received. While it receives them the clock must not jump.
    fn unread(&self) -> usize {
        let clients: usize =
            self.clients.iter().filter_map(Client::peer).map(FakePeer::unread).sum();
        clients + self.workers.iter().map(Worker::unread).sum::<usize>()
    }

    fn turn(&mut self) {
        if self.ended {
            return;
        }
        self.turned_ms = self.ledger.now_ms;
        let moment = now(self.turned_ms);
        match self.shard.turn(Some(Duration::ZERO), || moment) {
            Ok(on) => self.ended = !on,
            Err(error) => self.ledger.violation(format!("the turn failed: {error}")),
        }
        self.hear_events();
        self.check();
    }

    fn pass_time(&mut self, jump: bool) {
        if !jump {
            self.ledger.now_ms += self.rng.pick(&[0, 0, 0, 1, 2]);
            return;
        }
        let now_ms = self.ledger.now_ms;
        let mut next = now_ms + 1_000;
        let wishes = self.clients.iter().map(Client::wakes_ms);
        let wishes = wishes.chain(self.workers.iter().map(|worker| worker.wakes_ms(now_ms)));
        for at in wishes.chain([self.faults.wakes_ms()]) {
            next = next.min(at);
        }
        for plan in &self.plans {
            if let Plan::Announce(at) | Plan::Standby(at) | Plan::SayGone(at) | Plan::Restart(at) =
                plan
            {
                next = next.min(*at);
            }
        }
        self.ledger.now_ms = next.max(now_ms + 1);
    }

    /// All clients are gone: nothing of them may be left.
    fn settle(&mut self) {
        self.faults.stop(&self.net, &mut self.workers, &mut self.ledger);
        let start_ms = self.ledger.now_ms;
        let mut quiet = 0;
        // Longer than every time-out, idle plain connections included.
        while self.ledger.now_ms < start_ms + 20_000
            && !self.ended
            && self.ledger.violations.is_empty()
        {
            quiet = if self.round() { 0 } else { quiet + 1 };
            self.pass_time(quiet >= QUIET_ROUNDS);
        }
        if self.ended {
            self.after_drain();
        } else if self.ledger.violations.is_empty() {
            self.check_rest();
        }
    }
}

/// A moment of virtual time.
pub fn now(ms: u64) -> Now {
    Now { ms, unix_ms: UNIX_MS + ms }
}
