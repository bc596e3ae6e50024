//! Plain connections to workers: when one is used again, and when it must not be.

use hostler_driver::fake::FakePeer;

use crate::ordered::kind;
use crate::world::{Client, GET, World, ok, read};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
const SURPLUS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// A client whose first request was answered over the connection that is now idle.
fn with_idle(world: &mut World, server: &hostler_driver::fake::FakeServer) -> (Client, FakePeer) {
    let client = world.client_with(GET);
    let worker = server.accept().expect("connected");
    read(&worker);
    worker.write(ok("first").as_bytes());
    world.settle();
    assert!(client.read().ends_with("first"));
    (client, worker)
}

/// The next request must go out on a connection of its own.
fn is_served_anew(world: &mut World, server: &hostler_driver::fake::FakeServer, client: &Client) {
    let worker = server.accept().expect("a new connection");
    assert!(read(&worker).contains(" / HTTP/1.1\r\n"));
    worker.write(ok("good").as_bytes());
    world.settle();
    let text = client.read();
    assert!(text.ends_with("good") && !text.contains("evil"), "{text}");
}

#[test]
fn bytes_behind_an_answer_are_never_the_next_answer() {
    // Seen before the next request, with it, and only after it was handed to the kernel.
    for turns_before in 0..4 {
        for turns_between in 0..3 {
            let mut world = World::new(|_| {});
            let server = world.plain(1);
            let client = world.client_with(GET);
            let worker = server.accept().expect("connected");
            read(&worker);
            worker.write(ok("first").as_bytes());
            for _ in 0..turns_before {
                world.turn();
            }
            world.turn();
            worker.write(SURPLUS.as_bytes());
            for _ in 0..turns_between {
                world.turn();
            }
            // Not to be repeated, so the connection must be known to be bad before it is used.
            let second = world.client();
            world.turn();
            second.write(POST);
            *world.order.borrow_mut() = Some(kind);
            world.settle();
            assert_eq!(
                read(&worker),
                "",
                "{turns_before} {turns_between}: asked on a bad connection"
            );
            is_served_anew(&mut world, &server, &second);
            assert!(client.read().ends_with("first"));
            assert!(worker.is_closed());
        }
    }
}

#[test]
fn bytes_reported_with_the_next_request_are_not_its_answer() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    // In one turn, the client's bytes first.
    client.write(POST);
    worker.write(SURPLUS.as_bytes());
    *world.order.borrow_mut() = Some(kind);
    world.settle();
    assert_eq!(read(&worker), "");
    is_served_anew(&mut world, &server, &client);
}

#[test]
fn bytes_that_come_with_an_answer_to_another_are_seen_in_time() {
    // One turn brings the answer to the first client, and with it a connection for the second, who waits. The surplus
    // is there and not yet received.
    let mut world = World::new(|setup| setup.worker_requests_max = Some(1));
    let server = world.plain(1);
    let first = world.client_with(GET);
    let worker = server.accept().expect("connected");
    read(&worker);
    let second = world.client_with(POST);
    assert_eq!(world.shard.status().queued, 1);
    worker.write(ok("first").as_bytes());
    worker.write(SURPLUS.as_bytes());
    world.settle();
    assert!(first.read().ends_with("first"));
    assert_eq!(read(&worker), "");
    is_served_anew(&mut world, &server, &second);
}

#[test]
fn bytes_that_cross_the_next_request_are_not_its_answer() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    client.write(GET);
    world.turn();
    // The request is on its way to the kernel; the worker has not seen it.
    worker.write(SURPLUS.as_bytes());
    // The driver may report what it received before what it sent.
    *world.order.borrow_mut() = Some(|completion| match completion {
        hostler_driver::Completion::Received { .. } => 0,
        _ => 1,
    });
    world.settle();
    is_served_anew(&mut world, &server, &client);
}

#[test]
fn a_worker_that_speaks_first_is_not_believed() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let client = world.client();
    client.write(POST);
    world.turn();
    world.turn();
    let worker = server.accept().expect("connected");
    worker.write(SURPLUS.as_bytes());
    world.turn();
    *world.order.borrow_mut() = Some(|completion| match completion {
        hostler_driver::Completion::Received { .. } => 0,
        _ => 1,
    });
    world.settle();
    let text = client.read();
    assert!(text.contains(" 502 ") && !text.contains("evil"), "{text}");
}

#[test]
fn an_idle_connection_that_the_worker_closed_is_not_used() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    worker.close();
    // In the same turn: nothing has told the shard yet.
    client.write(POST);
    world.settle();
    is_served_anew(&mut world, &server, &client);
}

#[test]
fn a_request_that_meets_a_closing_connection_was_never_heard() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    client.write(POST);
    world.turn();
    worker.close();
    world.settle();
    assert_eq!(read(&worker), "");
    is_served_anew(&mut world, &server, &client);
}

#[test]
fn a_request_that_may_have_been_heard_is_not_repeated() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    client.write(POST);
    world.settle();
    assert!(read(&worker).starts_with("POST"));
    worker.close();
    world.settle();
    assert!(client.read().contains(" 502 "));
    assert!(server.accept().is_none());
}

#[test]
fn the_worker_says_how_long_it_keeps_a_connection() {
    for (told, kept_ms) in [("5", 3_750), ("1", 750), ("600", 4_000)] {
        let mut world = World::new(|_| {});
        let server = world.plain(1);
        let client = world.client_with(GET);
        let worker = server.accept().expect("connected");
        let answer =
            format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout={told}\r\nContent-Length: 0\r\n\r\n");
        worker.write(answer.as_bytes());
        world.settle();
        client.read();
        world.later(kept_ms - 100);
        assert!(!worker.is_closed(), "timeout={told}");
        world.later(200);
        assert!(worker.is_closed(), "timeout={told}");
    }
}

#[test]
fn a_connection_in_use_is_not_closed_by_the_clock_of_its_idle_time() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (client, worker) = with_idle(&mut world, &server);
    world.later(3_900);
    client.write(GET);
    world.settle();
    world.later(5_000);
    assert!(!worker.is_closed());
    worker.write(ok("late").as_bytes());
    world.settle();
    assert!(client.read().ends_with("late"));
}

#[test]
fn idle_connections_are_bounded() {
    const MOST: u32 = 256;
    let mut world = World::new(|setup| {
        setup.conns_max = MOST + 40;
        setup.worker_requests_max = Some(1_000);
        setup.queue_requests_max = 1_000;
    });
    let server = world.plain(1);
    let clients: Vec<_> = (0..MOST + 40).map(|_| world.client_with(GET)).collect();
    let workers: Vec<_> = std::iter::from_fn(|| server.accept()).collect();
    assert_eq!(workers.len(), clients.len());
    for worker in &workers {
        worker.write(ok("x").as_bytes());
    }
    world.settle();
    for client in clients {
        assert!(client.read().ends_with('x'));
        client.peer.close();
    }
    world.assert_no_leak(MOST);
    world.later(4_100);
    world.assert_no_leak(0);
}

#[test]
fn a_worker_on_a_port_is_served_alike() {
    let mut world = World::new(|_| {});
    let server = world.plain_tcp(1, 4_000);
    let (client, worker) = with_idle(&mut world, &server);
    client.write(GET);
    world.settle();
    assert!(server.accept().is_none(), "the connection is used again");
    worker.write(ok("second").as_bytes());
    world.settle();
    assert!(client.read().ends_with("second"));
    server.stop();
    worker.close();
    client.write(GET);
    world.later(600);
    assert_eq!(world.shard.status().queued, 1, "refused, so it waits for news of the worker");
}

#[test]
fn an_answer_is_not_whole_when_its_process_dies() {
    let half = "HTTP/1.1 200 OK\r\n\r\nhalf";
    for (number, dies) in [(1, false), (2, true)] {
        let mut world = World::with_ending(|_| {}, |pid| pid == 2);
        let server = world.plain(number);
        let client = world.client_with(GET);
        let worker = server.accept().expect("connected");
        read(&worker);
        worker.write(half.as_bytes());
        worker.close();
        world.settle();
        let mut text = Vec::new();
        while client.peer.read(&mut text) == hostler_driver::fake::FakeRead::Bytes {}
        assert!(text.ends_with(b"half"), "what came is passed on");
        let end = client.peer.read(&mut text);
        let expected = match dies {
            true => hostler_driver::fake::FakeRead::Reset,
            false => hostler_driver::fake::FakeRead::End,
        };
        assert_eq!(end, expected, "dies: {dies}");
    }
}

#[test]
fn a_full_backlog_is_waited_for() {
    const EAGAIN: i32 = 11;
    let mut world = World::new(|setup| setup.queue_ms_max = 1_000);
    let server = world.plain(1);
    server.refuse(Some(EAGAIN));
    let client = world.client_with(POST);
    for _ in 0..20 {
        world.later(10);
    }
    assert_eq!(client.read(), "", "it waits");
    server.refuse(None);
    world.later(10);
    is_served_anew(&mut world, &server, &client);
    // Not for ever. The kept connection goes first.
    world.later(4_100);
    server.refuse(Some(EAGAIN));
    let client = world.client_with(POST);
    for _ in 0..120 {
        world.later(10);
    }
    let text = client.read();
    assert!(text.contains(" 502 ") || text.contains(" 503 "), "{text}");
}
