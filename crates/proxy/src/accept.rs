//! Stage accept: a connection is admitted.
//!
//! Owns: what is read from a new socket. Must never know: what it will be used for. Called by the shard.

use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::conn::ClientAddress;

/// What the kernel may hold for a worker: the kernel doubles it, and allows it to everybody. The usual half is three pieces of a
/// body, and each time they have gone both sides are woken; much more than this leaves the cache before the worker reads it.
const CHANNEL_SEND_BYTES: usize = 208 * 1024;

/// Gives our side of a channel its room. The worker's side got it from the supervisor, who made it.
pub fn widen_channel(fd: &OwnedFd) {
    let _widened = SockRef::from(fd).set_send_buffer_size(CHANNEL_SEND_BYTES);
}

/// The peer of a connection. A client that is gone already has none; it is then treated like a unix client
/// until its first operation fails.
pub fn client_address(fd: &OwnedFd) -> ClientAddress {
    SockRef::from(fd)
        .peer_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .map_or(ClientAddress::LOCAL, ClientAddress::new)
}
