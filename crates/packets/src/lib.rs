//! Control messages that carry descriptors: each is one packet of JSON on a `SOCK_SEQPACKET` socket.
//!
//! Owns: both directions, for both ends. Must never know: what a message means. Used by the keeper in `proxy` and by its other side in
//! `spawner`, which must not know each other.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use hostler_protocol::control::{KEEPER_BYTES_MAX, KEEPER_FDS_MAX};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Room for the descriptors of one packet.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(KEEPER_FDS_MAX));

/// Both ends of a socket that keeps packets apart. Fails as `socketpair(2)` does.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Whether a packet may wait until the other side has read others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For as long as the socket's own time-out says.
    Allowed,
    /// Never: it is an error instead.
    Never,
}

/// Sends one packet with at most [`KEEPER_FDS_MAX`] descriptors. Fails as `sendmsg(2)` does; nothing was sent then.
pub fn send<T: Serialize>(
    to: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if fds.len() > KEEPER_FDS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = match wait {
        Wait::Allowed => SendFlags::NOSIGNAL,
        Wait::Never => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    };
    sendmsg(to, &[IoSlice::new(&text)], &mut ancillary, flags)?;
    Ok(())
}

/// Receives one packet and its descriptors, in their order. The end of the other side is an error (`UnexpectedEof`), and so is a packet
/// that has not come whole: the kernel leaves out descriptors for which this process has no number free (unix(7)).
pub fn receive<T: DeserializeOwned>(from: BorrowedFd<'_>) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut bytes = [0; KEEPER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(from, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let why = "descriptors did not fit; see the limit of open files";
        return Err(io::Error::other(why));
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&bytes[..received.bytes])?, fds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_sent_comes_with_its_descriptors_and_an_end_is_an_error() {
        let (one, other) = pair().expect("a pair");
        let (kept, _peer) = pair().expect("a pair");
        send(one.as_fd(), &"first", &[kept.as_fd(), kept.as_fd()], Wait::Allowed).expect("sent");
        send(one.as_fd(), &"second", &[], Wait::Never).expect("sent");
        let (text, fds) = receive::<String>(other.as_fd()).expect("received");
        assert_eq!((text.as_str(), fds.len()), ("first", 2));
        let (text, fds) = receive::<String>(other.as_fd()).expect("received");
        assert_eq!((text.as_str(), fds.len()), ("second", 0));
        drop(one);
        let end = receive::<String>(other.as_fd()).expect_err("the end");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn who_may_not_wait_is_told_that_nobody_reads() {
        let (one, _other) = pair().expect("a pair");
        let full = (0..100_000).find_map(|_| send(one.as_fd(), &"x", &[], Wait::Never).err());
        assert_eq!(full.expect("full").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn more_descriptors_than_a_packet_takes_are_refused() {
        let (one, _other) = pair().expect("a pair");
        let many = vec![one.as_fd(); KEEPER_FDS_MAX + 1];
        let refused = send(one.as_fd(), &"x", &many, Wait::Never).expect_err("too many");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
