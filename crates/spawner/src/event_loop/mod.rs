//! The loop: the kernel's news in, the machine's actions out.
//!
//! Owns: every descriptor of the supervisor but the listeners, the clock, and the order of things. Must
//! never know: why something is done; that is decided in `crate::supervisor`. One thread, `poll`, and nothing in
//! it that waits: not for a child, not for a client, not for the reader of our output.
//!
//! `poll` instead of `epoll`: the set is small (four descriptors a worker), changes often, and a set that is built
//! anew each time cannot name a descriptor that is gone.

mod actions;
mod children;
mod control;
mod launch;
mod oom;
mod orphans;
mod proxy_link;
mod signals;
mod status;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use hostler_protocol::control::{CommandAnswer, CommandRequest, FromProxy, ToProxy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::SupervisorConfig;
use crate::exec;
use crate::listeners::{Listeners, bind_file};
use crate::outcome::{ExitReason, Notice};
use crate::output::{Channel, Sink, Tail, format_line, stderr_sink};
use crate::runtime_dir::RuntimeDir;
use crate::supervisor::{Death, Event, HowDied, Machine, Report, Settings, Target};
use crate::worker_command;
use children::Children;
use control::{ClientId, ControlServer};
use oom::OomWatch;
use orphans::Orphans;
use proxy_link::{LinkError, ProxyLink};
use status::StatusDesk;
use streams::{Kind, Streams};

/// A reader that hangs must not keep us from ending.
const LAST_WRITE_MS_MAX: u32 = 500;

/// The descriptor that has news.
#[derive(Clone, Copy, Debug)]
enum Token {
    Stream(u64),
    Link,
    ControlListener,
    Client(ClientId),
    Signals,
    Child,
    Sink,
}

/// What is remembered of a living child for the moment of its death.
#[derive(Debug, Default)]
struct Kept {
    /// The last lines of its stderr.
    tail: Tail,
    /// Its plain socket.
    plain: Option<PathBuf>,
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
    listeners: &'a Listeners,
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
    control: ControlServer,
    status: StatusDesk,
    oom: OomWatch,
    stdout: Sink,
    out: &'a mut dyn FnMut(Notice),
    exit: Option<ExitReason>,
}

impl<'a> EventLoop<'a> {
    /// Prepares everything; starts nothing yet.
    pub(crate) fn new(
        config: &'a SupervisorConfig,
        dir: &'a RuntimeDir,
        listeners: &'a Listeners,
        loader_dir: PathBuf,
        out: &'a mut dyn FnMut(Notice),
    ) -> io::Result<Self> {
        let settings = Settings {
            app: config.app.name.clone(),
            workers: config.app.workers,
            shards: config.proxy.shards,
            transport: config.app.transport,
            cores: config.worker_cores.clone(),
            pin: config.pin,
            start_ms_max: config.start_ms_max,
            stop_ms_max: config.stop_ms_max,
            listeners: listeners.names.clone(),
            runtime_dir: dir.path().to_owned(),
            command: worker_command::shown(&config.app),
            cwd: config.app.cwd.display().to_string(),
        };
        Ok(Self {
            config,
            dir,
            listeners,
            loader_dir,
            begun: Instant::now(),
            machine: Machine::new(settings),
            events: VecDeque::new(),
            signals: exec::block_signals()?,
            orphans: Orphans::adopt()?,
            children: Children::default(),
            streams: Streams::new(),
            kept: HashMap::new(),
            link: None,
            control: ControlServer::new(bind_file(&dir.control_socket(), 0o600)?)?,
            status: StatusDesk::default(),
            oom: OomWatch::new(),
            stdout: Sink::new(io::stdout().as_fd())?,
            out,
            exit: None,
        })
    }

    /// Runs until the machine says that it is over and no child is left.
    pub(crate) fn run(mut self) -> (ExitReason, Farewell) {
        self.events.push_back(Event::Started);
        let reason = loop {
            self.handle_events();
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
        self.stdout.finish(LAST_WRITE_MS_MAX);
        if let Some(mut stderr) = stderr_sink() {
            stderr.finish(LAST_WRITE_MS_MAX);
        }
        (reason, Farewell { _clients: self.control })
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
            self.machine.step(event, self.now_ms(), &mut actions);
            for action in actions.drain(..) {
                self.act(action);
            }
        }
    }

    /// Waits for news or for the next deadline.
    fn wait(&self) -> Vec<Token> {
        let stderr = stderr_sink();
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        let mut watch = |token, fd, flags| {
            tokens.push(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        // In the order in which they are handled: what a child said comes before its death.
        for (number, fd) in self.streams.fds() {
            watch(Token::Stream(number), fd, PollFlags::IN);
        }
        if let Some(link) = &self.link {
            let write = if link.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            watch(Token::Link, link.fd(), PollFlags::IN | write);
        }
        watch(Token::ControlListener, self.control.listener(), PollFlags::IN);
        for (id, fd, flags) in self.control.clients() {
            watch(Token::Client(id), fd, flags);
        }
        let sinks = std::iter::once(&self.stdout).chain(stderr.as_deref());
        for fd in sinks.filter_map(Sink::waiting) {
            watch(Token::Sink, fd, PollFlags::OUT);
        }
        watch(Token::Signals, self.signals.as_fd(), PollFlags::IN);
        for fd in self.children.pidfds() {
            watch(Token::Child, fd, PollFlags::IN);
        }
        // An error (interrupted, no memory) is no news; the deadlines below are looked at anyway.
        if poll(&mut fds, self.timeout().as_ref()).is_err() {
            return Vec::new();
        }
        let news = tokens.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        news.map(|(token, _)| *token).collect()
    }

    fn timeout(&self) -> Option<Timespec> {
        let deadlines = [
            self.machine.next_deadline_ms(),
            self.control.next_deadline_ms(),
            self.status.next_deadline_ms(),
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
        self.control.expire(now_ms);
        for client in self.status.expired(now_ms) {
            self.answer_status(client, None);
        }
    }

    fn turn(&mut self, token: Token) {
        match token {
            Token::Stream(number) => self.with_lines(|streams, each| streams.read(number, each)),
            Token::Link => self.turn_link(),
            Token::ControlListener => self.control.accept(self.now_ms()),
            Token::Client(id) => {
                if let Some(request) = self.control.turn(id, self.now_ms()) {
                    self.command(id, &request);
                }
            }
            Token::Signals => {
                for signal in signals::read(&self.signals) {
                    if signal == libc::SIGCHLD {
                        self.reap();
                    } else {
                        self.events.push_back(Event::Signal(signal));
                    }
                }
            }
            Token::Child => self.reap(),
            // Written to at the end of the turn.
            Token::Sink => {}
        }
    }

    /// Lets `read` give out lines, and takes each to where it belongs.
    fn with_lines(&mut self, read: impl FnOnce(&mut Streams, &mut streams::EachLine<'_>)) {
        let Self { streams, kept, stdout, events, config, .. } = self;
        let mut formatted = Vec::new();
        read(streams, &mut |target, kind, line| match kind {
            Kind::Output { channel, label } => {
                formatted.clear();
                format_line(&mut formatted, label, *channel, line, config.log_json);
                match channel {
                    Channel::Stdout => stdout.push(&formatted),
                    Channel::Stderr => {
                        if let Some(mut stderr) = stderr_sink() {
                            stderr.push(&formatted);
                        }
                        if let Some(kept) = kept.get_mut(&target) {
                            kept.tail.push(line);
                        }
                    }
                }
            }
            Kind::Report => match (target, Report::parse(line)) {
                (Target::Worker(worker), Some(report)) => {
                    events.push_back(Event::Report { worker, report });
                }
                _ => tracing::debug!(line = %String::from_utf8_lossy(line), "unknown report"),
            },
        });
    }

    fn turn_link(&mut self) {
        let Some(link) = &mut self.link else {
            return;
        };
        let mut messages = Vec::new();
        let result = link.flush().and_then(|()| link.receive(&mut messages));
        for message in messages {
            if let FromProxy::Status { request, status } = message {
                for client in self.status.answered(request) {
                    self.answer_status(client, Some(status.clone()));
                }
            } else {
                self.events.push_back(Event::ProxyMessage(message));
            }
        }
        if let Err(error) = result {
            self.drop_link(&error);
        }
    }

    /// A proxy that cannot be told anything is of no use; its exit is handled as any other.
    fn drop_link(&mut self, error: &LinkError) {
        if !matches!(error, LinkError::Closed) {
            tracing::error!("the proxy is killed: {error}");
            self.children.signal(Target::Proxy, crate::supervisor::StopSignal::Kill);
        }
        self.link = None;
        for client in self.status.abandoned() {
            self.answer_status(client, None);
        }
    }

    fn reap(&mut self) {
        for (target, how) in self.children.reap() {
            self.with_lines(|streams, each| streams.drain(target, each));
            let kept = self.kept.remove(&target).unwrap_or_default();
            if let Some(plain) = &kept.plain {
                // A worker removes its socket file by itself, unless it was killed.
                let _ = std::fs::remove_file(plain);
            }
            let struck = self.oom.struck();
            let killed = matches!(how, HowDied::Signal { signal: libc::SIGKILL, .. });
            let death = Death { how, oom: killed && struck, stderr_tail: kept.tail.to_lines() };
            match target {
                Target::Worker(worker) => {
                    self.events.push_back(Event::WorkerExited { worker, death });
                }
                Target::Proxy => {
                    self.turn_link();
                    self.drop_link(&LinkError::Closed);
                    self.events.push_back(Event::ProxyExited(death));
                }
            }
        }
    }

    fn command(&mut self, client: ClientId, request: &CommandRequest) {
        let now_ms = self.now_ms();
        match request {
            CommandRequest::Stop => {
                self.control.answer(client, &CommandAnswer::Accepted, true, now_ms);
                self.events.push_back(Event::StopCommand);
            }
            CommandRequest::Status => {
                let request = self.status.ask(client, now_ms);
                let sent = self.link.as_mut().map(|link| link.send(&ToProxy::Status { request }));
                match sent {
                    Some(Ok(())) => {}
                    Some(Err(error)) => self.drop_link(&error),
                    None => {
                        for client in self.status.answered(request) {
                            self.answer_status(client, None);
                        }
                    }
                }
            }
        }
    }

    fn answer_status(
        &mut self,
        client: ClientId,
        proxy: Option<hostler_protocol::control::ProxyStatus>,
    ) {
        let now_ms = self.now_ms();
        let facts = status::Facts {
            uptime_s: now_ms / 1000,
            runtime_dir: self.dir.path().display().to_string(),
            proxy_pid: self.children.pid(Target::Proxy),
            listeners: self.listeners.names.clone(),
        };
        let status = status::gather(facts, self.machine.worker_status(now_ms), proxy);
        let answer = CommandAnswer::Status(Box::new(status));
        self.control.answer(client, &answer, false, now_ms);
    }
}
