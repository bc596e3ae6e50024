//! The vocabulary of a connection: what may happen to it, and what it may ask for.
//!
//! Owns: the two lists. Must never know: who fulfils a wish. Read by `conn` and by the shard.

use std::ops::Range;

use hostler_driver::{Buffer, Part, ReceiveMode};

use crate::respond::OwnAnswer;

/// What may happen to a client connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes from the client.
    Received(Buffer),
    /// FIN from the client.
    ReceiveEnded,
    /// An operation of the client's socket failed; the error's name where Node would tell it to the app, else empty.
    Failed(&'static str),
    /// Part of what is being sent has left.
    SendProgress,
    /// The send in flight is complete.
    Sent,
    /// A worker takes the request.
    Granted(Link),
    /// No worker takes it.
    Refused(OwnAnswer),
    /// Response bytes from the worker.
    WorkerBytes {
        /// The receive buffer they are in.
        buffer: &'a Buffer,
        /// Where in the buffer.
        range: Range<usize>,
        /// What the transport says about the end of the response.
        end: ResponseEnd,
        /// Receive buffers are short: do not hold this one for a slow client.
        scarce: bool,
    },
    /// A plain worker connection reached its end.
    WorkerEnded,
    /// The app destroyed the socket.
    WorkerReset,
    /// The worker, or the connection to it, is gone.
    WorkerLost {
        /// The request had not left this process.
        unsent: bool,
    },
    /// The worker's event loop hangs.
    WorkerHangs,
    /// The worker takes this many more request body bytes.
    WorkerWindow(u32),
    /// The worker writes no more to an offered connection: it is wanted back, or may go back as we asked.
    WorkerHeld,
    /// Everything that this turn received from an offered connection on its way back has been seen.
    GoBackDue,
    /// The request body bytes given so far have left for the worker.
    BodySent,
    /// A deadline may have passed.
    Deadline,
    /// An offered connection has waited long enough for a whole request head.
    GiveBackDue,
    /// An upgraded connection has to end before its worker does.
    EndUpgraded {
        /// A good moment, milliseconds of the shard.
        at_ms: u64,
        /// The latest one.
        until_ms: u64,
    },
    /// It need not end after all.
    KeepUpgraded,
    /// The server is stopping.
    Drain,
    /// The server has stopped waiting.
    Cut,
}

/// What the transport says about the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// Nothing: more may come (frames), or only the bytes tell (plain).
    Open,
    /// It ends with these bytes.
    End,
    /// It ends with these bytes, and the app wants the connection closed.
    EndClose,
}

/// The way to the worker that has the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// No worker has it.
    None,
    /// A stream of a framed channel.
    Stream {
        /// Index of the worker in this shard's table.
        worker: u16,
        /// Index of the channel.
        channel: u16,
        /// Number of the channel's batch that holds the request head.
        batch: u32,
    },
    /// A tunnel through a framed channel: a byte connection of its own, for a request that asks for another protocol.
    Tunnel {
        /// Index of the worker in this shard's table.
        worker: u16,
        /// Index of the channel.
        channel: u16,
        /// Number of the channel's batch that holds its beginning.
        batch: u32,
    },
    /// A plain connection of its own.
    Plain {
        /// Index of the worker in this shard's table.
        worker: u16,
        /// Index of the connection.
        plain: u32,
    },
}

impl Link {
    /// Bytes pass as they are, in a connection of the request's own: what the worker sends is read as its HTTP text.
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::Tunnel { .. } | Self::Plain { .. })
    }

    /// Index of the worker in this shard's table.
    pub fn worker(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Stream { worker, .. }
            | Self::Tunnel { worker, .. }
            | Self::Plain { worker, .. } => Some(worker),
        }
    }
}

/// What a connection may ask for. The shard fulfils the wishes of one step in order before the next step of any connection.
#[derive(Debug)]
pub enum Action {
    /// What the client's socket should deliver.
    Receive(ReceiveMode),
    /// FIN to the client; nothing is in flight.
    ShutdownWrite,
    /// The connection is over; frees its slot.
    Close,
    /// The same, by a reset: an orderly end would make an unfinished answer look whole.
    Reset,
    /// A worker for the request in hand.
    Dispatch,
    /// Out of the queue: the client left.
    Undispatch,
    /// The request head to the worker just granted.
    WorkerHead,
    /// Request body bytes (or tunnel bytes) to the worker.
    WorkerBody(Part),
    /// The request body is complete; trailers as `name NUL value NUL ...`.
    WorkerEnd(Vec<u8>),
    /// The client sent FIN behind its request.
    WorkerHalfClose,
    /// The request has become a tunnel.
    Upgraded,
    /// Frames cannot carry on with an offered connection: the worker is asked to write no more to it.
    WorkerHold,
    /// The request body is not valid from here on, and the app answers client errors itself.
    WorkerBroken {
        /// What brings a parser to the place in the body.
        lead: Vec<u8>,
        /// What is not valid there.
        read: Vec<u8>,
    },
    /// An offered connection goes back to Node; frees its slot.
    GiveBack {
        /// How many of the bytes only lead a parser to the place in a body where the others go on.
        lead: usize,
        /// Those, then what was read from it.
        read: Vec<u8>,
    },
    /// The worker has had its time for this request, which has waited for so many milliseconds.
    TimedOut(u64),
    /// A request that was suspected of having ended a worker has been answered.
    Acquit,
    /// Its worker has opened a session with this id.
    LearnSession(Vec<u8>),
    /// Response bytes were consumed: let the worker send on.
    WorkerCredit(u32),
    /// The request left the worker; `Keep` says whether the link is sound.
    Release(Keep),
}

/// What becomes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Request and response are complete.
    Reuse,
    /// The exchange was broken off: tell the worker and forget the link.
    Cancel,
}
