//! What the proxy keeps for us: the supervisor's side of the keeper's socket, and the file with the state.
//!
//! Owns: which descriptors the keeper has, and bringing them up to date. Must never know: what becomes of them when we are dead
//! (`crate::adoption`). Never waits: a keeper that does not read is told later.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use hostler_packets::{Wait, send};
use hostler_protocol::control::{KEEPER_FDS_MAX, KeptFd, KeptKind, ToKeeper};
use rustix::fs::fstat;
use serde::{Deserialize, Serialize};

use super::EventLoop;
use crate::exec;
use crate::passed_fd::PassedFd;

/// What a descriptor leads to: a number may have been used again.
type Identity = (u64, u64);

/// The keeper of one proxy, as we see it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Keeping {
    link: Option<PassedFd>,
    kept: HashMap<RawFd, Identity>,
}

impl Keeping {
    /// A keeper that has nothing yet, and the end that the proxy inherits.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = hostler_packets::pair()?;
        Ok((Self::adopted(ours), theirs))
    }

    /// The same for a socket that exists.
    pub(super) fn adopted(link: OwnedFd) -> Self {
        Self { link: Some(link.into()), kept: HashMap::new() }
    }

    /// Another proxy keeps everything now.
    pub(super) fn release(&mut self) {
        if let Some(link) = self.link.take() {
            // If it does not hear it, it sees the end of the socket and has nothing to keep.
            let _ = send(link.as_fd(), &ToKeeper::Release, &[], Wait::Never);
        }
    }

    /// Brings the keeper up to date; false if it has to be tried again.
    fn update(&mut self, wanted: &[(KeptFd, BorrowedFd<'_>)]) -> bool {
        let Some(link) = &self.link else { return true };
        let identified = wanted.iter().filter_map(|(name, fd)| {
            let facts = fstat(fd).ok()?;
            Some((name, fd, (facts.st_dev, facts.st_ino)))
        });
        let identified: Vec<_> = identified.collect();
        let is_new = |(name, _, identity): &&(&KeptFd, &BorrowedFd<'_>, Identity)| {
            self.kept.get(&name.number) != Some(identity)
        };
        let new: Vec<_> = identified.iter().filter(is_new).copied().collect();
        for some in new.chunks(KEEPER_FDS_MAX) {
            let names = some.iter().map(|(name, ..)| **name).collect();
            let fds: Vec<_> = some.iter().map(|(_, fd, _)| **fd).collect();
            if send(link.as_fd(), &ToKeeper::Keep { fds: names }, &fds, Wait::Never).is_err() {
                return false;
            }
            self.kept.extend(some.iter().map(|(name, _, identity)| (name.number, *identity)));
        }
        let is_wanted = |number: RawFd| identified.iter().any(|(name, ..)| name.number == number);
        let gone: Vec<RawFd> =
            self.kept.keys().copied().filter(|number| !is_wanted(*number)).collect();
        for some in gone.chunks(KEEPER_FDS_MAX) {
            let message = ToKeeper::Drop { numbers: some.to_vec() };
            if send(link.as_fd(), &message, &[], Wait::Never).is_err() {
                return false;
            }
            for number in some {
                self.kept.remove(number);
            }
        }
        true
    }
}

impl EventLoop<'_> {
    /// If something has happened: what a supervisor after us would have to know goes to the keeper and into the file.
    pub(super) fn keep_state(&mut self) {
        if !self.has_changed || self.exit.is_some() {
            return;
        }
        let (text, numbers) = self.estate_to_keep();
        let Ok(text) = text else {
            debug_assert!(false, "a state can always be written");
            return;
        };
        let streams: HashMap<RawFd, KeptKind> = self.streams.kinds().collect();
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let own = [
            (KeptFd { number: 1, kind: KeptKind::OwnStdout }, stdout.as_fd()),
            (KeptFd { number: 2, kind: KeptKind::OwnStderr }, stderr.as_fd()),
        ];
        let named = numbers.iter().map(|number| {
            let kind = streams.get(number).copied().unwrap_or(KeptKind::Other);
            (KeptFd { number: *number, kind }, exec::borrow(*number))
        });
        let wanted: Vec<_> = own.into_iter().chain(named).collect();
        let updated = self.link.as_mut().is_none_or(|link| link.keeping.update(&wanted));
        let written = self.dir.write_state(&text);
        if let Err(error) = &written {
            tracing::debug!(%error, "the state cannot be written");
        }
        self.has_changed = !updated;
    }
}
