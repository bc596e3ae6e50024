//! Who does not read, or sends without end, costs a bounded amount of memory and harms nobody else.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/rig.rs"]
mod rig;

use hostler_driver::fake::{FakePeer, FakeRead};
use hostler_driver::{Driver, PoolClass};
use hostler_protocol::control::Transport;
use hostler_protocol::worker::FromWorker;
use hostler_protocol::worker::StreamTag;
use hostler_protocol::worker::peer::{PeerBody, put};
use rig::{Rig, setup};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const MIB: usize = 1024 * 1024;

/// Runs `flood`; the peak of the heap it needed. The network in memory (256 KiB for each direction of a connection)
/// is part of it.
fn heap(flood: impl FnOnce()) -> usize {
    let before = counting::restart_peak();
    flood();
    counting::peak().saturating_sub(before)
}

/// A client gets an answer, although others misbehave.
fn is_served(rig: &mut Rig, mut work: impl FnMut(&mut Rig)) -> bool {
    let client = rig.client();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = Vec::new();
    for _ in 0..200 {
        rig.turn();
        work(rig);
        if client.read(&mut answer) == FakeRead::Bytes && answer.starts_with(b"HTTP/1.1 200") {
            return true;
        }
    }
    false
}

fn small_answer(rig: &mut Rig) {
    rig.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/// One test after the other: they share the allocator.
#[test]
fn floods_are_bounded_and_harm_nobody() {
    uploads_to_a_worker_that_does_not_read();
    pipelining_without_reading();
    slow_readers_over_frames();
    slow_readers_over_the_plain_path();
    uploads_to_an_app_that_does_not_read();
    uploads_to_a_stuck_worker_leave_buffers_for_others();
}

fn uploads_to_a_worker_that_does_not_read() {
    for head in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let used = heap(|| {
            let mut rig = Rig::new(&setup(), Transport::Frames);
            rig.channel.stall(true);
            let client = rig.client();
            client.write(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n").as_bytes());
            for _ in 0..20_000 {
                // Small writes, each a delivery of its own.
                client.write(&b"1\r\nx\r\n".repeat(170));
                rig.turn();
            }
        });
        assert!(used < 3 * MIB, "{head}: {used} bytes for one upload");
    }
}

fn pipelining_without_reading() {
    let used = heap(|| {
        let mut rig = Rig::new(&setup(), Transport::Frames);
        let client = rig.client();
        let body = vec![b'x'; 10_000];
        let wire = [b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", &body[..]].concat();
        for _ in 0..20_000 {
            client.write(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50));
            rig.turn();
            rig.answer_all(&wire);
        }
    });
    assert!(used < 4 * MIB, "{used} bytes for one client that pipelines and does not read");
}

fn slow_readers_over_frames() {
    let mut rig = Rig::new(&setup(), Transport::Frames);
    let clients: Vec<FakePeer> = (0..100).map(|_| rig.client()).collect();
    for client in &clients {
        client.limit_sends(1_000);
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut open: Vec<(StreamTag, i64)> = Vec::new();
    for round in 0..3_000 {
        rig.turn();
        for frame in rig.frames() {
            match frame.body {
                PeerBody::Head(_) => {
                    let mut out = Vec::new();
                    put(
                        &mut out,
                        FromWorker::Data,
                        frame.tag,
                        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n",
                    );
                    rig.channel.write(&out);
                    open.push((frame.tag, 262_144 - 100));
                }
                PeerBody::Window(bytes) => {
                    let stream = open.iter_mut().find(|(tag, _)| *tag == frame.tag);
                    stream.expect("an open stream").1 += i64::from(bytes);
                }
                _ => {}
            }
        }
        let count = open.len();
        if let Some((tag, credit)) = open.get_mut(round % count.max(1))
            && *credit >= 7_000
            && rig.channel.unread() < 100_000
        {
            *credit -= 7_000;
            let mut out = Vec::new();
            put(&mut out, FromWorker::Data, *tag, &[b'x'; 7_000]);
            rig.channel.write(&out);
        }
    }
    assert!(
        is_served(&mut rig, small_answer),
        "a hundred slow readers keep another client from its answer"
    );
}

fn slow_readers_over_the_plain_path() {
    let mut rig = Rig::new(&setup(), Transport::Http);
    let clients: Vec<FakePeer> = (0..100).map(|_| rig.client()).collect();
    for client in &clients {
        client.limit_sends(1_000);
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut workers: Vec<FakePeer> = Vec::new();
    for _ in 0..400 {
        rig.turn();
        while let Some(peer) = rig.server.accept() {
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
            workers.push(peer);
        }
        for peer in &workers {
            peer.write(&[b'x'; 70_000]);
        }
    }
    let served = is_served(&mut rig, |rig| {
        while let Some(peer) = rig.server.accept() {
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    assert!(served, "a hundred slow readers keep another client from its answer (plain)");
}

fn uploads_to_an_app_that_does_not_read() {
    let mut rig = Rig::new(&setup(), Transport::Frames);
    let clients: Vec<FakePeer> = (0..100).map(|_| rig.client()).collect();
    for client in &clients {
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
    }
    for _ in 0..400 {
        for client in &clients {
            client.write(&[b'x'; 50_000]);
        }
        rig.turn();
        // The worker takes all frames; its apps read nothing, so no credit comes back.
        rig.frames();
    }
    let client = rig.client();
    client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let (mut sent, mut got) = (0, 0);
    for _ in 0..400 {
        sent += client.write(&vec![b'x'; 100_000 - sent]);
        rig.turn();
        for frame in rig.frames() {
            if let PeerBody::Data(bytes) = &frame.body {
                got += bytes.len();
            }
        }
    }
    assert_eq!(got, 100_000, "a hundred uploads that nobody reads keep another one from its app");
}

fn uploads_to_a_stuck_worker_leave_buffers_for_others() {
    let mut rig = Rig::new(&setup(), Transport::Frames);
    rig.channel.stall(true);
    let clients: Vec<FakePeer> = (0..100).map(|_| rig.client()).collect();
    for client in &clients {
        client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
    }
    for _ in 0..400 {
        for client in &clients {
            client.write(&[b'x'; 50_000]);
        }
        rig.turn();
    }
    for class in PoolClass::RECEIVE {
        assert!(
            rig.shard.driver().pool().free(class) > 0,
            "a stuck worker holds all {class:?} buffers"
        );
    }
}
