//! Sockets that wait for a buffer.
//!
//! Owns: the lines of waiting sockets, one for each receive class, and when they move. Must never
//! know: why there are no buffers. Used by `submit` and `complete` (which park) and once per turn
//! by `mod`.

use super::UringDriver;
use super::provided::BufferRing;
use crate::{PoolClass, SocketId};

impl UringDriver {
    /// Buffers of this class that the kernel can still take.
    pub(super) fn available(&self, class: PoolClass) -> u32 {
        self.memory.offered[class.index()].as_ref().map_or(0, BufferRing::available)
    }

    /// Puts the socket into the line for buffers of this class. It is armed again when buffers have
    /// come back, never by a timer and never at once: an empty ring makes every attempt fail
    /// immediately.
    pub(super) fn park(&mut self, id: SocketId, class: PoolClass) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.receive.park(class);
        self.parked[class.index()].push_back(id);
        if self.memory.pool.idle(class) > 0
            && let Some(ring) = &mut self.memory.offered[class.index()]
        {
            // Too few were on offer, although there are more.
            ring.grow();
        } else {
            self.starved += 1;
        }
    }

    /// Lets as many sockets try again as there are buffers.
    pub(super) fn unpark(&mut self, class: PoolClass) {
        for _ in 0..self.available(class) {
            let Some(id) = self.parked[class.index()].pop_front() else {
                return;
            };
            if self.open(id).is_some_and(|socket| socket.receive.unpark(class)) {
                self.unsettle(id);
            }
        }
    }

    /// Whether a parked socket could be served now, so that there must be no waiting.
    pub(super) fn can_unpark(&self) -> bool {
        let mut classes = PoolClass::RECEIVE.into_iter();
        classes.any(|class| !self.parked[class.index()].is_empty() && self.available(class) > 0)
    }
}
