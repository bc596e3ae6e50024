//! Receiving: streams, single deliveries, pauses and every change between them.

use hostler_driver::{Completion, Driver, Operation, PoolClass, ReceiveMode};

use crate::bench::{Bench, config};
use crate::world::World;

crate::rules!(
    a_stream_delivers_everything_in_order,
    a_paused_socket_delivers_nothing,
    once_delivers_once,
    once_uses_the_asked_class,
    once_over_a_stream_takes_one_delivery,
    a_pause_taken_back_changes_nothing,
    every_change_of_mode_loses_nothing,
    fin_is_reported_once,
    fin_behind_bytes_is_not_missed,
    sending_goes_on_after_fin,
    a_reset_is_a_failure,
    many_sockets_at_once,
    waiting_input_is_seen_without_being_taken,
);

/// These need a kernel.
mod on_the_kernel {
    use super::*;

    crate::kernel_rules!(a_descriptor_that_does_not_block_works_too,);
}

const BODY: ReceiveMode = ReceiveMode::Once(PoolClass::Body);

fn a_stream_delivers_everything_in_order<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    let mut expected = Vec::new();
    for number in 0..200_u32 {
        let line = format!("line {number}\n");
        bench.peer_writes(&mut *peer, line.as_bytes());
        expected.extend_from_slice(line.as_bytes());
        if number % 7 == 0 {
            bench.turn();
        }
    }
    assert_eq!(bench.received_exactly(socket, expected.len()), expected);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_paused_socket_delivers_nothing<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.peer_writes(&mut *peer, b"early");
    bench.quiet();
    bench.receive(socket, ReceiveMode::Stream);
    assert_eq!(&*bench.received(socket), b"early");
    bench.receive(socket, ReceiveMode::Paused);
    bench.quiet();
    bench.peer_writes(&mut *peer, b"late");
    bench.quiet();
    bench.receive(socket, ReceiveMode::Stream);
    assert_eq!(&*bench.received(socket), b"late");
    bench.driver.close(socket);
    bench.ends_clean();
}

fn once_delivers_once<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, BODY);
    bench.quiet();
    bench.peer_writes(&mut *peer, b"one");
    assert_eq!(&*bench.received(socket), b"one");
    bench.peer_writes(&mut *peer, b"two");
    bench.quiet();
    bench.receive(socket, BODY);
    assert_eq!(&*bench.received(socket), b"two");
    bench.quiet();
    bench.driver.close(socket);
    bench.ends_clean();
}

fn once_uses_the_asked_class<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    for class in PoolClass::RECEIVE {
        bench.receive(socket, ReceiveMode::Once(class));
        bench.peer_writes(&mut *peer, b"x");
        assert_eq!(bench.received(socket).class(), Some(class));
    }
    bench.receive(socket, ReceiveMode::Stream);
    bench.peer_writes(&mut *peer, b"x");
    assert_eq!(bench.received(socket).class(), Some(PoolClass::Head));
    bench.driver.close(socket);
    bench.ends_clean();
}

fn once_over_a_stream_takes_one_delivery<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.peer_writes(&mut *peer, b"head");
    assert_eq!(&*bench.received(socket), b"head");
    bench.receive(socket, BODY);
    bench.quiet();
    bench.peer_writes(&mut *peer, b"body");
    assert_eq!(&*bench.received(socket), b"body");
    bench.peer_writes(&mut *peer, b"more");
    bench.quiet();
    bench.receive(socket, ReceiveMode::Stream);
    assert_eq!(&*bench.received(socket), b"more");
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_pause_taken_back_changes_nothing<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.quiet();
    let before = bench.driver.usage();
    for _ in 0..10 {
        bench.receive(socket, ReceiveMode::Paused);
        bench.receive(socket, ReceiveMode::Stream);
    }
    bench.quiet();
    assert_eq!(bench.driver.usage(), before);
    bench.peer_writes(&mut *peer, b"still there");
    assert_eq!(&*bench.received(socket), b"still there");
    bench.driver.close(socket);
    bench.ends_clean();
}

/// Changes the mode at random moments while the peer writes.
fn every_change_of_mode_loses_nothing<W: World>(mut bench: Bench<W>) {
    const MODES: [ReceiveMode; 5] = [
        ReceiveMode::Paused,
        ReceiveMode::Stream,
        BODY,
        ReceiveMode::Once(PoolClass::Head),
        ReceiveMode::Once(PoolClass::Channel),
    ];
    let (socket, mut peer) = bench.pair();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut received = Vec::new();
    let mut written = 0_u32;
    for _ in 0..3000 {
        match next(3) {
            0 => bench.receive(socket, MODES[next(MODES.len() as u64) as usize]),
            1 => {
                let piece: Vec<u8> = (written..written + 50).map(|byte| byte as u8).collect();
                written += peer.write(&piece) as u32;
            }
            _ => bench.turn(),
        }
        for completion in bench.take_happened() {
            let Completion::Received { buffer, .. } = completion else {
                panic!("only bytes: {completion:?}");
            };
            received.extend_from_slice(&buffer);
        }
    }
    bench.receive(socket, ReceiveMode::Stream);
    let rest = written as usize - received.len();
    received.extend(bench.received_exactly(socket, rest));
    let expected: Vec<u8> = (0..written).map(|byte| byte as u8).collect();
    assert!(received == expected, "bytes lost or out of order");
    bench.driver.close(socket);
    bench.ends_clean();
}

fn fin_is_reported_once<W: World>(mut bench: Bench<W>) {
    for mode in [ReceiveMode::Stream, BODY] {
        let (socket, mut peer) = bench.pair();
        bench.receive(socket, mode);
        bench.quiet();
        peer.finish();
        bench.receive_ended(socket);
        bench.receive(socket, mode);
        bench.receive(socket, ReceiveMode::Stream);
        bench.quiet();
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn fin_behind_bytes_is_not_missed<W: World>(mut bench: Bench<W>) {
    for mode in [ReceiveMode::Stream, BODY] {
        let (socket, mut peer) = bench.pair();
        bench.peer_writes(&mut *peer, b"last words");
        peer.finish();
        bench.receive(socket, mode);
        assert_eq!(&*bench.received(socket), b"last words");
        bench.receive(socket, mode);
        bench.receive_ended(socket);
        bench.driver.close(socket);
    }
    bench.ends_clean();
}

fn sending_goes_on_after_fin<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.peer_writes(&mut *peer, b"question");
    peer.finish();
    assert_eq!(&*bench.received(socket), b"question");
    bench.receive_ended(socket);
    bench.send(socket, b"answer");
    bench.sent(socket);
    bench.driver.shutdown_write(socket);
    assert_eq!(bench.peer_reads(&mut *peer, 6), b"answer");
    bench.peer_ends(&mut *peer);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_reset_is_a_failure<W: World>(mut bench: Bench<W>) {
    let (socket, peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    bench.send(socket, b"never read");
    bench.sent(socket);
    // Closing with unread bytes resets the connection.
    drop(peer);
    match bench.next() {
        Completion::Failed { operation: Operation::Receive, error, .. } => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset)
        }
        other => panic!("expected a reset: {other:?}"),
    }
    bench.quiet();
    bench.driver.close(socket);
    bench.ends_clean();
}

fn many_sockets_at_once<W: World>(mut bench: Bench<W>) {
    const SOCKETS: usize = 500;
    let mut pairs: Vec<_> = (0..SOCKETS).map(|_| bench.pair()).collect();
    for round in 0..3 {
        for (number, (socket, peer)) in pairs.iter_mut().enumerate() {
            bench.driver.receive(*socket, ReceiveMode::Stream);
            assert_eq!(peer.write(&[number as u8, round]), 2);
        }
        let mut seen = 0;
        while seen < SOCKETS {
            let Completion::Received { socket, buffer, .. } = bench.next() else {
                panic!("only bytes");
            };
            let number = pairs.iter().position(|(id, _)| *id == socket).expect("ours");
            assert_eq!(&*buffer, &[number as u8, round]);
            seen += 1;
        }
    }
    assert_eq!(bench.driver.usage().sockets as usize, SOCKETS);
    for (socket, _) in &pairs {
        bench.driver.close(*socket);
    }
    bench.ends_clean();
}

/// Whoever is about to ask something on a connection has to know that nobody speaks already.
fn waiting_input_is_seen_without_being_taken<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Once(PoolClass::Head));
    bench.quiet();
    assert!(!bench.driver.has_input(socket));
    bench.peer_writes(&mut *peer, b"unasked");
    // No turn in between: what the ring was asked to receive it takes in a turn only.
    assert!(bench.driver.has_input(socket));
    assert_eq!(&*bench.received(socket), b"unasked");
    assert!(!bench.driver.has_input(socket));
    peer.finish();
    assert!(bench.driver.has_input(socket), "an end is input too");
    bench.receive(socket, ReceiveMode::Stream);
    bench.receive_ended(socket);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_descriptor_that_does_not_block_works_too<W: World>(mut bench: Bench<W>) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
    ours.set_nonblocking(true).expect("nonblocking");
    theirs.set_nonblocking(true).expect("nonblocking");
    let mut peer = crate::world::KernelPeer(theirs);
    let socket = bench.driver.adopt(ours.into(), hostler_driver::Key(1)).expect("room");
    for mode in [ReceiveMode::Stream, BODY] {
        bench.receive(socket, mode);
        bench.quiet();
        bench.peer_writes(&mut peer, b"hello");
        assert_eq!(&*bench.received(socket), b"hello");
    }
    bench.driver.close(socket);
    bench.ends_clean();
}
