//! The driver over epoll: the same contract where io_uring is refused.
//!
//! Owns: the sockets and listeners, what is known of their readiness. Must never know: what the
//! bytes mean. Used by the proxy's shards, each of which makes its own.
//!
//! Readiness is remembered, not asked for: an event marks a socket readable, a short read marks it
//! drained. A send is tried at once; only a peer that does not keep up makes it wait for an event.
//! Buffers are taken only when there is something to receive.

mod calls;
mod poll;
mod serve;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use self::poll::Poll;
use crate::send::{SendId, SendSlots};
use crate::table::{Op, Slot, Table, Token};
use crate::waker::WakeSource;
use crate::{
    COMPLETIONS_PER_TURN, Completion, Driver, DriverConfig, Full, Key, ListenerId, Operation,
    Parts, PeerAddress, Pool, PoolClass, ReceiveMode, SocketId, Usage, Waker, net,
};

/// Sockets by completion over epoll. Works on every Linux that the rest of the program works on.
pub struct EpollDriver {
    poll: Poll,
    sockets: Table<Socket>,
    listeners: Vec<Listener>,
    sends: SendSlots,
    /// Listeners with connections to accept (each at most once, as in the next three).
    acceptable: VecDeque<ListenerId>,
    /// Sockets with something to receive that is wanted.
    readable: VecDeque<SocketId>,
    /// Sockets whose stalled send may go on.
    writable: VecDeque<SocketId>,
    /// Sockets that wait for a buffer, by receive class, first come first served.
    parked: [VecDeque<SocketId>; PoolClass::RECEIVE.len()],
    /// What happened outside of a turn, to be reported in the next.
    local: VecDeque<Completion>,
    starved: u64,
    wake: WakeSource,
    pool: Pool,
}

struct Socket {
    fd: OwnedFd,
    key: Key,
    wanted: ReceiveMode,
    send: Option<SendId>,
    /// Waits in the line for buffers of this class.
    parked: Option<PoolClass>,
    /// A receive will find something, as far as we know.
    readable: bool,
    /// The kernel has announced FIN or an error; it may lie behind bytes that have not been
    /// received.
    ended: bool,
    /// FIN or an error has been reported; there is nothing more to receive.
    finished: bool,
    /// It is in the list `readable`.
    queued: bool,
    /// A send has stalled, and an event is to tell when it can go on.
    watches_writable: bool,
    /// The connection is being made, and an event is to tell when it is.
    connecting: bool,
}

const _: () = assert!(size_of::<Slot<Socket>>() <= 96);

struct Listener {
    /// `None` after `unlisten`. Numbers of listeners are not used again: there are few.
    fd: Option<OwnedFd>,
    key: Key,
    wanted: bool,
    /// An accept will find a connection, as far as we know.
    acceptable: bool,
    /// It is in the list `acceptable`.
    queued: bool,
}

impl EpollDriver {
    /// Sets everything up.
    pub fn new(config: &DriverConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake = WakeSource::new()?;
        poll.add(&wake, Token::new(Op::Wake, 0, 0))?;
        let sockets = Table::new(config.sockets_max);
        Ok(Self {
            poll,
            sockets,
            listeners: Vec::new(),
            sends: SendSlots::default(),
            acceptable: VecDeque::new(),
            readable: VecDeque::with_capacity(COMPLETIONS_PER_TURN),
            writable: VecDeque::with_capacity(COMPLETIONS_PER_TURN),
            parked: Default::default(),
            local: VecDeque::with_capacity(COMPLETIONS_PER_TURN),
            starved: 0,
            wake,
            pool: Pool::new(&config.pools)?,
        })
    }

    fn insert(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        self.sockets.insert(Socket {
            fd,
            key,
            wanted: ReceiveMode::Paused,
            send: None,
            parked: None,
            readable: false,
            ended: false,
            finished: false,
            queued: false,
            watches_writable: false,
            connecting: false,
        })
    }

    /// Starts to watch a socket. The kernel refuses only when it has no memory or the user has too
    /// many watches (fs.epoll.max_user_watches); the socket is of no use then.
    fn watch(&mut self, id: SocketId) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(id) else {
            return Ok(());
        };
        self.poll.add(&socket.fd, Token::of(Op::Receive, id))
    }

    /// Has an event tell when the connection is made.
    fn watch_connect(&mut self, id: SocketId, key: Key) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.connecting = true;
        let token = Token::of(Op::Receive, id);
        if let Err(error) = self.poll.watch_writable(&socket.fd, token, true) {
            self.fail_locally(id, key, Operation::Connect, error);
        }
    }

    fn fail_locally(&mut self, socket: SocketId, key: Key, operation: Operation, error: io::Error) {
        self.local.push_back(Completion::Failed { socket, key, operation, error });
    }

    /// Reports what happened between the turns.
    fn report_local(&mut self, out: &mut Vec<Completion>, limit: usize) {
        while out.len() < limit
            && let Some(completion) = self.local.pop_front()
        {
            let (Completion::Connected { socket, .. }
            | Completion::Sent { socket, .. }
            | Completion::SendProgress { socket, .. }
            | Completion::Failed { socket, .. }) = &completion
            else {
                unreachable!("only these happen between the turns");
            };
            if self.sockets.get_mut(*socket).is_some() {
                out.push(completion);
            }
        }
    }

    /// Notes what the events say; serving comes after.
    fn note_events(&mut self, out: &mut Vec<Completion>) {
        let mut number = 0;
        while let Some(event) = self.poll.event(number) {
            number += 1;
            match event.token.op {
                Op::Wake => {
                    if self.wake.acknowledge() {
                        out.push(Completion::Woken);
                    }
                }
                Op::Accept => {
                    let id = ListenerId(event.token.slot);
                    self.listeners[id.0 as usize].acceptable = true;
                    self.queue_if_acceptable(id);
                }
                _ => self.note_socket(&event, out),
            }
        }
    }

    fn note_socket(&mut self, event: &poll::Event, out: &mut Vec<Completion>) {
        let id = event.token.socket();
        // Stale when another process keeps a closed socket's description open.
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.connecting {
            out.extend(self.connect_ended(id, event));
            return;
        }
        socket.ended |= event.ended;
        socket.readable |= event.readable && !socket.finished;
        if event.writable && socket.send.is_some() {
            self.writable.push_back(id);
        }
        self.queue_if_readable(id);
    }

    /// A connection that could not be made at once is made, or has failed.
    fn connect_ended(&mut self, id: SocketId, event: &poll::Event) -> Option<Completion> {
        let socket = self.sockets.get_mut(id).filter(|_| event.writable)?;
        let key = socket.key;
        socket.connecting = false;
        socket.ended = event.ended;
        socket.readable = event.readable;
        let outcome = net::connect_outcome(&socket.fd);
        let token = Token::of(Op::Receive, id);
        let outcome = outcome.and_then(|()| self.poll.watch_writable(&socket.fd, token, false));
        Some(match outcome {
            Ok(()) => Completion::Connected { socket: id, key },
            Err(error) => {
                Completion::Failed { socket: id, key, operation: Operation::Connect, error }
            }
        })
    }

    /// Whether there is something to do that no event will announce.
    fn has_work(&self) -> bool {
        let can_unpark =
            |class: PoolClass| !self.parked[class.index()].is_empty() && self.pool.idle(class) > 0;
        !self.readable.is_empty()
            || !self.acceptable.is_empty()
            || !self.writable.is_empty()
            || PoolClass::RECEIVE.into_iter().any(can_unpark)
    }
}

impl Driver for EpollDriver {
    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId> {
        net::set_nonblocking(&fd, true)?;
        let id = ListenerId(self.listeners.len() as u32);
        self.poll.add(&fd, Token::new(Op::Accept, id.0, 0))?;
        self.listeners.push(Listener {
            fd: Some(fd),
            key,
            wanted: true,
            acceptable: false,
            queued: false,
        });
        Ok(id)
    }

    fn accept(&mut self, listener: ListenerId, on: bool) {
        self.listeners[listener.0 as usize].wanted = on;
        self.queue_if_acceptable(listener);
    }

    fn may_accept(&self, listener: ListenerId) -> bool {
        // It accepts in its own time.
        self.listeners[listener.0 as usize].wanted
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.listeners[listener.0 as usize].fd = None;
    }

    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        let id = self.insert(fd, key)?;
        if let Err(error) = self.watch(id) {
            self.fail_locally(id, key, Operation::Receive, error);
        }
        Ok(id)
    }

    fn connect(&mut self, peer: PeerAddress<'_>, key: Key) -> io::Result<SocketId> {
        let connecting = net::start_connect(peer)?;
        let id = self.insert(connecting.fd, key).map_err(io::Error::other)?;
        let made = connecting.outcome.is_some();
        let outcome = connecting.outcome.unwrap_or(Ok(()));
        match outcome.and_then(|()| self.watch(id)) {
            Ok(()) if !made => self.watch_connect(id, key),
            Ok(()) => self.local.push_back(Completion::Connected { socket: id, key }),
            Err(error) => self.fail_locally(id, key, Operation::Connect, error),
        }
        Ok(id)
    }

    fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        if let ReceiveMode::Once(class) = mode {
            assert!(class.is_receive(), "{class:?} buffers are for sending");
        }
        if let Some(state) = self.sockets.get_mut(socket)
            && !state.finished
        {
            state.wanted = mode;
            self.queue_if_readable(socket);
        }
    }

    fn has_input(&mut self, socket: SocketId) -> bool {
        self.sockets.get_mut(socket).is_some_and(|state| net::has_input(&state.fd))
    }

    fn more_waits(&mut self, socket: SocketId) -> bool {
        self.sockets.get_mut(socket).is_some_and(|state| state.readable)
    }

    fn send(&mut self, socket: SocketId, parts: Parts) {
        let Some(state) = self.sockets.get_mut(socket) else {
            return;
        };
        assert!(state.send.is_none(), "one send at a time per socket");
        state.send = Some(self.sends.insert(parts));
        // Nearly always the peer has room, and the bytes leave now. The report waits for the turn.
        let report = self.try_send(socket);
        self.local.extend(report);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get_mut(socket) {
            assert!(state.send.is_none(), "nothing may be in flight before a FIN");
            net::shutdown_write(&state.fd);
        }
    }

    fn reset(&mut self, socket: SocketId) {
        if let Some(state) = self.sockets.get_mut(socket) {
            net::reset_on_close(&state.fd);
        }
        self.close(socket);
    }

    fn close(&mut self, socket: SocketId) {
        // Dropping the descriptor closes it and ends the watch.
        if let Some(state) = self.sockets.remove(socket)
            && let Some(send) = state.send
        {
            self.sends.remove(send);
        }
    }

    fn release(&mut self, socket: SocketId) -> Option<OwnedFd> {
        let state = self.sockets.remove(socket)?;
        if let Some(send) = state.send {
            self.sends.remove(send);
        }
        // Whoever holds another descriptor of the same connection keeps the watch alive after ours is closed.
        self.poll.remove(&state.fd);
        Some(state.fd)
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let limit = out.len() + COMPLETIONS_PER_TURN;
        // One less, so that a wake always finds room.
        self.report_local(out, limit - 1);
        let wait = out.is_empty() && !self.has_work();
        self.poll.wait(if wait { timeout } else { Some(Duration::ZERO) })?;
        self.note_events(out);
        self.unpark_all();
        self.serve_sends(out, limit);
        self.serve_receives(out, limit);
        self.serve_accepts(out, limit);
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage {
            sockets: self.sockets.used(),
            operations: 0,
            buffers_out: self.pool.out(),
            starved: self.starved,
        }
    }
}
