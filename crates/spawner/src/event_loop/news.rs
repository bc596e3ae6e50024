//! The kernel's news: waiting for it and taking it in.
//!
//! Owns: the set of descriptors that are watched, and the way from each to an event. Must never
//! know: what the machine makes of an event.

use std::os::fd::AsFd;

use hostler_protocol::control::{FromProxy, WorkerId};
use rustix::event::{PollFd, PollFlags, poll};

use super::control::ClientId;
use super::figures::OWN_REQUEST;
use super::proxy_link::LinkError;
use super::streams::{EachLine, Kind, Streams};
use super::{EventLoop, signals};
use crate::output::{Channel, Sink, format_line, stderr_sink};
use crate::supervisor::{Death, Event, HowDied, Report, StopSignal, Target};

/// The descriptor that has news.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    Stream(u64),
    Link,
    Other(Target),
    ControlListener,
    Client(ClientId),
    Signals,
    Child,
    App(WorkerId),
    Health(WorkerId),
    Sink,
}

impl EventLoop<'_> {
    /// Waits for news or for the next deadline.
    pub(super) fn wait(&self) -> Vec<Token> {
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
        for (target, link) in &self.others {
            let write = if link.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            watch(Token::Other(*target), link.fd(), PollFlags::IN | write);
        }
        if let Some(fd) = self.control.listener(self.now_ms()) {
            watch(Token::ControlListener, fd, PollFlags::IN);
        }
        for (id, fd, flags) in self.control.clients() {
            watch(Token::Client(id), fd, flags);
        }
        let sinks = std::iter::once(&self.stdout).chain(stderr.as_deref());
        for fd in sinks.filter_map(Sink::waiting) {
            watch(Token::Sink, fd, PollFlags::OUT);
        }
        for (target, kept) in &self.kept {
            if let (Target::Worker(worker), Some(app)) =
                (target, kept.claim.as_ref().and_then(|claim| claim.app.as_ref()))
            {
                watch(Token::App(*worker), app.as_fd(), PollFlags::IN);
            }
        }
        for (worker, fd, flags) in self.health.fds() {
            watch(Token::Health(worker), fd, flags);
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

    /// Takes in what one descriptor has.
    pub(super) fn turn(&mut self, token: Token) {
        match token {
            Token::Stream(number) => self.with_lines(|streams, each| streams.read(number, each)),
            Token::Link => self.turn_link(),
            Token::Other(target) => self.turn_other(target),
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
            Token::Health(worker) => self.turn_health(worker),
            Token::App(worker) => self.app_ended(worker),
            // Written to at the end of the turn.
            Token::Sink => {}
        }
    }

    /// Lets `read` give out lines, and takes each to where it belongs.
    fn with_lines(&mut self, read: impl FnOnce(&mut Streams, &mut EachLine<'_>)) {
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
            match message {
                FromProxy::Status { request: OWN_REQUEST, status } => self.proxy_figures(&status),
                FromProxy::Status { request, status } => {
                    for client in self.status.answered(request) {
                        self.answer_status(client, Some(status.clone()));
                    }
                }
                FromProxy::ListenersClosed => self.listeners.refuse_clients(),
                message => self.events.push_back(Event::ProxyMessage(message)),
            }
        }
        if let Err(error) = result {
            self.drop_link(&error);
        }
    }

    /// The proxy cannot be told anything any more: it is about to end, or of no use.
    pub(super) fn drop_link(&mut self, error: &LinkError) {
        if !matches!(error, LinkError::Closed) {
            tracing::error!("the proxy is killed: {error}");
            self.children.signal(Target::Proxy, StopSignal::Kill);
        }
        if self.link.take().is_some() {
            self.events.push_back(Event::ProxyHungUp);
        }
        for client in self.status.abandoned() {
            self.answer_status(client, None);
        }
    }

    fn app_ended(&mut self, worker: WorkerId) {
        let target = Target::Worker(worker);
        // What it said last comes before its end.
        self.with_lines(|streams, each| streams.drain(target, each));
        let claim = self.kept.get_mut(&target).and_then(|kept| kept.claim.as_mut());
        if claim.and_then(|claim| claim.app.take()).is_some() {
            self.events.push_back(Event::AppEnded { worker });
        }
    }

    fn reap(&mut self) {
        for (target, how) in self.children.reap() {
            self.child_is_gone(target, how);
        }
    }

    /// What it left behind is read, and the machine is told.
    pub(super) fn child_is_gone(&mut self, target: Target, how: HowDied) {
        self.with_lines(|streams, each| streams.drain(target, each));
        let kept = self.kept.remove(&target).unwrap_or_default();
        for socket in &kept.sockets {
            // A worker removes its socket file by itself, unless it was killed.
            let _ = std::fs::remove_file(socket);
        }
        let struck = self.oom.struck();
        let killed = matches!(how, HowDied::Signal { signal: libc::SIGKILL, .. });
        let death = Death { how, oom: killed && struck, stderr_tail: kept.tail.to_lines() };
        match target {
            Target::Worker(worker) => {
                self.events.push_back(Event::WorkerExited { worker, death });
            }
            Target::Trial => self.trial_exited(&death),
            Target::Successor => {
                self.turn_other(target);
                self.listeners.drop_successor();
                self.events.push_back(Event::SuccessorExited(death));
            }
            Target::Retired(proxy) => {
                self.turn_other(target);
                self.events.push_back(Event::RetiredExited { proxy, death });
            }
            Target::Proxy => {
                self.turn_link();
                self.drop_link(&LinkError::Closed);
                self.events.push_back(Event::ProxyExited(death));
            }
        }
    }
}
