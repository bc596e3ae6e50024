//! Doing what the machine decided.
//!
//! Owns: the mapping from each action to the part that does it. Must never know: the machine's
//! states.

use hostler_protocol::control::WorkerId;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{EventLoop, children, probe};
use crate::group_listens;
use crate::supervisor::{Action, Event, Level, Release, StopSignal, Target};

impl EventLoop<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::SpawnProxy => match self.launch_proxy() {
                Ok(pid) => self.events.push_back(Event::ProxySpawned { pid }),
                Err(failure) => self.events.push_back(Event::ProxySpawnFailed(failure)),
            },
            Action::SpawnWorker { slot, worker, release } => {
                self.spawn_worker(slot, worker, &release);
            }
            Action::Ask { worker, address, path, announced } => {
                self.ask_health(worker, &address, &path, announced);
            }
            Action::ReadRelease => {
                let read = (self.read_app)().map(Box::new);
                self.events.push_back(Event::ReleaseRead(read));
            }
            Action::Answer(ticket, answer) => self.answer_ticket(ticket, &answer),
            Action::Probe { worker, offer } => {
                if let Some(address) = probe::accepts(&offer) {
                    self.events.push_back(Event::Accepts { worker, address });
                }
            }
            Action::LookAround { worker } => {
                let group = self.children.pid(Target::Worker(worker));
                let found = group.map_or_else(Vec::new, group_listens::find);
                self.events.push_back(Event::LookedAround { worker, found });
            }
            Action::Watch { worker, pid } => self.watch_app(worker, pid),
            Action::TermApp { worker } => self.term_app(worker),
            Action::SendProxy(message) => self.tell_current(&message),
            Action::SpawnSuccessor { program } => self.spawn_successor(&program),
            Action::MoveWorkers { to_successor } => self.move_workers(to_successor),
            Action::TellSuccessor(message) => self.tell_other(Target::Successor, &message),
            Action::TryProgram { program } => self.try_program(&program),
            Action::HandOver { program } => self.hand_over(&program),
            Action::Crown { retired } => self.crown(retired),
            Action::TellRetired(proxy, message) => {
                self.tell_other(Target::Retired(proxy), &message);
            }
            Action::Signal { target, signal } => {
                tracing::debug!(?target, ?signal, "signal");
                self.children.signal(target, signal);
            }
            Action::Pin { pid, core } => {
                if let Err(error) = children::pin(pid, core) {
                    tracing::warn!(pid, core, "the worker cannot be pinned to its core: {error}");
                }
            }
            Action::Log(level, text) => {
                // What the app printed comes before what we say about it.
                self.flush_output();
                self.history.add(level, &text);
                match level {
                    Level::Info => tracing::info!("{text}"),
                    Level::Warn => tracing::warn!("{text}"),
                    Level::Error => tracing::error!("{text}"),
                }
            }
            Action::Notice(notice) => {
                self.flush_output();
                (self.out)(notice);
            }
            Action::Exit(reason) => self.exit = Some(reason),
        }
    }

    /// A process that has ended already is told like one that ends later.
    pub(super) fn watch_app(&mut self, worker: WorkerId, pid: u32) {
        let kept = self.kept.get_mut(&Target::Worker(worker));
        let Some(claim) = kept.and_then(|kept| kept.claim.as_mut()) else {
            return;
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(pidfd)) => claim.app = Some(pidfd),
            Some(Err(Errno::SRCH)) | None => self.events.push_back(Event::AppEnded { worker }),
            // No pidfds here: the end of the command tells.
            Some(Err(error)) => tracing::debug!(%error, "a process below a command is not watched"),
        }
    }

    fn term_app(&mut self, worker: WorkerId) {
        let target = Target::Worker(worker);
        let app = self.kept.get(&target).and_then(|kept| kept.claim.as_ref()?.app.as_ref());
        let sent = app.map(|pidfd| pidfd_send_signal(pidfd, Signal::TERM));
        if matches!(sent, Some(Ok(()))) {
            self.children.await_group(target);
        } else {
            self.children.signal(target, StopSignal::Term);
        }
    }

    fn spawn_worker(&mut self, slot: u32, worker: WorkerId, release: &Release) {
        let event = match self.launch_worker(slot, worker, release) {
            Ok((pid, offer)) => Event::WorkerSpawned { worker, pid, offer },
            Err(failure) => Event::WorkerSpawnFailed { worker, failure },
        };
        self.events.push_back(event);
    }
}
