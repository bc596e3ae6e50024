//! The loop: the kernel's news in, the machine's actions out.
//!
//! Owns: every descriptor of the supervisor but the listeners, the clock, and the order of things.
//! Must never know: why something is done; that is decided in `crate::supervisor`. One thread,
//! `poll`, and nothing in it that waits: not for a child, not for a client, not for the reader of
//! our output.
//!
//! `poll` instead of `epoll`: the set is small (four descriptors a worker), changes often, and a
//! set that is built anew each time cannot name a descriptor that is gone.

mod actions;
mod children;
mod commands;
mod control;
mod estate;
mod figures;
mod health;
mod history;
mod keeping;
mod launch;
mod news;
mod oom;
mod orphans;
mod probe;
mod proxy_link;
mod restart_file;
mod service_manager;
mod signals;
mod status;
mod streams;
mod succession;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::Timespec;
use serde::{Deserialize, Serialize};

use crate::config::SupervisorConfig;
use crate::exec;
use crate::listeners::{Listeners, bind_file, bind_packets};
use crate::outcome::{ExitReason, Notice};
use crate::output::{Sink, Tail, stderr_sink};
use crate::passed_fd::PassedFd;
use crate::run::ReadApp;
use crate::runtime_dir::{RuntimeDir, WorkerFolder};
use crate::supervisor::{Event, Machine, Release, Settings, Target};
use children::Children;
use control::ControlServer;
pub(crate) use estate::{Adopted, Estate, Header, Origin, Parts};
use figures::FigureClock;
use health::HealthChecks;
use history::History;
use oom::OomWatch;
use orphans::Orphans;
use proxy_link::ProxyLink;
use restart_file::RestartFile;
use service_manager::ServiceManager;
use status::StatusDesk;
use streams::Streams;

/// A reader that hangs must not keep us from ending.
const LAST_WRITE_MS_MAX: u32 = 500;

/// What is remembered of a living child for the moment of its death.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// The last lines of its stderr.
    tail: Tail,
    /// Its sockets.
    sockets: Vec<PathBuf>,
    /// The port that a command was given.
    port: Option<u16>,
    /// The writing end of the pipe that tells a Node process when we and the proxy are dead.
    alive: Option<PassedFd>,
    /// What Node processes below a command need.
    claim: Option<ClaimSide>,
}

/// Our side of the claim that a Node process below a command may make.
#[derive(Debug, Serialize, Deserialize)]
struct ClaimSide {
    folder: WorkerFolder,
    /// The writing end of the report pipe: without it the pipe would end whenever no process has it open.
    report: PassedFd,
    /// The process that made the claim; opened anew by another program.
    #[serde(skip)]
    app: Option<OwnedFd>,
}

impl ClaimSide {
    fn new((folder, report): (WorkerFolder, OwnedFd)) -> Self {
        Self { folder, report: report.into(), app: None }
    }
}

/// Keeps the clients of `hostler stop` waiting until it is dropped, which is the last thing of all.
#[derive(Debug)]
pub(crate) struct Farewell {
    _clients: ControlServer,
}

/// One instance at work.
pub(crate) struct EventLoop<'a> {
    config: &'a SupervisorConfig,
    dir: &'a RuntimeDir,
    listeners: &'a mut Listeners,
    loader_dir: PathBuf,
    begun: Instant,
    machine: Machine,
    events: VecDeque<Event>,
    signals: OwnedFd,
    orphans: Orphans,
    children: Children,
    streams: Streams,
    kept: HashMap<Target, Kept>,
    link: Option<ProxyLink>,
    /// Links to the proxies that do not serve yet, or any more.
    others: Vec<(Target, ProxyLink)>,
    control: ControlServer,
    /// Where a supervisor that follows ours finds what the proxy keeps.
    keeper: PassedFd,
    /// Something has happened that such a one should know.
    has_changed: bool,
    status: StatusDesk,
    oom: OomWatch,
    restart_file: RestartFile,
    figures: FigureClock,
    health: HealthChecks,
    history: History,
    service: ServiceManager,
    stdout: Sink,
    read_app: &'a mut ReadApp<'a>,
    out: &'a mut dyn FnMut(Notice),
    exit: Option<ExitReason>,
}

impl<'a> EventLoop<'a> {
    /// Prepares everything; starts nothing yet.
    pub(crate) fn new(
        config: &'a SupervisorConfig,
        dir: &'a RuntimeDir,
        listeners: &'a mut Listeners,
        loader_dir: PathBuf,
        read_app: &'a mut ReadApp<'a>,
        out: &'a mut dyn FnMut(Notice),
    ) -> io::Result<Self> {
        let settings = Settings {
            app: config.app.name.clone(),
            workers: config.app.workers,
            shards: config.proxy.shards,
            cores: config.worker_cores.clone(),
            pin: config.pin,
            start_ms_max: config.start_ms_max,
            stop_ms_max: config.stop_ms_max,
            listeners: listeners.names.clone(),
            runtime_dir: dir.path().to_owned(),
            program: config.proxy_command.first().map(PathBuf::from).unwrap_or_default(),
        };
        Ok(Self {
            config,
            dir,
            listeners,
            loader_dir,
            begun: Instant::now(),
            machine: Machine::new(settings, Release::new(1, config.app.clone())),
            events: VecDeque::from([Event::Started]),
            signals: exec::block_signals()?,
            orphans: Orphans::adopt()?,
            children: Children::default(),
            streams: Streams::new(),
            kept: HashMap::new(),
            link: None,
            others: Vec::new(),
            control: ControlServer::new(bind_file(&dir.control_socket(), 0o600)?)?,
            keeper: bind_packets(&dir.keeper_socket())?.into(),
            has_changed: false,
            status: StatusDesk::default(),
            oom: OomWatch::new(),
            restart_file: RestartFile::new(config.restart_file.clone()),
            figures: FigureClock::new(),
            health: HealthChecks::default(),
            history: History::default(),
            service: ServiceManager::new(std::env::var_os("NOTIFY_SOCKET").as_deref()),
            stdout: Sink::new(io::stdout().as_fd())?,
            read_app,
            out,
            exit: None,
        })
    }

    /// Runs until the machine says that it is over and no child is left.
    pub(crate) fn run(mut self) -> (ExitReason, Farewell) {
        let reason = loop {
            self.handle_events();
            self.keep_state();
            self.flush_output();
            if let Some(reason) = self.exit.take() {
                break reason;
            }
            for token in self.wait() {
                self.turn(token);
            }
            self.check_deadlines();
        };
        self.orphans.sweep(self.signals.as_fd());
        self.finish_output();
        (reason, Farewell { _clients: self.control })
    }

    /// What waits for a slow reader gets a moment: it lies in this program's memory.
    fn finish_output(&mut self) {
        self.stdout.finish(LAST_WRITE_MS_MAX);
        if let Some(mut stderr) = stderr_sink() {
            stderr.finish(LAST_WRITE_MS_MAX);
        }
    }

    fn flush_output(&mut self) {
        self.stdout.flush();
        if let Some(mut stderr) = stderr_sink() {
            stderr.flush();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives all waiting events to the machine and does what it wants.
    fn handle_events(&mut self) {
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            tracing::trace!(?event);
            self.has_changed |= !is_routine(&event);
            self.machine.step(event, self.now_ms(), &mut actions);
            for action in actions.drain(..) {
                self.act(action);
            }
            if self.service.is_there() {
                self.service.tell(self.machine.service_state(), self.machine.service_text());
            }
        }
        self.service.flush();
    }

    fn timeout(&self) -> Option<Timespec> {
        let deadlines = [
            self.machine.next_deadline_ms(),
            self.control.next_deadline_ms(self.now_ms()),
            self.status.next_deadline_ms(),
            self.restart_file.next_deadline_ms(),
            self.next_figures_ms(),
            self.health.next_deadline_ms(),
        ];
        let deadline_ms = deadlines.into_iter().flatten().min()?;
        let left_ms = i64::try_from(deadline_ms.saturating_sub(self.now_ms())).unwrap_or(i64::MAX);
        Some(Timespec { tv_sec: left_ms / 1000, tv_nsec: left_ms % 1000 * 1_000_000 })
    }

    fn check_deadlines(&mut self) {
        let now_ms = self.now_ms();
        if self.machine.next_deadline_ms().is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            self.events.push_back(Event::Tick);
        }
        self.take_figures(now_ms);
        self.expire_health(now_ms);
        if let Some(cause) = self.restart_file.look(now_ms) {
            self.events.push_back(Event::Reload { cause, ticket: None, back: false });
        }
        self.control.expire(now_ms);
        for client in self.status.expired(now_ms) {
            self.answer_status(client, None);
        }
    }
}

/// It comes all the time and changes nothing that would be missed.
fn is_routine(event: &Event) -> bool {
    matches!(event, Event::Tick | Event::Measured { .. } | Event::LoadSeen(_))
}
