//! One generation of workers takes over from another: what it costs clients, which is nothing.

use hostler_driver::fake::{FakePeer, FakeRead};
use hostler_protocol::websocket::SERVICE_RESTART;
use hostler_protocol::worker::peer::{PeerBody, put};
use hostler_protocol::worker::{FromWorker, StreamTag, WINDOW_BYTES};
use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{Client, Framed, GET, World, ok, read};

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const HELLO: &[u8] = b"\x81\x05hello";

fn drain(world: &mut World, worker: u32, drain: u32) {
    world.command(ShardCommand::WorkerDrain { worker, drain });
}

fn resume(world: &mut World, worker: u32) {
    world.command(ShardCommand::WorkerResume { worker });
}

fn close_upgraded(world: &mut World, worker: u32, within_ms: u32) {
    world.command(ShardCommand::CloseUpgraded { worker, within_ms });
}

/// Which drains were reported, in order.
fn drained(world: &World) -> Vec<u32> {
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

fn bytes_of(peer: &FakePeer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while peer.read(&mut bytes) == FakeRead::Bytes {}
    bytes
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

/// A worker of either transport, with WebSockets.
enum Worker {
    Framed(Framed),
    Plain(hostler_driver::fake::FakeServer),
}

/// The worker's end of a WebSocket.
enum End {
    Tunnel(StreamTag),
    Plain(FakePeer),
}

impl Worker {
    fn both(mut test: impl FnMut(&mut World, &mut Self)) {
        let mut world = World::new(|setup| setup.conns_max = 32);
        let mut worker = Self::Framed(world.framed(1));
        test(&mut world, &mut worker);
        let mut world = World::new(|setup| setup.conns_max = 32);
        let mut worker = Self::Plain(world.plain(1));
        test(&mut world, &mut worker);
    }

    /// The requests that ask for WebSockets, agreed to.
    fn agree(&mut self, world: &mut World) -> Vec<End> {
        let ends: Vec<End> = match self {
            Self::Framed(worker) => {
                let frames = worker.frames().into_iter();
                let begun = frames.filter(|frame| matches!(frame.body, PeerBody::Tunnel { .. }));
                begun.map(|frame| End::Tunnel(frame.tag)).collect()
            }
            Self::Plain(server) => std::iter::from_fn(|| server.accept()).map(End::Plain).collect(),
        };
        ends.iter().for_each(|end| self.write(end, AGREED.as_bytes()));
        world.settle();
        ends
    }

    fn open(&mut self, world: &mut World) -> (Client, End) {
        let client = world.client_with(UPGRADE);
        let end = self.agree(world).pop().expect("asked for");
        assert!(client.read().starts_with("HTTP/1.1 101 "));
        (client, end)
    }

    fn write(&self, end: &End, bytes: &[u8]) {
        match (self, end) {
            (Self::Framed(worker), End::Tunnel(tag)) => {
                let mut frame = Vec::new();
                put(&mut frame, FromWorker::TunnelData, *tag, bytes);
                assert_eq!(worker.peer.write(&frame), frame.len());
            }
            (_, End::Plain(peer)) => assert_eq!(peer.write(bytes), bytes.len()),
            _ => unreachable!("a tunnel is in a channel"),
        }
    }

    fn finish(&self, end: &End) {
        match (self, end) {
            (Self::Framed(worker), End::Tunnel(tag)) => {
                worker.put(FromWorker::TunnelEnd, *tag, "");
            }
            (_, End::Plain(peer)) => peer.finish(),
            _ => unreachable!("a tunnel is in a channel"),
        }
    }
}

#[test]
fn websockets_of_a_worker_are_closed_one_after_the_other() {
    Worker::both(|world, worker| {
        let sockets: Vec<_> = (0..20).map(|_| worker.open(world)).collect();
        drain(world, 1, 1);
        close_upgraded(world, 1, 10_000);
        let mut closed = 0;
        for second in 0..10 {
            for _ in 0..10 {
                world.later(100);
                for (client, _) in &sockets {
                    let bytes = bytes_of(&client.peer);
                    if bytes == SERVICE_RESTART {
                        client.peer.finish();
                        closed += 1;
                    } else {
                        assert!(bytes.is_empty());
                    }
                }
            }
            // Two of twenty have their moments in each second, some a tick of the timers late.
            assert!((2 * second..=2 * second + 4).contains(&closed), "{closed} in {second} s");
        }
        world.later(200);
        assert_eq!(drained(world), [0; 0], "the app has not ended");
        for (_, end) in &sockets {
            worker.finish(end);
        }
        world.later(1_000);
        assert_eq!(drained(world), [1]);
        assert!(sockets.iter().all(|(client, _)| client.peer.is_closed()));
        assert_eq!(world.shard.status().conns, 0);
    });
}

#[test]
fn what_the_app_says_behind_the_close_frame_is_dropped() {
    Worker::both(|world, worker| {
        let (client, end) = worker.open(world);
        drain(world, 1, 1);
        worker.write(&end, &HELLO[..3]);
        world.settle();
        close_upgraded(world, 1, 1_000);
        world.later(1_000 - 100);
        worker.write(&end, &[&HELLO[3..], HELLO].concat());
        world.settle();
        worker.write(&end, HELLO);
        world.settle();
        assert_eq!(bytes_of(&client.peer), [HELLO, SERVICE_RESTART].concat());
        client.write("close");
        world.settle();
        match (&mut *worker, &end) {
            (Worker::Framed(worker), _) => {
                let sent: Vec<u8> = worker
                    .frames()
                    .into_iter()
                    .flat_map(|frame| match frame.body {
                        PeerBody::TunnelData(bytes) => bytes,
                        _ => Vec::new(),
                    })
                    .collect();
                assert!(sent.ends_with(b"close"));
            }
            (_, End::Plain(peer)) => assert!(read(peer).ends_with("close")),
            _ => unreachable!("a tunnel is in a channel"),
        }
        worker.finish(&end);
        world.settle();
        assert_eq!(drained(world), [1]);
        client.peer.close();
        world.settle();
        assert_eq!(world.shard.status().buffers_out, 0);
    });
}

#[test]
fn an_app_that_does_not_stop_talking_keeps_its_credit_and_loses_the_client() {
    let mut world = World::new(|_| {});
    let mut worker = Worker::Framed(world.framed(1));
    let (client, end) = worker.open(&mut world);
    drain(&mut world, 1, 1);
    close_upgraded(&mut world, 1, 0);
    world.later(100);
    assert_eq!(bytes_of(&client.peer), SERVICE_RESTART);
    for _ in 0..3 {
        worker.write(&end, &vec![0; WINDOW_BYTES as usize / 2]);
        world.settle();
    }
    let Worker::Framed(framed) = &mut worker else { unreachable!("it is") };
    let credit = framed.frames().into_iter().filter_map(|frame| match frame.body {
        PeerBody::TunnelWindow(bytes) => Some(bytes),
        _ => None,
    });
    assert!(credit.sum::<u32>() >= WINDOW_BYTES, "dropped bytes are read bytes");
    world.later(1_000);
    assert_eq!(drained(&world), [1]);
    client.peer.close();
    world.assert_no_leak(1);
}

#[test]
fn a_websocket_that_is_agreed_to_meanwhile_ends_in_time_too() {
    Worker::both(|world, worker| {
        let client = world.client_with(UPGRADE);
        drain(world, 1, 1);
        close_upgraded(world, 1, 2_000);
        // Said again without more ado.
        drain(world, 1, 2);
        world.later(500);
        let end = worker.agree(world).pop().expect("asked for");
        assert!(client.read().starts_with("HTTP/1.1 101 "));
        world.later(1_600);
        assert_eq!(bytes_of(&client.peer), SERVICE_RESTART);
        worker.finish(&end);
        world.settle();
        assert_eq!(drained(world), [2]);
    });
}

#[test]
fn a_worker_that_serves_on_keeps_its_websockets() {
    Worker::both(|world, worker| {
        let (client, end) = worker.open(world);
        drain(world, 1, 1);
        close_upgraded(world, 1, 2_000);
        resume(world, 1);
        let (second, _) = worker.open(world);
        world.later(10_000);
        worker.write(&end, HELLO);
        world.settle();
        assert_eq!(bytes_of(&client.peer), HELLO);
        // Without a drain those that are there end, and no others.
        close_upgraded(world, 1, 0);
        let (third, _) = worker.open(world);
        world.later(100);
        let got = [&client, &second, &third].map(|client| bytes_of(&client.peer));
        assert_eq!(got, [SERVICE_RESTART, SERVICE_RESTART, b""]);
        close_upgraded(world, 7, 0);
        assert_eq!(drained(world), [0; 0]);
    });
}
