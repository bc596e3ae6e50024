//! Our own stdout or stderr, written without ever waiting for its reader.
//!
//! Owns: a bounded buffer in front of the descriptor and the count of what did not fit. Must never
//! know: what is written. A slow reader costs lines, never the supervisor's time. Called by the
//! loop.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// Bytes that wait for a slow reader.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// POSIX promises that a pipe which polls writable takes this much without blocking.
const PIPE_BYTES_SAFE: usize = 4096;

/// How a write is kept from blocking. `O_NONBLOCK` on an inherited descriptor is no way: the flag
/// belongs to the open file, which the shell and other processes share with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A pipe or terminal that could be opened anew has a flag of its own.
    OwnFile,
    /// A socket takes a flag with each call.
    Socket,
    /// A regular file never blocks.
    Plain,
    /// Ask before, write little.
    PollFirst,
}

/// One output of ours.
#[derive(Debug)]
pub(crate) struct Sink {
    fd: OwnedFd,
    way: Way,
    pending: VecDeque<u8>,
    dropped_lines: u64,
    gone: bool,
}

impl Sink {
    /// A sink for a copy of `fd`.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> std::io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
        let (fd, way) = match kind {
            FileType::Fifo | FileType::CharacterDevice => match reopen(fd) {
                Some(own) => (own, Way::OwnFile),
                None => (fd.try_clone_to_owned()?, Way::PollFirst),
            },
            FileType::Socket => (fd.try_clone_to_owned()?, Way::Socket),
            FileType::RegularFile => (fd.try_clone_to_owned()?, Way::Plain),
            _ => (fd.try_clone_to_owned()?, Way::PollFirst),
        };
        Ok(Self { fd, way, pending: VecDeque::new(), dropped_lines: 0, gone: false })
    }

    /// Queues one line (newline included); drops and counts it when too much waits already.
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.gone {
            return;
        }
        if self.pending.len() + line.len() > PENDING_BYTES_MAX {
            self.dropped_lines += 1;
            return;
        }
        self.tell_drops();
        self.pending.extend(line);
    }

    /// Says how many lines are missing, at the place where they are missing.
    fn tell_drops(&mut self) {
        if self.dropped_lines > 0 && self.pending.len() < PENDING_BYTES_MAX / 2 {
            let note = format!(
                "[hostler] {} lines were dropped: the reader of this output is too slow\n",
                self.dropped_lines
            );
            self.dropped_lines = 0;
            self.pending.extend(note.as_bytes());
        }
    }

    /// Writes what the reader takes now.
    pub(crate) fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.write_some() {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => {
                    // A full disk may get room again; a closed pipe stays closed.
                    self.gone = !matches!(error, Errno::NOSPC | Errno::DQUOT);
                    let lines = self.pending.iter().filter(|&&byte| byte == b'\n').count();
                    self.dropped_lines += lines as u64;
                    self.pending = VecDeque::new();
                    return;
                }
            }
        }
        if self.dropped_lines > 0 && !self.gone {
            // Recursion ends here: the note itself fits.
            self.tell_drops();
            self.flush();
        } else if self.pending.capacity() > PIPE_BYTES_SAFE * 16 {
            self.pending = VecDeque::new();
        }
    }

    /// Before the end: gives the reader a last, bounded chance.
    pub(crate) fn finish(&mut self, ms_max: u32) {
        let end = Instant::now() + Duration::from_millis(ms_max.into());
        self.flush();
        while let Some(fd) = self.waiting() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let left = rustix::event::Timespec::try_from(left).ok();
            let _ = rustix::event::poll(
                &mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)],
                left.as_ref(),
            );
            self.flush();
        }
    }

    /// The descriptor to poll for writability, if something waits.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.pending.is_empty()).then(|| self.fd.as_fd())
    }

    fn write_some(&self) -> Result<usize, Errno> {
        let (bytes, _) = self.pending.as_slices();
        match self.way {
            Way::OwnFile | Way::Plain => rustix::io::write(&self.fd, bytes),
            Way::Socket => {
                rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Way::PollFirst => {
                let mut ask = [PollFd::new(&self.fd, PollFlags::OUT)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                if rustix::event::poll(&mut ask, Some(&now))? == 0 {
                    return Err(Errno::AGAIN);
                }
                rustix::io::write(&self.fd, &bytes[..bytes.len().min(PIPE_BYTES_SAFE)])
            }
        }
    }
}

/// A second open file for the same pipe or terminal.
fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn a_slow_reader_costs_lines_and_is_told_how_many() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("pipe");
        let mut sink = Sink::new(writer.as_fd()).expect("sink");
        let line = [b'x'; 1023].iter().copied().chain([b'\n']).collect::<Vec<u8>>();
        for _ in 0..4096 {
            sink.push(&line);
            sink.flush();
        }
        assert!(sink.waiting().is_some());
        let mut seen = Vec::new();
        let mut buffer = vec![0_u8; 1 << 16];
        while sink.waiting().is_some() {
            let count = rustix::io::read(&reader, &mut buffer[..]).expect("readable");
            seen.extend_from_slice(&buffer[..count]);
            sink.flush();
        }
        let count = rustix::io::read(&reader, &mut buffer[..]).expect("readable");
        seen.extend_from_slice(&buffer[..count]);
        sink.push(b"end\n");
        sink.finish(1000);
        drop(sink);
        drop(writer);
        loop {
            match rustix::io::read(&reader, &mut buffer[..]).expect("readable") {
                0 => break,
                count => seen.extend_from_slice(&buffer[..count]),
            }
        }
        let text = String::from_utf8(seen).expect("text");
        let note = text.lines().find(|line| line.starts_with("[hostler]")).expect("a note");
        let dropped: usize = note.split(' ').nth(1).expect("number").parse().expect("number");
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() + dropped, 4096);
        assert!(text.ends_with("end\n"));
    }

    #[test]
    fn a_reader_that_left_is_forgotten() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("pipe");
        let mut sink = Sink::new(writer.as_fd()).expect("sink");
        drop(reader);
        sink.push(b"x\n");
        sink.flush();
        sink.push(b"y\n");
        assert!(sink.waiting().is_none());
    }
}
