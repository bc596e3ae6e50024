//! Does a command accept connections?
//!
//! Owns: choosing a free port, and single attempts to connect. Must never know: when to try. Nothing here waits: on this
//! machine a connection is made or refused at once, and what takes longer counts as refused until the next try.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use hostler_protocol::control::PlainAddress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use crate::worker_command::Offer;

/// A port of 127.0.0.1 that nobody has. Until the command takes it somebody else might; then the command fails, and its next
/// start gets another one. Holding it meanwhile would keep out programs that bind without SO_REUSEADDR.
pub(super) fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Where the command accepts, if it does. What is bound to `localhost` may be bound to the IPv6 address only.
pub(super) fn accepts(offer: &Offer) -> Option<PlainAddress> {
    if accepts_unix(&offer.socket) {
        return Some(PlainAddress::Unix(offer.socket.clone()));
    }
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses = hosts.map(|host| SocketAddr::new(host, offer.port));
    addresses.into_iter().find(accepts_tcp).map(PlainAddress::Tcp)
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn accepts_unix(path: &Path) -> bool {
    let attempt = || {
        let address = SocketAddrUnix::new(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        connect(&socket, &address)
    };
    // A full backlog is a listener too.
    matches!(attempt(), Ok(()) | Err(Errno::AGAIN))
}

fn accepts_tcp(address: &SocketAddr) -> bool {
    let attempt = || {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
        match connect(&socket, address) {
            Err(Errno::INPROGRESS) => {}
            other => return other,
        }
        // The answer of loopback is here already, but connect does not look at it.
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&at_once))? {
            0 => Err(Errno::TIMEDOUT),
            _ => sockopt::socket_error(&socket)?,
        }
    };
    attempt().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn offer() -> Offer {
        let thread = format!("{:?}", std::thread::current().id());
        let name = format!("hostler-probe-{}-{thread}", std::process::id());
        Offer { socket: std::env::temp_dir().join(name), port: free_port().expect("a port") }
    }

    #[test]
    fn nobody_there() {
        // Bound, so that nobody else takes it meanwhile, and not listening.
        let held = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None).expect("made");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        rustix::net::bind(&held, &any).expect("bound");
        let address = rustix::net::getsockname(&held).expect("bound");
        let address = SocketAddr::try_from(address).expect("an internet address");
        assert_eq!(accepts(&Offer { port: address.port(), ..offer() }), None);
    }

    #[test]
    fn the_socket_the_port_and_its_twin_are_found() {
        let offer = offer();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, offer.port)).expect("bound");
        let address = port.local_addr().expect("bound");
        assert_eq!(accepts(&offer), Some(PlainAddress::Tcp(address)));
        let unix = UnixListener::bind(&offer.socket).expect("bound");
        assert_eq!(accepts(&offer), Some(PlainAddress::Unix(offer.socket.clone())));
        drop((unix, port));
        // A socket file without a listener refuses. The child that another test is just making may hold it a little longer.
        let start = std::time::Instant::now();
        while accepts(&offer).is_some() {
            assert!(start.elapsed().as_secs() < 20, "it still accepts");
            std::thread::yield_now();
        }
        std::fs::remove_file(&offer.socket).expect("removed");
        if let Ok(port) = TcpListener::bind((Ipv6Addr::LOCALHOST, offer.port)) {
            let address = port.local_addr().expect("bound");
            assert_eq!(accepts(&offer), Some(PlainAddress::Tcp(address)));
        }
    }

    #[test]
    fn ports_are_free_and_differ() {
        let ports: std::collections::HashSet<u16> =
            (0..8).map(|_| free_port().expect("a port")).collect();
        assert!(ports.len() > 1, "{ports:?}");
    }
}
