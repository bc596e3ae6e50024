//! Serving what is ready: accepting, receiving, sending, each within bounds.
//!
//! Owns: the order and the fairness of a turn. Must never know: how readiness is learned. Used by
//! `mod`.

use super::calls::{self, Received, Sent};
use super::{EpollDriver, Socket};
use crate::table::{Op, Token};
use crate::{Completion, Key, ListenerId, Operation, PoolClass, ReceiveMode, SocketId, net};

/// Connections taken from one listener in one turn, so that a flood of them does not hold up the
/// others.
const ACCEPTS_PER_TURN: usize = 64;

impl EpollDriver {
    /// Sends what is left of a socket's send and says what came of it, if anything.
    pub(super) fn try_send(&mut self, id: SocketId) -> Option<Completion> {
        let socket = self.sockets.get_mut(id)?;
        let (key, send) = (socket.key, socket.send?);
        let outcome = calls::send(&socket.fd, &mut self.sends, send);
        let watch = matches!(outcome, Ok(Sent::Stalled { .. }));
        if watch != socket.watches_writable {
            socket.watches_writable = watch;
            // Cannot fail for a descriptor that is watched already.
            let _watched = self.poll.watch_writable(&socket.fd, Token::of(Op::Receive, id), watch);
        }
        if let Ok(Sent::Stalled { progress }) = outcome {
            return progress.then_some(Completion::SendProgress { socket: id, key });
        }
        socket.send = None;
        self.sends.remove(send);
        Some(match outcome {
            Ok(_) => Completion::Sent { socket: id, key },
            Err(error) => Completion::Failed {
                socket: id,
                key,
                operation: Operation::Send,
                error: error.into(),
            },
        })
    }

    /// Goes on with the sends that had stalled.
    pub(super) fn serve_sends(&mut self, out: &mut Vec<Completion>, limit: usize) {
        for _ in 0..self.writable.len() {
            if out.len() >= limit {
                return;
            }
            let Some(id) = self.writable.pop_front() else {
                return;
            };
            out.extend(self.try_send(id));
        }
    }

    /// One receive for every socket that is readable and wants to. Those with more to read go to
    /// the end of the queue, behind the others.
    pub(super) fn serve_receives(&mut self, out: &mut Vec<Completion>, limit: usize) {
        for _ in 0..self.readable.len() {
            if out.len() >= limit {
                return;
            }
            let Some(id) = self.readable.pop_front() else {
                return;
            };
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            socket.queued = false;
            let Some(class) = socket.class_to_receive() else {
                continue;
            };
            let key = socket.key;
            out.extend(self.receive_into(id, key, class));
            self.queue_if_readable(id);
        }
    }

    fn receive_into(&mut self, id: SocketId, key: Key, class: PoolClass) -> Option<Completion> {
        let socket = self.sockets.get_mut(id)?;
        let Some(buffer) = self.pool.take(class) else {
            // Tried again when a buffer has come back, never by a timer and never at once.
            socket.parked = Some(class);
            self.parked[class.index()].push_back(id);
            self.starved += 1;
            return None;
        };
        match calls::receive(&socket.fd, buffer) {
            Ok(Received::Bytes { buffer, filled }) => {
                // A stream socket gives less than asked only when it has no more. But the event for
                // a FIN behind these bytes has come already, and there will be no second one.
                socket.readable = filled || socket.ended;
                if matches!(socket.wanted, ReceiveMode::Once(_)) {
                    socket.wanted = ReceiveMode::Paused;
                }
                Some(Completion::Received { socket: id, key, buffer })
            }
            Ok(Received::End) => {
                socket.finish_receiving();
                Some(Completion::ReceiveEnded { socket: id, key })
            }
            Err(rustix::io::Errno::AGAIN) => {
                socket.readable = false;
                None
            }
            Err(rustix::io::Errno::INTR) => None,
            Err(error) => {
                socket.finish_receiving();
                Some(Completion::Failed {
                    socket: id,
                    key,
                    operation: Operation::Receive,
                    error: error.into(),
                })
            }
        }
    }

    /// Queues the socket for receiving if there is something to receive.
    pub(super) fn queue_if_readable(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id)
            && !socket.queued
            && socket.class_to_receive().is_some()
        {
            socket.queued = true;
            self.readable.push_back(id);
        }
    }

    /// Lets as many sockets try again as there are buffers.
    pub(super) fn unpark_all(&mut self) {
        for class in PoolClass::RECEIVE {
            for _ in 0..self.pool.idle(class) {
                let Some(id) = self.parked[class.index()].pop_front() else {
                    break;
                };
                let Some(socket) = self.sockets.get_mut(id) else {
                    continue;
                };
                if socket.parked == Some(class) {
                    socket.parked = None;
                    self.queue_if_readable(id);
                }
            }
        }
    }

    /// Accepts on every listener that has connections.
    pub(super) fn serve_accepts(&mut self, out: &mut Vec<Completion>, limit: usize) {
        for _ in 0..self.acceptable.len() {
            if out.len() >= limit {
                return;
            }
            let Some(id) = self.acceptable.pop_front() else {
                return;
            };
            self.accept_some(id, out, limit);
            self.queue_if_acceptable(id);
        }
    }

    fn accept_some(&mut self, id: ListenerId, out: &mut Vec<Completion>, limit: usize) {
        let listener = &mut self.listeners[id.0 as usize];
        listener.queued = false;
        let Some(fd) = &listener.fd else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN.min(limit - out.len()) {
            if !listener.wanted {
                return;
            }
            let key = listener.key;
            match calls::accept(fd) {
                Ok(fd) => out.push(Completion::Accepted { listener: key, fd }),
                Err(rustix::io::Errno::AGAIN) => {
                    listener.acceptable = false;
                    return;
                }
                Err(error) if net::accept_can_go_on(error) => {}
                Err(error) => {
                    listener.wanted = false;
                    out.push(Completion::AcceptFailed { id, listener: key, error: error.into() });
                }
            }
        }
    }

    /// Queues the listener if it has connections that are wanted.
    pub(super) fn queue_if_acceptable(&mut self, id: ListenerId) {
        let listener = &mut self.listeners[id.0 as usize];
        let due = listener.fd.is_some() && listener.wanted && listener.acceptable;
        if due && !listener.queued {
            listener.queued = true;
            self.acceptable.push_back(id);
        }
    }
}

impl Socket {
    /// The class to receive into, if there is something to receive and it is wanted and can be
    /// tried.
    fn class_to_receive(&self) -> Option<PoolClass> {
        let class = match self.wanted {
            ReceiveMode::Paused => return None,
            ReceiveMode::Stream => PoolClass::Head,
            ReceiveMode::Once(class) => class,
        };
        (self.readable && self.parked != Some(class)).then_some(class)
    }

    /// After FIN or an error nothing more is received.
    fn finish_receiving(&mut self) {
        self.finished = true;
        self.readable = false;
        self.wanted = ReceiveMode::Paused;
    }
}
