//! Connecting: to unix sockets, which is done or refused at once, and to TCP ports, which may take its time.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use hostler_driver::{Completion, Driver, Key, Operation, PoolClass, ReceiveMode, SocketId};

use crate::bench::{Bench, config};
use crate::world::{KernelPeer, World};

crate::rules!(
    connect_to_nobody_fails,
    connect_to_a_path_that_is_too_long_is_refused,
    connect_to_a_port_without_a_listener_fails,
);

/// These need a kernel.
mod on_the_kernel {
    use super::*;

    crate::kernel_rules!(
        connect_to_a_unix_listener,
        connect_to_a_full_backlog_fails,
        connect_to_a_port,
        connect_to_a_port_with_a_full_backlog_waits,
    );
}

fn socket_path(name: &str) -> std::path::PathBuf {
    let unique =
        format!("hostler-driver-{}-{name}-{:?}", std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(unique)
}

fn connect_to_a_unix_listener<W: World>(mut bench: Bench<W>) {
    let path = socket_path("connect");
    let listener = UnixListener::bind(&path).expect("bind");
    let socket = bench.driver.connect(path.as_path().into(), Key(9)).expect("socket");
    match bench.next() {
        Completion::Connected { socket: id, key } => assert_eq!((id, key), (socket, Key(9))),
        other => panic!("expected a connection: {other:?}"),
    }
    let (peer, _) = listener.accept().expect("accept");
    peer.set_nonblocking(true).expect("nonblocking");
    let mut peer = crate::world::KernelPeer(peer);
    bench.receive(socket, ReceiveMode::Once(hostler_driver::PoolClass::Channel));
    bench.quiet();
    bench.peer_writes(&mut peer, b"hello");
    assert_eq!(&*bench.received(socket), b"hello");
    bench.send(socket, b"hi");
    bench.sent(socket);
    assert_eq!(bench.peer_reads(&mut peer, 2), b"hi");
    bench.driver.close(socket);
    bench.ends_clean();
    std::fs::remove_file(&path).expect("remove");
}

fn connect_to_nobody_fails<W: World>(mut bench: Bench<W>) {
    let socket =
        bench.driver.connect(socket_path("nobody").as_path().into(), Key(9)).expect("socket");
    match bench.next() {
        Completion::Failed { operation: Operation::Connect, error, .. } => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound)
        }
        other => panic!("expected a failure: {other:?}"),
    }
    bench.driver.close(socket);
    bench.ends_clean();
}

fn connect_to_a_full_backlog_fails<W: World>(mut bench: Bench<W>) {
    let path = socket_path("full");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("socket");
    listener.bind(&socket2::SockAddr::unix(&path).expect("address")).expect("bind");
    listener.listen(0).expect("listen");
    let mut sockets = Vec::new();
    loop {
        sockets.push(bench.driver.connect(path.as_path().into(), Key(9)).expect("socket"));
        match bench.next() {
            Completion::Connected { .. } => assert!(sockets.len() < 10, "backlog never full"),
            Completion::Failed { error, .. } => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    for socket in sockets {
        bench.driver.close(socket);
    }
    bench.ends_clean();
    std::fs::remove_file(&path).expect("remove");
}

fn connect_to_a_path_that_is_too_long_is_refused<W: World>(mut bench: Bench<W>) {
    let path = "x".repeat(200);
    let path = std::path::Path::new(&path);
    assert!(bench.driver.connect(path.into(), Key(9)).is_err());
    bench.ends_clean();
}

fn connected(bench: &mut Bench<impl World>, socket: SocketId) {
    match bench.next() {
        Completion::Connected { socket: id, key } => assert_eq!((id, key), (socket, Key(9))),
        other => panic!("expected a connection: {other:?}"),
    }
}

fn connect_to_a_port_without_a_listener_fails<W: World>(mut bench: Bench<W>) {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = taken.local_addr().expect("bound");
    drop(taken);
    let socket = bench.driver.connect(address.into(), Key(9)).expect("socket");
    match bench.next() {
        Completion::Failed { operation: Operation::Connect, error, .. } => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused)
        }
        other => panic!("expected a failure: {other:?}"),
    }
    bench.driver.close(socket);
    bench.ends_clean();
}

fn connect_to_a_port<W: World>(mut bench: Bench<W>) {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(host) else {
            continue; // no IPv6 here
        };
        let address = listener.local_addr().expect("bound");
        let socket = bench.driver.connect(address.into(), Key(9)).expect("socket");
        connected(&mut bench, socket);
        let (peer, _) = listener.accept().expect("accept");
        peer.set_nonblocking(true).expect("nonblocking");
        let mut peer = KernelPeer(peer);
        bench.receive(socket, ReceiveMode::Once(PoolClass::Channel));
        bench.quiet();
        bench.peer_writes(&mut peer, b"hello");
        assert_eq!(&*bench.received(socket), b"hello");
        bench.send(socket, b"hi");
        bench.sent(socket);
        assert_eq!(bench.peer_reads(&mut peer, 2), b"hi");
        bench.receive(socket, ReceiveMode::Once(PoolClass::Channel));
        drop(peer);
        bench.receive_ended(socket);
        bench.driver.close(socket);
        bench.ends_clean();
    }
}

/// The kernel drops the SYN and sends it again after a second. One connection lives to see it, one is given up before.
fn connect_to_a_port_with_a_full_backlog_waits<W: World>(mut bench: Bench<W>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    listener.listen(0).expect("listen");
    let address = listener.local_addr().expect("bound").as_socket().expect("TCP");
    let first = bench.driver.connect(address.into(), Key(9)).expect("socket");
    connected(&mut bench, first);
    let given_up = bench.driver.connect(address.into(), Key(9)).expect("socket");
    let waits = bench.driver.connect(address.into(), Key(9)).expect("socket");
    bench.quiet();
    bench.driver.close(given_up);
    bench.quiet();
    let (_first_peer, _) = listener.accept().expect("accept");
    connected(&mut bench, waits);
    let (peer, _) = listener.accept().expect("accept");
    peer.set_nonblocking(true).expect("nonblocking");
    let mut peer = KernelPeer(peer);
    bench.receive(waits, ReceiveMode::Stream);
    bench.send(waits, b"hi");
    bench.sent(waits);
    assert_eq!(bench.peer_reads(&mut peer, 2), b"hi");
    bench.peer_writes(&mut peer, b"hello");
    assert_eq!(&*bench.received(waits), b"hello");
    bench.driver.close(first);
    bench.driver.close(waits);
    bench.ends_clean();
}
