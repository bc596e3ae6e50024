//! The command socket `control.sock`: the server side.
//!
//! Owns: the connections of command-line clients and their bounds. Must never know: what a command
//! does; requests go out, answers come in. A slow, silent or mad client costs one of a few places
//! for a few seconds.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use hostler_protocol::control::{
    CommandAnswer, CommandRequest, LineBuffer, LineError, encode_line,
};
use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use crate::passed_fd::as_fd;

/// Clients at a time; more are turned away.
const CLIENTS_MAX: usize = 16;

/// No request comes near this.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Time to send a request, and to take an answer.
const TALK_MS_MAX: u64 = 5_000;

/// After a failed accept.
const ACCEPT_PAUSE_MS: u64 = 500;

/// Names one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientId(pub(super) u64);

#[derive(Debug, Serialize, Deserialize)]
struct Client {
    id: ClientId,
    #[serde(with = "as_fd")]
    stream: UnixStream,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
enum State {
    /// Its request is not complete.
    Asking { lines: LineBuffer, received_bytes: usize, deadline_ms: u64 },
    /// We look for the answer.
    Waiting,
    /// The answer goes out.
    Answering { bytes: Vec<u8>, deadline_ms: u64, hold: bool },
    /// Stays open until the end of the instance, which it waits for.
    Held,
}

/// The server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ControlServer {
    #[serde(with = "as_fd")]
    listener: UnixListener,
    clients: Vec<Client>,
    next_id: u64,
    /// After a failed accept: not before then.
    accept_after_ms: u64,
}

impl ControlServer {
    /// A server on an already listening socket.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(Self { listener, clients: Vec::new(), next_id: 0, accept_after_ms: 0 })
    }

    /// The listening socket, unless accepting makes no sense now.
    pub(super) fn listener(&self, now_ms: u64) -> Option<BorrowedFd<'_>> {
        (now_ms >= self.accept_after_ms).then(|| self.listener.as_fd())
    }

    /// The clients, and what each waits for.
    pub(super) fn clients(&self) -> impl Iterator<Item = (ClientId, BorrowedFd<'_>, PollFlags)> {
        self.clients.iter().map(|client| {
            let flags = match client.state {
                State::Asking { .. } => PollFlags::IN,
                State::Answering { .. } => PollFlags::OUT,
                // A client that leaves is reported without being asked for.
                State::Waiting | State::Held => PollFlags::empty(),
            };
            (client.id, client.stream.as_fd(), flags)
        })
    }

    pub(super) fn next_deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let accept_ms = Some(self.accept_after_ms).filter(|&after_ms| after_ms > now_ms);
        let deadline = |client: &Client| match client.state {
            State::Asking { deadline_ms, .. } | State::Answering { deadline_ms, .. } => {
                Some(deadline_ms)
            }
            State::Waiting | State::Held => None,
        };
        self.clients.iter().filter_map(deadline).chain(accept_ms).min()
    }

    /// Drops the clients that took too long.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.clients.retain(|client| match client.state {
            State::Asking { deadline_ms, .. } | State::Answering { deadline_ms, .. } => {
                deadline_ms > now_ms
            }
            State::Waiting | State::Held => true,
        });
    }

    /// Takes new clients in.
    pub(super) fn accept(&mut self, now_ms: u64) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Without a free descriptor the client stays in the queue, and `poll` would
                    // report it again at once.
                    self.accept_after_ms = now_ms + ACCEPT_PAUSE_MS;
                    return;
                }
            };
            if self.clients.len() >= CLIENTS_MAX || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let id = ClientId(self.next_id);
            self.next_id += 1;
            let lines = LineBuffer::default();
            let deadline_ms = now_ms + TALK_MS_MAX;
            let state = State::Asking { lines, received_bytes: 0, deadline_ms };
            self.clients.push(Client { id, stream, state });
        }
    }

    /// A client's socket has news; gives out its request when it is complete.
    pub(super) fn turn(&mut self, id: ClientId, now_ms: u64) -> Option<CommandRequest> {
        let index = self.clients.iter().position(|client| client.id == id)?;
        match &mut self.clients[index].state {
            State::Asking { .. } => match self.clients[index].ask() {
                Ok(Some(request)) => {
                    self.clients[index].state = State::Waiting;
                    return Some(request);
                }
                Ok(None) => {}
                Err(AskError::Gone) => drop(self.clients.swap_remove(index)),
                Err(AskError::Bad(why)) => {
                    self.answer(id, &CommandAnswer::Refused { why }, false, now_ms)
                }
            },
            State::Answering { .. } => self.write(index),
            State::Waiting | State::Held => drop(self.clients.swap_remove(index)),
        }
        None
    }

    /// Answers a client; `hold` keeps its connection open until the instance ends.
    pub(super) fn answer(&mut self, id: ClientId, answer: &CommandAnswer, hold: bool, now_ms: u64) {
        let Some(index) = self.clients.iter().position(|client| client.id == id) else {
            return;
        };
        let bytes = encode_line(answer);
        let deadline_ms = now_ms + TALK_MS_MAX;
        self.clients[index].state = State::Answering { bytes, deadline_ms, hold };
        self.write(index);
    }

    fn write(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let State::Answering { bytes, hold, .. } = &mut client.state else {
            return;
        };
        let hold = *hold;
        while !bytes.is_empty() {
            match client.stream.write(bytes) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.clients.swap_remove(index);
                    return;
                }
            }
        }
        if hold {
            client.state = State::Held;
        } else {
            self.clients.swap_remove(index);
        }
    }
}

enum AskError {
    Gone,
    Bad(String),
}

impl Client {
    fn ask(&mut self) -> Result<Option<CommandRequest>, AskError> {
        let State::Asking { lines, received_bytes, .. } = &mut self.state else {
            return Ok(None);
        };
        let mut buffer = [0_u8; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(AskError::Gone),
                Ok(count) => {
                    *received_bytes += count;
                    lines.push(&buffer[..count]);
                    match lines.next_message::<CommandRequest>() {
                        Ok(Some(request)) => return Ok(Some(request)),
                        Ok(None) if *received_bytes <= REQUEST_BYTES_MAX => {}
                        Ok(None) => {
                            return Err(AskError::Bad("the request is too long".to_owned()));
                        }
                        Err(error) => return Err(AskError::Bad(refusal(&error))),
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(AskError::Gone),
            }
        }
    }
}

fn refusal(error: &LineError) -> String {
    format!("{error}; the command line and the running instance may be of different versions")
}
