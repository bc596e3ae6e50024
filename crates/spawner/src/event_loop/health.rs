//! One GET request to a starting worker, without waiting for it.
//!
//! Owns: the connections of such requests, their bytes and their deadline. Must never know: what an answer means. Nothing but
//! the status line is read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hostler_protocol::control::{PlainAddress, WorkerId};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::EventLoop;
use crate::supervisor::Event;

/// An app that needs longer for an answer is not ready.
const ANSWER_MS_MAX: u64 = 5_000;

/// `HTTP/1.1 200`: more is not needed.
const STATUS_BYTES: usize = 12;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A question under way.
#[derive(Debug)]
struct Question {
    worker: WorkerId,
    /// A unix or TCP stream socket; both are written and read alike.
    stream: TcpStream,
    state: State,
    deadline_ms: u64,
}

#[derive(Debug)]
enum State {
    /// The rest of the request waits for the connection.
    Asking(Vec<u8>),
    /// The first bytes of the answer.
    Reading(Vec<u8>),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct HealthChecks {
    list: Vec<Question>,
}

impl HealthChecks {
    /// The sockets, and what each waits for.
    pub(super) fn fds(&self) -> impl Iterator<Item = (WorkerId, BorrowedFd<'_>, PollFlags)> {
        self.list.iter().map(|question| {
            let flags = match question.state {
                State::Asking(_) => PollFlags::OUT,
                State::Reading(_) => PollFlags::IN,
            };
            (question.worker, question.stream.as_fd(), flags)
        })
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.list.iter().map(|question| question.deadline_ms).min()
    }

    /// Those that were not answered in time.
    fn expired(&mut self, now_ms: u64) -> Vec<WorkerId> {
        let is_late = |question: &mut Question| question.deadline_ms <= now_ms;
        self.list.extract_if(.., is_late).map(|question| question.worker).collect()
    }
}

impl EventLoop<'_> {
    /// Asks a worker.
    pub(super) fn ask_health(
        &mut self,
        worker: WorkerId,
        address: &PlainAddress,
        path: &str,
        announced: bool,
    ) {
        // A worker has one question at a time, and one of a dead namesake is of no use.
        self.health.list.retain(|question| question.worker != worker);
        match open(address) {
            Ok(stream) => {
                let state = State::Asking(request(path, announced));
                let deadline_ms = self.now_ms() + ANSWER_MS_MAX;
                self.health.list.push(Question { worker, stream, state, deadline_ms });
            }
            Err(error) => self.health_outcome(worker, Err(format!("{address}: {error}"))),
        }
    }

    /// A socket has news.
    pub(super) fn turn_health(&mut self, worker: WorkerId) {
        let mut questions = self.health.list.iter_mut();
        let Some(question) = questions.find(|question| question.worker == worker) else {
            return;
        };
        if let Some(outcome) = question.go_on() {
            self.health_outcome(worker, outcome);
        }
    }

    pub(super) fn expire_health(&mut self, now_ms: u64) {
        for worker in self.health.expired(now_ms) {
            let why = format!("no answer within {} s", ANSWER_MS_MAX / 1_000);
            self.health_outcome(worker, Err(why));
        }
    }

    fn health_outcome(&mut self, worker: WorkerId, answer: Result<u16, String>) {
        self.health.list.retain(|question| question.worker != worker);
        self.events.push_back(Event::Answered { worker, answer });
    }
}

impl Question {
    /// Writes and reads what is possible; gives the outcome when there is one.
    fn go_on(&mut self) -> Option<Result<u16, String>> {
        match self.try_go_on() {
            Ok(outcome) => outcome.map(Ok),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }

    fn try_go_on(&mut self) -> io::Result<Option<u16>> {
        if let State::Asking(rest) = &mut self.state {
            while !rest.is_empty() {
                let count = self.stream.write(rest)?;
                rest.drain(..count);
            }
            self.state = State::Reading(Vec::new());
        }
        let State::Reading(head) = &mut self.state else { return Ok(None) };
        let mut buffer = [0_u8; 512];
        while head.len() < STATUS_BYTES {
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::Error::other("it closed the connection without an answer")),
                count => head.extend(&buffer[..count]),
            }
        }
        let status = status_of(head);
        status.map(Some).ok_or_else(|| io::Error::other("the answer is not HTTP"))
    }
}

/// The status of `HTTP/1.1 200 OK`.
fn status_of(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..STATUS_BYTES)?).ok()?;
    let (version, status) = text.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| status.parse().ok()).flatten()
}

/// On the plain path of a worker with frames each connection begins with a line that says who the client is
/// (docs/worker-protocol.md): nobody with an address, by the first listener.
const LINE: &str = "HOSTLER - 0 0\n";

fn request(path: &str, announced: bool) -> Vec<u8> {
    let line = if announced { LINE } else { "" };
    format!(
        "{line}GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: hostler-ready\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn open(address: &PlainAddress) -> io::Result<TcpStream> {
    let socket: OwnedFd = match address {
        PlainAddress::Unix(path) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
            connect(&socket, &SocketAddrUnix::new(path.as_path())?)?;
            socket
        }
        PlainAddress::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
            match connect(&socket, address) {
                Ok(()) | Err(Errno::INPROGRESS) => socket,
                Err(error) => return Err(error.into()),
            }
        }
    };
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_line_counts() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 503 "), Some(503));
        for head in
            [&b"HTTP/2 200 OK"[..], b"HTTP/1.1", b"hello, world", b"\xff\xff\xff\xff/1.1 200"]
        {
            assert_eq!(status_of(head), None, "{}", String::from_utf8_lossy(head));
        }
    }
}
