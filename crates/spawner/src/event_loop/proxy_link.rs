//! The supervisor's end of the socketpair to the proxy.
//!
//! Owns: bytes on their way in both directions. Must never know: what the messages mean. Neither a
//! silent nor a mad proxy can block or fill the supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostler_protocol::control::{FromProxy, LineBuffer, LineError, ToProxy, encode_line};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use serde::{Deserialize, Serialize};

use super::keeping::Keeping;
use crate::passed_fd::PassedFd;

/// A proxy that lets this much wait is stuck.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// The link to one proxy process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProxyLink {
    fd: PassedFd,
    lines: LineBuffer,
    pending: Vec<u8>,
    /// What its keeper has.
    pub(super) keeping: Keeping,
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The other end is closed.
    #[error("it closed its control socket")]
    Closed,
    /// It does not read.
    #[error("it does not read its control socket")]
    Stuck,
    /// It does not speak the protocol.
    #[error("{0}")]
    Garbled(#[from] LineError),
}

impl ProxyLink {
    /// A link and what the proxy inherits: its end of this socket, and of the keeper's.
    pub(super) fn new() -> io::Result<(Self, OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let (keeping, keeper) = Keeping::new()?;
        let (lines, pending) = (LineBuffer::default(), Vec::new());
        Ok((Self { fd: ours.into(), lines, pending, keeping }, theirs, keeper))
    }

    /// A link to a proxy that has outlived its supervisor.
    pub(super) fn adopted(control: OwnedFd, keeper: OwnedFd) -> Self {
        let (lines, pending) = (LineBuffer::default(), Vec::new());
        Self { fd: control.into(), lines, pending, keeping: Keeping::adopted(keeper) }
    }

    /// Queues a message and sends what the socket takes.
    pub(super) fn send(&mut self, message: &ToProxy) -> Result<(), LinkError> {
        self.pending.extend(encode_line(message));
        self.flush()?;
        if self.pending.len() > PENDING_BYTES_MAX {
            return Err(LinkError::Stuck);
        }
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        while !self.pending.is_empty() {
            match send(&self.fd, &self.pending, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(LinkError::Closed),
            }
        }
        Ok(())
    }

    /// Reads the messages that are there; those before an error count.
    pub(super) fn receive(&mut self, into: &mut Vec<FromProxy>) -> Result<(), LinkError> {
        let mut buffer = [0_u8; 16 * 1024];
        // A bounded number of reads: a proxy that never stops talking must not keep us.
        for _ in 0..64 {
            let count = match recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(LinkError::Closed),
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(LinkError::Closed),
            };
            self.lines.push(&buffer[..count]);
            while let Some(message) = self.lines.next_message::<FromProxy>()? {
                into.push(message);
            }
        }
        Ok(())
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn wants_write(&self) -> bool {
        !self.pending.is_empty()
    }
}
