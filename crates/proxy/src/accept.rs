//! Stage accept: a connection is admitted.
//!
//! Owns: what is read from a new socket. Must never know: what it will be used for. Called by the shard.

use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::conn::ClientAddress;

/// The peer of a connection. A client that is gone already has none; it is then treated like a unix client
/// until its first operation fails.
pub fn client_address(fd: &OwnedFd) -> ClientAddress {
    SockRef::from(fd)
        .peer_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .map_or(ClientAddress::LOCAL, ClientAddress::new)
}
