//! The pipes from the children: output and reports.
//!
//! Owns: our read ends and the unfinished lines in them. Must never know: what happens to a line.
//! A pipe may live longer than the process it was made for, when a grandchild holds its other end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use hostler_protocol::control::KeptKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::output::{Channel, Label, LineCutter};
use crate::passed_fd::PassedFd;
use crate::supervisor::Target;

/// Read at once; a stream that has more waits for its next turn.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What a dead process left in a pipe: no pipe holds more by default rights.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// What comes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Output lines.
    Output {
        /// Which output.
        channel: Channel,
        /// Whose.
        label: Label,
    },
    /// Report lines of the loader.
    Report,
}

/// One pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stream {
    pub(super) number: u64,
    pub(super) target: Target,
    pub(super) kind: Kind,
    fd: PassedFd,
    cutter: LineCutter,
}

/// All pipes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Streams {
    list: Vec<Stream>,
    next_number: u64,
    #[serde(skip, default = "read_buffer")]
    buffer: Vec<u8>,
}

/// Takes a line: whose, what, the bytes.
pub(super) type EachLine<'a> = dyn FnMut(Target, &Kind, &[u8]) + 'a;

impl Streams {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), next_number: 0, buffer: read_buffer() }
    }

    pub(super) fn add(&mut self, target: Target, kind: Kind, fd: OwnedFd) {
        let number = self.next_number;
        self.next_number += 1;
        let (fd, cutter) = (fd.into(), LineCutter::default());
        self.list.push(Stream { number, target, kind, fd, cutter });
    }

    /// Whose it is has another part to play.
    pub(super) fn rename(&mut self, from: Target, to: Target) {
        for stream in self.list.iter_mut().filter(|stream| stream.target == from) {
            stream.target = to;
        }
    }

    /// What comes through each descriptor, for who may have to read it.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (RawFd, KeptKind)> + '_ {
        self.list.iter().map(|stream| {
            let kind = match stream.kind {
                Kind::Output { channel: Channel::Stdout, .. } => KeptKind::Stdout,
                Kind::Output { channel: Channel::Stderr, .. } => KeptKind::Stderr,
                // A pipe holds more reports than a worker makes; the next supervisor reads them.
                Kind::Report => KeptKind::Other,
            };
            (stream.fd.as_fd().as_raw_fd(), kind)
        })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.list.iter().map(|stream| (stream.number, stream.fd.as_fd()))
    }

    /// Reads what one stream has, up to a bound.
    pub(super) fn read(&mut self, number: u64, each: &mut EachLine<'_>) {
        let Some(index) = self.list.iter().position(|stream| stream.number == number) else {
            return;
        };
        if self.list[index].read(&mut self.buffer, each) == Progress::End {
            self.list.swap_remove(index);
        }
    }

    /// Reads what a dead process left behind, so that its last words come before its death.
    pub(super) fn drain(&mut self, target: Target, each: &mut EachLine<'_>) {
        for stream in self.list.iter_mut().filter(|stream| stream.target == target) {
            let mut left = DRAIN_BYTES_MAX;
            while let Progress::Some(count) = stream.read(&mut self.buffer, each) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
            stream.finish(each);
        }
    }
}

fn read_buffer() -> Vec<u8> {
    vec![0; READ_BYTES_MAX]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Some(usize),
    Nothing,
    End,
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8], each: &mut EachLine<'_>) -> Progress {
        match rustix::io::read(&self.fd, &mut *buffer) {
            Ok(0) => {
                self.finish(each);
                Progress::End
            }
            Ok(count) => {
                let (target, kind) = (self.target, &self.kind);
                self.cutter.feed(&buffer[..count], &mut |line| each(target, kind, line));
                Progress::Some(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Progress::Nothing,
            Err(_) => Progress::End,
        }
    }

    fn finish(&mut self, each: &mut EachLine<'_>) {
        let (target, kind) = (self.target, &self.kind);
        self.cutter.finish(&mut |line| each(target, kind, line));
    }
}
