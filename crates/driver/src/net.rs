//! Small socket calls that both kernel backends make directly.
//!
//! Owns: nothing. Must never know: rings, event lists, buffers. Used by `uring`, `epoll` and
//! `probe`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    shutdown, socket_with, sockopt,
};

use crate::PeerAddress;

/// What became of a connect.
pub(crate) struct Connecting {
    /// The socket; it does not block.
    pub(crate) fd: OwnedFd,
    /// Whether it is connected; `None`: that will be known when it becomes writable.
    pub(crate) outcome: Option<io::Result<()>>,
}

/// Starts a connection without waiting.
pub(crate) fn start_connect(peer: PeerAddress<'_>) -> io::Result<Connecting> {
    match peer {
        PeerAddress::Unix(path) => connect_unix(path),
        PeerAddress::Tcp(address) => connect_tcp(address),
    }
}

/// On this family connect either succeeds or fails at once (EAGAIN: the backlog is full), so it
/// needs no operation of its own; through the ring a full backlog would occupy a kernel worker
/// thread.
fn connect_unix(path: &Path) -> io::Result<Connecting> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let outcome = connect(&fd, &address).map_err(io::Error::from);
    Ok(Connecting { fd, outcome: Some(outcome) })
}

/// Over loopback the handshake is over before connect returns, although it says EINPROGRESS: the
/// answer waits in the socket's backlog, which the kernel works off on the way out. Only a full
/// backlog of the listener takes longer (the SYN is lost and sent again).
fn connect_tcp(address: SocketAddr) -> io::Result<Connecting> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    let outcome = match connect(&fd, &address) {
        Err(Errno::INPROGRESS | Errno::INTR) => is_writable(&fd)?.then(|| connect_outcome(&fd)),
        other => Some(other.map_err(io::Error::from)),
    };
    Ok(Connecting { fd, outcome })
}

fn is_writable(fd: impl AsFd) -> io::Result<bool> {
    let at_once = Timespec::try_from(Duration::ZERO).expect("zero fits");
    let count = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&at_once))?;
    Ok(count > 0)
}

/// What became of a connect, once the socket is writable.
pub(crate) fn connect_outcome(fd: impl AsFd) -> io::Result<()> {
    match sockopt::socket_error(fd)? {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a receive would find bytes, FIN or an error.
pub(crate) fn has_input(fd: impl AsFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    recv(fd, &mut [0_u8; 1], flags) != Err(Errno::AGAIN)
}

/// The coming close sends a reset, if the family knows such a thing.
pub(crate) fn reset_on_close(fd: impl AsFd) {
    // A peer that is gone needs none.
    let _set = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// Sets or clears O_NONBLOCK.
pub(crate) fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, on)?)
}

/// FIN after what has been sent. An error means that the peer is gone already, which a receive will
/// report.
pub(crate) fn shutdown_write(fd: impl AsFd) {
    let _gone = shutdown(fd, Shutdown::Write);
}

/// Ends both directions, which also ends every operation in flight.
pub(crate) fn shutdown_both(fd: impl AsFd) {
    let _gone = shutdown(fd, Shutdown::Both);
}

/// Whether accepting can simply go on after this error. That is so when only the one connection is
/// lost (accept(2) passes errors of the new connection on and asks to treat them like EAGAIN). With
/// everything else, first of all too many files, to go on at once would be a hot loop.
pub(crate) fn accept_can_go_on(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN
            | Errno::CANCELED
            | Errno::CONNABORTED
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::INTR
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::NOPROTOOPT
            | Errno::PERM
            | Errno::PROTO
            | Errno::TIMEDOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_let_accept_go_on() {
        assert!(accept_can_go_on(Errno::CONNABORTED));
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOTSOCK] {
            assert!(!accept_can_go_on(error), "{error}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_at_once() {
        let path = "x".repeat(200);
        assert!(connect_unix(Path::new(&path)).is_err());
    }

    #[test]
    fn nobody_listening_is_an_outcome() {
        let connecting = connect_unix(Path::new("/nonexistent/socket")).expect("socket");
        let error = connecting.outcome.expect("at once").expect_err("nobody there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
