//! A connection in memory and its far side.
//!
//! Owns: the bytes under way in both directions and the faults of one connection. Must never know:
//! which socket of the driver it belongs to. Used by the simulator (through [`FakePeer`]) and by
//! the fake driver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use rustix::io::Errno;

/// Room in each direction unless limited: about that of a kernel socket.
const ROOM: usize = 256 * 1024;

/// What a read of a peer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeRead {
    /// Bytes, appended to the vector given.
    Bytes,
    /// Nothing for now.
    Nothing,
    /// The driver's side has sent FIN or was closed, and everything before has been read.
    End,
    /// The driver's side was closed with bytes unread, or reset.
    Reset,
}

/// The far side of a connection: a client's or a worker's. A clone is another handle to the same
/// one; dropping handles changes nothing.
#[derive(Clone)]
pub struct FakePeer {
    conn: Rc<RefCell<Conn>>,
}

impl FakePeer {
    pub(super) fn new(conn: Rc<RefCell<Conn>>) -> Self {
        Self { conn }
    }

    /// Writes as many bytes as there is room for and says how many. Each write arrives as a
    /// delivery of its own (as several, if it is longer than the buffer): this is how a script cuts
    /// its input.
    pub fn write(&self, bytes: &[u8]) -> usize {
        let mut conn = self.conn.borrow_mut();
        if conn.driver_closed || conn.peer_finished || conn.peer_gone {
            return 0;
        }
        let count = bytes.len().min(conn.write_room_max - conn.unread_bytes);
        if count > 0 {
            conn.unread_bytes += count;
            conn.unread.push_back(bytes[..count].to_vec());
        }
        count
    }

    /// Appends everything that has been sent.
    pub fn read(&self, into: &mut Vec<u8>) -> FakeRead {
        self.read_at_most(usize::MAX, into)
    }

    /// Appends at most `max` bytes of what has been sent: a slow reader.
    pub fn read_at_most(&self, max: usize, into: &mut Vec<u8>) -> FakeRead {
        let mut conn = self.conn.borrow_mut();
        let count = max.min(conn.sent.len());
        if count > 0 {
            // Slices: byte by byte it would be the most expensive part of a simulation.
            let (front, back) = conn.sent.as_slices();
            let from_front = count.min(front.len());
            into.extend_from_slice(&front[..from_front]);
            into.extend_from_slice(&back[..count - from_front]);
            conn.sent.drain(..count);
            return FakeRead::Bytes;
        }
        if conn.driver_reset {
            FakeRead::Reset
        } else if conn.driver_finished || conn.driver_closed {
            FakeRead::End
        } else {
            FakeRead::Nothing
        }
    }

    /// FIN: no more writes, but still reading.
    pub fn finish(&self) {
        self.conn.borrow_mut().peer_finished = true;
    }

    /// Like the end of a process: FIN, or a reset when there are bytes not read; what the driver
    /// sends now fails.
    pub fn close(&self) {
        let mut conn = self.conn.borrow_mut();
        if conn.sent.is_empty() {
            conn.peer_finished = true;
        } else {
            conn.reset();
        }
        conn.peer_gone = true;
    }

    /// A reset. Bytes under way are lost in both directions.
    pub fn reset(&self) {
        let mut conn = self.conn.borrow_mut();
        conn.reset();
        conn.peer_gone = true;
    }

    /// Sends make no progress (`true`), or do again.
    pub fn stall(&self, on: bool) {
        self.conn.borrow_mut().stalled = on;
    }

    /// Sends move at most `max` bytes at a time.
    pub fn short_sends(&self, max: usize) {
        assert!(max > 0, "a send that moves nothing is a stall");
        self.conn.borrow_mut().send_step_max = max;
    }

    /// Room for bytes that the driver has sent and the peer has not read.
    pub fn limit_sends(&self, bytes: usize) {
        self.conn.borrow_mut().send_room_max = bytes;
    }

    /// Room for bytes that the peer has written and the driver has not received.
    pub fn limit_writes(&self, bytes: usize) {
        let mut conn = self.conn.borrow_mut();
        conn.write_room_max = bytes.max(conn.unread_bytes);
    }

    /// Whether the driver's side is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.conn.borrow().driver_closed
    }

    /// Bytes that the driver has not received.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.conn.borrow().unread_bytes
    }
}

impl fmt::Debug for FakePeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conn = self.conn.borrow();
        let (unread, sent) = (conn.unread_bytes, conn.sent.len());
        write!(formatter, "FakePeer({unread} bytes to the driver, {sent} from it)")
    }
}

/// What a receive of the driver finds.
pub(super) enum Arrival {
    /// So many bytes, written to the front of the space given.
    Bytes(usize),
    Nothing,
    End,
    Failed(Errno),
}

/// Both directions of a connection.
pub(super) struct Conn {
    /// Writes of the peer that have not been received.
    unread: VecDeque<Vec<u8>>,
    unread_bytes: usize,
    /// Bytes of the first write that have been received.
    unread_start: usize,
    write_room_max: usize,
    /// Bytes sent by the driver that the peer has not read.
    sent: VecDeque<u8>,
    send_room_max: usize,
    send_step_max: usize,
    stalled: bool,
    peer_finished: bool,
    peer_reset: bool,
    /// Sends fail from now on.
    peer_gone: bool,
    driver_finished: bool,
    driver_reset: bool,
    driver_closed: bool,
}

impl Conn {
    pub(super) fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            unread: VecDeque::new(),
            unread_bytes: 0,
            unread_start: 0,
            write_room_max: ROOM,
            sent: VecDeque::new(),
            send_room_max: ROOM,
            send_step_max: usize::MAX,
            stalled: false,
            peer_finished: false,
            peer_reset: false,
            peer_gone: false,
            driver_finished: false,
            driver_reset: false,
            driver_closed: false,
        }))
    }

    /// Whether a receive would find something.
    pub(super) fn is_readable(&self) -> bool {
        self.peer_reset || self.peer_finished || !self.unread.is_empty()
    }

    /// Whether a receive would find bytes.
    pub(super) fn has_bytes(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(super) fn receive(&mut self, space: &mut [u8]) -> Arrival {
        if self.peer_reset {
            return Arrival::Failed(Errno::CONNRESET);
        }
        let Some(first) = self.unread.front() else {
            return if self.peer_finished { Arrival::End } else { Arrival::Nothing };
        };
        let bytes = &first[self.unread_start..];
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        if count == bytes.len() {
            self.unread.pop_front();
            self.unread_start = 0;
        } else {
            self.unread_start += count;
        }
        self.unread_bytes -= count;
        Arrival::Bytes(count)
    }

    /// Bytes that a send could move now.
    pub(super) fn send_room(&self) -> Result<usize, Errno> {
        if self.peer_reset {
            return Err(Errno::CONNRESET);
        }
        if self.peer_gone || self.driver_finished {
            return Err(Errno::PIPE);
        }
        if self.stalled {
            return Ok(0);
        }
        let room = self.send_room_max.saturating_sub(self.sent.len());
        Ok(room.min(self.send_step_max))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.sent.extend(bytes);
    }

    pub(super) fn finish_driver(&mut self) {
        self.driver_finished = true;
    }

    pub(super) fn close_driver(&mut self) {
        self.driver_closed = true;
        self.driver_reset |= !self.unread.is_empty();
        self.drop_unread();
    }

    /// The driver's side ends with a reset. What has arrived can still be read: the kernel of the peer keeps its
    /// receive queue (`tcp_reset` in net/ipv4/tcp_input.c).
    pub(super) fn reset_driver(&mut self) {
        self.driver_reset = true;
        self.close_driver();
    }

    fn reset(&mut self) {
        self.peer_reset = true;
        self.sent.clear();
        self.drop_unread();
    }

    fn drop_unread(&mut self) {
        self.unread.clear();
        self.unread_bytes = 0;
        self.unread_start = 0;
    }
}
