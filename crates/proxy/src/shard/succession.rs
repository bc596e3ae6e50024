//! Another proxy takes over.
//!
//! Owns: telling the workers where it is, and the idle time of the clients that are still here. Must never know: why; that is the
//! supervisor's. Part of the shard.

use std::path::{Path, PathBuf};

use hostler_driver::Driver;
use hostler_protocol::worker::{Move, ToWorker};

use super::Shard;
use super::links::mark_dirty;

impl<D: Driver> Shard<D> {
    /// All workers shall follow to another proxy's shard; or come back, if it is this one's own socket.
    pub(super) fn move_workers(&mut self, to: PathBuf) {
        self.moved_to = Some(to);
        for index in 0..self.channels.len() {
            self.move_worker(index as u16);
        }
    }

    /// The worker of this channel hears where it shall follow to.
    pub(super) fn move_worker(&mut self, index: u16) {
        let Some(to) = self.moved_to.as_deref().and_then(Path::to_str) else { return };
        let Some(channel) = self.channels[usize::from(index)].as_mut() else { return };
        if channel.worker.is_none() {
            return;
        }
        let to = Move { channel: to.to_owned() };
        channel.write_always(self.driver.pool(), |out| out.json(ToWorker::Move, &to));
        mark_dirty(&mut self.dirty, channel, index);
    }

    /// Accepts no more. Clients that are idle get their time, and one more answer.
    pub(super) fn retire(&mut self, idle_ms: u32, deadline_ms: u32) {
        if self.draining.is_none() {
            self.accept_no_more(Some(self.now.ms + u64::from(idle_ms)), deadline_ms);
        }
    }

    /// The idle clients of a proxy that retires have had their time.
    pub(super) fn end_idle_time(&mut self) {
        if let Some(drain) = &mut self.draining
            && drain.idle_until_ms.is_some_and(|until_ms| until_ms <= self.now.ms)
        {
            drain.idle_until_ms = None;
            self.close_idle();
        }
    }
}
