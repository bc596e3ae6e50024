//! Sockets and buffers by completion: the io_uring ring, its epoll twin, and a fake for the simulator.
//!
//! Owns: every socket's descriptor and its operations in flight, the buffer pools, all `unsafe` of the data
//! plane. Must never know: HTTP, frames, workers, time-outs. Used by `proxy` (and by `sim` through
//! the fake).
//!
//! One driver belongs to one thread. The caller asks ([`Driver::receive`], [`Driver::send`], ...), then calls
//! [`Driver::turn`] and reads [`Completion`]s. A socket's slot, its descriptor and the buffers it uses
//! stay alive until the kernel has given back the last operation, whatever the caller does.

pub mod buffer;
mod completion;
pub mod epoll;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod inherit;
mod net;
pub mod probe;
mod send;
mod table;
pub mod uring;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

pub use buffer::{Buffer, BufferMut, Pool, PoolClass, PoolSize, PoolSizes};
pub use completion::{Completion, Operation};
pub use inherit::inherited_fd;
pub use send::{Part, Parts};
pub use waker::Waker;

/// What the caller wants to be called back with: an opaque number that comes with every completion
/// of a socket or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

/// A socket of this driver. Stale ids (of a closed socket) are ignored by every method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A listener of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u32);

/// Where a socket is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress<'a> {
    /// A unix stream socket.
    Unix(&'a Path),
    /// A TCP port. The connection is made with `TCP_NODELAY`.
    Tcp(SocketAddr),
}

impl<'a> From<&'a Path> for PeerAddress<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Unix(path)
    }
}

impl From<SocketAddr> for PeerAddress<'_> {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// What a socket should deliver. The driver reconciles what the kernel does with what is wanted;
/// bytes already received when the wish changes are still delivered, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveMode {
    /// Nothing; the peer is held back by its socket buffer. EOF is not noticed either.
    Paused,
    /// Whatever comes, in buffers of [`PoolClass::Head`], until the mode changes (multishot on the ring).
    Stream,
    /// One delivery in a buffer of this class, then [`ReceiveMode::Paused`].
    Once(PoolClass),
}

/// No room for another socket.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("all {max} sockets of this shard are in use")]
pub struct Full {
    /// The limit given at start.
    pub max: u32,
}

/// Sizes fixed at start.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Sockets of all kinds at one time.
    pub sockets_max: u32,
    /// Buffer pools.
    pub pools: PoolSizes,
}

/// The completion API. See the crate documentation for the contract.
pub trait Driver {
    /// The pools, for buffers to send from.
    fn pool(&self) -> &Pool;

    /// Takes a listening socket and starts accepting.
    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId>;

    /// Stops accepting for now (`false`) or again (`true`). After [`Completion::AcceptFailed`] accepting is off
    /// until it is turned on again, so that EMFILE does not become a hot loop.
    fn accept(&mut self, listener: ListenerId, on: bool);

    /// More connections may be reported, although accepting is off: the kernel has not confirmed it yet.
    fn may_accept(&self, listener: ListenerId) -> bool;

    /// Closes the listener; connections in its kernel queue are lost unless another process holds it.
    fn unlisten(&mut self, listener: ListenerId);

    /// Takes a connected stream socket. Starts [`ReceiveMode::Paused`].
    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full>;

    /// Starts a connection; [`Completion::Connected`] or [`Completion::Failed`] with [`Operation::Connect`] follows.
    /// `send` and `receive` are allowed only after it. There is no deadline: the caller has one, and closes.
    fn connect(&mut self, peer: PeerAddress<'_>, key: Key) -> io::Result<SocketId>;

    /// Says what the socket should deliver.
    fn receive(&mut self, socket: SocketId, mode: ReceiveMode);

    /// Do bytes or the peer's end wait in the kernel at this moment? What the kernel has handed over already comes as a
    /// completion and does not count. Costs a system call.
    fn has_input(&mut self, socket: SocketId) -> bool;

    /// Did the last receive leave something behind, as far as is known? Costs nothing; bytes that have come since then
    /// may not count.
    fn more_waits(&mut self, socket: SocketId) -> bool;

    /// Sends all parts in order, then reports [`Completion::Sent`]. One send at a time per socket: a second
    /// call before `Sent` is a bug of the caller and panics. Partial progress is reported by
    /// [`Completion::SendProgress`].
    fn send(&mut self, socket: SocketId, parts: Parts);

    /// FIN after what has been sent. No send may be in flight.
    fn shutdown_write(&mut self, socket: SocketId);

    /// As [`Driver::close`], but the peer of a TCP connection sees a reset instead of an orderly end; what has not
    /// arrived there yet may be lost. On other sockets no different from `close`.
    fn reset(&mut self, socket: SocketId);

    /// Ends the socket: cancels what is in flight, closes the descriptor after its last operation. No
    /// completion of this socket is delivered after this call.
    fn close(&mut self, socket: SocketId);

    /// Gives the descriptor of a socket back instead of closing it: the driver forgets the socket, a send in flight is
    /// given up. No completion of it is delivered after this call, so the caller must have seen what this turn received.
    /// `None`, and nothing has changed, while the kernel itself works on the socket (the ring does unless it is paused
    /// and idle; epoll never does).
    fn release(&mut self, socket: SocketId) -> Option<OwnedFd>;

    /// A handle with which another thread ends this driver's wait; [`Completion::Woken`] follows.
    fn waker(&self) -> Waker;

    /// Hands everything asked to the kernel, waits at most `timeout` (`None`: until something happens; zero:
    /// not at all) and appends what happened to `out`. At most [`COMPLETIONS_PER_TURN`] are appended; the rest
    /// come in the next turn, which then does not wait. A turn may end early and report nothing.
    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// What is held at this moment, for status and for leak checks.
    fn usage(&self) -> Usage;
}

/// Upper bound of completions of one turn, so that timers and accept are not delayed by a flood.
pub const COMPLETIONS_PER_TURN: usize = 256;

/// What a driver holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sockets, closing ones included.
    pub sockets: u32,
    /// Operations the kernel has not given back.
    pub operations: u32,
    /// Buffers of all classes that are not in their pool or offered to the kernel.
    pub buffers_out: u32,
    /// Times a socket had to wait for a buffer.
    pub starved: u64,
}
