//! After warm-up, receiving, composing and sending allocate nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hostler_driver::epoll::EpollDriver;
use hostler_driver::uring::UringDriver;
use hostler_driver::{
    Completion, Driver, DriverConfig, Key, Part, Parts, PoolClass, PoolSizes, ReceiveMode, SocketId,
};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SOCKETS: usize = 64;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn io_uring_allocates_nothing() {
    match UringDriver::new(&config()) {
        Ok(driver) => allocates_nothing(driver),
        Err(error) => {
            let line = format!("\n!!! NOT TESTED: io_uring cannot be had here: {error} !!!\n");
            let _printed = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

#[test]
fn epoll_allocates_nothing() {
    allocates_nothing(EpollDriver::new(&config()).expect("epoll"));
}

fn config() -> DriverConfig {
    DriverConfig { sockets_max: 100, pools: PoolSizes::default() }
}

fn allocates_nothing(mut driver: impl Driver) {
    let mut peers = Vec::new();
    for number in 0..SOCKETS {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let socket = driver.adopt(ours.into(), Key(number as u32)).expect("room");
        driver.receive(socket, ReceiveMode::Stream);
        peers.push((socket, theirs));
    }
    let mut happened = Vec::with_capacity(1024);
    let mut open: Vec<SocketId> = peers.iter().map(|(socket, _)| *socket).collect();
    for round in 0..50 {
        cycle(&mut driver, &mut peers, &mut happened, round);
    }
    let before = ALLOCATIONS.get();
    for round in 0..500 {
        cycle(&mut driver, &mut peers, &mut happened, round);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 500 rounds");
    for socket in open.drain(..) {
        driver.close(socket);
    }
}

/// Every peer asks and is answered once.
fn cycle(
    driver: &mut impl Driver,
    peers: &mut [(SocketId, UnixStream)],
    happened: &mut Vec<Completion>,
    round: usize,
) {
    for (_, peer) in peers.iter_mut() {
        peer.write_all(REQUEST).expect("request");
    }
    let mut sent = 0;
    while sent < SOCKETS {
        driver.turn(Some(Duration::from_secs(5)), happened).expect("turn");
        for completion in happened.drain(..) {
            match completion {
                Completion::Received { socket, buffer, .. } => {
                    let mut head = driver.pool().take(PoolClass::Send).expect("free");
                    head.extend_from_slice(HEAD);
                    let mut parts = Parts::from(head.freeze());
                    // Every second round with more parts than fit into the list itself.
                    let pieces = if round.is_multiple_of(2) { 1 } else { 9 };
                    let piece = REQUEST.len() / pieces;
                    for number in 0..pieces {
                        let end =
                            if number + 1 == pieces { REQUEST.len() } else { (number + 1) * piece };
                        parts.push(Part::new(buffer.clone(), number * piece..end));
                    }
                    driver.send(socket, parts);
                    // Both kinds of receive.
                    let class = if round % 4 < 2 {
                        ReceiveMode::Stream
                    } else {
                        ReceiveMode::Once(PoolClass::Channel)
                    };
                    driver.receive(socket, class);
                }
                Completion::Sent { .. } => sent += 1,
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
    let mut answer = [0; HEAD.len() + REQUEST.len()];
    for (_, peer) in peers.iter_mut() {
        peer.read_exact(&mut answer).expect("answer");
        assert_eq!(answer[..HEAD.len()], *HEAD);
        assert_eq!(answer[HEAD.len()..], *REQUEST);
    }
}
