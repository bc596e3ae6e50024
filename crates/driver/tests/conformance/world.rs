//! The places the suite runs in: the kernel with one backend or the other.
//!
//! A [`World`] makes drivers and the peers on the other side of their sockets. Peers never block,
//! so that a test can turn the driver and its peers by hand on one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use hostler_driver::epoll::EpollDriver;
use hostler_driver::uring::UringDriver;
use hostler_driver::{Driver, DriverConfig};

/// What a read of a peer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Bytes, appended.
    Bytes,
    /// Nothing for now.
    Nothing,
    /// FIN.
    End,
    /// A reset.
    Reset,
}

/// The other side of a socket.
pub(crate) trait Peer {
    /// Takes at most as many bytes as there is room for.
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// Appends what has come.
    fn read(&mut self, into: &mut Vec<u8>) -> Got;
    /// FIN.
    fn finish(&mut self);
}

/// A connected stream socket of the kernel.
pub(crate) struct KernelPeer<S>(pub(crate) S);

impl<S: Read + Write + AsFd> Peer for KernelPeer<S> {
    fn write(&mut self, bytes: &[u8]) -> usize {
        match self.0.write(bytes) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => 0,
                _ => panic!("peer cannot write: {error}"),
            },
        }
    }

    fn read(&mut self, into: &mut Vec<u8>) -> Got {
        let mut buffer = [0; 16 * 1024];
        match self.0.read(&mut buffer) {
            Ok(0) => Got::End,
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                Got::Bytes
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Got::Nothing,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Got::Reset,
                _ => panic!("peer cannot read: {error}"),
            },
        }
    }

    fn finish(&mut self) {
        let socket = socket2::SockRef::from(&self.0);
        socket.shutdown(Shutdown::Write).expect("shutdown");
    }
}

/// Makes drivers and peers.
pub(crate) trait World {
    type Driver: Driver;
    /// `None` when this machine does not allow the backend; the reason has been printed.
    fn driver(&mut self, config: &DriverConfig) -> Option<Self::Driver>;
    /// Both ends of a connection.
    fn pair(&mut self) -> (OwnedFd, Box<dyn Peer>);
    /// A listening socket; [`Self::client`] connects to the last one.
    fn listener(&mut self) -> OwnedFd;
    fn client(&mut self) -> Box<dyn Peer>;
}

/// Sockets of the kernel.
#[derive(Default)]
struct Kernel {
    address: Option<std::net::SocketAddr>,
}

impl Kernel {
    fn pair() -> (OwnedFd, Box<dyn Peer>) {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        theirs.set_nonblocking(true).expect("nonblocking");
        (ours.into(), Box::new(KernelPeer(theirs)))
    }

    fn listener(&mut self) -> OwnedFd {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        self.address = Some(listener.local_addr().expect("address"));
        listener.into()
    }

    fn client(&mut self) -> Box<dyn Peer> {
        let address = self.address.expect("a listener first");
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nonblocking(true).expect("nonblocking");
        stream.set_nodelay(true).expect("no delay");
        Box::new(KernelPeer(stream))
    }
}

/// The kernel by epoll.
#[derive(Default)]
pub(crate) struct Epoll(Kernel);

impl World for Epoll {
    type Driver = EpollDriver;

    fn driver(&mut self, config: &DriverConfig) -> Option<EpollDriver> {
        Some(EpollDriver::new(config).expect("epoll"))
    }

    fn pair(&mut self) -> (OwnedFd, Box<dyn Peer>) {
        Kernel::pair()
    }

    fn listener(&mut self) -> OwnedFd {
        self.0.listener()
    }

    fn client(&mut self) -> Box<dyn Peer> {
        self.0.client()
    }
}

/// The kernel by io_uring.
#[derive(Default)]
pub(crate) struct Uring(Kernel);

impl World for Uring {
    type Driver = UringDriver;

    fn driver(&mut self, config: &DriverConfig) -> Option<UringDriver> {
        match UringDriver::new(config) {
            Ok(driver) => Some(driver),
            Err(error) => {
                say_loudly(&error);
                None
            }
        }
    }

    fn pair(&mut self) -> (OwnedFd, Box<dyn Peer>) {
        Kernel::pair()
    }

    fn listener(&mut self) -> OwnedFd {
        self.0.listener()
    }

    fn client(&mut self) -> Box<dyn Peer> {
        self.0.client()
    }
}

/// No kernel at all.
#[cfg(feature = "fake")]
#[derive(Default)]
pub(crate) struct Fake(Option<hostler_driver::fake::FakeNet>);

#[cfg(feature = "fake")]
impl Fake {
    fn net(&self) -> &hostler_driver::fake::FakeNet {
        self.0.as_ref().expect("a driver first")
    }
}

#[cfg(feature = "fake")]
impl World for Fake {
    type Driver = hostler_driver::fake::FakeDriver;

    fn driver(&mut self, config: &DriverConfig) -> Option<Self::Driver> {
        let (driver, net) = hostler_driver::fake::FakeDriver::new(config).expect("fake");
        self.0 = Some(net);
        Some(driver)
    }

    fn pair(&mut self) -> (OwnedFd, Box<dyn Peer>) {
        let (fd, peer) = self.net().pair().expect("pair");
        (fd, Box::new(FakeEnd(peer)))
    }

    fn listener(&mut self) -> OwnedFd {
        self.net().listener_fd().expect("descriptor")
    }

    fn client(&mut self) -> Box<dyn Peer> {
        let peer = self.net().client(crate::bench::LISTENER).expect("a listener first");
        Box::new(FakeEnd(peer))
    }
}

/// Closes when dropped, like a descriptor.
#[cfg(feature = "fake")]
struct FakeEnd(hostler_driver::fake::FakePeer);

#[cfg(feature = "fake")]
impl Peer for FakeEnd {
    fn write(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes)
    }

    fn read(&mut self, into: &mut Vec<u8>) -> Got {
        use hostler_driver::fake::FakeRead;
        match self.0.read(into) {
            FakeRead::Bytes => Got::Bytes,
            FakeRead::Nothing => Got::Nothing,
            FakeRead::End => Got::End,
            FakeRead::Reset => Got::Reset,
        }
    }

    fn finish(&mut self) {
        self.0.finish();
    }
}

#[cfg(feature = "fake")]
impl Drop for FakeEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Past the capture of the test runner, so that nobody takes a skipped test for a passed one.
fn say_loudly(error: &io::Error) {
    let mut terminal = io::stderr().lock();
    let line = format!("\n!!! NOT TESTED: io_uring cannot be had on this machine: {error} !!!\n");
    let _printed = terminal.write_all(line.as_bytes());
}
