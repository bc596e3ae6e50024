//! One generation of workers takes over from another: what it costs clients, which is nothing.

use hostler_protocol::worker::{FromWorker, StreamTag};
use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{Client, Framed, GET, World, ok, read};

pub(crate) fn drain(world: &mut World, worker: u32, drain: u32) {
    world.command(ShardCommand::WorkerDrain { worker, drain });
}

pub(crate) fn resume(world: &mut World, worker: u32) {
    world.command(ShardCommand::WorkerResume { worker });
}

/// Which drains were reported, in order.
pub(crate) fn drained(world: &World) -> Vec<u32> {
    let drains = world.bad_news().into_iter().filter_map(|event| match event {
        ShardEvent::WorkerDrained { drain, .. } => Some(drain),
        _ => None,
    });
    drains.collect()
}

/// A client whose request the worker answers, and which keeps its connection.
fn served(world: &mut World, worker: &mut Framed) -> (Client, StreamTag) {
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.answer(tag, "hi");
    world.settle();
    assert!(client.read().ends_with("hi"));
    (client, tag)
}

/// The client asks again on its connection, and this worker answers.
fn goes_on(world: &mut World, client: &Client, worker: &mut Framed) {
    client.write(GET);
    world.settle();
    let (tag, _) = worker.heads().pop().expect("it asks");
    worker.answer(tag, "on");
    world.settle();
    let answer = client.read();
    assert!(answer.ends_with("on") && !answer.contains("Connection: close"), "{answer}");
}

#[test]
fn clients_notice_nothing_of_a_drain_and_neither_does_the_worker() {
    let mut world = World::new(|_| {});
    let mut old = world.framed(1);
    let (idle, tag) = served(&mut world, &mut old);
    let busy = world.client_with(GET);
    let (busy_tag, _) = old.head();
    let mut new = world.framed(2);
    drain(&mut world, 1, 1);
    assert!(old.frames().is_empty(), "it is told nothing");
    // Whatever it does about sockets that nobody uses now.
    old.put(FromWorker::Reset, tag, "");
    old.answer(busy_tag, "last");
    world.settle();
    assert_eq!(drained(&world), [1]);
    let answer = busy.read();
    assert!(answer.ends_with("last") && !answer.contains("Connection: close"), "{answer}");
    for client in [&idle, &busy] {
        goes_on(&mut world, client, &mut new);
    }
    // Its process ends with streams of theirs.
    old.peer.close();
    world.command(ShardCommand::WorkerGone { worker: 1 });
    for client in [&idle, &busy] {
        goes_on(&mut world, client, &mut new);
        client.peer.close();
    }
    world.assert_no_leak(1);
}

#[test]
fn a_worker_that_resumes_takes_what_waits_and_is_drained_again() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    drain(&mut world, 1, 1);
    assert_eq!(drained(&world), [1], "at once");
    let client = world.client_with(GET);
    assert!(worker.frames().is_empty());
    resume(&mut world, 1);
    let (tag, _) = worker.head();
    drain(&mut world, 1, 2);
    assert_eq!(drained(&world), [1], "it has a request");
    worker.answer(tag, "hi");
    world.settle();
    assert_eq!(drained(&world), [1, 2]);
    assert!(client.read().ends_with("hi"));
    // Resuming in the middle of a drain takes the report back.
    resume(&mut world, 1);
    resume(&mut world, 1);
    client.write(GET);
    world.settle();
    let (tag, _) = worker.head();
    drain(&mut world, 1, 3);
    resume(&mut world, 1);
    worker.answer(tag, "hi");
    world.settle();
    assert_eq!(drained(&world), [1, 2]);
    assert!(client.read().ends_with("hi"));
    goes_on(&mut world, &client, &mut worker);
    client.peer.close();
    world.assert_no_leak(1);
}

#[test]
fn the_last_of_two_drains_in_a_row_is_reported() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let _client = world.client_with(GET);
    let (tag, _) = worker.head();
    drain(&mut world, 1, 1);
    drain(&mut world, 1, 2);
    worker.answer(tag, "hi");
    world.settle();
    assert_eq!(drained(&world), [2]);
    drain(&mut world, 1, 3);
    drain(&mut world, 9, 4);
    resume(&mut world, 9);
    assert_eq!(drained(&world), [2, 3, 4], "nobody has heard of 9");
}

#[test]
fn a_worker_that_dies_while_it_drains_loses_no_request_that_may_be_repeated() {
    for transport_is_plain in [false, true] {
        let mut world = World::new(|_| {});
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let (get, post) = if transport_is_plain {
            let server = world.plain(1);
            let clients = (world.client_with(GET), world.client_with(post));
            drain(&mut world, 1, 1);
            std::iter::from_fn(|| server.accept()).for_each(|worker| worker.close());
            clients
        } else {
            let worker = world.framed(1);
            let clients = (world.client_with(GET), world.client_with(post));
            drain(&mut world, 1, 1);
            worker.peer.close();
            clients
        };
        world.settle();
        assert!(post.read().contains(" 502 "), "at once, whoever else is there");
        assert_eq!(drained(&world), [1], "nothing of it is in flight");
        world.command(ShardCommand::WorkerGone { worker: 1 });
        let mut next = world.framed(2);
        let (tag, _) = next.head();
        next.answer(tag, "hi");
        world.settle();
        assert!(get.read().ends_with("hi"));
        assert_eq!(drained(&world), [1]);
    }
}

#[test]
fn a_worker_that_is_gone_is_not_reported_as_drained() {
    let mut world = World::new(|_| {});
    let _worker = world.framed(1);
    let client = world.client_with(GET);
    drain(&mut world, 1, 1);
    world.command(ShardCommand::WorkerGone { worker: 1 });
    assert_eq!(drained(&world), [0; 0]);
    assert!(!client.peer.is_closed(), "its request waits for another one");
}

#[test]
fn requests_wait_while_the_only_worker_drains() {
    let mut world = World::new(|setup| setup.queue_requests_max = 2);
    let mut old = world.framed(1);
    let (first, _) = served(&mut world, &mut old);
    drain(&mut world, 1, 1);
    first.write(GET);
    let second = world.client_with(GET);
    let third = world.client_with(GET);
    assert!(third.read().contains(" 503 "), "the queue has its limit");
    world.later(4_000);
    assert_eq!((first.read(), second.read()), (String::new(), String::new()));
    let mut new = world.framed(2);
    let heads = new.heads();
    assert_eq!(heads.len(), 2);
    for (tag, _) in heads {
        new.answer(tag, "late");
    }
    world.settle();
    assert!(first.read().ends_with("late") && second.read().ends_with("late"));
    assert!(old.frames().is_empty());
}

#[test]
fn no_connection_to_a_draining_worker_is_kept() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let (idle, busy) = (world.client_with(GET), world.client_with(GET));
    let workers = [server.accept().expect("one"), server.accept().expect("two")];
    workers[0].write(ok("1").as_bytes());
    world.settle();
    drain(&mut world, 1, 1);
    assert!(workers[0].is_closed() && !workers[1].is_closed());
    workers[1].write(ok("2").as_bytes());
    world.settle();
    assert!(workers[1].is_closed());
    assert_eq!(drained(&world), [1]);
    assert!(idle.read().ends_with('1') && busy.read().ends_with('2'));
    resume(&mut world, 1);
    idle.write(GET);
    world.settle();
    let worker = server.accept().expect("a new connection");
    assert!(read(&worker).starts_with("GET / "));
}

#[test]
fn a_worker_is_drained_while_the_server_stops() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    world.shard.command(ShardCommand::Drain { deadline_ms: 5_000 });
    world.shard.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    assert!(world.turn());
    worker.answer(tag, "hi");
    let mut turns = 0;
    while world.turn() {
        turns += 1;
        assert!(turns < 100, "the drain does not end");
    }
    assert!(client.read().ends_with("hi"));
    let news = world.bad_news();
    let of_worker = ShardEvent::WorkerDrained { worker: 1, drain: 1 };
    let place = |wanted: &ShardEvent| news.iter().position(|event| event == wanted);
    assert!(
        place(&of_worker).expect("told") < place(&ShardEvent::Drained { cut: 0 }).expect("ended")
    );
}
