//! The event list: which descriptors have become readable or writable.
//!
//! Owns: the epoll descriptor and the array of events. Must never know: what a socket wants. Used
//! by `mod`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::table::Token;

/// Events taken by one call. What does not fit comes with the next, sockets that were not served
/// first.
const EVENTS: usize = 256;

/// What a socket is watched for all its life. Edge-triggered: one event per arrival instead of one
/// per turn. Writability is not part of it: a unix socket becomes "writable" each time the peer
/// reads, and would wake us once for each message sent.
const ALWAYS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// What has happened to a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) token: Token,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// FIN or an error: a receive after the last byte will not block.
    pub(super) ended: bool,
}

/// An epoll instance.
pub(super) struct Poll {
    fd: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a descriptor until it is closed. When another process holds the same description
    /// open, events may come even after that; their token is stale then.
    pub(super) fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        let data = EventData::new_u64(token.encode());
        Ok(epoll::add(&self.fd, fd, data, ALWAYS)?)
    }

    /// Ends the watch. It can only fail for a descriptor that is not watched.
    pub(super) fn remove(&self, fd: impl AsFd) {
        let _unwatched = epoll::delete(&self.fd, fd);
    }

    /// Watches for writability too, or no longer. If the descriptor is writable already, an event
    /// comes.
    pub(super) fn watch_writable(&self, fd: impl AsFd, token: Token, on: bool) -> io::Result<()> {
        let flags = if on { ALWAYS.union(EventFlags::OUT) } else { ALWAYS };
        let data = EventData::new_u64(token.encode());
        Ok(epoll::modify(&self.fd, fd, data, flags)?)
    }

    /// Waits for events, at most for `timeout`. Read them with [`Self::event`].
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        let timeout = timeout.map(round_up);
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.fd, spare, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The event with this number of the last wait.
    pub(super) fn event(&self, number: usize) -> Option<Event> {
        let event = self.events.get(number)?;
        let (flags, data) = (event.flags, event.data);
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        Some(Event {
            token: Token::decode(data.u64())?,
            readable: ended || flags.contains(EventFlags::IN),
            writable: flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR),
            ended,
        })
    }
}

/// To whole milliseconds, the resolution of epoll_wait, and never to less than asked: a wait that
/// ends just before its deadline would be repeated with nothing to do.
fn round_up(timeout: Duration) -> Timespec {
    const NANOS_PER_MILLI: u128 = 1_000_000;
    // A day is as good as for ever, and fits.
    const MILLIS_MAX: u128 = 24 * 60 * 60 * 1000;
    let millis = timeout.as_nanos().div_ceil(NANOS_PER_MILLI).min(MILLIS_MAX) as i64;
    Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * NANOS_PER_MILLI as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up() {
        let rounded = round_up(Duration::from_nanos(1_000_000_001));
        assert_eq!((rounded.tv_sec, rounded.tv_nsec), (1, 1_000_000));
        assert_eq!(round_up(Duration::ZERO).tv_nsec, 0);
        assert_eq!(round_up(Duration::MAX).tv_sec, 24 * 60 * 60);
    }
}
