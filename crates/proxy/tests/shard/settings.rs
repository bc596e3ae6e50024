//! What the app says about its own server: client errors that it answers, requests that it counts.

use hostler_driver::fake::FakeServer;
use hostler_protocol::worker::Settings as AppSettings;
use hostler_proxy::ShardCommand;

use crate::world::{Client, Framed, GET, World, plain_path, read};

const BAD: &str = "GET / HTTP/1.1\r\nA b: c\r\n\r\n";

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

/// A worker whose app answers client errors, with its plain path.
fn answering(world: &mut World, number: u32) -> (Framed, FakeServer) {
    let server = world.net.serve(plain_path(number));
    let worker = world.framed(number);
    worker.settings(&AppSettings { client_error: true, ..AppSettings::default() });
    world.settle();
    (worker, server)
}

#[test]
fn a_refused_request_reaches_the_app_as_it_is_and_its_connection_serves_nobody_else() {
    let mut world = World::new(|_| {});
    let (_worker, server) = answering(&mut world, 1);
    let client = world.client_with(BAD);
    let plain = server.accept().expect("connected");
    world.settle();
    let seen = read(&plain);
    let (line, rest) = seen.split_once('\n').expect("a line");
    assert!(line.starts_with("HOSTLER ") && line.ends_with(" 0 400"), "{line}");
    assert_eq!(rest, BAD);
    client.write("more of it");
    world.settle();
    assert_eq!(read(&plain), "more of it");
    plain.write(b"HTTP/1.1 422 Own\r\n\r\nwords");
    plain.close();
    world.settle();
    assert_eq!(client.read(), "HTTP/1.1 422 Own\r\n\r\nwords");
    client.peer.close();
    world.settle();
    assert!(plain.is_closed());
    let second = world.client_with(BAD);
    let other = server.accept().expect("a connection of its own");
    second.peer.close();
    other.close();
    world.assert_no_leak(1);
}

#[test]
fn without_a_worker_that_can_be_asked_the_answer_is_ours() {
    // Nobody listens; or the worker is gone; or it is no worker of frames, and would take the request for a good one.
    for case in 0..3 {
        let mut world = World::new(|_| {});
        let (_worker, server) = answering(&mut world, 1);
        let other = match case {
            0 => {
                server.refuse(Some(111));
                None
            }
            _ => {
                world.command(ShardCommand::WorkerGone { worker: 1 });
                (case == 2).then(|| world.plain(2))
            }
        };
        let client = world.client_with(BAD);
        assert!(client.read().starts_with("HTTP/1.1 400 Bad Request\r\n"), "{case}");
        assert!(other.is_none_or(|other| other.accept().is_none()), "{case}");
        client.peer.close();
        world.settle();
        assert_eq!(world.shard.status().conns, 0);
    }
}

#[test]
fn what_the_app_says_last_counts_and_outlives_its_worker() {
    let mut world = World::new(|_| {});
    let (worker, server) = answering(&mut world, 1);
    worker.settings(&AppSettings::default());
    let client = world.client_with(BAD);
    assert!(client.read().contains("X-Hostler-Error: bad-request\r\n"));
    assert!(server.accept().is_none());

    worker.settings(&AppSettings { keep_alive_ms: Some(2_000), ..AppSettings::default() });
    world.settle();
    world.command(ShardCommand::WorkerGone { worker: 1 });
    let mut next = world.framed(2);
    let client = world.client_with(GET);
    let (tag, _) = next.head();
    next.answer(tag, "hi");
    world.settle();
    world.later(1_900);
    assert!(!client.peer.is_closed());
    world.later(200);
    assert!(client.peer.is_closed());
}

#[test]
fn the_operators_idle_time_stands() {
    let mut world = World::new(|setup| setup.typed.idle_ms_max = true);
    let mut worker = world.framed(1);
    worker.settings(&AppSettings { keep_alive_ms: Some(2_000), ..AppSettings::default() });
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.answer(tag, "hi");
    world.settle();
    world.later(74_000);
    assert!(!client.peer.is_closed());
    world.later(2_000);
    assert!(client.peer.is_closed());
}

/// The numbers of the workers that get one request after the other of one connection.
fn owners(world: &mut World, workers: &mut [Framed], client: &Client) -> usize {
    client.write(GET);
    world.settle();
    let (index, tag) = workers
        .iter_mut()
        .enumerate()
        .find_map(|(index, worker)| worker.heads().first().map(|(tag, _)| (index, *tag)))
        .expect("a worker has it");
    workers[index].answer(tag, "hi");
    world.settle();
    assert_eq!(client.read().matches("200 OK").count(), 1);
    index
}

#[test]
fn requests_that_a_worker_counts_stay_with_it() {
    for counts in [false, true] {
        let mut world = World::new(|_| {});
        let mut workers = [world.framed(1), world.framed(2)];
        if counts {
            let told =
                AppSettings { requests_per_connection_max: Some(9), ..AppSettings::default() };
            workers[0].settings(&told);
            world.settle();
        }
        let client = world.client();
        let first = owners(&mut world, &mut workers, &client);
        // That worker gets busy with others.
        let busy: Vec<_> = (0..3).map(|_| world.client_with(POST)).collect();
        let held: Vec<_> = workers[first].heads();
        assert!(!held.is_empty(), "it is the first choice for one of them at least");
        let others = workers[1 - first].heads();
        for (tag, _) in &others {
            workers[1 - first].answer(*tag, "hi");
        }
        world.settle();
        let second = owners(&mut world, &mut workers, &client);
        assert_eq!(second == first, counts);
        // It is gone: any other.
        world.command(ShardCommand::WorkerGone { worker: 1 + first as u32 });
        assert_eq!(owners(&mut world, &mut workers, &client), 1 - first);
        drop(busy);
    }
}

#[test]
fn under_exec_node_has_its_own() {
    let mut world = World::under_exec();
    let process = world.process();
    process.settings(&AppSettings { client_error: true, ..AppSettings::default() });
    world.settle();
    assert_eq!(world.shard.channels_open(), 1);
}
