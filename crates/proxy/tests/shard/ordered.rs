//! The fake driver, with the completions of a turn in the order that a test wants.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use hostler_driver::fake::FakeDriver;
use hostler_driver::{
    Completion, Driver, Full, Key, ListenerId, Parts, PeerAddress, Pool, ReceiveMode, SocketId,
    Usage, Waker,
};

pub(crate) type Order = Rc<RefCell<Option<fn(&Completion) -> u32>>>;

/// The fake driver, with the completions of a turn in the order that a test wants: the kernel promises none between
/// sockets.
pub(crate) struct Ordered {
    pub(crate) driver: FakeDriver,
    pub(crate) order: Order,
}

impl Driver for Ordered {
    fn pool(&self) -> &Pool {
        self.driver.pool()
    }
    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId> {
        self.driver.listen(fd, key)
    }
    fn accept(&mut self, listener: ListenerId, on: bool) {
        self.driver.accept(listener, on);
    }
    fn may_accept(&self, listener: ListenerId) -> bool {
        self.driver.may_accept(listener)
    }
    fn unlisten(&mut self, listener: ListenerId) {
        self.driver.unlisten(listener);
    }
    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        self.driver.adopt(fd, key)
    }
    fn connect(&mut self, peer: PeerAddress<'_>, key: Key) -> io::Result<SocketId> {
        self.driver.connect(peer, key)
    }
    fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        self.driver.receive(socket, mode);
    }
    fn has_input(&mut self, socket: SocketId) -> bool {
        self.driver.has_input(socket)
    }
    fn more_waits(&mut self, socket: SocketId) -> bool {
        self.driver.more_waits(socket)
    }
    fn send(&mut self, socket: SocketId, parts: Parts) {
        self.driver.send(socket, parts);
    }
    fn shutdown_write(&mut self, socket: SocketId) {
        self.driver.shutdown_write(socket);
    }
    fn reset(&mut self, socket: SocketId) {
        self.driver.reset(socket);
    }
    fn close(&mut self, socket: SocketId) {
        self.driver.close(socket);
    }
    fn release(&mut self, socket: SocketId) -> Option<OwnedFd> {
        self.driver.release(socket)
    }
    fn waker(&self) -> Waker {
        self.driver.waker()
    }
    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.driver.turn(timeout, out)?;
        if let Some(order) = self.order.borrow_mut().take() {
            out.sort_by_key(order);
        }
        Ok(())
    }
    fn usage(&self) -> Usage {
        self.driver.usage()
    }
}

/// Which kind of owner a completion is for: 0 client listener, 1 channel listener, 2 client, 3 channel, 4 plain.
pub(crate) fn kind(completion: &Completion) -> u32 {
    let key = match completion {
        Completion::Accepted { listener, .. } | Completion::AcceptFailed { listener, .. } => {
            *listener
        }
        Completion::Connected { key, .. }
        | Completion::Received { key, .. }
        | Completion::ReceiveEnded { key, .. }
        | Completion::SendProgress { key, .. }
        | Completion::Sent { key, .. }
        | Completion::Failed { key, .. } => *key,
        Completion::Woken => Key(0),
    };
    key.0 >> 29
}
