//! Doing what the machine decided.
//!
//! Owns: the mapping from each action to the part that does it. Must never know: the machine's
//! states.

use hostler_protocol::control::WorkerId;

use super::{EventLoop, children, probe};
use crate::group_listens;
use crate::supervisor::{Action, Event, Level, Target};

impl EventLoop<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::SpawnProxy => match self.launch_proxy() {
                Ok(pid) => self.events.push_back(Event::ProxySpawned { pid }),
                Err(failure) => self.events.push_back(Event::ProxySpawnFailed(failure)),
            },
            Action::SpawnWorker { slot, worker } => self.spawn_worker(slot, worker),
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
            Action::SendProxy(message) => {
                let sent = self.link.as_mut().map(|link| link.send(&message));
                if let Some(Err(error)) = sent {
                    self.drop_link(&error);
                }
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

    fn spawn_worker(&mut self, slot: u32, worker: WorkerId) {
        let event = match self.launch_worker(slot, worker) {
            Ok((pid, offer)) => Event::WorkerSpawned { worker, pid, offer },
            Err(failure) => Event::WorkerSpawnFailed { worker, failure },
        };
        self.events.push_back(event);
    }
}
