//! The proxy's conversation with the supervisor.
//!
//! Owns: the control socket, the translation of messages to shard commands and of shard events to
//! messages. Must never know: sockets of clients. Runs on a thread of its own; nothing here is on the path of a
//! request.
//!
//! The loop is an async function on tokio. Where the ring exists it is driven by `tokio-uring`, elsewhere by tokio's own
//! epoll reactor; the code is the same.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hostler_driver::Waker;
use hostler_protocol::control::{
    FromProxy, IoChoice, LineBuffer, ProgramFacts, ProxyStatus, ToProxy, WorkerAddress, WorkerId,
    encode_line,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::agreement::Agreement;
use crate::log_file::write_lines;
use crate::news::{News, ShardNews};
use crate::shard::{ShardCommand, ShardEvent};
use crate::stats::WorkerGauge;

/// How long a shard may take to answer a question.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(500);

/// The control thread's end of one shard.
pub struct ShardHandle {
    /// Orders.
    pub commands: mpsc::SyncSender<ShardCommand>,
    /// Makes the shard look at them.
    pub waker: Waker,
}

impl ShardHandle {
    /// A shard that has ended has nothing to be told.
    fn tell(&self, command: ShardCommand) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }
}

/// How long the last lines of the access log may take to reach the file.
const LOG_WAIT: Duration = Duration::from_secs(1);

/// Everything the control loop works with.
pub struct Control {
    shards: Vec<ShardHandle>,
    gauges: HashMap<u32, Arc<WorkerGauge>>,
    agreement: Agreement,
    /// Shards that say of a worker that it hangs.
    silent: HashMap<u32, u32>,
    /// The supervisor has been told that somebody waits for workers.
    wanted: bool,
    closed_shards: u32,
    /// Another proxy has taken over.
    retires: bool,
    /// Supervisors that take the place of one that died; it ends when there can be none.
    supervisors: UnboundedReceiver<StdUnixStream>,
    cut: u32,
    io: IoChoice,
    io_reason: String,
    log: Option<File>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEnd {
    /// All shards have drained.
    Drained,
    /// The supervisor is gone.
    SupervisorGone,
}

impl Control {
    /// Control of these shards. `log` is where their access-log lines go, `supervisors` those who come when the first one has died.
    pub fn new(
        shards: Vec<ShardHandle>,
        io: IoChoice,
        io_reason: String,
        log: Option<File>,
        supervisors: UnboundedReceiver<StdUnixStream>,
    ) -> Self {
        Self {
            agreement: Agreement::new(shards.len() as u32),
            shards,
            gauges: HashMap::new(),
            silent: HashMap::new(),
            wanted: false,
            closed_shards: 0,
            retires: false,
            supervisors,
            cut: 0,
            io,
            io_reason,
            log,
        }
    }

    /// Runs the loop on the calling thread until the proxy should end.
    pub fn run(
        self,
        stream: StdUnixStream,
        lines: LineBuffer,
        news: News,
    ) -> std::io::Result<ControlEnd> {
        stream.set_nonblocking(true)?;
        if self.io == IoChoice::Uring {
            // COOP_TASKRUN: with tokio's reactor polling the ring's descriptor, task work must not need an
            // interrupt, and DEFER_TASKRUN would never run at all.
            let mut ring = tokio_uring::uring_builder();
            ring.setup_coop_taskrun();
            let mut builder = tokio_uring::builder();
            builder.entries(64).uring_builder(&ring);
            builder.start(self.serve_and_log(stream, lines, news))
        } else {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(self.serve_and_log(stream, lines, news))
        }
    }

    /// Both loops; at the end the log gets a moment to write what is left.
    async fn serve_and_log(
        mut self,
        stream: StdUnixStream,
        lines: LineBuffer,
        news: News,
    ) -> std::io::Result<ControlEnd> {
        let log = write_lines(self.log.take(), self.io, news.log);
        let serve = self.serve(stream, lines, news.events);
        tokio::pin!(log, serve);
        let mut log_ended = false;
        let end = loop {
            tokio::select! {
                end = &mut serve => break end,
                () = &mut log, if !log_ended => log_ended = true,
            }
        };
        if !log_ended && tokio::time::timeout(LOG_WAIT, log).await.is_err() {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
        end
    }

    async fn serve(
        mut self,
        stream: StdUnixStream,
        mut lines: LineBuffer,
        mut news: UnboundedReceiver<ShardNews>,
    ) -> std::io::Result<ControlEnd> {
        let mut stream = Some(UnixStream::from_std(stream)?);
        let serving = FromProxy::Serving {
            io: self.io,
            io_reason: self.io_reason.clone(),
            program: ProgramFacts::own(),
        };
        tell(&mut stream, &serving).await;
        let mut bytes = vec![0; 16 * 1024];
        loop {
            while let Some(message) = self.next_message(&mut lines) {
                if let Some(answer) = self.message(message) {
                    tell(&mut stream, &answer).await;
                }
            }
            tokio::select! {
                read = read_some(&mut stream, &mut bytes) => match read {
                    // Shards serve on; who is told of it, and whether anybody comes, is the keeper's.
                    Ok(0) | Err(_) => (stream, lines) = (None, LineBuffer::default()),
                    Ok(count) => lines.push(&bytes[..count]),
                },
                next = self.supervisors.recv(), if stream.is_none() && !self.retires => {
                    let Some(next) = next else { return Ok(ControlEnd::SupervisorGone) };
                    next.set_nonblocking(true)?;
                    stream = Some(UnixStream::from_std(next)?);
                    tracing::info!("another supervisor has taken over");
                }
                Some((shard, event)) = news.recv() => {
                    if let ShardEvent::Failed { why } = event {
                        return Err(std::io::Error::other(format!("shard {shard}: {why}")));
                    }
                    for message in self.shard_event(shard, event) {
                        tell(&mut stream, &message).await;
                        if matches!(message, FromProxy::Drained { .. }) {
                            return Ok(ControlEnd::Drained);
                        }
                    }
                }
            }
        }
    }

    fn next_message(&self, lines: &mut LineBuffer) -> Option<ToProxy> {
        loop {
            match lines.next_message() {
                Ok(message) => return message,
                Err(error) => tracing::error!(%error, "message of the supervisor ignored"),
            }
        }
    }

    fn message(&mut self, message: ToProxy) -> Option<FromProxy> {
        match message {
            ToProxy::Setup(_) => {
                tracing::error!("a second setup message is ignored");
                None
            }
            ToProxy::WorkerReady(address) => {
                self.worker_ready(&address);
                None
            }
            ToProxy::WorkerDrain { worker, drain } => {
                self.agreement.drain(worker.0, drain);
                self.tell_all(|| ShardCommand::WorkerDrain { worker: worker.0, drain });
                None
            }
            ToProxy::WorkerResume { worker } => {
                self.agreement.resume(worker.0);
                self.wanted = false;
                self.tell_all(|| ShardCommand::WorkerResume { worker: worker.0 });
                None
            }
            ToProxy::CloseUpgraded { worker, within_ms } => {
                self.tell_all(|| ShardCommand::CloseUpgraded { worker: worker.0, within_ms });
                None
            }
            ToProxy::WorkerGone { worker } => {
                self.gauges.remove(&worker.0);
                self.agreement.forget(worker.0);
                self.silent.remove(&worker.0);
                self.tell_all(|| ShardCommand::WorkerGone { worker: worker.0 });
                None
            }
            ToProxy::Asleep => {
                self.wanted = false;
                self.tell_all(|| ShardCommand::Asleep);
                None
            }
            ToProxy::WorkersStarting => {
                self.tell_all(|| ShardCommand::WorkersStarting);
                None
            }
            ToProxy::StartFailed { problem, retry_ms } => {
                self.wanted = false;
                self.tell_all(|| ShardCommand::StartFailed { problem, retry_ms });
                None
            }
            ToProxy::Drain { deadline_ms } => {
                self.tell_all(|| ShardCommand::Drain { deadline_ms });
                None
            }
            ToProxy::MoveWorkers { channels } => {
                for (shard, channel) in self.shards.iter().zip(channels) {
                    shard.tell(ShardCommand::MoveWorkers { channel });
                }
                None
            }
            ToProxy::Retire { idle_ms, deadline_ms } => {
                // The listeners live on in another proxy.
                self.retires = true;
                self.tell_all(|| ShardCommand::Retire { idle_ms, deadline_ms });
                None
            }
            ToProxy::Status { request } => {
                Some(FromProxy::Status { request, status: self.status() })
            }
        }
    }

    fn worker_ready(&mut self, address: &WorkerAddress) {
        self.wanted = false;
        let gauge = Arc::clone(self.gauges.entry(address.worker.0).or_default());
        self.tell_all(|| ShardCommand::WorkerReady {
            address: address.clone(),
            gauge: Arc::clone(&gauge),
        });
    }

    fn tell_all(&self, command: impl Fn() -> ShardCommand) {
        for shard in &self.shards {
            shard.tell(command());
        }
    }

    /// No shard says any more that it hangs.
    fn speaks_again(&mut self, worker: u32) -> bool {
        let Some(shards) = self.silent.get_mut(&worker) else { return false };
        *shards -= 1;
        let none = *shards == 0;
        if none {
            self.silent.remove(&worker);
        }
        none
    }

    fn shard_event(&mut self, shard: u32, event: ShardEvent) -> Vec<FromProxy> {
        let message = match event {
            ShardEvent::WorkerDrained { worker, drain } => self
                .agreement
                .drained(shard, worker, drain)
                .then_some(FromProxy::WorkerDrained { worker: WorkerId(worker), drain }),
            ShardEvent::WorkerServing { worker } => self
                .agreement
                .serving(shard, worker)
                .then_some(FromProxy::WorkerServing { worker: WorkerId(worker) }),
            ShardEvent::WorkerSilent { worker, silent_ms, in_flight } => {
                let shards = self.silent.entry(worker).or_default();
                *shards += 1;
                (*shards == 1).then_some(FromProxy::WorkerSilent {
                    worker: WorkerId(worker),
                    silent_ms: u32::try_from(silent_ms).unwrap_or(u32::MAX),
                    in_flight,
                })
            }
            ShardEvent::WorkerBack { worker } => self
                .speaks_again(worker)
                .then_some(FromProxy::WorkerBack { worker: WorkerId(worker) }),
            ShardEvent::WorkerWanted => {
                (!std::mem::replace(&mut self.wanted, true)).then_some(FromProxy::WorkerWanted)
            }
            ShardEvent::ListenersClosed => {
                self.closed_shards += 1;
                let all = self.closed_shards == self.shards.len() as u32;
                (all && !self.retires).then_some(FromProxy::ListenersClosed)
            }
            ShardEvent::WorkerLost { worker, why } => {
                Some(FromProxy::WorkerLost { worker: WorkerId(worker), why })
            }
            // Lines take the log's own way, see `NewsSender`; a failure ends the loop before it comes here.
            ShardEvent::Log(_) | ShardEvent::Failed { .. } => None,
            ShardEvent::Drained { cut } => return self.shard_drained(shard, cut),
        };
        message.into_iter().collect()
    }

    /// The shard has ended.
    fn shard_drained(&mut self, shard: u32, cut: u32) -> Vec<FromProxy> {
        self.cut += cut;
        let workers = self.agreement.shard_ended(shard).into_iter();
        let mut messages: Vec<_> = workers
            .map(|(worker, drain)| FromProxy::WorkerDrained { worker: WorkerId(worker), drain })
            .collect();
        if self.agreement.is_over() {
            messages.push(FromProxy::Drained { cut: self.cut });
        }
        messages
    }

    fn status(&self) -> ProxyStatus {
        let (reply, answers) = mpsc::sync_channel(self.shards.len());
        self.tell_all(|| ShardCommand::Snapshot { reply: reply.clone() });
        drop(reply);
        let mut shards = Vec::new();
        // Shards answer within a turn; one that does not is left out rather than waited for.
        while shards.len() < self.shards.len() {
            let Ok(status) = answers.recv_timeout(SNAPSHOT_WAIT) else {
                break;
            };
            shards.push(status);
        }
        shards.sort_by_key(|status| status.shard);
        let unix_ms = crate::clock::Clock::start().now().unix_ms;
        let mut workers: Vec<_> =
            self.gauges.iter().map(|(worker, gauge)| gauge.load(*worker, unix_ms)).collect();
        workers.sort_by_key(|load| load.worker);
        ProxyStatus { io: self.io, io_reason: self.io_reason.clone(), shards, workers }
    }
}

/// Says something to the supervisor. One that is dead is noticed by the next read.
async fn tell(stream: &mut Option<UnixStream>, message: &FromProxy) {
    if let Some(stream) = stream {
        let _ = stream.write_all(&encode_line(message)).await;
    }
}

/// Reads from the supervisor; never comes back without one.
async fn read_some(stream: &mut Option<UnixStream>, bytes: &mut [u8]) -> std::io::Result<usize> {
    match stream {
        Some(stream) => stream.read(bytes).await,
        None => std::future::pending().await,
    }
}
