//! Listening and connecting.

use std::os::unix::net::UnixListener;

use hostler_driver::{Completion, Driver, Key, Operation, ReceiveMode};

use crate::bench::{Bench, LISTENER, config};
use crate::world::World;

crate::rules!(
    connections_are_accepted,
    an_accepted_connection_works,
    accepting_can_be_turned_off_and_on,
    nothing_is_accepted_after_unlisten,
    a_flood_of_connections_is_accepted,
    connect_to_nobody_fails,
    connect_to_a_path_that_is_too_long_is_refused,
);

/// These need a kernel.
mod on_the_kernel {
    use super::*;

    crate::kernel_rules!(connect_to_a_unix_listener, connect_to_a_full_backlog_fails,);
}

fn connections_are_accepted<W: World>(mut bench: Bench<W>) {
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    let _clients: Vec<_> = (0..10).map(|_| bench.world.client()).collect();
    for _ in 0..10 {
        match bench.next() {
            Completion::Accepted { listener, .. } => assert_eq!(listener, LISTENER),
            other => panic!("expected a connection: {other:?}"),
        }
    }
    bench.quiet();
    bench.driver.unlisten(listener);
    bench.ends_clean();
}

fn an_accepted_connection_works<W: World>(mut bench: Bench<W>) {
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    let mut client = bench.world.client();
    bench.peer_writes(&mut *client, b"request");
    let fd = bench.accepted();
    let socket = bench.driver.adopt(fd, Key(1)).expect("room");
    bench.receive(socket, ReceiveMode::Stream);
    assert_eq!(&*bench.received(socket), b"request");
    bench.send(socket, b"response");
    bench.sent(socket);
    assert_eq!(bench.peer_reads(&mut *client, 8), b"response");
    bench.driver.close(socket);
    bench.peer_ends(&mut *client);
    bench.driver.unlisten(listener);
    bench.ends_clean();
}

fn accepting_can_be_turned_off_and_on<W: World>(mut bench: Bench<W>) {
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    bench.quiet();
    for _ in 0..3 {
        bench.driver.accept(listener, false);
        bench.quiet();
        let _client = bench.world.client();
        bench.quiet();
        bench.driver.accept(listener, true);
        bench.accepted();
    }
    // Faster than the driver turns.
    for _ in 0..10 {
        bench.driver.accept(listener, false);
        bench.driver.accept(listener, true);
    }
    bench.quiet();
    let _client = bench.world.client();
    bench.accepted();
    bench.driver.unlisten(listener);
    bench.ends_clean();
}

fn nothing_is_accepted_after_unlisten<W: World>(mut bench: Bench<W>) {
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    bench.quiet();
    let _client = bench.world.client();
    bench.driver.unlisten(listener);
    bench.quiet();
    bench.ends_clean();
}

fn a_flood_of_connections_is_accepted<W: World>(mut bench: Bench<W>) {
    const CLIENTS: usize = 100;
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    for _ in 0..5 {
        let clients: Vec<_> = (0..CLIENTS).map(|_| bench.world.client()).collect();
        let mut sockets = Vec::new();
        for number in 0..CLIENTS {
            let fd = bench.accepted();
            sockets.push(bench.driver.adopt(fd, Key(number as u32)).expect("room"));
        }
        for socket in &sockets {
            bench.receive(*socket, ReceiveMode::Stream);
        }
        drop(clients);
        for _ in 0..CLIENTS {
            match bench.next() {
                Completion::ReceiveEnded { socket, .. } => bench.driver.close(socket),
                other => panic!("expected FIN: {other:?}"),
            }
        }
    }
    bench.driver.unlisten(listener);
    bench.ends_clean();
}

fn socket_path(name: &str) -> std::path::PathBuf {
    let unique =
        format!("hostler-driver-{}-{name}-{:?}", std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(unique)
}

fn connect_to_a_unix_listener<W: World>(mut bench: Bench<W>) {
    let path = socket_path("connect");
    let listener = UnixListener::bind(&path).expect("bind");
    let socket = bench.driver.connect(&path, Key(9)).expect("socket");
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
    let socket = bench.driver.connect(&socket_path("nobody"), Key(9)).expect("socket");
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
        sockets.push(bench.driver.connect(&path, Key(9)).expect("socket"));
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
    assert!(bench.driver.connect(path.as_ref(), Key(9)).is_err());
    bench.ends_clean();
}
