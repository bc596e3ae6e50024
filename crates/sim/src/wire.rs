//! What a plain side reads and writes: a socket, or a tunnel of its worker's channel.
//!
//! Owns: the two ends of a tunnel within the worker. Must never know: HTTP, frames. Used by `plain` and `frames`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use hostler_driver::fake::{FakePeer, FakeRead};

/// What the app may have written into a tunnel and the channel has not taken.
const OUTPUT_BYTES_MAX: usize = 16_384;

/// One of the two.
pub enum Wire {
    /// A connection to the worker's plain path.
    Socket(FakePeer),
    /// A tunnel.
    Tunnel(TunnelEnd),
}

/// A tunnel inside the worker; both its sides hold one.
#[derive(Clone, Default)]
pub struct TunnelEnd(Rc<RefCell<Tunnel>>);

#[derive(Default)]
struct Tunnel {
    input: VecDeque<u8>,
    /// FIN of the client.
    ended: bool,
    /// The proxy has closed it.
    gone: bool,
    /// Bytes that the app has read and the proxy has not got back as credit.
    owed: usize,
    output: VecDeque<u8>,
    /// The app has ended it.
    finished: bool,
    /// Requests that the app was given through it, with their deliveries.
    requests: Vec<(usize, usize)>,
}

impl Wire {
    /// The socket, if it is one.
    pub fn socket(&self) -> Option<&FakePeer> {
        match self {
            Self::Socket(peer) => Some(peer),
            Self::Tunnel(_) => None,
        }
    }

    /// Reads what is there.
    pub fn read_at_most(&self, max: usize, into: &mut Vec<u8>) -> FakeRead {
        match self {
            Self::Socket(peer) => peer.read_at_most(max, into),
            Self::Tunnel(end) => end.read_at_most(max, into),
        }
    }

    /// Writes as much as there is room for.
    pub fn write(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Socket(peer) => peer.write(bytes),
            Self::Tunnel(end) => end.write(bytes),
        }
    }

    /// The app writes no more.
    pub fn finish(&self) {
        match self {
            Self::Socket(peer) => peer.finish(),
            Self::Tunnel(end) => end.0.borrow_mut().finished = true,
        }
    }

    /// The app neither reads nor writes any more.
    pub fn close(&self) {
        match self {
            Self::Socket(peer) => peer.close(),
            Self::Tunnel(end) => end.0.borrow_mut().finished = true,
        }
    }

    /// Has the proxy closed it?
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Socket(peer) => peer.is_closed(),
            Self::Tunnel(end) => end.0.borrow().gone,
        }
    }

    /// A request came through it.
    pub fn note_request(&self, id: usize, delivery: usize) {
        if let Self::Tunnel(end) = self {
            end.0.borrow_mut().requests.push((id, delivery));
        }
    }

    /// Bytes of the app that the proxy has not received, as far as this side knows.
    pub fn unread(&self) -> usize {
        match self {
            Self::Socket(peer) => peer.unread(),
            Self::Tunnel(end) => end.0.borrow().output.len(),
        }
    }
}

impl TunnelEnd {
    fn read_at_most(&self, max: usize, into: &mut Vec<u8>) -> FakeRead {
        let mut tunnel = self.0.borrow_mut();
        let count = max.min(tunnel.input.len());
        if count == 0 {
            return if tunnel.ended || tunnel.gone { FakeRead::End } else { FakeRead::Nothing };
        }
        into.extend(tunnel.input.drain(..count));
        tunnel.owed += count;
        FakeRead::Bytes
    }

    fn write(&self, bytes: &[u8]) -> usize {
        let mut tunnel = self.0.borrow_mut();
        if tunnel.gone {
            return 0;
        }
        let count = bytes.len().min(OUTPUT_BYTES_MAX - tunnel.output.len());
        tunnel.output.extend(&bytes[..count]);
        count
    }

    /// Bytes of the client.
    pub fn arrive(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.extend(bytes);
    }

    /// FIN of the client; false if it has come before.
    pub fn end(&self) -> bool {
        !std::mem::replace(&mut self.0.borrow_mut().ended, true)
    }

    /// The proxy has closed it.
    pub fn go(&self) {
        self.0.borrow_mut().gone = true;
    }

    /// What the app has read since this was last worth a frame.
    pub fn take_owed(&self, least: usize) -> Option<usize> {
        let mut tunnel = self.0.borrow_mut();
        (tunnel.owed >= least).then(|| std::mem::take(&mut tunnel.owed))
    }

    /// What waits to be sent.
    pub fn waiting(&self) -> usize {
        self.0.borrow().output.len()
    }

    /// The next bytes to be sent.
    pub fn take(&self, count: usize) -> Vec<u8> {
        self.0.borrow_mut().output.drain(..count).collect()
    }

    /// Requests that the app was given through it, with their deliveries.
    pub fn requests(&self) -> Vec<(usize, usize)> {
        self.0.borrow().requests.clone()
    }

    /// Has the app ended it, and is everything sent?
    pub fn is_over(&self) -> bool {
        let tunnel = self.0.borrow();
        tunnel.finished && tunnel.output.is_empty()
    }
}
