//! What the kernel reports: the only file that reads the fields of a completion.
//!
//! Owns: the meaning of results and flags, one `handle_*` for each operation, in pairs with the
//! `submit_*` of `submit`. Must never know: how entries are made. Used by `mod` (each turn) and
//! `drain` (at the end).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::cqueue;
use rustix::io::Errno;

use super::{UringDriver, connected};
use crate::table::{Op, Token};
use crate::{Completion, Key, ListenerId, Operation, SocketId, net};

/// A completion, decoded.
struct Event {
    token: Token,
    /// What the operation returned: never negative.
    result: Result<u32, Errno>,
    /// The operation goes on and will complete again.
    more: bool,
    /// The offered buffer that the kernel took.
    buffer: Option<u16>,
    /// The socket has more to read.
    more_waits: bool,
}

impl Event {
    fn decode(entry: &cqueue::Entry) -> Option<Self> {
        let flags = entry.flags();
        let result = entry.result();
        Some(Self {
            token: Token::decode(entry.user_data())?,
            result: u32::try_from(result).map_err(|_| Errno::from_raw_os_error(-result)),
            more: cqueue::more(flags),
            buffer: cqueue::buffer_select(flags),
            more_waits: cqueue::sock_nonempty(flags),
        })
    }
}

impl UringDriver {
    /// Works off what the kernel has reported, until `out` has `limit` entries.
    pub(super) fn take_completions(&mut self, out: &mut Vec<Completion>, limit: usize) {
        while out.len() < limit
            && let Some(entry) = self.ring.pop()
        {
            let Some(event) = Event::decode(&entry) else {
                debug_assert!(false, "a completion of nothing: {entry:?}");
                continue;
            };
            match event.token.op {
                Op::Receive => self.handle_receive(&event, out),
                Op::Send => self.handle_send(&event, out),
                Op::Connect => self.handle_connect(&event, out),
                Op::CancelReceive => self.handle_cancel_receive(&event),
                Op::CancelOne => self.handle_cancel_one_missed(&event),
                Op::CancelAll => self.handle_cancel_all(&event),
                Op::Accept => self.handle_accept(&event, out),
                Op::CancelAccept => self.handle_cancel_accept(&event),
                Op::Wake => self.handle_wake(&event, out),
                // Only failures are reported; there is nothing left to be done about them.
                Op::Close => debug_assert!(false, "close failed: {:?}", event.result),
                Op::CancelAny => {}
            }
        }
    }

    fn handle_receive(&mut self, event: &Event, out: &mut Vec<Completion>) {
        let id = event.token.socket();
        let Some(socket) = self.sockets.get_mut(id) else {
            debug_assert!(false, "a receive of a socket that has ended");
            return;
        };
        let (key, closing) = (socket.key, socket.closing);
        let class = socket.receive.armed_class();
        // A buffer may come with any result and goes back to the pool with it.
        let buffer = event.buffer.map(|index| {
            let class = class.expect("a receive in flight has a class");
            let len = event.result.unwrap_or(0);
            let memory = &mut *self.memory;
            let ring = memory.offered[class.index()].as_mut().expect("buffers are on offer");
            ring.take(&memory.pool, index, len)
        });
        if !event.more {
            self.sockets.finish(id);
        }
        if closing {
            drop(buffer);
            self.close_if_idle(id);
            return;
        }
        match (event.result, buffer) {
            (Ok(0), _) => self.receive_ended(id, key, out),
            (Ok(_), Some(buffer)) => {
                let last = !event.more;
                let state = self.sockets.get_mut(id).expect("looked up above");
                if state.receive.delivered(last, event.more_waits) {
                    self.unsettle(id);
                }
                out.push(Completion::Received { socket: id, key, buffer });
            }
            (Ok(_), None) => self.receive_failed(id, key, Errno::IO, out),
            (Err(error), _) => self.handle_receive_error(id, key, error, out),
        }
    }

    fn handle_receive_error(
        &mut self,
        id: SocketId,
        key: Key,
        error: Errno,
        out: &mut Vec<Completion>,
    ) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match error {
            // Not an error of the connection: the buffers of the class are used up.
            Errno::NOBUFS => match socket.receive.armed_class() {
                Some(class) if socket.receive.class() == Some(class) => self.park(id, class),
                // The wish has changed meanwhile.
                _ => {
                    if socket.receive.finished() {
                        self.unsettle(id);
                    }
                }
            },
            Errno::AGAIN | Errno::CANCELED | Errno::INTR => {
                if error == Errno::AGAIN {
                    // The descriptor came with O_NONBLOCK, which the ring takes as "never wait".
                    let _unchanged = net::set_nonblocking(&socket.fd, false);
                }
                if socket.receive.finished() {
                    self.unsettle(id);
                }
            }
            error => self.receive_failed(id, key, error, out),
        }
    }

    fn receive_ended(&mut self, id: SocketId, key: Key, out: &mut Vec<Completion>) {
        if self.sockets.get_mut(id).is_some_and(|socket| socket.receive.end()) {
            out.push(Completion::ReceiveEnded { socket: id, key });
        }
    }

    fn receive_failed(&mut self, id: SocketId, key: Key, error: Errno, out: &mut Vec<Completion>) {
        if self.sockets.get_mut(id).is_some_and(|socket| socket.receive.end()) {
            out.push(Completion::Failed {
                socket: id,
                key,
                operation: Operation::Receive,
                error: error.into(),
            });
        }
    }

    fn handle_connect(&mut self, event: &Event, out: &mut Vec<Completion>) {
        let id = event.token.socket();
        self.sockets.finish(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            debug_assert!(false, "a connect of a socket that has ended");
            return;
        };
        if socket.closing {
            self.close_if_idle(id);
            return;
        }
        let outcome = match event.result {
            Ok(_) => net::connect_outcome(&socket.fd),
            Err(error) => Err(error.into()),
        };
        out.push(connected(id, socket.key, outcome));
    }

    fn handle_cancel_receive(&mut self, event: &Event) {
        let id = event.token.socket();
        self.sockets.finish(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.closing {
            self.close_if_idle(id);
        } else if event.result.is_err() && socket.receive.cancel_missed() {
            // The receive is neither cancelled nor over.
            self.unsettle(id);
        }
    }

    fn handle_send(&mut self, event: &Event, out: &mut Vec<Completion>) {
        let id = event.token.socket();
        self.sockets.finish(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            debug_assert!(false, "a send of a socket that has ended");
            return;
        };
        let key = socket.key;
        let send = socket.send.expect("a send in flight has a slot");
        if socket.closing {
            socket.send = None;
            self.memory.sends.remove(send);
            self.close_if_idle(id);
            return;
        }
        match event.result {
            Ok(sent) if self.memory.sends.advance(send, sent as usize) => {
                socket.send = None;
                self.memory.sends.remove(send);
                out.push(Completion::Sent { socket: id, key });
            }
            Ok(_) => {
                out.push(Completion::SendProgress { socket: id, key });
                self.submit_send(id);
            }
            Err(error @ (Errno::AGAIN | Errno::CANCELED | Errno::INTR)) => {
                if error == Errno::AGAIN {
                    // The descriptor came with O_NONBLOCK, which the ring takes as "never wait".
                    let _unchanged = net::set_nonblocking(&socket.fd, false);
                }
                self.submit_send(id);
            }
            Err(error) => {
                socket.send = None;
                self.memory.sends.remove(send);
                out.push(Completion::Failed {
                    socket: id,
                    key,
                    operation: Operation::Send,
                    error: error.into(),
                });
            }
        }
    }

    /// Either the operation is over, and its completion came before this one, or the kernel could not find or stop it.
    fn handle_cancel_one_missed(&mut self, event: &Event) {
        let id = event.token.socket();
        // A token of a socket that is gone finds nothing; one that is open had no such cancel.
        if self.sockets.get_mut(id).is_some() && self.sockets.pending(id) > 0 {
            self.submit_cancel_all(id);
        }
    }

    fn handle_cancel_all(&mut self, event: &Event) {
        let id = event.token.socket();
        self.sockets.finish(id);
        let left = self.sockets.pending(id);
        if event.result.unwrap_or(0) < left
            && let Some(socket) = self.sockets.get_mut(id)
        {
            // More is in flight than was cancelled. Ending both directions ends that too.
            net::shutdown_both(&socket.fd);
        }
        self.close_if_idle(id);
    }

    /// Closes the descriptor of a closing socket after its last operation.
    fn close_if_idle(&mut self, id: SocketId) {
        if self.sockets.pending(id) == 0 {
            self.submit_close(id);
        }
    }

    fn handle_accept(&mut self, event: &Event, out: &mut Vec<Completion>) {
        let id = ListenerId(event.token.slot);
        let Some(listener) = self.listeners.get_mut(id.0 as usize) else {
            debug_assert!(false, "an accept of no listener");
            return;
        };
        if !event.more {
            listener.armed = false;
            listener.cancelling = false;
            self.listener_operations -= 1;
        }
        let key = listener.key;
        match event.result {
            Ok(number) => {
                let number = i32::try_from(number).expect("descriptors are positive");
                // SAFETY: the kernel made this descriptor for us, and only this completion names
                // it.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                // After `unlisten` nobody asks for it; it closes here.
                if !listener.closing {
                    out.push(Completion::Accepted { listener: key, fd });
                }
            }
            Err(error) if net::accept_can_go_on(error) => {}
            Err(_) if listener.closing => {}
            Err(error) => {
                listener.wanted = false;
                out.push(Completion::AcceptFailed {
                    id,
                    listener: key,
                    error: io::Error::from(error),
                });
            }
        }
        // Re-arms if the operation is over and accepting is still wanted.
        if !event.more {
            self.settle_listener(id);
        }
    }

    fn handle_cancel_accept(&mut self, event: &Event) {
        let id = ListenerId(event.token.slot);
        self.listener_operations -= 1;
        if let Some(listener) = self.listeners.get_mut(id.0 as usize) {
            listener.cancels -= 1;
            self.settle_listener(id);
        }
    }

    fn handle_wake(&mut self, event: &Event, out: &mut Vec<Completion>) {
        if !event.more {
            self.wake_armed = false;
            if !self.ending {
                self.submit_wake();
            }
        }
        if event.result.is_ok() && self.wake.acknowledge() {
            out.push(Completion::Woken);
        }
    }
}
