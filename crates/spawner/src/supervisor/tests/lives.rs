//! Random lives: a world of processes that do what the dice say, and what must hold whatever they do.

use hostler_protocol::control::{InstanceState, ProgramFacts};

use super::*;
use crate::outcome::Ticket;

mod others;

/// A slot's worker, the next one, some on their way out. The last ones leave in their own time, but they do leave.
const BESIDE_MAX: usize = 12;

/// A small reproducible source of chance.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// An app whose workers wear out.
fn worn_spec(kind: Kind) -> AppSpec {
    let recycle = RecycleSpec {
        memory_kib_max: Some(200),
        memory_kib_hard: Some(290),
        age_ms_max: Some(15_000),
        requests_max: None,
    };
    AppSpec { recycle, ..spec(kind) }
}

/// The same, and some of them sleep.
fn tired_spec(kind: Kind, dice: &mut Dice) -> AppSpec {
    let idle_ms_max = (dice.roll(2) == 0).then_some(4_000);
    let sleep = SleepSpec { lazy: dice.roll(2) == 0, idle_ms_max };
    AppSpec { sleep, ..worn_spec(kind) }
}

/// A world of processes that do what the dice say.
struct World {
    machine: Machine,
    kind: Kind,
    dice: Dice,
    now_ms: u64,
    /// Slot and number of the living workers.
    workers: Vec<(u32, WorkerId)>,
    /// Who waits for the end of a reload.
    tickets: Vec<u64>,
    proxy_lives: bool,
    /// Proxies that do not serve yet, or any more.
    others: Vec<Target>,
    /// Events that happen soon.
    soon: Vec<(u64, Event)>,
    stop_sent_ms: Option<u64>,
    exit: Option<ExitReason>,
}

impl World {
    fn soon(&mut self, within_ms: u64, event: Event) {
        let at_ms = self.now_ms + self.dice.roll(within_ms);
        self.soon.push((at_ms, event));
    }

    fn step(&mut self, event: Event) {
        assert_eq!(self.exit, None, "nothing happens after the end");
        match &event {
            Event::WorkerExited { worker, .. } => self.workers.retain(|entry| entry.1 != *worker),
            Event::ProxyExited(_) => self.proxy_lives = false,
            Event::SuccessorExited(_) => self.other_gone(Target::Successor),
            Event::RetiredExited { proxy, .. } => self.other_gone(Target::Retired(*proxy)),
            _ => {}
        }
        let mut actions = Vec::new();
        let sleeps = self.machine.state() == InstanceState::Asleep;
        let is_asleep_tick =
            sleeps && self.machine.sleep.is_asleep() && matches!(event, Event::Tick);
        self.machine.step(event, self.now_ms, &mut actions);
        assert!(!is_asleep_tick || spawned(&actions).is_empty(), "nobody has asked for a worker");
        for action in actions {
            self.act(action);
        }
        if self.exit.is_none() {
            let deadline_ms = self.machine.next_deadline_ms();
            let now_ms = self.now_ms;
            assert!(deadline_ms.is_none_or(|ms| ms > now_ms), "a deadline in the past at {now_ms}");
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SpawnProxy => {
                assert!(!self.proxy_lives, "two proxies");
                assert_eq!(self.stop_sent_ms, None, "a proxy is started during a stop");
                self.proxy_lives = true;
                self.soon(3, Event::ProxySpawned { pid: 7 });
            }
            Action::SpawnWorker { slot, worker, .. } => {
                let beside = self.workers.iter().filter(|entry| entry.0 == slot).count();
                assert!(beside <= BESIDE_MAX, "{beside} workers in a slot");
                assert_eq!(self.stop_sent_ms, None, "a worker is started during a stop");
                self.workers.push((slot, worker));
                let offer = (self.kind == Kind::Command).then(commands::offer);
                self.soon(3, Event::WorkerSpawned { worker, pid: 1000 + worker.0, offer });
            }
            Action::Signal { target, signal } => self.signal(target, signal),
            Action::Probe { worker, .. } if self.dice.roll(6) == 0 => {
                let address = PlainAddress::Unix("/run/h/app.on.0.1.sock".into());
                self.soon(1, Event::Accepts { worker, address });
            }
            Action::LookAround { worker } => {
                let found = vec!["127.0.0.1:8000".to_owned(); self.dice.roll(2) as usize];
                self.soon(1, Event::LookedAround { worker, found });
            }
            // The app ends, and what started it as a rule with it.
            Action::TermApp { worker } if self.dice.roll(4) > 0 => {
                self.soon(50, Event::AppEnded { worker });
                if self.dice.roll(4) > 0 {
                    self.soon(90, Event::WorkerExited { worker, death: Death::default() });
                }
            }
            Action::SendProxy(ToProxy::WorkerReady(address)) => {
                assert!(
                    self.workers.iter().any(|entry| entry.1 == address.worker),
                    "a dead worker"
                );
            }
            Action::SendProxy(ToProxy::Drain { .. }) if self.dice.roll(4) > 0 => {
                self.soon(5_000, Event::ProxyMessage(FromProxy::Drained { cut: 0 }));
                self.soon(9_000, Event::ProxyExited(Death::default()));
            }
            Action::ReadRelease => {
                let read = match self.dice.roll(4) {
                    0 => Err("hostler.toml:3: nonsense".to_owned()),
                    _ => Ok(Box::new(tired_spec(self.kind, &mut self.dice))),
                };
                self.soon(1, Event::ReleaseRead(read));
            }
            Action::Answer(Ticket(ticket), _) => {
                let waits = self.tickets.iter().position(|&waiting| waiting == ticket);
                self.tickets.remove(waits.expect("it was not answered before"));
            }
            Action::SendProxy(ToProxy::WorkerDrain { worker, drain }) if self.dice.roll(4) > 0 => {
                self.soon(9_000, Event::ProxyMessage(FromProxy::WorkerDrained { worker, drain }));
            }
            Action::Exit(reason) => {
                assert_eq!(self.tickets, [0; 0], "somebody waits for ever");
                assert!(self.workers.is_empty() && !self.proxy_lives, "children are left");
                assert_eq!(self.others, [], "proxies are left");
                self.exit = Some(reason);
            }
            other => self.act_on_others(other),
        }
    }

    fn signal(&mut self, target: Target, signal: StopSignal) {
        // A worker in four ignores SIGTERM.
        if signal == StopSignal::Term && self.dice.roll(4) == 0 {
            return;
        }
        let death = Death::default();
        match target {
            Target::Proxy => self.soon(50, Event::ProxyExited(death)),
            Target::Successor => self.soon(50, Event::SuccessorExited(death)),
            // Its end is of no interest any more.
            Target::Trial => {}
            Target::Retired(proxy) => self.soon(50, Event::RetiredExited { proxy, death }),
            Target::Worker(worker) => self.soon(50, Event::WorkerExited { worker, death }),
        }
    }

    fn ticket(&mut self) -> Option<Ticket> {
        let ticket = self.now_ms * 1_000 + self.dice.roll(1_000);
        self.tickets.push(ticket);
        Some(Ticket(ticket))
    }

    /// Something happens by itself.
    fn chance(&mut self) -> Option<Event> {
        let picked = self.dice.roll(self.workers.len().max(1) as u64);
        let worker = self.workers.get(usize::try_from(picked).ok()?).map(|entry| entry.1);
        match self.dice.roll(16) {
            0 => Some(Event::WorkerExited { worker: worker?, death: Death::default() }),
            1 => Some(Event::ProxyMessage(FromProxy::WorkerServing { worker: worker? })),
            2..=4 => {
                let report = Report::Ready { transport: Transport::Frames };
                Some(Event::Report { worker: worker?, report })
            }
            5 if self.dice.roll(2) == 0 => {
                let figures = Figures { memory_kib: Some(self.dice.roll(300)), requests: None };
                Some(Event::Measured { worker: worker?, figures })
            }
            5 => Some(Event::Report { worker: worker?, report: Report::Listen {} }),
            6 if self.dice.roll(4) == 0 => {
                let ticket = self.ticket();
                let workers = 1 + self.dice.roll(4) as u32;
                let (cause, scale) = ("hostler scale".to_owned(), Scale::To(workers));
                Some(Event::Scale { cause, scale, ticket })
            }
            6 if self.proxy_lives && self.dice.roll(8) == 0 => {
                Some(Event::ProxyExited(Death::default()))
            }
            7 | 8 if self.proxy_lives => Some(Event::ProxyMessage(FromProxy::Serving {
                io: IoChoice::Epoll,
                io_reason: String::new(),
                program: ProgramFacts::own(),
            })),
            9 if self.dice.roll(2) == 0 => {
                Some(Event::Report { worker: WorkerId(9_999), report: Report::Listen {} })
            }
            9 => {
                let (cause, ticket) = ("hostler reload".to_owned(), self.ticket());
                Some(Event::Reload { cause, ticket, back: self.dice.roll(4) == 0 })
            }
            10 if self.kind == Kind::Command => {
                let report = Report::Preload { node: "22".into(), pid: Some(77) };
                Some(Event::Report { worker: worker?, report })
            }
            12 if self.proxy_lives => Some(Event::ProxyMessage(FromProxy::WorkerWanted)),
            13 => {
                let served = self.dice.roll(20) / 19;
                Some(Event::LoadSeen(Load { served, ..Load::default() }))
            }
            14 if self.dice.roll(3) == 0 => Some(self.upgrade()),
            15 if self.dice.roll(10) == 0 => self.another_supervisor(),
            15 => self.successor_chance(),
            11 if self.kind == Kind::Command => Some(Event::AppEnded { worker: worker? }),
            _ => None,
        }
    }

    /// Lets things happen until `until_ms` or the end.
    fn live(&mut self, until_ms: u64, by_chance: bool) {
        while self.now_ms < until_ms && self.exit.is_none() {
            let next_ms = self.soon.iter().map(|entry| entry.0).min();
            let deadline_ms = self.machine.next_deadline_ms();
            let pause_ms = 1 + self.dice.roll(400);
            let bound_ms = self.now_ms + if by_chance { pause_ms } else { 60_000 };
            let wake_ms = next_ms.into_iter().chain(deadline_ms).chain([bound_ms, until_ms]).min();
            self.now_ms = wake_ms.unwrap_or(bound_ms).max(self.now_ms);
            let due = self.soon.iter().position(|entry| entry.0 <= self.now_ms);
            let event = match due {
                Some(index) => self.soon.swap_remove(index).1,
                None if by_chance => self.chance().unwrap_or(Event::Tick),
                None => Event::Tick,
            };
            if self.is_possible(&event) {
                self.step(event);
            }
        }
    }

    /// Processes die once, and not before they live.
    fn is_possible(&self, event: &Event) -> bool {
        let unborn = |what: &dyn Fn(&Event) -> bool| self.soon.iter().any(|entry| what(&entry.1));
        match event {
            Event::WorkerExited { worker, .. } | Event::Report { worker, .. } => {
                let this = |event: &Event| matches!(event, Event::WorkerSpawned { worker: other, .. } if other == worker);
                let known = self.workers.iter().any(|entry| entry.1 == *worker);
                (known || matches!(event, Event::Report { .. })) && !unborn(&this)
            }
            Event::ProxyExited(_) | Event::ProxyMessage(_) => {
                self.proxy_lives && !unborn(&|event| matches!(event, Event::ProxySpawned { .. }))
            }
            Event::SuccessorExited(_) | Event::SuccessorMessage(_) => {
                let born = !unborn(&|event| matches!(event, Event::SuccessorSpawned));
                born && self.others.contains(&Target::Successor)
            }
            Event::RetiredExited { proxy, .. } | Event::RetiredMessage { proxy, .. } => {
                self.others.contains(&Target::Retired(*proxy))
            }
            _ => true,
        }
    }
}

#[test]
fn random_lives_keep_the_invariants_and_always_end() {
    for seed in 1..=4_000_u64 {
        let kind = if seed % 2 == 0 { Kind::Command } else { Kind::Script };
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let spec = if seed % 3 == 0 { worn_spec(kind) } else { tired_spec(kind, &mut dice) };
        let mut world = World {
            machine: Machine::new(
                settings(u32::try_from(1 + seed % 4).expect("small")),
                Rc::new(Release { generation: 1, spec }),
            ),
            kind,
            dice,
            now_ms: 0,
            workers: Vec::new(),
            tickets: Vec::new(),
            proxy_lives: false,
            others: Vec::new(),
            soon: Vec::new(),
            stop_sent_ms: None,
            exit: None,
        };
        world.step(Event::Started);
        let life_ms = world.dice.roll(40_000);
        world.live(life_ms, true);
        if world.exit.is_some() {
            continue;
        }
        world.stop_sent_ms = Some(world.now_ms);
        world.step(if seed % 3 == 0 { Event::StopCommand } else { Event::Signal(TERM) });
        if seed % 5 == 0 {
            let again_ms = world.now_ms + world.dice.roll(3_000);
            world.live(again_ms, false);
            if world.exit.is_none() {
                world.step(Event::Signal(INT));
            }
        }
        let latest_ms = world.now_ms + 10_000 + 200;
        world.live(latest_ms, false);
        assert!(world.exit.is_some(), "seed {seed} did not end: {:?}", world.machine.phase());
    }
}
