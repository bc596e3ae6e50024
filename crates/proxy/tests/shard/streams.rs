//! What a worker knows about a stream is what the proxy thinks it knows.

use hostler_protocol::worker::FromWorker;
use hostler_protocol::worker::peer::{PeerBody, PeerFrame};
use hostler_proxy::ShardCommand;

use crate::world::{GET, World};

#[test]
fn every_worker_hears_of_the_end_in_the_generation_that_it_knows() {
    let mut world = World::new(|_| {});
    let mut first = world.framed(1);
    let client = world.client_with(GET);
    let (first_tag, _) = first.head();
    first.answer(first_tag, "1");
    world.settle();
    let mut second = world.framed(2);
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    for _ in 0..3 {
        client.write(GET);
        world.settle();
        let (tag, head) = second.head();
        second.answer(tag, "2");
        world.settle();
        assert_eq!(head.client.is_some(), tag.generation == first_tag.generation + 1);
    }
    client.peer.close();
    world.settle();
    let last: Vec<_> = first.frames().into_iter().map(|frame| (frame.tag, frame.body)).collect();
    assert!(last.contains(&(first_tag, PeerBody::Close("ECONNRESET".into()))), "{last:?}");
    let frames = second.frames();
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0].body, PeerBody::Close("ECONNRESET".into()));
    assert_eq!(frames[0].tag.generation, first_tag.generation + 3);
    world.assert_no_leak(2);
}

#[test]
fn an_app_that_destroys_an_idle_socket_closes_its_client() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.answer(tag, "hi");
    worker.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.read().ends_with("hi"), "the answer was whole");
    assert!(client.peer.is_closed());
    assert!(worker.frames().is_empty(), "the worker has forgotten the stream by itself");
    world.assert_no_leak(1);
}

#[test]
fn a_server_that_closes_frees_its_streams_and_keeps_the_clients() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.answer(tag, "1");
    world.settle();
    worker.unlisten();
    worker.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(!client.peer.is_closed());
    worker.listen();
    world.settle();
    client.write(GET);
    world.settle();
    let (tag, head) = worker.head();
    assert!(head.client.is_some(), "the stream is opened anew");
    worker.answer(tag, "2");
    world.settle();
    assert!(client.read().ends_with('2'));
}

#[test]
fn a_reset_of_an_old_worker_does_not_harm_the_exchange_with_another() {
    let mut world = World::new(|_| {});
    let mut first = world.framed(1);
    let client = world.client_with(GET);
    let (old, _) = first.head();
    first.answer(old, "1");
    world.settle();
    let mut second = world.framed(2);
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    client.write(GET);
    world.settle();
    let (tag, _) = second.head();
    first.put(FromWorker::Reset, old, "");
    world.settle();
    second.answer(tag, "2");
    world.settle();
    assert!(client.read().ends_with('2'));
    first.put(FromWorker::Reset, old, "");
    world.settle();
    assert!(!client.peer.is_closed());
}

#[test]
fn a_cancelled_request_opens_its_stream_anew() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (late, _) = worker.head();
    world.later(60_200);
    assert!(client.read().contains(" 504 "));
    let frames = worker.frames();
    assert_eq!((frames[0].tag, &frames[0].body), (late, &PeerBody::Close(String::new())));
    client.write(GET);
    world.settle();
    let (tag, head) = worker.head();
    assert!(head.client.is_some());
    worker.answer(late, "too late");
    worker.answer(tag, "hi");
    world.settle();
    assert!(client.read().ends_with("\r\n\r\nhi"));
}

#[test]
fn a_client_outlives_many_workers() {
    let mut world = World::new(|_| {});
    let client = world.client_with("");
    for number in 1..=20 {
        let mut worker = world.framed(number);
        client.write(GET);
        world.settle();
        let (tag, head) = worker.head();
        assert!(head.client.is_some(), "worker {number} does not know the client");
        worker.answer(tag, "hi");
        world.settle();
        assert!(client.read().ends_with("hi"));
        worker.peer.close();
        world.command(ShardCommand::WorkerGone { worker: number });
    }
    client.peer.close();
    world.assert_no_leak(0);
}

#[test]
fn credit_waits_while_answers_wait_to_be_read() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.put(FromWorker::Data, tag, "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n");
    // A receive takes 64 KiB: after each turn some of it is left.
    worker.put(FromWorker::Data, tag, &"x".repeat(14_000));
    let part = "x".repeat(64_000);
    for _ in 0..8 {
        worker.put(FromWorker::Data, tag, &part);
        world.turn();
        client.read();
        assert!(worker.frames().is_empty(), "nothing for a worker that has enough to say");
    }
    world.settle();
    client.read();
    world.settle();
    let credit = |frame: PeerFrame| match frame.body {
        PeerBody::Window(bytes) => bytes,
        other => panic!("no WINDOW but {other:?}"),
    };
    let credit: u32 = worker.frames().into_iter().map(credit).sum();
    assert!(credit >= 128 * 1024, "{credit}");
}
