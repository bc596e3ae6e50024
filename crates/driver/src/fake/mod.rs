//! A driver without a kernel, for tests and the simulator.
//!
//! Owns: sockets in memory, in a world that a script controls through [`FakeNet`]. Must never know:
//! clocks, threads, chance. The same calls in the same order always give the same completions.
//!
//! It keeps the contract of [`Driver`] with these differences: `turn` never waits; what is asked
//! happens in the next turn; the descriptors in [`Completion::Accepted`] are tokens of no other use
//! than to be adopted or dropped. In a turn, accepts come first, then sends, then receives, one of
//! each per socket, in the order of the slots.

mod net;
mod peer;
mod serve;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

pub use self::net::{FakeNet, FakeServer};
use self::net::{Listener, Net};
use self::peer::Conn;
pub use self::peer::{FakePeer, FakeRead};
use crate::table::Table;
use crate::waker::WakeSource;
use crate::{
    COMPLETIONS_PER_TURN, Completion, Driver, DriverConfig, Full, Key, ListenerId, Operation,
    Parts, PeerAddress, Pool, PoolClass, ReceiveMode, SocketId, Usage, Waker,
};

/// Sockets in memory.
pub struct FakeDriver {
    net: Rc<RefCell<Net>>,
    sockets: Table<Socket>,
    /// Every open socket, in the order in which they are served.
    order: VecDeque<SocketId>,
    local: VecDeque<Completion>,
    starved: u64,
    wake: WakeSource,
    pool: Pool,
}

struct Socket {
    /// `None`: the connect has failed.
    conn: Option<Rc<RefCell<Conn>>>,
    key: Key,
    wanted: ReceiveMode,
    /// One delivery into this class is due whatever is wanted.
    late: Option<PoolClass>,
    finished: bool,
    starving: bool,
    send: Option<Sending>,
}

struct Sending {
    parts: Parts,
    /// Bytes that have left.
    sent: usize,
}

impl FakeDriver {
    /// A driver and the world around it.
    pub fn new(config: &DriverConfig) -> io::Result<(Self, FakeNet)> {
        let net = Rc::new(RefCell::new(Net::default()));
        let driver = Self {
            net: Rc::clone(&net),
            sockets: Table::new(config.sockets_max),
            order: VecDeque::new(),
            local: VecDeque::new(),
            starved: 0,
            wake: WakeSource::new()?,
            pool: Pool::new(&config.pools)?,
        };
        Ok((driver, FakeNet::new(net)))
    }

    fn insert(&mut self, conn: Option<Rc<RefCell<Conn>>>, key: Key) -> Result<SocketId, Full> {
        let id = self.sockets.insert(Socket {
            conn,
            key,
            wanted: ReceiveMode::Paused,
            late: None,
            finished: false,
            starving: false,
            send: None,
        })?;
        self.order.push_back(id);
        Ok(id)
    }

    fn report_local(&mut self, out: &mut Vec<Completion>, limit: usize) {
        while out.len() < limit
            && let Some(completion) = self.local.pop_front()
        {
            let (Completion::Connected { socket, .. } | Completion::Failed { socket, .. }) =
                &completion
            else {
                unreachable!("only these happen between the turns");
            };
            if self.sockets.get_mut(*socket).is_some() {
                out.push(completion);
            }
        }
    }
}

impl Driver for FakeDriver {
    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId> {
        drop(fd);
        let mut net = self.net.borrow_mut();
        let id = ListenerId(net.listeners.len() as u32);
        net.listeners.push(Listener {
            key,
            open: true,
            wanted: true,
            waiting: VecDeque::new(),
            failures: VecDeque::new(),
        });
        Ok(id)
    }

    fn accept(&mut self, listener: ListenerId, on: bool) {
        self.net.borrow_mut().listeners[listener.0 as usize].wanted = on;
    }

    fn may_accept(&self, listener: ListenerId) -> bool {
        self.net.borrow().listeners[listener.0 as usize].wanted
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let mut net = self.net.borrow_mut();
        let listener = &mut net.listeners[listener.0 as usize];
        listener.open = false;
        for conn in listener.waiting.drain(..) {
            conn.borrow_mut().close_driver();
        }
    }

    /// # Panics
    /// When the descriptor is not one of [`Completion::Accepted`] or [`FakeNet::pair`].
    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        let conn = self.net.borrow_mut().redeem(&fd).expect("a token of this network");
        self.insert(Some(Rc::clone(&conn)), key).inspect_err(|_| conn.borrow_mut().close_driver())
    }

    fn connect(&mut self, peer: PeerAddress<'_>, key: Key) -> io::Result<SocketId> {
        if let PeerAddress::Unix(path) = peer {
            // Refuses the paths that the kernel's address has no room for.
            rustix::net::SocketAddrUnix::new(path)?;
        }
        let outcome = self.net.borrow_mut().connect(peer);
        let conn = outcome.as_ref().ok().cloned();
        let socket = self.insert(conn, key).map_err(|full| {
            if let Ok(conn) = &outcome {
                conn.borrow_mut().close_driver();
            }
            io::Error::other(full)
        })?;
        self.local.push_back(match outcome {
            Ok(_) => Completion::Connected { socket, key },
            Err(error) => Completion::Failed {
                socket,
                key,
                operation: Operation::Connect,
                error: error.into(),
            },
        });
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        if let ReceiveMode::Once(class) = mode {
            assert!(class.is_receive(), "{class:?} buffers are for sending");
        }
        let Some(state) = self.sockets.get_mut(socket) else {
            return;
        };
        let has_bytes = state.conn.as_ref().is_some_and(|conn| conn.borrow().has_bytes());
        let leaves_stream = state.wanted == ReceiveMode::Stream && mode != state.wanted;
        if leaves_stream && has_bytes && self.net.borrow().deliver_late {
            state.late = Some(PoolClass::Head);
        }
        state.wanted = mode;
        state.starving = false;
    }

    fn has_input(&mut self, socket: SocketId) -> bool {
        let conn = self.sockets.get_mut(socket).and_then(|state| state.conn.as_ref());
        conn.is_some_and(|conn| conn.borrow().is_readable())
    }

    fn more_waits(&mut self, socket: SocketId) -> bool {
        self.has_input(socket)
    }

    fn send(&mut self, socket: SocketId, parts: Parts) {
        if let Some(state) = self.sockets.get_mut(socket) {
            assert!(state.send.is_none(), "one send at a time per socket");
            state.send = Some(Sending { parts, sent: 0 });
        }
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get_mut(socket) {
            assert!(state.send.is_none(), "nothing may be in flight before a FIN");
            if let Some(conn) = &state.conn {
                conn.borrow_mut().finish_driver();
            }
        }
    }

    fn reset(&mut self, socket: SocketId) {
        if let Some(conn) = self.sockets.remove(socket).and_then(|state| state.conn) {
            conn.borrow_mut().reset_driver();
        }
    }

    fn close(&mut self, socket: SocketId) {
        if let Some(conn) = self.sockets.remove(socket).and_then(|state| state.conn) {
            conn.borrow_mut().close_driver();
        }
    }

    fn release(&mut self, socket: SocketId) -> Option<OwnedFd> {
        let conn = self.sockets.remove(socket)?.conn?;
        // A token of the same connection: the test plays whoever takes it back.
        self.net.borrow_mut().token(conn).ok()
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn turn(&mut self, _timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let limit = out.len() + COMPLETIONS_PER_TURN;
        if self.wake.acknowledge() {
            out.push(Completion::Woken);
        }
        self.net.borrow_mut().collect_dropped();
        self.report_local(out, limit);
        self.accept_all(out, limit)?;
        self.serve(out, limit, Self::step_send);
        self.serve(out, limit, Self::step_receive);
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage {
            sockets: self.sockets.used(),
            operations: self.sockets.operations(),
            buffers_out: self.pool.out(),
            starved: self.starved,
        }
    }
}

impl Drop for FakeDriver {
    fn drop(&mut self) {
        for socket in self.sockets.values_mut() {
            if let Some(conn) = &socket.conn {
                conn.borrow_mut().close_driver();
            }
        }
    }
}
