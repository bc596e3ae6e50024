//! Being written.
use crate::{
    Completion, Driver, DriverConfig, Full, Key, ListenerId, Parts, Pool, ReceiveMode, SocketId,
    Usage, Waker,
};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Being written.
pub struct FakeDriver {
    pool: Pool,
}
impl FakeDriver {
    /// Being written.
    pub fn new(config: &DriverConfig) -> io::Result<Self> {
        Ok(Self {
            pool: Pool::new(&config.pools)?,
        })
    }
}
#[allow(unused_variables, reason = "being written")]
impl Driver for FakeDriver {
    fn pool(&self) -> &Pool {
        &self.pool
    }
    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId> {
        panic!()
    }
    fn accept(&mut self, listener: ListenerId, on: bool) {
        panic!()
    }
    fn unlisten(&mut self, listener: ListenerId) {
        panic!()
    }
    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        panic!()
    }
    fn connect(&mut self, path: &Path, key: Key) -> io::Result<SocketId> {
        panic!()
    }
    fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        panic!()
    }
    fn send(&mut self, socket: SocketId, parts: Parts) {
        panic!()
    }
    fn shutdown_write(&mut self, socket: SocketId) {
        panic!()
    }
    fn close(&mut self, socket: SocketId) {
        panic!()
    }
    fn waker(&self) -> Waker {
        panic!()
    }
    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        panic!()
    }
    fn usage(&self) -> Usage {
        panic!()
    }
}
