//! Order, the border between copy and reference, what happens without buffers.

use hostler_driver::PoolSizes;
use hostler_driver::buffer::PoolSize;

use super::*;

fn pool(send_buffers: u32) -> Pool {
    let sizes =
        PoolSizes { send: PoolSize { count: send_buffers, bytes: 4096 }, ..PoolSizes::default() };
    Pool::new(&sizes).expect("memory")
}

/// `len` bytes that tell their place, in a receive buffer.
fn received(pool: &Pool, len: usize) -> Buffer {
    let mut buffer = pool.take(PoolClass::Channel).expect("free");
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    buffer.extend_from_slice(&bytes);
    buffer.freeze()
}

fn bytes(parts: &Parts) -> Vec<u8> {
    parts.iter().flat_map(|part| part.as_slice().to_vec()).collect()
}

#[test]
fn small_writes_leave_as_one_part_in_order() {
    let pool = pool(4);
    let mut out = Outbox::default();
    assert!(out.is_empty() && out.take().is_none());
    for piece in ["a", "", "bc", "d"] {
        out.write(&pool, piece.as_bytes());
    }
    assert_eq!(out.waiting(), 4);
    let parts = out.take().expect("something waits");
    assert_eq!((parts.len(), bytes(&parts)), (1, b"abcd".to_vec()));
    assert!(out.is_sending() && !out.is_empty());
    assert_eq!(out.waiting(), 0);
    out.write(&pool, b"e");
    assert!(out.take().is_none(), "one send at a time");
    assert_eq!(out.sent(), 4);
    assert_eq!(bytes(&out.take().expect("the rest")), b"e");
    assert_eq!(out.sent(), 1);
    assert!(out.is_empty());
}

#[test]
fn slices_are_copied_up_to_the_border_and_referred_to_beyond() {
    for (len, referred) in [(COPY_BYTES_MAX, false), (COPY_BYTES_MAX + 1, true)] {
        let pool = pool(4);
        let buffer = received(&pool, len + 7);
        let mut out = Outbox::default();
        out.write(&pool, b"head");
        out.push(&pool, &buffer, 7..7 + len, false);
        out.write(&pool, b"tail");
        let mut expected = b"head".to_vec();
        expected.extend_from_slice(&buffer[7..]);
        expected.extend_from_slice(b"tail");
        drop(buffer);
        let held = pool.capacity(PoolClass::Channel) - pool.free(PoolClass::Channel);
        assert_eq!(held == 1, referred, "{len}");
        let parts = out.take().expect("something waits");
        assert_eq!(bytes(&parts), expected, "{len}");
        assert_eq!(out.sent() as usize, expected.len());
    }
}

#[test]
fn scarce_buffers_are_spilled_and_counted() {
    let pool = pool(4);
    let buffer = received(&pool, 5_000);
    let mut out = Outbox::default();
    out.push(&pool, &buffer, 0..5_000, true);
    out.push(&pool, &buffer, 1_000..5_000, true);
    assert_eq!(out.spilled(), 9_000);
    let expected = [&buffer[..], &buffer[1_000..]].concat();
    drop(buffer);
    assert_eq!(pool.free(PoolClass::Channel), pool.capacity(PoolClass::Channel));
    let parts = out.take().expect("something waits");
    assert_eq!((bytes(&parts), out.spilled()), (expected, 0));
}

#[test]
fn without_buffers_the_heap_serves() {
    let pool = pool(0);
    let mut out = Outbox::default();
    out.write(&pool, b"one ");
    out.write(&pool, b"two");
    assert_eq!(out.spilled(), 7, "counted, so that somebody can stop it");
    assert_eq!(bytes(&out.take().expect("something waits")), b"one two");
}

#[test]
fn a_write_larger_than_a_buffer_keeps_its_place() {
    let pool = pool(4);
    let mut out = Outbox::default();
    let large = vec![b'x'; 10_000];
    out.write(&pool, b"a");
    out.write(&pool, &large);
    out.write(&pool, b"b");
    let parts = out.take().expect("something waits");
    assert_eq!(bytes(&parts), [b"a", &large[..], b"b"].concat());
}

#[test]
fn one_send_carries_a_bounded_number_of_parts() {
    let pool = pool(4);
    let buffer = received(&pool, 50_000);
    let mut out = Outbox::default();
    let count = PARTS_PER_SEND_MAX + 3;
    for _ in 0..count {
        out.push(&pool, &buffer, 0..1_025, false);
    }
    let first = out.take().expect("something waits");
    assert_eq!(first.len(), PARTS_PER_SEND_MAX);
    assert_eq!(out.waiting(), 3 * 1_025);
    assert_eq!(out.sent() as usize, PARTS_PER_SEND_MAX * 1_025);
    assert_eq!(out.take().expect("the rest").len(), 3);
}

#[test]
fn clear_drops_what_waits_but_not_what_is_in_flight() {
    let pool = pool(4);
    let mut out = Outbox::default();
    out.write(&pool, b"in flight");
    let parts = out.take().expect("something waits");
    out.write(&pool, b"waits");
    out.clear();
    assert!(out.is_sending() && out.waiting() == 0);
    drop(parts);
    assert_eq!(out.sent(), 9);
    assert!(out.is_empty());
    assert_eq!(pool.out(), 0);
}
