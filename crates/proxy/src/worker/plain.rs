//! A plain HTTP/1.1 connection to a worker.
//!
//! Owns: its output and its place in the pool of idle connections. Must never know: what the bytes mean.
//! Called by the shard.

use hostler_driver::SocketId;

use crate::conn::outbox::Outbox;

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
    /// It has served a request before: the worker may close it at any moment.
    pub reused: bool,
    /// FIN to the worker when the output has left.
    pub half_close: bool,
    /// The request body travels in chunks. Kept here because a connection whose answer came early may be at its next
    /// request when the last body bytes of this one are written.
    pub chunked: bool,
    /// Its last receive filled the buffer: more is coming, take a larger one.
    pub last_full: bool,
    /// Since when it is idle, milliseconds.
    pub idle_ms: u64,
}

impl Plain {
    /// A connection that is being made for a client.
    pub fn new(socket: SocketId, worker: u16, conn: u32) -> Self {
        Self {
            socket,
            worker,
            phase: PlainPhase::Connecting { conn },
            outbox: Outbox::default(),
            reused: false,
            half_close: false,
            chunked: false,
            last_full: false,
            idle_ms: 0,
        }
    }

    /// The client it serves.
    pub fn conn(&self) -> Option<u32> {
        match self.phase {
            PlainPhase::Connecting { conn } | PlainPhase::Busy { conn } => Some(conn),
            PlainPhase::Idle => None,
        }
    }
}
