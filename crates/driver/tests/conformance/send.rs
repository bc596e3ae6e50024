//! Sending: whole, in parts, to slow and to vanished readers.

use hostler_driver::{Completion, Driver, Operation, Part, Parts, PoolClass, ReceiveMode};

use crate::bench::{Bench, config};
use crate::world::World;

crate::rules!(
    an_echo_comes_back,
    many_parts_arrive_in_order,
    a_mebibyte_in_thirty_two_parts,
    an_empty_send_is_sent,
    a_vanished_reader_is_a_failure,
    buffers_return_when_sent,
    one_buffer_to_many_sockets,
    stale_ids_are_ignored,
);

/// These need a kernel.
mod on_the_kernel {
    use super::*;

    crate::kernel_rules!(a_slow_reader_makes_progress,);
}

fn an_echo_comes_back<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.receive(socket, ReceiveMode::Stream);
    for number in 0..50 {
        let text = format!("message {number}");
        bench.peer_writes(&mut *peer, text.as_bytes());
        let buffer = bench.received(socket);
        bench.driver.send(socket, Parts::from(buffer));
        bench.sent(socket);
        assert_eq!(bench.peer_reads(&mut *peer, text.len()), text.as_bytes());
    }
    bench.driver.close(socket);
    bench.ends_clean();
}

fn many_parts_arrive_in_order<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    let mut buffer = bench.driver.pool().take(PoolClass::Batch).expect("free");
    let bytes: Vec<u8> = (0..1000_u32).map(|byte| byte as u8).collect();
    buffer.extend_from_slice(&bytes);
    let buffer = buffer.freeze();
    // More parts than one message carries, of every length from nothing up.
    let mut parts = Parts::new();
    let mut start = 0;
    for length in 0..40 {
        parts.push(Part::new(buffer.clone(), start..start + length));
        start += length;
    }
    drop(buffer);
    bench.driver.send(socket, parts);
    bench.sent(socket);
    assert_eq!(bench.peer_reads(&mut *peer, start), bytes[..start]);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_mebibyte_in_thirty_two_parts<W: World>(mut bench: Bench<W>) {
    const PART: usize = 32 * 1024;
    let (socket, mut peer) = bench.pair();
    let mut parts = Parts::new();
    let mut expected = Vec::new();
    for number in 0..32_u8 {
        let mut buffer = bench.driver.pool().take(PoolClass::Batch).expect("free");
        buffer.extend_from_slice(&[number; PART]);
        expected.extend_from_slice(&[number; PART]);
        parts.push(buffer.freeze().into());
    }
    bench.driver.send(socket, parts);
    let bytes = bench.peer_reads(&mut *peer, expected.len());
    assert!(bytes == expected, "bytes differ");
    bench.sent(socket);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_slow_reader_makes_progress<W: World>(mut bench: Bench<W>) {
    let listener = bench.world.listener();
    let listener = bench.driver.listen(listener, hostler_driver::Key(1)).expect("listen");
    let mut peer = bench.world.client();
    let fd = bench.accepted();
    socket2::SockRef::from(&fd).set_send_buffer_size(8192).expect("small send buffer");
    let socket = bench.driver.adopt(fd, hostler_driver::Key(2)).expect("room");
    let expected: Vec<u8> = (0..2_000_000_u32).map(|byte| (byte >> 3) as u8).collect();
    bench.send(socket, &expected);
    bench.quiet_but_progress();
    assert_eq!(bench.driver.usage().buffers_out, expected.len().div_ceil(65536) as u32);
    let bytes = bench.peer_reads(&mut *peer, expected.len());
    assert!(bytes == expected, "bytes differ");
    assert!(bench.sent(socket) > 0, "progress is reported");
    bench.driver.close(socket);
    bench.driver.unlisten(listener);
    bench.ends_clean();
}

fn an_empty_send_is_sent<W: World>(mut bench: Bench<W>) {
    let (socket, _peer) = bench.pair();
    bench.driver.send(socket, Parts::new());
    bench.sent(socket);
    bench.driver.close(socket);
    bench.ends_clean();
}

fn a_vanished_reader_is_a_failure<W: World>(mut bench: Bench<W>) {
    let (socket, peer) = bench.pair();
    drop(peer);
    bench.send(socket, b"hello?");
    match bench.next() {
        Completion::Failed { operation: Operation::Send, error, .. } => {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe)
        }
        other => panic!("expected a broken pipe: {other:?}"),
    }
    assert_eq!(bench.driver.usage().buffers_out, 0, "buffers are dropped");
    bench.driver.close(socket);
    bench.ends_clean();
}

fn buffers_return_when_sent<W: World>(mut bench: Bench<W>) {
    let (socket, mut peer) = bench.pair();
    bench.send(socket, b"here");
    bench.sent(socket);
    assert_eq!(bench.driver.usage().buffers_out, 0);
    assert_eq!(bench.peer_reads(&mut *peer, 4), b"here");
    bench.driver.close(socket);
    bench.ends_clean();
}

fn one_buffer_to_many_sockets<W: World>(mut bench: Bench<W>) {
    let mut pairs: Vec<_> = (0..20).map(|_| bench.pair()).collect();
    let mut buffer = bench.driver.pool().take(PoolClass::Send).expect("free");
    buffer.extend_from_slice(b"to all");
    let buffer = buffer.freeze();
    for (socket, _) in &pairs {
        bench.driver.send(*socket, Parts::from(buffer.clone()));
    }
    drop(buffer);
    for (socket, peer) in &mut pairs {
        assert_eq!(bench.peer_reads(&mut **peer, 6), b"to all");
        bench.driver.close(*socket);
    }
    bench.ends_clean();
}

fn stale_ids_are_ignored<W: World>(mut bench: Bench<W>) {
    let (stale, _peer) = bench.pair();
    bench.driver.close(stale);
    bench.quiet();
    let (socket, mut peer) = bench.pair();
    bench.send(stale, b"to nobody");
    bench.receive(stale, ReceiveMode::Stream);
    bench.driver.shutdown_write(stale);
    bench.driver.close(stale);
    bench.quiet();
    bench.send(socket, b"to you");
    bench.sent(socket);
    assert_eq!(bench.peer_reads(&mut *peer, 6), b"to you");
    bench.driver.close(socket);
    bench.ends_clean();
}
