//! Making sockets that listen: TCP ports that shards share, unix sockets with a file.
//!
//! Owns: that an address in use is always noticed and said in words, and the rights of a socket's file. Must never know: whom a socket
//! is for. Called by `listeners` and by those who listen for commands.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::port_owner;

/// Connections the kernel queues per socket; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One socket per shard on the same port, and that port.
pub(super) fn open_tcp(wanted: SocketAddr, shards: u32) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    if wanted.port() != 0 {
        // SO_REUSEPORT lets a second instance of the same user in without a word, and the two would
        // share the clients. A first bind without it is refused as long as anybody listens there.
        bind_tcp(wanted, false)?;
    }
    let first = bind_tcp(wanted, true)?;
    let real = first.local_addr()?.as_socket().unwrap_or(wanted);
    let mut sockets = vec![first];
    for _ in 1..shards {
        sockets.push(bind_tcp(real, true)?);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok((real, sockets.into_iter().map(OwnedFd::from).collect()))
}

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    // `Socket::new` sets CLOEXEC.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

pub(super) fn explain_tcp(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => match port_owner::find(address.port()) {
            Some(owner) => format!("the port is in use by {owner}"),
            None => "the port is in use by another process".to_owned(),
        },
        io::ErrorKind::PermissionDenied => format!(
            "no right to use port {}; ports below 1024 need root, CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// The same for the command socket of a supervisor that has died: its file is still there.
pub(crate) fn bind_anew(path: &Path) -> io::Result<OwnedFd> {
    let _ = std::fs::remove_file(path);
    bind_file(path, 0o600)
}

/// A listening socket for packets, for us alone.
pub(crate) fn bind_packets(path: &Path) -> io::Result<OwnedFd> {
    bind_unix(path, Type::SEQPACKET, 0o600)
}

/// A listening unix socket with a file of these rights.
pub(crate) fn bind_file(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    bind_unix(path, Type::STREAM, mode)
}

fn bind_unix(path: &Path, kind: Type, mode: u32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    // The file is created with the rights of the socket's own inode, so it is never more open than
    // this.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o600))?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Removes the socket of a dead server; refuses to touch anything else.
pub(super) fn clear_stale(path: &Path) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err("the file exists and is not a socket".to_owned());
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| format!("removing the old socket: {error}"))
        }
        Ok(_) => Err("the socket is in use by another process".to_owned()),
        Err(error) => Err(format!("a socket is there and its owner cannot be asked: {error}")),
    }
}
