//! What the tests of the machine share: a machine with a clock, and how it is brought into a state.

use hostler_protocol::control::{CommandAnswer, ProgramFacts};

use super::*;

pub(super) fn settings(workers: u32) -> Settings {
    Settings {
        app: "web".into(),
        workers,
        shards: 1,
        cores: vec![Some(0), Some(1)],
        pin: true,
        start_ms_max: 60_000,
        stop_ms_max: 10_000,
        listeners: vec!["127.0.0.1:3000".into()],
        runtime_dir: "/run/hostler".into(),
        program: "/usr/bin/hostler".into(),
    }
}

pub(super) fn spec(kind: Kind) -> AppSpec {
    AppSpec {
        name: "web".into(),
        launch: match kind {
            Kind::Script => Launch::Script {
                node: "node".into(),
                node_args: Vec::new(),
                script: "/srv/app.js".into(),
                args: Vec::new(),
            },
            Kind::Command => Launch::Command { line: "npm start".into(), bin_folders: Vec::new() },
        },
        cwd: "/srv".into(),
        env: Vec::new(),
        workers: 1,
        transport: Transport::Frames,
        range: None,
        ready: ReadySpec::default(),
        hang: None,
        reload: ReloadSpec::default(),
        recycle: RecycleSpec::default(),
        sleep: SleepSpec::default(),
    }
}

pub(super) fn first_release(kind: Kind) -> Rc<Release> {
    Rc::new(Release { generation: 1, spec: spec(kind) })
}

/// A machine, a clock, and everything it asked for.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now_ms: u64,
    /// Actions of the last event.
    pub(super) last: Vec<Action>,
}

impl Bench {
    pub(super) fn new(workers: u32) -> Self {
        let mut bench = Self {
            machine: Machine::new(settings(workers), first_release(Kind::Script)),
            now_ms: 1_000,
            last: Vec::new(),
        };
        bench.send(Event::Started);
        bench
    }

    /// The same with an app of its own.
    pub(super) fn new_of(spec: AppSpec, workers: u32) -> Self {
        let release = Rc::new(Release { generation: 1, spec });
        let machine = Machine::new(settings(workers), release);
        let mut bench = Self { machine, now_ms: 1_000, last: Vec::new() };
        bench.send(Event::Started);
        bench
    }

    /// The same, where the proxy serves and no worker is ready.
    pub(super) fn of(spec: AppSpec, workers: u32) -> Self {
        let mut bench = Self::new_of(spec, workers);
        bench.send(Event::ProxySpawned { pid: 100 });
        bench.serving();
        bench
    }

    /// Proxy serving, all workers ready.
    pub(super) fn running(workers: u32) -> Self {
        let mut bench = Self::new(workers);
        bench.send(Event::ProxySpawned { pid: 100 });
        bench.serving();
        for worker in 1..=workers {
            bench.ready(worker);
        }
        bench
    }

    pub(super) fn send(&mut self, event: Event) -> &[Action] {
        self.last.clear();
        self.machine.step(event, self.now_ms, &mut self.last);
        &self.last
    }

    pub(super) fn wait(&mut self, ms: u64) -> &[Action] {
        self.now_ms += ms;
        self.send(Event::Tick)
    }

    pub(super) fn serving(&mut self) {
        let io_reason = "self-test passed".to_owned();
        let program = ProgramFacts::own();
        let serving = FromProxy::Serving { io: IoChoice::Uring, io_reason, program };
        self.send(Event::ProxyMessage(serving));
    }

    pub(super) fn ready(&mut self, worker: u32) {
        let worker = WorkerId(worker);
        self.send(Event::WorkerSpawned { worker, pid: 1000 + worker.0, offer: None });
        let report = Report::Ready { transport: Transport::Frames };
        self.send(Event::Report { worker, report });
        let told = std::mem::take(&mut self.last);
        self.send(Event::ProxyMessage(FromProxy::WorkerServing { worker }));
        self.last.splice(0..0, told);
    }

    pub(super) fn report(&mut self, worker: u32, report: Report) {
        self.send(Event::Report { worker: WorkerId(worker), report });
    }

    pub(super) fn exit(&mut self, worker: u32, how: HowDied) -> &[Action] {
        let death = Death { how, ..Death::default() };
        self.send(Event::WorkerExited { worker: WorkerId(worker), death })
    }

    pub(super) fn proxy_exit(&mut self) -> &[Action] {
        self.send(Event::ProxyExited(Death { how: HowDied::Exit(0), ..Death::default() }))
    }

    pub(super) fn exit_reason(&self) -> Option<&ExitReason> {
        self.last.iter().find_map(|action| match action {
            Action::Exit(reason) => Some(reason),
            _ => None,
        })
    }

    pub(super) fn failure(&self) -> &crate::journey::StartFailure {
        let found = self.last.iter().find_map(|action| match action {
            Action::Notice(Notice::StartFailed(failure)) => Some(failure),
            _ => None,
        });
        found.expect("a start failure")
    }

    pub(super) fn state(&self, slot: usize) -> WorkerState {
        self.machine.worker_status(self.now_ms)[slot].state
    }
}

pub(super) fn spawned(actions: &[Action]) -> Vec<u32> {
    let worker = |action: &Action| match action {
        Action::SpawnWorker { worker, .. } => Some(worker.0),
        _ => None,
    };
    actions.iter().filter_map(worker).collect()
}

pub(super) fn signals(actions: &[Action]) -> Vec<(Target, StopSignal)> {
    let signal = |action: &Action| match action {
        Action::Signal { target, signal } => Some((*target, *signal)),
        _ => None,
    };
    actions.iter().filter_map(signal).collect()
}

pub(super) fn worker(number: u32) -> Target {
    Target::Worker(WorkerId(number))
}

impl Bench {
    /// Asks for a reload and gives the machine the app as it is now.
    pub(super) fn reload(&mut self, ticket: u64) {
        self.reload_to(ticket, spec(Kind::Script));
    }

    pub(super) fn reload_to(&mut self, ticket: u64, spec: AppSpec) {
        self.ask(ticket, false);
        assert!(self.last.contains(&Action::ReadRelease), "{:?}", self.last);
        self.send(Event::ReleaseRead(Ok(Box::new(spec))));
    }

    pub(super) fn ask(&mut self, ticket: u64, back: bool) {
        let (cause, ticket) = ("hostler reload".to_owned(), Some(Ticket(ticket)));
        self.send(Event::Reload { cause, ticket, back });
    }

    /// What the proxy was told in the last step.
    pub(super) fn told(&self) -> Vec<ToProxy> {
        let told = |action: &Action| match action {
            Action::SendProxy(message) => Some(message.clone()),
            _ => None,
        };
        self.last.iter().filter_map(told).collect()
    }

    pub(super) fn verdict(&self, ticket: u64) -> Option<&CommandAnswer> {
        self.last.iter().find_map(|action| match action {
            Action::Answer(Ticket(answered), verdict) if *answered == ticket => Some(verdict),
            _ => None,
        })
    }

    pub(super) fn is_ready(&mut self, worker: u32) {
        let worker = WorkerId(worker);
        self.send(Event::WorkerSpawned { worker, pid: 1000 + worker.0, offer: None });
        self.send(Event::Report { worker, report: Report::Ready { transport: Transport::Frames } });
    }

    pub(super) fn is_serving(&mut self, worker: u32) {
        let worker = WorkerId(worker);
        self.send(Event::ProxyMessage(FromProxy::WorkerServing { worker }));
    }

    pub(super) fn is_drained(&mut self, worker: u32) {
        let worker = WorkerId(worker);
        let drain = self.machine.process_mut(worker).map_or(0, |process| process.drain);
        self.send(Event::ProxyMessage(FromProxy::WorkerDrained { worker, drain }));
    }

    /// Two workers that have been reloaded: 1 and 2 stand by, 3 and 4 serve on probation.
    pub(super) fn on_probation() -> Self {
        let mut bench = Self::running(2);
        bench.reload(7);
        for worker in [3, 4] {
            bench.is_ready(worker);
        }
        for worker in [3, 4] {
            bench.is_serving(worker);
        }
        bench
    }

    /// Number and generation of the workers that take requests, as status shows them.
    pub(super) fn takers(&self) -> Vec<(u32, u32)> {
        let status = self.machine.worker_status(self.now_ms);
        let takers = status.iter().filter(|worker| worker.state == WorkerState::Ready);
        takers.map(|worker| (worker.worker.0, worker.generation)).collect()
    }
}

pub(super) fn drained(messages: &[ToProxy]) -> Vec<u32> {
    let drained = |message: &ToProxy| match message {
        ToProxy::WorkerDrain { worker, .. } => Some(worker.0),
        _ => None,
    };
    messages.iter().filter_map(drained).collect()
}

pub(super) fn resumed(messages: &[ToProxy]) -> Vec<u32> {
    let resumed = |message: &ToProxy| match message {
        ToProxy::WorkerResume { worker } => Some(worker.0),
        _ => None,
    };
    messages.iter().filter_map(resumed).collect()
}
