//! The network around a fake driver, as the simulator sees it.
//!
//! Owns: who listens, who waits to be accepted, the tokens that stand for descriptors. Must never
//! know: the driver's sockets. Used by the simulator (through [`FakeNet`]) and by the fake driver.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::peer::{Conn, FakePeer};
use crate::{Key, PeerAddress, PoolClass};

/// The handle of a script to the network of one driver. A clone is another handle to the same one.
#[derive(Clone)]
pub struct FakeNet {
    net: Rc<RefCell<Net>>,
}

impl FakeNet {
    pub(super) fn new(net: Rc<RefCell<Net>>) -> Self {
        Self { net }
    }

    /// A descriptor to give to `listen`. It listens to nothing; [`Self::client`] finds the listener
    /// by its key.
    pub fn listener_fd(&self) -> io::Result<OwnedFd> {
        let (_, end) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(end)
    }

    /// Opens a connection to the listener with this key; it waits there to be accepted. `None`:
    /// nobody listens.
    #[must_use]
    pub fn client(&self, listener: Key) -> Option<FakePeer> {
        let mut net = self.net.borrow_mut();
        let mut listeners = net.listeners.iter_mut();
        let listener = listeners.find(|entry| entry.open && entry.key == listener)?;
        let conn = Conn::new();
        listener.waiting.push_back(Rc::clone(&conn));
        Some(FakePeer::new(conn))
    }

    /// A connection without a listener: a descriptor to give to `adopt`, and the far side.
    pub fn pair(&self) -> io::Result<(OwnedFd, FakePeer)> {
        let conn = Conn::new();
        let fd = self.net.borrow_mut().token(Rc::clone(&conn))?;
        Ok((fd, FakePeer::new(conn)))
    }

    /// Listens on a path, for `connect`.
    pub fn serve(&self, path: impl Into<PathBuf>) -> FakeServer {
        self.serve_at(Place::Unix(path.into()))
    }

    /// Listens on a port, for `connect`.
    pub fn serve_tcp(&self, address: SocketAddr) -> FakeServer {
        self.serve_at(Place::Tcp(address))
    }

    fn serve_at(&self, place: Place) -> FakeServer {
        self.net.borrow_mut().servers.insert(place.clone(), Server::default());
        FakeServer { net: Rc::clone(&self.net), place }
    }

    /// The next attempt of this listener to accept fails with this error number (EMFILE,
    /// ECONNABORTED, ...).
    pub fn fail_accept(&self, listener: Key, errno: i32) {
        let mut net = self.net.borrow_mut();
        for entry in net.listeners.iter_mut().filter(|entry| entry.key == listener) {
            entry.failures.push_back(Errno::from_raw_os_error(errno));
        }
    }

    /// Receives find no buffer of this class (`true`), as if all were in use, or find them again.
    pub fn starve(&self, class: PoolClass, on: bool) {
        self.net.borrow_mut().starving[class.index()] = on;
    }

    /// Bytes that have come when a stream is paused are delivered all the same, as the ring does: a
    /// wish does not reach what the kernel has already done. Off by default.
    pub fn deliver_late(&self, on: bool) {
        self.net.borrow_mut().deliver_late = on;
    }
}

impl fmt::Debug for FakeNet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = self.net.borrow();
        write!(formatter, "FakeNet({} listeners, {} paths)", net.listeners.len(), net.servers.len())
    }
}

/// A listener on a path or a port. It listens until [`Self::stop`].
pub struct FakeServer {
    net: Rc<RefCell<Net>>,
    place: Place,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl From<PeerAddress<'_>> for Place {
    fn from(peer: PeerAddress<'_>) -> Self {
        match peer {
            PeerAddress::Unix(path) => Self::Unix(path.to_owned()),
            PeerAddress::Tcp(address) => Self::Tcp(address),
        }
    }
}

impl FakeServer {
    /// The next connection that the driver has made.
    #[must_use]
    pub fn accept(&self) -> Option<FakePeer> {
        let mut net = self.net.borrow_mut();
        let conn = net.servers.get_mut(&self.place)?.waiting.pop_front()?;
        Some(FakePeer::new(conn))
    }

    /// Connects fail with this error number (ECONNREFUSED, EAGAIN, ...) until told otherwise.
    pub fn refuse(&self, errno: Option<i32>) {
        if let Some(server) = self.net.borrow_mut().servers.get_mut(&self.place) {
            server.refusal = errno.map(Errno::from_raw_os_error);
        }
    }

    /// No longer listens; connects fail with ENOENT, or ECONNREFUSED to a port.
    pub fn stop(self) {
        self.net.borrow_mut().servers.remove(&self.place);
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FakeServer({:?})", self.place)
    }
}

/// What driver and script share.
#[derive(Default)]
pub(super) struct Net {
    pub(super) listeners: Vec<Listener>,
    servers: BTreeMap<Place, Server>,
    tokens: Vec<Token>,
    pub(super) starving: [bool; PoolClass::RECEIVE.len()],
    pub(super) deliver_late: bool,
}

pub(super) struct Listener {
    pub(super) key: Key,
    pub(super) open: bool,
    pub(super) wanted: bool,
    pub(super) waiting: VecDeque<Rc<RefCell<Conn>>>,
    pub(super) failures: VecDeque<Errno>,
}

#[derive(Default)]
struct Server {
    waiting: VecDeque<Rc<RefCell<Conn>>>,
    refusal: Option<Errno>,
}

/// A descriptor that stands for a connection until it is adopted: the writing end of a pipe. Both
/// ends have the same inode number, by which `adopt` recognises it, and the reading end shows when
/// it is dropped instead.
struct Token {
    inode: u64,
    reading_end: OwnedFd,
    conn: Rc<RefCell<Conn>>,
}

impl Net {
    /// Makes the token of a connection.
    pub(super) fn token(&mut self, conn: Rc<RefCell<Conn>>) -> io::Result<OwnedFd> {
        let (reading_end, writing_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        self.tokens.push(Token { inode: inode(&writing_end)?, reading_end, conn });
        Ok(writing_end)
    }

    /// The connection that a descriptor stands for.
    pub(super) fn redeem(&mut self, fd: &OwnedFd) -> Option<Rc<RefCell<Conn>>> {
        let inode = inode(fd).ok()?;
        let position = self.tokens.iter().position(|token| token.inode == inode)?;
        Some(self.tokens.remove(position).conn)
    }

    /// Closes the connections whose token was dropped.
    pub(super) fn collect_dropped(&mut self) {
        self.tokens.retain(|token| {
            let dropped = rustix::io::read(&token.reading_end, &mut [0_u8; 1]) == Ok(0);
            if dropped {
                token.conn.borrow_mut().close_driver();
            }
            !dropped
        });
    }

    pub(super) fn connect(&mut self, peer: PeerAddress<'_>) -> Result<Rc<RefCell<Conn>>, Errno> {
        let nobody = match peer {
            PeerAddress::Unix(_) => Errno::NOENT,
            PeerAddress::Tcp(_) => Errno::CONNREFUSED,
        };
        let server = self.servers.get_mut(&Place::from(peer)).ok_or(nobody)?;
        if let Some(refusal) = server.refusal {
            return Err(refusal);
        }
        let conn = Conn::new();
        server.waiting.push_back(Rc::clone(&conn));
        Ok(conn)
    }
}

fn inode(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_ino)
}
