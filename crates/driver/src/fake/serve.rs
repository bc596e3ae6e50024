//! What happens in a turn of the fake: accepts, sends, receives.
//!
//! Owns: their order. Must never know: how a script made them happen. Used by `mod`.

use std::io;

use super::peer::{Arrival, Conn};
use super::{FakeDriver, Sending, Socket};
use crate::net::accept_can_go_on;
use crate::{Completion, ListenerId, Operation, PoolClass, ReceiveMode, SocketId};

impl FakeDriver {
    pub(super) fn accept_all(&mut self, out: &mut Vec<Completion>, limit: usize) -> io::Result<()> {
        let mut net = self.net.borrow_mut();
        for number in 0..net.listeners.len() {
            while out.len() < limit {
                let entry = &mut net.listeners[number];
                if !entry.open || !entry.wanted {
                    break;
                }
                let listener = entry.key;
                match entry.failures.pop_front() {
                    Some(error) if accept_can_go_on(error) => {
                        // The one connection is lost.
                        if let Some(conn) = entry.waiting.pop_front() {
                            conn.borrow_mut().close_driver();
                        }
                        continue;
                    }
                    Some(error) => {
                        entry.wanted = false;
                        out.push(Completion::AcceptFailed {
                            id: ListenerId(number as u32),
                            listener,
                            error: error.into(),
                        });
                        break;
                    }
                    None => {}
                }
                let Some(conn) = entry.waiting.pop_front() else {
                    break;
                };
                let fd = net.token(conn)?;
                out.push(Completion::Accepted { listener, fd });
            }
        }
        Ok(())
    }

    /// Serves every socket once, as far as there is room for completions; the next turn goes on
    /// behind the last one served.
    pub(super) fn serve(
        &mut self,
        out: &mut Vec<Completion>,
        limit: usize,
        mut step: impl FnMut(&mut Self, SocketId) -> Option<Completion>,
    ) {
        for _ in 0..self.order.len() {
            if out.len() >= limit {
                return;
            }
            let Some(id) = self.order.pop_front() else {
                return;
            };
            if self.sockets.get_mut(id).is_some() {
                self.order.push_back(id);
                out.extend(step(self, id));
            }
        }
    }

    pub(super) fn step_send(&mut self, id: SocketId) -> Option<Completion> {
        let socket = self.sockets.get_mut(id)?;
        let key = socket.key;
        let sending = socket.send.as_mut()?;
        let left = sending.parts.bytes() - sending.sent;
        if left > 0 {
            let mut conn = socket.conn.as_ref()?.borrow_mut();
            match conn.send_room() {
                Ok(0) => return None,
                Ok(room) => sending.step(&mut conn, room),
                Err(error) => {
                    socket.send = None;
                    return Some(Completion::Failed {
                        socket: id,
                        key,
                        operation: Operation::Send,
                        error: error.into(),
                    });
                }
            }
        }
        if sending.sent < sending.parts.bytes() {
            return Some(Completion::SendProgress { socket: id, key });
        }
        socket.send = None;
        Some(Completion::Sent { socket: id, key })
    }

    pub(super) fn step_receive(&mut self, id: SocketId) -> Option<Completion> {
        let socket = self.sockets.get_mut(id)?;
        let key = socket.key;
        let class = socket.class_to_receive()?;
        let mut conn = socket.conn.as_ref()?.borrow_mut();
        if socket.finished || !conn.is_readable() {
            return None;
        }
        let starving = self.net.borrow().starving[class.index()];
        let Some(mut buffer) = self.pool.take(class).filter(|_| !starving) else {
            if !std::mem::replace(&mut socket.starving, true) {
                self.starved += 1;
            }
            return None;
        };
        socket.starving = false;
        socket.late = None;
        let arrival = conn.receive(buffer.spare_mut());
        drop(conn);
        match arrival {
            Arrival::Bytes(count) => {
                buffer.advance(count);
                if matches!(socket.wanted, ReceiveMode::Once(_)) {
                    socket.wanted = ReceiveMode::Paused;
                }
                Some(Completion::Received { socket: id, key, buffer: buffer.freeze() })
            }
            Arrival::Nothing => None,
            Arrival::End => {
                socket.finished = true;
                Some(Completion::ReceiveEnded { socket: id, key })
            }
            Arrival::Failed(error) => {
                socket.finished = true;
                Some(Completion::Failed {
                    socket: id,
                    key,
                    operation: Operation::Receive,
                    error: error.into(),
                })
            }
        }
    }
}

impl Socket {
    fn class_to_receive(&self) -> Option<PoolClass> {
        self.late.or(match self.wanted {
            ReceiveMode::Paused => None,
            ReceiveMode::Stream => Some(PoolClass::Head),
            ReceiveMode::Once(class) => Some(class),
        })
    }
}

impl Sending {
    /// Moves at most `room` bytes.
    fn step(&mut self, conn: &mut Conn, room: usize) {
        let (mut skip, mut room) = (self.sent, room);
        for part in self.parts.iter() {
            let bytes = part.as_slice();
            let start = skip.min(bytes.len());
            skip -= start;
            let count = room.min(bytes.len() - start);
            conn.send(&bytes[start..start + count]);
            room -= count;
            self.sent += count;
        }
    }
}
