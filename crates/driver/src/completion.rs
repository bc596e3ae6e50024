//! What a turn of the driver reports.

use std::io;
use std::os::fd::OwnedFd;

use crate::{Buffer, Key, ListenerId, SocketId};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Connecting to a worker.
    Connect,
    /// Receiving.
    Receive,
    /// Sending.
    Send,
}

/// Something that happened. Sockets that the caller has closed never appear.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted; give it to [`crate::Driver::adopt`] or drop it.
    Accepted {
        /// The listener's key.
        listener: Key,
        /// The connection.
        fd: OwnedFd,
    },
    /// Accepting failed and is off now.
    AcceptFailed {
        /// The listener.
        id: ListenerId,
        /// The listener's key.
        listener: Key,
        /// Why (EMFILE, ENFILE, ENOBUFS, ENOMEM, ...).
        error: io::Error,
    },
    /// The connection is made.
    Connected {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
    },
    /// Bytes arrived (never empty).
    Received {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
        /// The bytes.
        buffer: Buffer,
    },
    /// The peer sent FIN. The socket can still be sent to.
    ReceiveEnded {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
    },
    /// Part of a send has left, the rest follows.
    SendProgress {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
    },
    /// All parts of the send have left; its buffers are free again.
    Sent {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
    },
    /// An operation failed; the socket is of no use any more and should be closed.
    Failed {
        /// The socket.
        socket: SocketId,
        /// Its key.
        key: Key,
        /// What failed.
        operation: Operation,
        /// Why.
        error: io::Error,
    },
    /// A [`crate::Waker`] was used.
    Woken,
}
