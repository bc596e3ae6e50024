//! The process at the other end of a channel, under `hostler exec`.
//!
//! Owns: how a connection that it accepted becomes ours too. Must never know: what the connection is for. Called by the
//! shard.

use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, PidfdGetfdFlags};

/// The process at the other end of a channel, from which descriptors are taken.
#[derive(Debug)]
pub struct Peer {
    pidfd: OwnedFd,
}

impl Peer {
    /// The peer of a unix socket.
    pub fn of(channel: &OwnedFd) -> rustix::io::Result<Self> {
        let pid = rustix::net::sockopt::socket_peercred(channel)?.pid;
        Ok(Self { pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// A descriptor of its connection number `fd`.
    pub fn duplicate(&self, fd: u32) -> rustix::io::Result<OwnedFd> {
        let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
        rustix::process::pidfd_getfd(&self.pidfd, fd, PidfdGetfdFlags::empty())
    }
}
