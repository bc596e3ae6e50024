//! What shards tell the control thread.
//!
//! Owns: the ways of events and of log lines, and what happens when the reader of lines is too slow. Must never know: what the news lead
//! to. Called by `process`, `control` and every shard.

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};

use crate::shard::ShardEvent;

/// Batches of log lines (32 KiB each) that may wait for a slow disk; further ones are dropped and counted.
const LOG_BATCHES_MAX: usize = 256;

/// News of shard number `.0`.
pub type ShardNews = (u32, ShardEvent);

/// The control thread's end of what shards have to say.
pub struct News {
    pub(crate) events: UnboundedReceiver<ShardNews>,
    pub(crate) log: Receiver<Bytes>,
}

/// The shards' end; each has a clone.
#[derive(Clone)]
pub struct NewsSender {
    events: UnboundedSender<ShardNews>,
    log: Sender<Bytes>,
}

/// Both ends. Events are few (workers come and go); log lines are many and therefore bounded.
pub fn news() -> (NewsSender, News) {
    let (events_sender, events) = tokio::sync::mpsc::unbounded_channel();
    let (log_sender, log) = tokio::sync::mpsc::channel(LOG_BATCHES_MAX);
    (NewsSender { events: events_sender, log: log_sender }, News { events, log })
}

impl NewsSender {
    /// A shard's way to the control thread.
    pub fn sink(self, shard: u32) -> crate::shard::EventSink {
        let mut dropped = 0_u64;
        Box::new(move |event| {
            if let ShardEvent::Log(lines) = event {
                if self.log.try_send(lines).is_err() {
                    dropped += 1;
                    if dropped.is_power_of_two() {
                        tracing::warn!(dropped, "access log too slow: batches of lines are lost");
                    }
                }
                return;
            }
            // The control loop ends only after the shards; if it failed, the process is ending anyway.
            let _ = self.events.send((shard, event));
        })
    }
}
