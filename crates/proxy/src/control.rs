//! The proxy's conversation with the supervisor.
//!
//! Owns: the control socket, the translation of messages to shard commands and of shard events to
//! messages. Must never know: sockets of clients. Runs on a thread of its own; nothing here is on the path of a
//! request.
//!
//! The loop is an async function on tokio. Where the ring exists it is driven by `tokio-uring`, elsewhere by tokio's own
//! epoll reactor; the code is the same.

use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hostler_driver::Waker;
use hostler_protocol::control::{
    FromProxy, IoChoice, LineBuffer, ProxyStatus, ToProxy, WorkerAddress, encode_line,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::shard::{ShardCommand, ShardEvent};
use crate::stats::WorkerGauge;

/// How long a shard may take to answer a question.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(500);

/// The control thread's end of one shard.
pub struct ShardHandle {
    /// Orders.
    pub commands: mpsc::Sender<ShardCommand>,
    /// Makes the shard look at them.
    pub waker: Waker,
}

/// News of shard number `.0`.
pub type ShardNews = (u32, ShardEvent);

/// Everything the control loop works with.
pub struct Control {
    shards: Vec<ShardHandle>,
    gauges: HashMap<u32, Arc<WorkerGauge>>,
    /// Shards that still have requests of a draining worker.
    drains: HashMap<u32, u32>,
    drained_shards: u32,
    cut: u32,
    io: IoChoice,
    io_reason: String,
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
    /// Control of these shards.
    pub fn new(shards: Vec<ShardHandle>, io: IoChoice, io_reason: String) -> Self {
        Self {
            shards,
            gauges: HashMap::new(),
            drains: HashMap::new(),
            drained_shards: 0,
            cut: 0,
            io,
            io_reason,
        }
    }

    /// Runs the loop on the calling thread until the proxy should end.
    pub fn run(
        self,
        stream: StdUnixStream,
        lines: LineBuffer,
        news: UnboundedReceiver<ShardNews>,
    ) -> std::io::Result<ControlEnd> {
        stream.set_nonblocking(true)?;
        if self.io == IoChoice::Uring {
            // COOP_TASKRUN: with tokio's reactor polling the ring's descriptor, task work must not need an
            // interrupt, and DEFER_TASKRUN would never run at all.
            let mut ring = tokio_uring::uring_builder();
            ring.setup_coop_taskrun();
            let mut builder = tokio_uring::builder();
            builder.entries(64).uring_builder(&ring);
            builder.start(self.serve(stream, lines, news))
        } else {
            tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?
                .block_on(self.serve(stream, lines, news))
        }
    }

    async fn serve(
        mut self,
        stream: StdUnixStream,
        mut lines: LineBuffer,
        mut news: UnboundedReceiver<ShardNews>,
    ) -> std::io::Result<ControlEnd> {
        let mut stream = UnixStream::from_std(stream)?;
        let serving = FromProxy::Serving {
            io: self.io,
            io_reason: self.io_reason.clone(),
        };
        stream.write_all(&encode_line(&serving)).await?;
        let mut bytes = vec![0; 16 * 1024];
        loop {
            while let Some(message) = self.next_message(&mut lines) {
                if let Some(answer) = self.message(message) {
                    stream.write_all(&encode_line(&answer)).await?;
                }
            }
            tokio::select! {
                read = stream.read(&mut bytes) => match read? {
                    0 => return Ok(ControlEnd::SupervisorGone),
                    count => lines.push(&bytes[..count]),
                },
                Some((shard, event)) = news.recv() => {
                    if let Some(message) = self.shard_event(shard, event) {
                        stream.write_all(&encode_line(&message)).await?;
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
            match lines.next() {
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
            ToProxy::WorkerDrain { worker } => {
                self.drains.insert(worker.0, self.shards.len() as u32);
                self.tell_all(|| ShardCommand::WorkerDrain { worker: worker.0 });
                None
            }
            ToProxy::WorkerGone { worker } => {
                self.gauges.remove(&worker.0);
                self.drains.remove(&worker.0);
                self.tell_all(|| ShardCommand::WorkerGone { worker: worker.0 });
                None
            }
            ToProxy::Drain { deadline_ms } => {
                self.tell_all(|| ShardCommand::Drain { deadline_ms });
                None
            }
            ToProxy::Status { request } => Some(FromProxy::Status {
                request,
                status: self.status(),
            }),
        }
    }

    fn worker_ready(&mut self, address: &WorkerAddress) {
        let gauge = Arc::clone(self.gauges.entry(address.worker.0).or_default());
        self.tell_all(|| ShardCommand::WorkerReady {
            address: address.clone(),
            gauge: Arc::clone(&gauge),
        });
    }

    fn tell_all(&self, command: impl Fn() -> ShardCommand) {
        for shard in &self.shards {
            // A shard that has ended has nothing to be told.
            if shard.commands.send(command()).is_ok() {
                shard.waker.wake();
            }
        }
    }

    fn shard_event(&mut self, _shard: u32, event: ShardEvent) -> Option<FromProxy> {
        use hostler_protocol::control::WorkerId;
        match event {
            ShardEvent::WorkerDrained { worker } => {
                let left = self.drains.get_mut(&worker)?;
                *left -= 1;
                if *left > 0 {
                    return None;
                }
                self.drains.remove(&worker);
                Some(FromProxy::WorkerDrained {
                    worker: WorkerId(worker),
                })
            }
            ShardEvent::WorkerLost { worker, why } => Some(FromProxy::WorkerLost {
                worker: WorkerId(worker),
                why,
            }),
            ShardEvent::Drained { cut } => {
                self.cut += cut;
                self.drained_shards += 1;
                (self.drained_shards == self.shards.len() as u32)
                    .then_some(FromProxy::Drained { cut: self.cut })
            }
        }
    }

    fn status(&self) -> ProxyStatus {
        let (reply, answers) = mpsc::channel();
        self.tell_all(|| ShardCommand::Snapshot {
            reply: reply.clone(),
        });
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
        let mut workers: Vec<_> = self
            .gauges
            .iter()
            .map(|(worker, gauge)| gauge.load(*worker, unix_ms))
            .collect();
        workers.sort_by_key(|load| load.worker);
        ProxyStatus {
            io: self.io,
            io_reason: self.io_reason.clone(),
            shards,
            workers,
        }
    }
}

/// A shard's way to the control loop.
pub fn sink(shard: u32, news: UnboundedSender<ShardNews>) -> crate::shard::EventSink {
    Box::new(move |event| {
        // The control loop ends only after the shards; if it failed, the process is ending anyway.
        let _ = news.send((shard, event));
    })
}
