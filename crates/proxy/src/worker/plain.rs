//! A plain HTTP/1.1 connection to a worker.
//!
//! Owns: its output and its place in the pool of idle connections. Must never know: what the bytes mean.
//! Called by the shard.

use hostler_driver::{PeerAddress, SocketId};
use hostler_protocol::control::PlainAddress;

use crate::conn::outbox::Outbox;

/// The driver's form of a worker's plain path.
pub fn peer(address: &PlainAddress) -> PeerAddress<'_> {
    match address {
        PlainAddress::Unix(path) => PeerAddress::Unix(path),
        PlainAddress::Tcp(address) => PeerAddress::Tcp(*address),
    }
}

/// Where a plain connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainPhase {
    /// Being connected for the client in this slot.
    Connecting {
        /// The client connection.
        conn: u32,
    },
    /// Serves the client in this slot.
    Busy {
        /// The client connection.
        conn: u32,
    },
    /// Waits for its next request.
    Idle,
}

/// One plain connection.
pub struct Plain {
    /// Its socket.
    pub socket: SocketId,
    /// Index of its worker in the shard's table.
    pub worker: u16,
    /// Where it is in its life.
    pub phase: PlainPhase,
    /// Bytes towards the worker.
    pub outbox: Outbox,
    /// Part of the request in hand has left. What the worker says before is no answer to it.
    pub asked: bool,
    /// The worker's FIN came before that. What the send says decides whether the request was ever heard.
    pub ended: bool,
    /// FIN to the worker when the output has left.
    pub half_close: bool,
    /// The request body travels in chunks. Kept here because a connection whose answer came early may be at its next
    /// request when the last body bytes of this one are written.
    pub chunked: bool,
    /// Its last receive filled the buffer: more is coming, take a larger one.
    pub last_full: bool,
    /// Until when it may stay idle, milliseconds.
    pub idle_until_ms: u64,
}

impl Plain {
    /// A connection that is being made for a client.
    pub fn new(socket: SocketId, worker: u16, conn: u32) -> Self {
        Self {
            socket,
            worker,
            phase: PlainPhase::Connecting { conn },
            outbox: Outbox::default(),
            asked: false,
            ended: false,
            half_close: false,
            chunked: false,
            last_full: false,
            idle_until_ms: 0,
        }
    }

    /// It serves the next client.
    pub fn take(&mut self, conn: u32) {
        self.phase = PlainPhase::Busy { conn };
        self.asked = false;
    }

    /// The client it serves.
    pub fn conn(&self) -> Option<u32> {
        match self.phase {
            PlainPhase::Connecting { conn } | PlainPhase::Busy { conn } => Some(conn),
            PlainPhase::Idle => None,
        }
    }
}
