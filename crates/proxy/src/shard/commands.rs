//! Orders of the control thread, and news for it.
//!
//! Owns: workers coming and going, the end of the shard, snapshots. Must never know: who gave the order. Part of the shard.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use hostler_driver::{Driver, ListenerId};
use hostler_protocol::control::{ShardStatus, StartProblem, Transport, WorkerAddress};

use super::{Draining, Shard};
use crate::app_settings::in_effect;
use crate::conn::Event;
use crate::dispatch::WorkerPhase;
use crate::stats::WorkerGauge;

/// Turns between "accept no more" and closing the listeners: the cancel takes one, what it crosses another.
const LISTEN_TURNS: u8 = 2;

/// What the control thread may ask.
#[derive(Debug)]
pub enum ShardCommand {
    /// This worker takes requests.
    WorkerReady {
        /// Who and where.
        address: WorkerAddress,
        /// Shared by all shards.
        gauge: Arc<WorkerGauge>,
    },
    /// No new requests for this worker; [`ShardEvent::WorkerDrained`] follows.
    WorkerDrain {
        /// The supervisor's number.
        worker: u32,
        /// Which drain this is; the answer says it.
        drain: u32,
    },
    /// It takes requests again; an answer that is still due is not given.
    WorkerResume {
        /// The supervisor's number.
        worker: u32,
    },
    /// Its upgraded connections end.
    CloseUpgraded {
        /// The supervisor's number.
        worker: u32,
        /// Spread over this time.
        within_ms: u32,
    },
    /// The process is gone.
    WorkerGone {
        /// The supervisor's number.
        worker: u32,
    },
    /// Nothing runs; [`ShardEvent::WorkerWanted`] is to be said from now on when somebody waits.
    Asleep,
    /// Workers start: who waits is not sent away meanwhile.
    WorkersStarting,
    /// They did not start: who waits is.
    StartFailed {
        /// Why.
        problem: StartProblem,
        /// So long nobody tries again.
        retry_ms: u32,
    },
    /// Stop accepting, finish, [`ShardEvent::Drained`] follows and the shard ends.
    Drain {
        /// What still lives after this time is cut.
        deadline_ms: u32,
    },
    /// Workers shall open a channel to another proxy's shard beside the one they have here.
    MoveWorkers {
        /// Its socket.
        channel: PathBuf,
    },
    /// Another proxy has taken over: as [`ShardCommand::Drain`], but idle connections get their time, and an answer more.
    Retire {
        /// Idle connections are closed after this time.
        idle_ms: u32,
        /// What still lives after this time is cut.
        deadline_ms: u32,
    },
    /// Send the figures.
    Snapshot {
        /// To here.
        reply: SyncSender<ShardStatus>,
    },
}

/// What a shard has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardEvent {
    /// No request of this shard is in flight in the worker.
    WorkerDrained {
        /// The supervisor's number.
        worker: u32,
        /// Which drain this is about.
        drain: u32,
    },
    /// The worker's event loop seems to hang; it has nothing of this shard's in flight any more.
    WorkerSilent {
        /// The supervisor's number.
        worker: u32,
        /// How long nothing has been heard of it, milliseconds.
        silent_ms: u64,
        /// Requests that it had in flight, of all shards.
        in_flight: u32,
    },
    /// It has spoken again.
    WorkerBack {
        /// The supervisor's number.
        worker: u32,
    },
    /// A request waits, and there is no worker.
    WorkerWanted,
    /// This shard can send requests to the worker.
    WorkerServing {
        /// The supervisor's number.
        worker: u32,
    },
    /// During a drain: the client listeners are closed.
    ListenersClosed,
    /// The worker's channel to this shard broke.
    WorkerLost {
        /// The supervisor's number.
        worker: u32,
        /// What happened.
        why: String,
    },
    /// The driver failed; the shard has ended, and the process should.
    Failed {
        /// Why.
        why: String,
    },
    /// Lines for the access log.
    Log(bytes::Bytes),
    /// No client connection is left; the shard ends.
    Drained {
        /// Connections cut at the deadline.
        cut: u32,
    },
}

impl<D: Driver> Shard<D> {
    pub(super) fn run_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.command(command);
        }
    }

    /// Carries out one order.
    pub fn command(&mut self, command: ShardCommand) {
        match command {
            ShardCommand::WorkerReady { address, gauge } => self.worker_ready(address, gauge),
            ShardCommand::WorkerDrain { worker, drain } => self.worker_drain(worker, drain),
            ShardCommand::WorkerResume { worker } => self.worker_resume(worker),
            ShardCommand::CloseUpgraded { worker, within_ms } => {
                self.close_upgraded(worker, within_ms);
            }
            ShardCommand::WorkerGone { worker } => self.worker_gone(worker),
            ShardCommand::Asleep => self.asleep(),
            ShardCommand::WorkersStarting => self.workers_start(),
            ShardCommand::StartFailed { problem, retry_ms } => self.start_failed(problem, retry_ms),
            ShardCommand::Drain { deadline_ms } => self.drain(deadline_ms),
            ShardCommand::MoveWorkers { channel } => self.move_workers(channel),
            ShardCommand::Retire { idle_ms, deadline_ms } => self.retire(idle_ms, deadline_ms),
            ShardCommand::Snapshot { reply } => {
                // The asker may have given up waiting; that is its own business.
                let _ = reply.send(self.status());
            }
        }
    }

    fn worker_ready(&mut self, address: WorkerAddress, gauge: Arc<WorkerGauge>) {
        let number = address.worker.0;
        if self.dispatch.find(number).is_some() {
            return;
        }
        let plain = address.transport == Transport::Http;
        let token = self.token_of(&address);
        let index = self.dispatch.add(address, gauge, self.now.ms);
        if plain {
            (self.events)(ShardEvent::WorkerServing { worker: number });
        }
        if let Some(worker) = self.dispatch.get_mut(index) {
            worker.phase = WorkerPhase::Ready;
            worker.token = token;
        }
        if let Some(channel) = self.channel_of(number) {
            self.attach(channel);
        }
        self.pump = true;
        self.worker_came();
    }

    fn worker_gone(&mut self, number: u32) {
        let Some(index) = self.dispatch.find(number) else {
            return;
        };
        // First out of the table of choices, or its requests would be retried on it.
        if let Some(worker) = self.dispatch.get_mut(index) {
            worker.phase = WorkerPhase::Gone { drained: worker.phase.drain().is_some() };
        }
        // Two, if it has connected again and the old one's end has not been seen.
        while let Some(channel) = self.channel_of(number) {
            self.channel_lost(channel, "the process is gone");
        }
        self.plains_lost(index);
        self.dispatch.remove(index);
        self.refuse_in_vain();
    }

    /// Also ends a retirement that is under way: then it is the whole instance that stops.
    fn drain(&mut self, deadline_ms: u32) {
        let retires = self.draining.is_some_and(|drain| drain.idle_until_ms.is_some());
        if self.draining.is_some() && !retires {
            return;
        }
        self.accept_no_more(None, deadline_ms);
        self.accepted.clear();
        self.close_idle();
        self.refuse_in_vain();
    }

    pub(super) fn accept_no_more(&mut self, idle_until_ms: Option<u64>, deadline_ms: u32) {
        let deadline_ms = self.now.ms + u64::from(deadline_ms);
        self.draining =
            Some(Draining { deadline_ms, idle_until_ms, cut: 0, listen_turns: LISTEN_TURNS });
        for listener in &self.listeners {
            self.driver.accept(*listener, false);
        }
        self.accept_paused.clear();
    }

    pub(super) fn close_idle(&mut self) {
        for slot in 0..self.conns.end() {
            self.step(slot, Event::Drain);
        }
    }

    pub(super) fn cut_all(&mut self) {
        if let Some(drain) = &mut self.draining {
            drain.cut += self.conns.used();
        }
        for slot in 0..self.conns.end() {
            self.step(slot, Event::Cut);
        }
    }

    /// Has the drain come to its end?
    pub(super) fn has_drained(&self) -> bool {
        self.draining.is_some() && self.listeners.is_empty() && self.conns.used() == 0
    }

    /// Closes the listeners once the connections that were being accepted have been seen.
    pub(super) fn stop_listening(&mut self) {
        let Some(drain) = &mut self.draining else { return };
        if drain.listen_turns > 0 {
            drain.listen_turns -= 1;
            return;
        }
        let crossed = |listener: &ListenerId| self.driver.may_accept(*listener);
        if self.listeners.is_empty() || self.listeners.iter().any(crossed) {
            return;
        }
        for listener in std::mem::take(&mut self.listeners) {
            self.driver.unlisten(listener);
        }
        (self.events)(ShardEvent::ListenersClosed);
    }

    pub(super) fn report_drained(&mut self) {
        let cut = self.draining.map_or(0, |drain| drain.cut);
        (self.events)(ShardEvent::Drained { cut });
    }

    /// The figures of this moment.
    pub fn status(&self) -> ShardStatus {
        let usage = self.driver.usage();
        ShardStatus {
            shard: self.settings.shard,
            conns: self.conns.used(),
            in_flight: self.dispatch.in_flight(),
            upgraded: self.dispatch.upgraded(),
            queued: self.dispatch.queue.len() as u32,
            requests: self.stats.requests,
            refused: self.stats.refused,
            failed: self.stats.failed,
            shed: self.stats.shed,
            retried: self.stats.retried,
            starved: usage.starved,
            sockets: usage.sockets,
            buffers_out: usage.buffers_out,
            app: in_effect(&self.base_settings, &self.settings),
        }
    }
}
