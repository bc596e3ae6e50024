//! Running out of buffers and recovering.

use hostler_driver::buffer::PoolSize;
use hostler_driver::{Completion, Driver, DriverConfig, PoolClass, ReceiveMode};

use crate::bench::{self, Bench};
use crate::world::World;

crate::rules!(
    starved_sockets_recover_in_order,
    everybody_is_served_by_two_buffers,
    another_class_is_not_affected,
    a_starved_socket_can_be_closed,
);

/// With enough buffers for everybody.
mod plenty {
    use super::*;

    crate::rules!(a_burst_is_not_starvation, a_turn_reports_a_bounded_number);

    fn config() -> DriverConfig {
        let mut config = bench::config();
        config.pools.head = PoolSize { count: 1024, bytes: 256 };
        config
    }
}

/// The ring offers few buffers at first; a burst makes it offer more, and that is nobody's wait for
/// memory.
fn a_burst_is_not_starvation<W: World>(mut bench: Bench<W>) {
    const SOCKETS: usize = 500;
    let mut pairs: Vec<_> = (0..SOCKETS).map(|_| bench.pair()).collect();
    let mut held = Vec::new();
    for _ in 0..2 {
        for (socket, peer) in &mut pairs {
            bench.driver.receive(*socket, ReceiveMode::Stream);
            assert_eq!(peer.write(b"burst"), 5);
        }
        bench.until("the whole burst", |bench| {
            held.extend(bench.take_happened());
            held.len() == SOCKETS
        });
        held.clear();
    }
    assert_eq!(bench.driver.usage().starved, 0);
    for (socket, _) in pairs {
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn a_turn_reports_a_bounded_number<W: World>(mut bench: Bench<W>) {
    // More requests in one turn than the ring's queue holds.
    const SOCKETS: usize = 590;
    let mut pairs: Vec<_> = (0..SOCKETS).map(|_| bench.pair()).collect();
    for (socket, peer) in &mut pairs {
        bench.driver.receive(*socket, ReceiveMode::Stream);
        assert_eq!(peer.write(b"bytes"), 5);
        bench.driver.send(*socket, hostler_driver::Buffer::from_vec(b"hello".to_vec()).into());
    }
    let mut reported = 0;
    bench.until("two reports for each", |bench| {
        let happened = bench.take_happened();
        assert!(happened.len() <= hostler_driver::COMPLETIONS_PER_TURN, "{}", happened.len());
        reported += happened.len();
        reported == SOCKETS * 2
    });
    for (socket, peer) in &mut pairs {
        assert_eq!(bench.peer_reads(&mut **peer, 5), b"hello");
        bench.driver.close(*socket);
    }
    bench.ends_clean();
}

fn config() -> DriverConfig {
    let mut config = bench::config();
    config.pools.head = PoolSize { count: 2, bytes: 256 };
    config.pools.body = PoolSize { count: 1, bytes: 256 };
    config
}

fn starved_sockets_recover_in_order<W: World>(mut bench: Bench<W>) {
    let mut pairs: Vec<_> = (0..6).map(|_| bench.pair()).collect();
    for (socket, peer) in &mut pairs {
        bench.driver.receive(*socket, ReceiveMode::Stream);
        assert_eq!(peer.write(b"bytes"), 5);
    }
    let mut held = Vec::new();
    bench.until("both buffers used", |bench| {
        held.extend(bench.take_happened());
        held.len() == 2
    });
    bench.quiet();
    assert!(bench.driver.usage().starved >= 4, "four sockets wait");
    for _ in 0..4 {
        held.pop();
        held.push(bench.next());
    }
    bench.quiet();
    drop(held);
    // Nothing was lost and nobody was forgotten.
    for (socket, peer) in &mut pairs {
        assert_eq!(peer.write(b"again"), 5);
        assert_eq!(&*bench.received(*socket), b"again");
    }
    for (socket, _) in pairs {
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn everybody_is_served_by_two_buffers<W: World>(mut bench: Bench<W>) {
    const SOCKETS: usize = 100;
    let mut pairs: Vec<_> = (0..SOCKETS).map(|_| bench.pair()).collect();
    for round in 0..3_u8 {
        for (socket, peer) in &mut pairs {
            bench.driver.receive(*socket, ReceiveMode::Stream);
            assert_eq!(peer.write(&[round; 10]), 10);
        }
        let mut bytes = 0;
        while bytes < SOCKETS * 10 {
            match bench.next() {
                Completion::Received { buffer, .. } => bytes += buffer.len(),
                other => panic!("only bytes: {other:?}"),
            }
        }
    }
    for (socket, _) in pairs {
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn another_class_is_not_affected<W: World>(mut bench: Bench<W>) {
    let (first, mut first_peer) = bench.pair();
    let (second, mut second_peer) = bench.pair();
    let (third, mut third_peer) = bench.pair();
    bench.receive(first, ReceiveMode::Once(PoolClass::Body));
    bench.peer_writes(&mut *first_peer, b"first");
    let held = bench.received(first);
    bench.receive(second, ReceiveMode::Once(PoolClass::Body));
    bench.peer_writes(&mut *second_peer, b"second");
    bench.quiet();
    bench.receive(third, ReceiveMode::Stream);
    bench.peer_writes(&mut *third_peer, b"third");
    assert_eq!(&*bench.received(third), b"third");
    // A starved socket may also change to a class that has buffers.
    bench.receive(second, ReceiveMode::Once(PoolClass::Head));
    assert_eq!(&*bench.received(second), b"second");
    drop(held);
    for socket in [first, second, third] {
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn a_starved_socket_can_be_closed<W: World>(mut bench: Bench<W>) {
    let (first, mut first_peer) = bench.pair();
    let (second, mut second_peer) = bench.pair();
    bench.receive(first, ReceiveMode::Once(PoolClass::Body));
    bench.peer_writes(&mut *first_peer, b"first");
    let held = bench.received(first);
    bench.receive(second, ReceiveMode::Once(PoolClass::Body));
    bench.peer_writes(&mut *second_peer, b"second");
    bench.quiet();
    bench.driver.close(second);
    bench.peer_ends(&mut *second_peer);
    drop(held);
    bench.quiet();
    bench.driver.close(first);
    bench.ends_clean();
}
