//! The proxy of a program that shall take over, the ones that have retired, and the moment when one becomes the other.
//!
//! Owns: their links and the exchange of parts. Must never know: when; that is decided in `supervisor::upgrade`.

use std::path::{Path, PathBuf};

use hostler_protocol::control::{FromProxy, ToProxy};

use super::EventLoop;
use super::children::explain;
use super::proxy_link::LinkError;
use crate::exec::ProcessSpec;
use crate::hand_over::{TRIAL, VARIABLE, carry, hand_over};
use crate::output::Label;
use crate::supervisor::{Death, Event, HowDied, Target};

impl EventLoop<'_> {
    /// Starts a proxy of another program with the same clients' listeners.
    pub(super) fn spawn_successor(&mut self, program: &Path) {
        let started = self.listeners.open_successor(self.dir).and_then(|fds| {
            let (pid, link) = self.start_proxy(Target::Successor, program, fds)?;
            tracing::info!("the new program's proxy is started (pid {pid})");
            self.others.push((Target::Successor, link));
            Ok(())
        });
        self.events.push_back(match started {
            Ok(()) => Event::SuccessorSpawned,
            Err(error) => {
                self.listeners.drop_successor();
                Event::SuccessorSpawnFailed(explain(&error, program, None))
            }
        });
    }

    /// Tells the workers where the next proxy is, or that it is the old one after all.
    pub(super) fn move_workers(&mut self, to_successor: bool) {
        let to = match self.listeners.successor_channels() {
            Some(channels) if to_successor => channels.to_vec(),
            _ => self.listeners.channels.clone(),
        };
        self.tell_current(&ToProxy::MoveWorkers { channels: to });
        if !to_successor {
            self.listeners.drop_successor();
        }
    }

    pub(super) fn tell_current(&mut self, message: &ToProxy) {
        let sent = self.link.as_mut().map(|link| link.send(message));
        if let Some(Err(error)) = sent {
            self.drop_link(&error);
        }
    }

    /// Tells one of the others something. One that does not listen ends soon, or is ended at its deadline.
    pub(super) fn tell_other(&mut self, to: Target, message: &ToProxy) {
        let Some(index) = self.others.iter().position(|(target, _)| *target == to) else { return };
        if let Err(error) = self.others[index].1.send(message) {
            self.drop_other(index, &error);
        }
    }

    /// One of the others has something to say.
    pub(super) fn turn_other(&mut self, from: Target) {
        let Some(index) = self.others.iter().position(|(target, _)| *target == from) else {
            return;
        };
        let mut messages = Vec::new();
        let link = &mut self.others[index].1;
        let result = link.flush().and_then(|()| link.receive(&mut messages));
        self.events.extend(messages.into_iter().filter_map(|message| said(from, message)));
        if let Err(error) = result {
            self.drop_other(index, &error);
        }
    }

    fn drop_other(&mut self, index: usize, error: &LinkError) {
        let (target, _) = self.others.swap_remove(index);
        tracing::debug!(?target, %error, "the link to a proxy has ended");
    }

    /// The successor is the proxy from now on.
    pub(super) fn crown(&mut self, retired: u32) {
        self.listeners.crown();
        for (from, to) in
            [(Target::Proxy, Target::Retired(retired)), (Target::Successor, Target::Proxy)]
        {
            self.children.rename(from, to);
            self.streams.rename(from, to);
            if let Some(kept) = self.kept.remove(&from) {
                self.kept.insert(to, kept);
            }
        }
        let successor = self.others.iter().position(|(target, _)| *target == Target::Successor);
        let successor = successor.map(|index| self.others.swap_remove(index).1);
        if let Some(mut before) = std::mem::replace(&mut self.link, successor) {
            before.keeping.release();
            self.others.push((Target::Retired(retired), before));
        }
    }

    /// Starts a process of the new program that reads our state and says by its exit code whether it can.
    pub(super) fn try_program(&mut self, program: &Path) {
        let started = match self.estate() {
            (Ok(state), _) => carry(&state).and_then(|state| {
                let (pid, pipes) =
                    self.children.start(Target::Trial, false, |stdout, stderr| ProcessSpec {
                        program: program.to_owned(),
                        args: std::env::args_os().skip(1).collect(),
                        env: vec![(VARIABLE.into(), TRIAL.into())],
                        env_removed: &[],
                        cwd: None,
                        stdout,
                        stderr,
                        fds: vec![state],
                        dies_with_us: true,
                    })?;
                tracing::debug!(pid, "the new program tries to read the state");
                self.watch_output(Target::Trial, &Label::Proxy, pipes, Vec::new());
                Ok(())
            }),
            (Err(error), _) => Err(error.into()),
        };
        if let Err(error) = started {
            self.events.push_back(Event::Tried(Err(explain(&error, program, None).text())));
        }
    }

    pub(super) fn trial_exited(&mut self, death: &Death) {
        let result = match (&death.how, death.last_words()) {
            (HowDied::Exit(0), _) => Ok(()),
            (_, Some(words)) => Err(words),
            (_, None) => Err(format!("it {}", death.explained())),
        };
        self.events.push_back(Event::Tried(result));
    }

    /// Becomes the new program. What comes back from this is the old one.
    pub(super) fn hand_over(&mut self, program: &Path) {
        // Questions that the new program would not know of.
        for client in self.status.abandoned() {
            self.answer_status(client, None);
        }
        self.finish_output();
        let why = match self.estate() {
            (Ok(state), fds) => hand_over(program, &state, &fds),
            (Err(error), _) => format!("the state cannot be written: {error}"),
        };
        self.events.push_back(Event::HandOverFailed(why));
    }

    /// A program for an upgrade: a bare name or a relative path would mean something else in a folder that has moved.
    pub(super) fn upgrade_program(program: &Path) -> Result<PathBuf, String> {
        if program.is_absolute() {
            return Ok(program.to_owned());
        }
        Err(format!("{} is no absolute path", program.display()))
    }
}

fn said(from: Target, message: FromProxy) -> Option<Event> {
    match from {
        Target::Successor => Some(Event::SuccessorMessage(message)),
        Target::Retired(proxy) => Some(Event::RetiredMessage { proxy, message }),
        Target::Proxy | Target::Trial | Target::Worker(_) => None,
    }
}
