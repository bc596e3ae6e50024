//! Closing: with and without operations in flight, and what the peer sees of it.

use hostler_driver::{Driver, Key, ReceiveMode};

use crate::bench::{Bench, LISTENER, config};
use crate::world::World;

crate::rules!(
    the_peer_sees_the_end,
    the_peer_sees_the_end_of_a_receiving_socket,
    the_end_comes_while_the_driver_waits,
    closing_drops_a_stalled_send,
    bytes_for_a_closed_socket_are_dropped,
    a_new_socket_hears_nothing_of_the_old,
    the_driver_ends_with_everything_in_flight,
    a_full_table_says_so,
    a_reset_is_seen_as_one,
);

fn the_peer_sees_the_end<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.driver.close(socket);
    bench.peer_ends(&mut *peer);
    bench.ends_clean();
}

fn the_peer_sees_the_end_of_a_receiving_socket<W: World>(mut bench: Bench<W>) {
    let once = ReceiveMode::Once(hostler_driver::PoolClass::Body);
    for mode in [ReceiveMode::Stream, once] {
        let (socket, mut peer) = bench.pair();
        bench.receive(socket, mode);
        bench.quiet();
        bench.driver.close(socket);
        bench.peer_ends(&mut *peer);
    }
    bench.ends_clean();
}

/// The FIN must not need another turn than the one that waits for something else.
fn the_end_comes_while_the_driver_waits<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.quiet();
    bench.driver.close(socket);
    let waker = bench.driver.waker();
    std::thread::scope(|scope| {
        // A turn may end early without anything to report; a caller then turns again.
        let mut woken = false;
        let driver = &mut bench.driver;
        let (done, is_done) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let _timed_out = is_done.recv_timeout(std::time::Duration::from_secs(10));
            waker.wake();
        });
        let mut out = Vec::new();
        for _ in 0..2 {
            driver.turn(Some(std::time::Duration::from_millis(500)), &mut out).expect("turn");
            woken |= !out.is_empty();
        }
        let mut rest = Vec::new();
        let got = peer.read(&mut rest);
        assert_eq!(got, crate::world::Got::End, "FIN within two turns");
        assert!(!woken, "nothing to report");
        done.send(()).expect("the waking thread waits");
    });
    bench.ends_clean();
}

fn closing_drops_a_stalled_send<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.send(socket, &vec![7; 2_000_000]);
    bench.quiet_but_progress();
    assert!(bench.driver.usage().buffers_out > 0, "stalled");
    bench.driver.close(socket);
    bench.peer_ends(&mut *peer);
    bench.ends_clean();
}

fn bytes_for_a_closed_socket_are_dropped<W: World>(mut bench: Bench<W>) {
    for _ in 0..50 {
        let (socket, mut peer) = bench.pair();
        bench.receive(socket, ReceiveMode::Stream);
        bench.turn();
        bench.peer_writes(&mut *peer, b"too late");
        bench.driver.close(socket);
        bench.quiet_for_one_turn();
    }
    bench.ends_clean();
}

/// Closes and opens so fast that descriptor numbers and slots are used again while operations end.
fn a_new_socket_hears_nothing_of_the_old<W: World>(mut bench: Bench<W>) {
    let mut old = Vec::new();
    for round in 0..200_u32 {
        let (socket, mut peer) = bench.pair();
        bench.receive(socket, ReceiveMode::Stream);
        let text = format!("round {round}");
        bench.peer_writes(&mut *peer, text.as_bytes());
        assert_eq!(&*bench.received(socket), text.as_bytes());
        // The old peer writes into a socket that is closing.
        peer.write(b"stale bytes");
        bench.driver.close(socket);
        old.push(peer);
        if round % 10 == 0 {
            old.clear();
        }
    }
    bench.ends_clean();
}

fn the_driver_ends_with_everything_in_flight<W: World>(mut bench: Bench<W>) {
    let listener = bench.world.listener();
    bench.driver.listen(listener, LISTENER).expect("listen");
    let mut pairs = Vec::new();
    for number in 0..20 {
        let (socket, peer) = bench.pair();
        bench.receive(socket, ReceiveMode::Stream);
        if number % 2 == 0 {
            bench.send(socket, &vec![1; 100_000]);
        }
        pairs.push((socket, peer));
    }
    bench.turn();
    for (number, (_, peer)) in pairs.iter_mut().enumerate() {
        if number % 3 == 0 {
            peer.write(b"unread");
        }
    }
    // A buffer may outlive the driver.
    let mut writer = bench.driver.pool().take(hostler_driver::PoolClass::Send).expect("free");
    writer.extend_from_slice(b"outlives");
    let buffer = writer.freeze();
    let Bench { driver, .. } = bench;
    drop(driver);
    assert_eq!(&*buffer, b"outlives");
    for (_, mut peer) in pairs {
        let mut rest = Vec::new();
        while peer.read(&mut rest) == crate::world::Got::Bytes {}
        assert_ne!(peer.read(&mut rest), crate::world::Got::Nothing, "closed");
    }
}

fn a_full_table_says_so<W: World>(mut bench: Bench<W>) {
    let mut pairs: Vec<_> = (0..config().sockets_max).map(|_| bench.pair()).collect();
    let (fd, _peer) = bench.world.pair();
    assert_eq!(bench.driver.adopt(fd, Key(1)).expect_err("full").max, config().sockets_max);
    let (socket, _) = pairs.pop().expect("some");
    bench.driver.close(socket);
    bench.turn();
    let (_, _) = bench.pair();
}

/// An orderly end would make an unfinished answer look whole.
fn a_reset_is_seen_as_one<W: World>(mut bench: Bench<W>) {
    let fd = bench.world.listener();
    let listener = bench.driver.listen(fd, LISTENER).expect("listen");
    for mode in [ReceiveMode::Paused, ReceiveMode::Stream] {
        let mut client = bench.world.client();
        let fd = bench.accepted();
        let socket = bench.driver.adopt(fd, Key(1)).expect("room");
        bench.receive(socket, mode);
        bench.quiet();
        bench.driver.reset(socket);
        let mut rest = Vec::new();
        bench.until("the reset at the peer", |_| match client.read(&mut rest) {
            crate::world::Got::Reset => true,
            crate::world::Got::Nothing => false,
            other => panic!("expected a reset: {other:?}"),
        });
    }
    bench.driver.unlisten(listener);
    bench.ends_clean();
}
