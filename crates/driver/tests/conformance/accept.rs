//! Listening and accepting.

use hostler_driver::{Completion, Driver, Key, ReceiveMode};

use crate::bench::{Bench, LISTENER, config};
use crate::world::World;

crate::rules!(
    connections_are_accepted,
    an_accepted_connection_works,
    accepting_can_be_turned_off_and_on,
    nothing_is_accepted_after_unlisten,
    a_flood_of_connections_is_accepted,
);

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
