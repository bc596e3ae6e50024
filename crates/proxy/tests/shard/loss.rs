//! Workers that go away, and what becomes of their requests.

use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{GET, World, ok, read};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_repeatable_request_goes_to_another_worker() {
    let mut world = World::new(|_| {});
    let mut first = world.framed(1);
    let client = world.client_with(GET);
    first.head();
    let mut second = world.framed(2);
    first.peer.close();
    world.settle();
    let (tag, _) = second.head();
    second.answer(tag, "from the second");
    world.settle();
    assert!(client.read().ends_with("from the second"));
    assert_eq!(world.shard.stats().retried, 1);
    assert!(matches!(world.bad_news()[..], [ShardEvent::WorkerLost { worker: 1, .. }]));
    client.peer.close();
    world.command(ShardCommand::WorkerGone { worker: 1 });
    world.assert_no_leak(1);
}

#[test]
fn a_request_with_a_body_is_a_502() {
    let mut world = World::new(|_| {});
    let first = world.framed(1);
    let client = world.client_with(POST);
    let _second = world.framed(2);
    first.peer.close();
    world.settle();
    assert!(client.read().contains(" 502 "));
}

#[test]
fn plain_requests_of_a_dead_worker_are_repeated_in_the_slots_they_leave() {
    let mut world = World::new(|_| {});
    let first = world.plain(1);
    let clients: Vec<_> = (0..3).map(|_| world.client_with(GET)).collect();
    let lost: Vec<_> = std::iter::from_fn(|| first.accept()).collect();
    assert_eq!(lost.len(), 3);
    let second = world.plain(2);
    world.command(ShardCommand::WorkerGone { worker: 1 });
    let workers: Vec<_> = std::iter::from_fn(|| second.accept()).collect();
    assert_eq!(workers.len(), 3, "every request has a connection to the second");
    for worker in &workers {
        assert!(!worker.is_closed());
        assert!(read(worker).starts_with("GET / "));
        worker.write(ok("hi").as_bytes());
    }
    world.settle();
    for client in &clients {
        assert!(client.read().ends_with("\r\n\r\nhi"));
        client.peer.close();
    }
    world.assert_no_leak(3);
}

#[test]
fn a_worker_that_refuses_connections_is_left_alone_for_a_moment() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    server.refuse(Some(111));
    let client = world.client_with(POST);
    assert!(client.read().contains(" 502 "));
    client.write(GET);
    world.settle();
    assert_eq!(client.read(), "", "it waits for better times");
    server.refuse(None);
    world.later(600);
    server.accept().expect("connected").write(ok("hi").as_bytes());
    world.settle();
    assert!(client.read().ends_with("hi"));
}

#[test]
fn a_client_that_leaves_while_its_plain_connection_is_made_leaks_nothing() {
    let mut world = World::new(|_| {});
    let _server = world.plain(1);
    let client = world.client();
    world.turn();
    client.write(GET);
    client.peer.reset();
    world.assert_no_leak(0);
    let client = world.client();
    world.turn();
    client.write(GET);
    world.turn();
    client.peer.reset();
    world.assert_no_leak(0);
}

#[test]
fn a_worker_that_connects_twice_is_gone_with_both_channels() {
    let mut world = World::new(|_| {});
    let mut first = world.framed(1);
    let client = world.client_with(POST);
    assert_eq!(first.frames().len(), 3);
    let again = world.channel(1);
    again.listen();
    world.settle();
    world.command(ShardCommand::WorkerGone { worker: 1 });
    assert!(first.peer.is_closed() && again.peer.is_closed());
    assert!(client.read().contains(" 502 "));
    // The index of the worker has a new owner, whose count must not suffer.
    let mut other = world.framed(2);
    client.write(GET);
    world.settle();
    let (tag, _) = other.head();
    other.answer(tag, "hi");
    world.settle();
    assert!(client.read().ends_with("hi"));
    client.peer.close();
    world.assert_no_leak(1);
}

#[test]
fn a_broken_frame_ends_the_channel_only() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(POST);
    worker.frames();
    worker.peer.write(&[255; 20]);
    world.settle();
    assert!(worker.peer.is_closed());
    assert!(client.read().contains(" 502 "));
    // It connects again.
    let mut worker = world.channel(1);
    worker.listen();
    client.write(GET);
    world.settle();
    let (tag, _) = worker.head();
    worker.answer(tag, "hi");
    world.settle();
    assert!(client.read().ends_with("hi"));
}

#[test]
fn a_draining_worker_reports_when_its_last_request_is_over() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    assert_eq!(world.bad_news(), []);
    worker.answer(tag, "hi");
    world.settle();
    assert_eq!(world.bad_news(), [ShardEvent::WorkerDrained { worker: 1, drain: 1 }]);
    client.write(GET);
    world.settle();
    assert!(!worker.frames().iter().any(|frame| frame.tag.stream != 0), "no new request");
    world.later(5_100);
    assert!(client.read().contains(" 503 "), "nobody came");
}
