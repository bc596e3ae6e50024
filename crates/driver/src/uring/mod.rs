//! The driver over io_uring.
//!
//! Owns: one ring, the sockets and listeners on it, the memory the kernel works on. Must never
//! know: what the bytes mean. Used by the proxy's shards, each of which makes its own on its own
//! thread.
//!
//! One turn, in this order:
//!
//! 1. take the completions that are there (`complete`)
//! 2. offer buffers again, and bring what sockets do in line with what is wanted
//!    of them (`submit`, `receive`)
//! 3. one `io_uring_enter`: hands over everything asked, and waits if there is nothing to report
//! 4. take the completions that it brought
//!
//! A completion that concerns only the driver (a cancel, say) also ends the wait, so a turn may
//! report nothing.

mod complete;
mod drain;
mod park;
mod provided;
mod receive;
mod ring;
mod submit;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::time::Duration;

use self::provided::BufferRing;
use self::receive::Receive;
use self::ring::Ring;
use crate::send::{SendId, SendSlots};
use crate::table::{Op, SLOTS_MAX, Slot, Table};
use crate::waker::WakeSource;
use crate::{
    COMPLETIONS_PER_TURN, Completion, Driver, DriverConfig, Full, Key, ListenerId, Operation,
    Parts, PeerAddress, Pool, PoolClass, ReceiveMode, SocketId, Usage, Waker, net,
};

/// Sockets by completion over io_uring. Needs Linux 6.1; see [`crate::probe`] for whether it can be
/// had.
pub struct UringDriver {
    sockets: Table<Socket>,
    listeners: Vec<Listener>,
    /// Operations on listeners that the kernel has.
    listener_operations: u32,
    /// Sockets whose wish and reality may differ. Each is in it at most once (`Socket::unsettled`).
    unsettled: Vec<SocketId>,
    /// Sockets that wait for a buffer, by receive class, first come first served.
    parked: [VecDeque<SocketId>; PoolClass::RECEIVE.len()],
    /// What happened without the kernel, to be reported in the next turn.
    local: VecDeque<Completion>,
    starved: u64,
    wake: WakeSource,
    wake_armed: bool,
    /// No new operations: the driver is being dropped.
    ending: bool,
    ring: Ring,
    /// Freed only once the kernel has given back the last operation.
    memory: ManuallyDrop<KernelMemory>,
}

/// What the kernel reads and writes on its own.
struct KernelMemory {
    sends: SendSlots,
    offered: [Option<BufferRing>; PoolClass::RECEIVE.len()],
    pool: Pool,
}

struct Socket {
    /// Taken out when the descriptor is handed to the kernel to be closed.
    fd: OwnedFd,
    key: Key,
    receive: Receive,
    send: Option<SendId>,
    /// It is in the list of the same name.
    unsettled: bool,
    /// The caller has closed it. It stays until its last operation is back.
    closing: bool,
}

/// What an idle socket costs here; the rest is the kernel's.
const _: () = assert!(size_of::<Slot<Socket>>() <= 96);

struct Listener {
    /// `None` after `unlisten`, once nothing is in flight. Numbers of listeners are not used again:
    /// there are few.
    fd: Option<OwnedFd>,
    key: Key,
    wanted: bool,
    /// The kernel accepts.
    armed: bool,
    /// It has been asked to stop, and has not stopped yet.
    cancelling: bool,
    /// Cancels that are not back. They name the descriptor, which therefore stays open.
    cancels: u32,
    closing: bool,
}

/// What could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// The ring with its flags.
    Ring,
    /// The rings of offered buffers.
    BufferRings,
    /// Memory and descriptors of our own.
    Resources,
}

impl UringDriver {
    /// Sets everything up. From now on only this thread may use it.
    pub fn new(config: &DriverConfig) -> io::Result<Self> {
        Self::build(config).map_err(|(_, error)| error)
    }

    /// Like [`Self::new`], and says what failed.
    pub(crate) fn build(config: &DriverConfig) -> Result<Self, (Setup, io::Error)> {
        let resources = |error| (Setup::Resources, error);
        let pool = Pool::new(&config.pools).map_err(resources)?;
        let wake = WakeSource::new().map_err(resources)?;
        let ring = Ring::new().map_err(|error| (Setup::Ring, error))?;
        let [head, body, channel] =
            PoolClass::RECEIVE.map(|class| BufferRing::new(&ring, &pool, class));
        let buffer_rings = |error| (Setup::BufferRings, error);
        let offered = [
            head.map_err(buffer_rings)?,
            body.map_err(buffer_rings)?,
            channel.map_err(buffer_rings)?,
        ];
        let sockets_max = config.sockets_max.min(SLOTS_MAX);
        let mut driver = Self {
            sockets: Table::new(sockets_max),
            listeners: Vec::new(),
            listener_operations: 0,
            unsettled: Vec::with_capacity(sockets_max as usize),
            parked: Default::default(),
            local: VecDeque::with_capacity(COMPLETIONS_PER_TURN),
            starved: 0,
            wake,
            wake_armed: false,
            ending: false,
            ring,
            memory: ManuallyDrop::new(KernelMemory { sends: SendSlots::default(), offered, pool }),
        };
        driver.submit_wake();
        Ok(driver)
    }

    /// Whether the kernel could do without the array of submission indexes (6.6).
    pub(crate) fn without_array(&self) -> bool {
        self.ring.without_array()
    }

    /// Entries of the submission and of the completion queue.
    pub(crate) fn entries(&self) -> (u32, u32) {
        self.ring.entries()
    }

    /// A socket that the caller has not closed.
    fn open(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id).filter(|socket| !socket.closing)
    }

    /// Has the socket looked at before the next enter.
    fn unsettle(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id)
            && !socket.unsettled
        {
            socket.unsettled = true;
            self.unsettled.push(id);
        }
    }

    /// Brings everything in line with what is wanted.
    fn settle_all(&mut self) {
        let memory = &mut *self.memory;
        for ring in memory.offered.iter_mut().flatten() {
            ring.refill(&memory.pool);
        }
        for class in PoolClass::RECEIVE {
            self.unpark(class);
        }
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for id in unsettled.drain(..) {
            self.settle(id);
        }
        self.unsettled = unsettled;
    }

    /// Reports what happened without the kernel.
    fn report_local(&mut self, out: &mut Vec<Completion>, limit: usize) {
        while out.len() < limit
            && let Some(completion) = self.local.pop_front()
        {
            let (Completion::Connected { socket, .. }
            | Completion::Sent { socket, .. }
            | Completion::Failed { socket, .. }) = &completion
            else {
                unreachable!("only these happen without the kernel");
            };
            if self.open(*socket).is_some() {
                out.push(completion);
            }
        }
    }

    fn insert(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        self.sockets.insert(Socket {
            fd,
            key,
            receive: Receive::new(),
            send: None,
            unsettled: false,
            closing: false,
        })
    }
}

impl Driver for UringDriver {
    fn pool(&self) -> &Pool {
        &self.memory.pool
    }

    fn listen(&mut self, fd: OwnedFd, key: Key) -> io::Result<ListenerId> {
        // The ring fails with EAGAIN instead of waiting on a descriptor that does not block.
        net::set_nonblocking(&fd, false)?;
        let id = ListenerId(self.listeners.len() as u32);
        self.listeners.push(Listener {
            fd: Some(fd),
            key,
            wanted: true,
            armed: false,
            cancelling: false,
            cancels: 0,
            closing: false,
        });
        self.settle_listener(id);
        Ok(id)
    }

    fn accept(&mut self, listener: ListenerId, on: bool) {
        self.listeners[listener.0 as usize].wanted = on;
        self.settle_listener(listener);
    }

    fn may_accept(&self, listener: ListenerId) -> bool {
        let listener = &self.listeners[listener.0 as usize];
        listener.armed || listener.cancels > 0
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.listeners[listener.0 as usize].closing = true;
        self.settle_listener(listener);
    }

    fn adopt(&mut self, fd: OwnedFd, key: Key) -> Result<SocketId, Full> {
        self.insert(fd, key)
    }

    fn connect(&mut self, peer: PeerAddress<'_>, key: Key) -> io::Result<SocketId> {
        let connecting = net::start_connect(peer)?;
        net::set_nonblocking(&connecting.fd, false)?;
        let socket = self.insert(connecting.fd, key).map_err(io::Error::other)?;
        match connecting.outcome {
            Some(outcome) => self.local.push_back(connected(socket, key, outcome)),
            None => self.submit_connect(socket),
        }
        Ok(socket)
    }

    fn receive(&mut self, socket: SocketId, mode: ReceiveMode) {
        if let ReceiveMode::Once(class) = mode {
            assert!(class.is_receive(), "{class:?} buffers are for sending");
        }
        if self.open(socket).is_some_and(|socket| socket.receive.want(mode)) {
            self.unsettle(socket);
        }
    }

    fn has_input(&mut self, socket: SocketId) -> bool {
        self.open(socket).is_some_and(|state| net::has_input(&state.fd))
    }

    fn more_waits(&mut self, socket: SocketId) -> bool {
        self.open(socket).is_some_and(|state| state.receive.more_waits())
    }

    fn send(&mut self, socket: SocketId, parts: Parts) {
        let Some(state) = self.open(socket) else {
            return;
        };
        assert!(state.send.is_none(), "one send at a time per socket");
        if parts.bytes() == 0 {
            let key = state.key;
            self.local.push_back(Completion::Sent { socket, key });
            return;
        }
        let send = self.memory.sends.insert(parts);
        if let Some(state) = self.open(socket) {
            state.send = Some(send);
        }
        self.submit_send(socket);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        if let Some(state) = self.open(socket) {
            assert!(state.send.is_none(), "nothing may be in flight before a FIN");
            // A plain call: the ring hands every shutdown to a kernel worker thread, which costs
            // far more.
            net::shutdown_write(&state.fd);
        }
    }

    fn reset(&mut self, socket: SocketId) {
        if let Some(state) = self.open(socket) {
            net::reset_on_close(&state.fd);
        }
        self.close(socket);
    }

    fn close(&mut self, socket: SocketId) {
        let Some(state) = self.open(socket) else {
            return;
        };
        state.closing = true;
        let (receives, sends) = (state.receive.armed_class().is_some(), state.send.is_some());
        if self.sockets.pending(socket) == 0 {
            self.submit_close(socket);
            return;
        }
        // A close alone would not end what is in flight, and no FIN would leave until it ended.
        if receives {
            self.submit_cancel_one(socket, Op::Receive);
        }
        if sends {
            self.submit_cancel_one(socket, Op::Send);
        }
        if !receives && !sends {
            self.submit_cancel_one(socket, Op::Connect);
        }
    }

    fn release(&mut self, socket: SocketId) -> Option<OwnedFd> {
        self.open(socket)?;
        if self.sockets.pending(socket) > 0 {
            return None;
        }
        let state = self.sockets.remove(socket)?;
        debug_assert!(state.send.is_none(), "a send ends with its operation");
        Some(state.fd)
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let limit = out.len() + COMPLETIONS_PER_TURN;
        self.report_local(out, limit);
        self.take_completions(out, limit);
        self.settle_all();
        let wait = out.is_empty() && timeout != Some(Duration::ZERO) && !self.can_unpark();
        self.ring.enter(wait, timeout)?;
        self.take_completions(out, limit);
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage {
            sockets: self.sockets.used(),
            operations: self.sockets.operations() + self.listener_operations,
            buffers_out: self.memory.pool.out(),
            starved: self.starved,
        }
    }
}

/// The report of a connect that is over.
fn connected(socket: SocketId, key: Key, outcome: io::Result<()>) -> Completion {
    match outcome {
        Ok(()) => Completion::Connected { socket, key },
        Err(error) => Completion::Failed { socket, key, operation: Operation::Connect, error },
    }
}
