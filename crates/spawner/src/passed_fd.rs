//! Descriptors in a state that is written down: as the number that they have in the process which writes.
//!
//! Owns: what such a number leads to where it is read. Must never know: what a descriptor is for. Called by everything that is part
//! of an instance's state.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exec;

thread_local! {
    /// Numbers that were written since [`collect`] began.
    static WRITTEN: RefCell<Vec<RawFd>> = const { RefCell::new(Vec::new()) };
    static SOURCE: RefCell<Source> = const { RefCell::new(Source::Inherited) };
}

/// A descriptor that another program may get along with the state that names it.
#[derive(Debug)]
pub(crate) struct PassedFd(OwnedFd);

impl PassedFd {
    /// Another one for the same thing.
    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl From<OwnedFd> for PassedFd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<PassedFd> for OwnedFd {
    fn from(fd: PassedFd) -> Self {
        fd.0
    }
}

impl AsFd for PassedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for PassedFd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_fd(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for PassedFd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = RawFd::deserialize(deserializer)?;
        let found = SOURCE.with_borrow_mut(|source| match source {
            Source::Inherited => exec::inherit(number),
            Source::Pretended => std::fs::File::open("/dev/null").map(OwnedFd::from),
            Source::Given(fds) => fds.remove(&number).ok_or(io::ErrorKind::NotFound.into()),
        });
        found.map(Self).map_err(|error| {
            serde::de::Error::custom(format!("descriptor {number} was not passed on: {error}"))
        })
    }
}

/// For fields that are something else than a [`PassedFd`] and have a descriptor.
pub(crate) mod as_fd {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        value: &impl AsFd,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serialize_fd(value, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OwnedFd>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        PassedFd::deserialize(deserializer).map(|fd| T::from(fd.0))
    }
}

fn serialize_fd<S: Serializer>(fd: &impl AsFd, serializer: S) -> Result<S::Ok, S::Error> {
    let number = fd.as_fd().as_raw_fd();
    WRITTEN.with_borrow_mut(|written| written.push(number));
    number.serialize(serializer)
}

/// Where the numbers of a state lead.
#[derive(Debug)]
pub(crate) enum Source {
    /// To descriptors of this process, which was the writer before.
    Inherited,
    /// Nowhere: the state is read as a trial.
    Pretended,
    /// To these, by their numbers in the writer.
    Given(HashMap<RawFd, OwnedFd>),
}

/// Reads a state whose numbers lead there.
pub(crate) fn reading_from<T>(source: Source, read: impl FnOnce() -> T) -> T {
    SOURCE.set(source);
    let state = read();
    SOURCE.set(Source::Inherited);
    state
}

/// The state as text, and the descriptors in it.
pub(crate) fn collect<T: Serialize>(state: &T) -> (serde_json::Result<Vec<u8>>, Vec<RawFd>) {
    WRITTEN.take();
    let text = serde_json::to_vec(state);
    (text, WRITTEN.take())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct State {
        first: PassedFd,
        #[serde(with = "as_fd")]
        second: File,
    }

    #[test]
    fn what_is_written_is_found_again_and_a_number_that_leads_nowhere_is_an_error() {
        let open = || File::open("/dev/null").expect("there");
        let state = State { first: OwnedFd::from(open()).into(), second: open() };
        let (text, fds) = collect(&state);
        assert_eq!(fds, [state.first.as_fd().as_raw_fd(), state.second.as_raw_fd()]);
        // What is read owns the descriptors, so the writer must not.
        let State { first, second } = state;
        let _ = (OwnedFd::from(first).into_raw_fd(), second.into_raw_fd());
        let read: State = serde_json::from_slice(&text.expect("written")).expect("read");
        assert_eq!(read.second.metadata().expect("open").len(), 0);
        drop(read);
        let nowhere = serde_json::from_str::<PassedFd>("1000000").expect_err("not open");
        assert!(nowhere.to_string().contains("descriptor 1000000 was not passed on"), "{nowhere}");
    }
}
