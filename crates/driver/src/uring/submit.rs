//! What is asked of the kernel: one `submit_*` for each operation, in pairs with the `handle_*` of
//! `complete`.
//!
//! Owns: the submission entries and the promise that what they point to stays. Must never know:
//! completions. Used by `mod` and `complete`.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::ptr;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};

use super::UringDriver;
use super::provided::group;
use super::receive::Step;
use crate::send::Remainder;
use crate::table::{Op, Token};
use crate::{ListenerId, PoolClass, SocketId};

/// Of the second 16-bit field of a receive entry (since 5.19): arm the poll before the first
/// attempt.
const POLL_FIRST: u16 = 1 << 0;

impl UringDriver {
    /// Asks the kernel for what brings the socket's receiving side in line with the wish.
    pub(super) fn settle(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.unsettled = false;
        if socket.closing {
            return;
        }
        match socket.receive.next() {
            Step::Nothing => {}
            Step::ArmStream if self.available(PoolClass::Head) == 0 => {
                self.park(id, PoolClass::Head);
            }
            Step::ArmStream => self.submit_receive_stream(id),
            Step::ArmOnce { class, .. } if self.available(class) == 0 => self.park(id, class),
            Step::ArmOnce { class, wait_first } => {
                self.submit_receive_once(id, class, wait_first);
            }
            Step::CancelByToken => {
                let target = Token::of(Op::Receive, id).encode();
                self.submit_cancel_receive(id, CancelBuilder::user_data(target));
            }
            Step::CancelByDescriptor => {
                // Takes a send along; `handle_send` submits it again.
                let fd = self.fd(id);
                self.submit_cancel_receive(id, CancelBuilder::fd(fd).all());
            }
        }
    }

    /// Multishot (6.0): one entry, a completion for whatever arrives, each with a buffer of its
    /// own.
    fn submit_receive_stream(&mut self, id: SocketId) {
        let entry = opcode::RecvMulti::new(self.fd(id), group(PoolClass::Head)).build();
        self.submit(id, Op::Receive, entry);
    }

    fn submit_receive_once(&mut self, id: SocketId, class: PoolClass, wait_first: bool) {
        let len = self.memory.pool.buffer_bytes(class);
        let entry = opcode::Recv::new(self.fd(id), ptr::null_mut(), len)
            .ioprio(if wait_first { POLL_FIRST } else { 0 })
            .buf_group(group(class))
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.submit(id, Op::Receive, entry);
    }

    fn submit_cancel_receive(&mut self, id: SocketId, target: CancelBuilder) {
        let entry = opcode::AsyncCancel2::new(target).build();
        self.submit(id, Op::CancelReceive, entry);
    }

    /// Tells when a TCP connection that could not be made at once is made or has failed. A poll, not
    /// `IORING_OP_CONNECT`: the kernel has been asked to connect already.
    pub(super) fn submit_connect(&mut self, id: SocketId) {
        let entry = opcode::PollAdd::new(self.fd(id), libc::POLLOUT as u32).build();
        self.submit(id, Op::Connect, entry);
    }

    /// What is left of the socket's send.
    pub(super) fn submit_send(&mut self, id: SocketId) {
        let fd = self.fd(id);
        let socket = self.sockets.get_mut(id).expect("a socket that sends");
        let send = socket.send.expect("a send in flight");
        // Without MSG_NOSIGNAL a peer that has gone would kill the process. Without MSG_WAITALL a
        // slow reader shows as progress, which the caller's time-outs need to see.
        let entry = match self.memory.sends.remainder(send) {
            Remainder::Nothing => unreachable!("a send ends when nothing is left"),
            Remainder::One { start, len } => {
                let len = u32::try_from(len).expect("buffers are below 4 GiB");
                opcode::Send::new(fd, start, len).flags(libc::MSG_NOSIGNAL).build()
            }
            Remainder::Many(header) => {
                opcode::SendMsg::new(fd, header).flags(libc::MSG_NOSIGNAL as u32).build()
            }
        };
        self.submit(id, Op::Send, entry);
    }

    /// Gives up one operation of a closing socket. By token: the kernel keeps what it polls in a hash of the tokens, and to find
    /// something by its descriptor it looks at every socket of the ring (`io_poll_file_find` of io_uring/poll.c).
    pub(super) fn submit_cancel_one(&mut self, id: SocketId, target: Op) {
        let target = CancelBuilder::user_data(Token::of(target, id).encode());
        // Success posts no completion: the operation's own tells the same.
        let entry = opcode::AsyncCancel2::new(target)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::of(Op::CancelOne, id).encode());
        // SAFETY: the entry points to no memory and has no descriptor.
        unsafe { self.ring.push(entry) };
    }

    /// Gives up whatever the socket has in flight, for what [`Self::submit_cancel_one`] has not found.
    pub(super) fn submit_cancel_all(&mut self, id: SocketId) {
        let target = CancelBuilder::fd(self.fd(id)).all();
        let entry = opcode::AsyncCancel2::new(target).build();
        self.submit(id, Op::CancelAll, entry);
    }

    /// Closes the descriptor and frees the slot. Nothing may be in flight.
    pub(super) fn submit_close(&mut self, id: SocketId) {
        let socket = self.sockets.remove(id).expect("closed once");
        debug_assert!(socket.send.is_none(), "a send ends with its operation");
        // Success posts no completion: nobody waits for it, and nothing of ours is used any more.
        let entry = opcode::Close::new(Fd(socket.fd.into_raw_fd()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::of(Op::Close, id).encode());
        // SAFETY: the entry points to no memory; the descriptor is given away with it.
        unsafe { self.ring.push(entry) };
    }

    /// Asks the kernel for what brings a listener in line with the wish.
    pub(super) fn settle_listener(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(id.0 as usize) else {
            return;
        };
        let wanted = listener.wanted && !listener.closing;
        if wanted && !listener.armed {
            listener.armed = true;
            self.submit_accept(id);
        } else if !wanted && listener.armed && !listener.cancelling {
            listener.cancelling = true;
            listener.cancels += 1;
            self.submit_cancel_accept(id);
        } else if listener.closing && !listener.armed && listener.cancels == 0 {
            listener.fd = None;
        }
    }

    /// Multishot (5.19): one entry, a completion for every connection.
    fn submit_accept(&mut self, id: ListenerId) {
        let entry = opcode::AcceptMulti::new(self.listener_fd(id)).flags(libc::SOCK_CLOEXEC);
        self.submit_listener(id, Op::Accept, entry.build());
    }

    fn submit_cancel_accept(&mut self, id: ListenerId) {
        // By descriptor: the accept is the only operation on it.
        let target = CancelBuilder::fd(self.listener_fd(id)).all();
        let entry = opcode::AsyncCancel2::new(target).build();
        self.submit_listener(id, Op::CancelAccept, entry);
    }

    /// Multishot poll (5.13): completes at every write to the event descriptor, which is never
    /// read.
    pub(super) fn submit_wake(&mut self) {
        let fd = Fd(self.wake.as_fd().as_raw_fd());
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Token::new(Op::Wake, 0, 0).encode());
        self.wake_armed = true;
        // SAFETY: the entry points to no memory; the driver keeps the descriptor.
        unsafe { self.ring.push(entry) };
    }

    /// Gives up everything in flight.
    pub(super) fn submit_cancel_any(&mut self) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any())
            .build()
            .user_data(Token::new(Op::CancelAny, 0, 0).encode());
        // SAFETY: the entry points to no memory and has no descriptor.
        unsafe { self.ring.push(entry) };
    }

    fn submit(&mut self, id: SocketId, op: Op, entry: squeue::Entry) {
        self.sockets.begin(id);
        let entry = entry.user_data(Token::of(op, id).encode());
        // SAFETY: only sends point to memory: it belongs to a send slot, which is kept until the
        // send's completion. The socket, and with it the descriptor, is kept until its last
        // completion.
        unsafe { self.ring.push(entry) };
    }

    fn submit_listener(&mut self, id: ListenerId, op: Op, entry: squeue::Entry) {
        self.listener_operations += 1;
        let entry = entry.user_data(Token::new(op, id.0, 0).encode());
        // SAFETY: the entry points to no memory; the listener keeps the descriptor until its last
        // completion.
        unsafe { self.ring.push(entry) };
    }

    fn fd(&mut self, id: SocketId) -> Fd {
        let socket = self.sockets.get_mut(id).expect("an operation on a socket we have");
        Fd(socket.fd.as_raw_fd())
    }

    fn listener_fd(&self, id: ListenerId) -> Fd {
        let fd = self.listeners[id.0 as usize].fd.as_ref();
        Fd(fd.expect("an operation on an open listener").as_raw_fd())
    }
}
