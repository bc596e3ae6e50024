//! Large receive buffers: who may ask for one now.
//!
//! Owns: the turns of fast uploads to one worker, the share of the pool that slow ones may hold. Must never know: what
//! the bytes mean. Part of the shard.
//!
//! A worker reads its channel at its own pace. What is received faster than that only waits in buffers, which then have
//! left the cache when they are sent, and are missing elsewhere. So there are turns: a client whose bytes wait in the
//! kernel is read when its worker's channel has little left to send. A client whose bytes are still to come needs no
//! turn; it would only keep the others waiting.

use hostler_driver::{Driver, PoolClass, ReceiveMode};

use super::Shard;
use crate::conn::{BodyAsk, Link};
use crate::worker::channel::BODY_BYTES_MAX;

impl<D: Driver> Shard<D> {
    /// What the connection in `slot` may receive now of what it wants.
    ///
    /// Large buffers are for many uploads: what is asked for and has not come counts as taken, and when a quarter is left,
    /// small ones have to do. A stuck worker or a few dozen slow apps then slow the others down instead of stopping them.
    pub(super) fn afford(&mut self, slot: u32, mode: ReceiveMode) -> ReceiveMode {
        self.body_received(slot);
        let Some(conn) =
            self.conns.get_mut(slot).filter(|_| mode == ReceiveMode::Once(PoolClass::Body))
        else {
            return mode;
        };
        let mut ask = BodyAsk::Asked;
        if let Link::Stream { channel, .. } | Link::Tunnel { channel, .. } = conn.link
            && let Some(entry) = self.channels[usize::from(channel)].as_mut()
            && self.driver.more_waits(conn.socket)
        {
            let buffer_bytes = self.driver.pool().buffer_bytes(PoolClass::Body) as usize;
            if entry.body_load(buffer_bytes) >= BODY_BYTES_MAX {
                conn.body_ask = BodyAsk::Waiting { channel };
                entry.bodies_waiting.push_back(slot);
                return ReceiveMode::Paused;
            }
            ask = BodyAsk::Ready { channel, serial: entry.serial };
        }
        let pool = self.driver.pool();
        if pool.free(PoolClass::Body) < pool.capacity(PoolClass::Body) / 4 + self.bodies_asked {
            return ReceiveMode::Once(PoolClass::Head);
        }
        conn.body_ask = ask;
        self.bodies_asked += 1;
        if let BodyAsk::Ready { channel, .. } = ask
            && let Some(entry) = self.channels[usize::from(channel)].as_mut()
        {
            entry.bodies_ready += 1;
        }
        mode
    }

    /// What the connection in `slot` asked for has come, or is no longer wanted.
    pub(super) fn body_received(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        match std::mem::replace(&mut conn.body_ask, BodyAsk::None) {
            // A place in the line is left as it is; nobody is found there when its turn comes.
            BodyAsk::None | BodyAsk::Waiting { .. } => {}
            BodyAsk::Asked => self.bodies_asked -= 1,
            BodyAsk::Ready { channel, serial } => {
                self.bodies_asked -= 1;
                if let Some(entry) = self.channels[usize::from(channel)].as_mut()
                    && entry.serial == serial
                {
                    entry.bodies_ready -= 1;
                }
            }
        }
    }

    /// Gives turns at every channel that has little left to send.
    pub(super) fn give_turns(&mut self) {
        let buffer_bytes = self.driver.pool().buffer_bytes(PoolClass::Body) as usize;
        for index in 0..self.channels.len() {
            let channel = index as u16;
            while let Some(entry) = self.channels[index].as_mut()
                && entry.body_load(buffer_bytes) < BODY_BYTES_MAX
                && let Some(slot) = entry.bodies_waiting.pop_front()
            {
                let Some(conn) = self.conns.get(slot) else {
                    continue;
                };
                if conn.body_ask == (BodyAsk::Waiting { channel }) {
                    let socket = conn.socket;
                    let mode = self.afford(slot, ReceiveMode::Once(PoolClass::Body));
                    self.driver.receive(socket, mode);
                }
            }
        }
    }
}
