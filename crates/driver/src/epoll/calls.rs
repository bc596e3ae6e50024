//! The system calls that move bytes.
//!
//! Owns: their flags and the meaning of what they return. Must never know: readiness. Used by
//! `serve`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};

use crate::send::{Remainder, SendId, SendSlots};
use crate::{Buffer, BufferMut};

/// Never waits, whatever the descriptor's own flag says: accepted sockets then need no O_NONBLOCK.
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// What a receive brought.
pub(super) enum Received {
    /// Bytes; `filled`: the buffer was too short to say that there were no more.
    Bytes {
        /// The bytes.
        buffer: Buffer,
        /// No room was left.
        filled: bool,
    },
    /// FIN.
    End,
}

/// Receives into the buffer.
pub(super) fn receive(fd: &OwnedFd, mut buffer: BufferMut) -> Result<Received, Errno> {
    let (_, count) = recv(fd, buffer.spare_mut(), RecvFlags::DONTWAIT)?;
    if count == 0 {
        return Ok(Received::End);
    }
    buffer.advance(count);
    let filled = buffer.spare_capacity() == 0;
    Ok(Received::Bytes { buffer: buffer.freeze(), filled })
}

/// How far a send got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// To the end.
    All,
    /// The peer takes no more for now. `progress`: some bytes have left.
    Stalled {
        /// Some bytes have left.
        progress: bool,
    },
}

/// Sends as much as the peer takes.
pub(super) fn send(fd: &OwnedFd, sends: &mut SendSlots, id: SendId) -> Result<Sent, Errno> {
    let mut progress = false;
    loop {
        let fd = fd.as_fd().as_raw_fd();
        let sent = match sends.remainder(id) {
            Remainder::Nothing => return Ok(Sent::All),
            Remainder::One { start, len } => {
                // SAFETY: the send slot keeps these bytes until it is removed.
                unsafe { libc::send(fd, start.cast(), len, SEND_FLAGS) }
            }
            Remainder::Many(header) => {
                // SAFETY: the header and its vectors belong to the send slot, which does not change
                // during the call; it keeps the bytes they point to.
                unsafe { libc::sendmsg(fd, header, SEND_FLAGS) }
            }
        };
        let Ok(sent) = usize::try_from(sent) else {
            match last_error() {
                Errno::INTR => continue,
                Errno::AGAIN => return Ok(Sent::Stalled { progress }),
                error => return Err(error),
            }
        };
        progress = true;
        if sends.advance(id, sent) {
            return Ok(Sent::All);
        }
    }
}

/// Accepts one connection; the listener does not block.
pub(super) fn accept(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(fd, SocketFlags::CLOEXEC)
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
