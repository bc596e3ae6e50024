//! Requests that end workers.

use hostler_protocol::worker::StreamTag;
use hostler_proxy::ShardCommand;

use crate::world::{Framed, GET, World, ok, read};

const KILLER: &str = "GET /kill HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /kill HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// A world in which whoever closes its connections has died.
fn deadly() -> World {
    World::with_ending(|setup| setup.quarantine_ms = Some(20_000), |_| true)
}

fn heads(worker: &mut Framed) -> Vec<(StreamTag, String)> {
    let heads = worker.heads().into_iter();
    heads.map(|(tag, head)| (tag, String::from_utf8(head.target).expect("ASCII"))).collect()
}

fn tags(worker: &mut Framed) -> Vec<StreamTag> {
    heads(worker).into_iter().map(|(tag, _)| tag).collect()
}

/// The worker dies as a process does: first its connections, then the news.
fn die(world: &mut World, worker: &Framed, number: u32) {
    worker.peer.close();
    world.settle();
    world.command(ShardCommand::WorkerGone { worker: number });
}

fn assert_refused(world: &mut World, request: &str) {
    let client = world.client_with(request);
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("X-Hostler-Error: poison\r\n"), "{answer}");
    assert!(answer.contains("Retry-After: 20\r\n"), "{answer}");
    client.peer.close();
}

fn assert_served(world: &mut World, worker: &mut Framed, request: &str) {
    let client = world.client_with(request);
    let tag = tags(worker)[0];
    worker.answer(tag, "well");
    world.settle();
    let answer = client.read();
    assert!(answer.ends_with("well"), "{answer}");
    client.peer.close();
}

#[test]
fn a_request_that_killed_two_workers_is_refused_for_a_while() {
    let mut world = deadly();
    let first = world.framed(1);
    let client = world.client_with(KILLER);
    let mut second = world.framed(2);
    die(&mut world, &first, 1);
    assert_eq!(heads(&mut second).len(), 1, "repeated once");
    let mut third = world.framed(3);
    die(&mut world, &second, 2);
    assert!(client.read().contains(" 502 "), "and not again");
    assert_refused(&mut world, KILLER);
    assert_eq!(heads(&mut third).len(), 0);
    assert_served(&mut world, &mut third, GET);
    assert_served(&mut world, &mut third, &KILLER.replace("GET", "DELETE"));
    assert_served(&mut world, &mut third, &KILLER.replace("/kill", "/kill?x"));
    world.later(20_100);
    assert_served(&mut world, &mut third, KILLER);
}

#[test]
fn posts_are_told_apart_by_their_length() {
    let mut world = deadly();
    for number in 1..=2 {
        let worker = world.framed(number);
        let client = world.client_with(POST);
        die(&mut world, &worker, number);
        assert!(client.read().contains(" 502 "));
    }
    let mut third = world.framed(3);
    assert_refused(&mut world, POST);
    let longer = POST.replace("2\r\n\r\nhi", "3\r\n\r\nhey");
    let client = world.client_with(&longer);
    let tag = tags(&mut third)[0];
    third.answer(tag, "well");
    world.settle();
    assert!(client.read().ends_with("well"));
}

#[test]
fn over_http_too() {
    let mut world = deadly();
    for number in 1..=2 {
        let server = world.plain(number);
        let client = world.client_with(POST);
        let connection = server.accept().expect("asked");
        assert!(read(&connection).starts_with("POST /kill "));
        connection.close();
        world.settle();
        world.command(ShardCommand::WorkerGone { worker: number });
        assert!(client.read().contains(" 502 "));
    }
    let server = world.plain(3);
    assert_refused(&mut world, POST);
    assert!(server.accept().is_none());
    let client = world.client_with(GET);
    server.accept().expect("asked").write(ok("well").as_bytes());
    world.settle();
    assert!(client.read().ends_with("well"));
}

#[test]
fn who_was_there_by_chance_is_kept_apart_and_acquitted() {
    let mut world = deadly();
    let first = world.framed(1);
    let killer = world.client_with(KILLER);
    let bystander = world.client_with(GET);
    let mut others = [world.framed(2), world.framed(3)];
    first.peer.close();
    world.settle();
    world.command(ShardCommand::WorkerGone { worker: 1 });
    let got: Vec<_> = others.iter_mut().map(heads).collect();
    assert_eq!((got[0].len(), got[1].len()), (1, 1), "one each: {got:?}");
    let at = usize::from(got[1][0].1 == "/kill");
    die(&mut world, &others[at], at as u32 + 2);
    assert!(killer.read().contains(" 502 "));
    let left = &mut others[1 - at];
    left.answer(got[1 - at][0].0, "by chance");
    world.settle();
    assert!(bystander.read().ends_with("by chance"));
    assert_refused(&mut world, KILLER);
    assert_served(&mut world, left, GET);
}

#[test]
fn suspects_wait_for_a_worker_of_their_own_and_others_pass_them() {
    let mut world = deadly();
    let first = world.framed(1);
    let _killer = world.client_with(KILLER);
    let bystander = world.client_with(GET);
    let mut second = world.framed(2);
    die(&mut world, &first, 1);
    let got = heads(&mut second);
    assert_eq!(got.len(), 1, "the other waits");
    assert_served(&mut world, &mut second, "GET /else HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(bystander.read(), "");
    let mut third = world.framed(3);
    let tag = tags(&mut third)[0];
    third.answer(tag, "well");
    world.settle();
    assert!(bystander.read().ends_with("well"));
}

#[test]
fn they_wait_for_a_fifth_of_the_queue_s_time_at_most() {
    let mut world = deadly();
    let first = world.framed(1);
    let _killer = world.client_with(KILLER);
    let _bystander = world.client_with(GET);
    let mut second = world.framed(2);
    die(&mut world, &first, 1);
    assert_eq!(heads(&mut second).len(), 1);
    world.later(900);
    assert_eq!(heads(&mut second).len(), 0);
    world.later(200);
    assert_eq!(heads(&mut second).len(), 1);
}

#[test]
fn only_deaths_count_and_only_of_those_who_serve() {
    // The process lives, and only its channel broke.
    let mut world = World::new(|setup| setup.quarantine_ms = Some(20_000));
    for number in 1..=2 {
        let worker = world.framed(number);
        let client = world.client_with(POST);
        worker.peer.close();
        world.settle();
        assert!(client.read().contains(" 502 "));
    }
    let mut third = world.framed(3);
    let _client = world.client_with(POST);
    assert_eq!(heads(&mut third).len(), 1);
    // Those that were to end are killed at their deadline.
    let mut world = deadly();
    for number in 1..=2 {
        let worker = world.framed(number);
        let client = world.client_with(POST);
        world.command(ShardCommand::WorkerDrain { worker: number, drain: number });
        die(&mut world, &worker, number);
        assert!(client.read().contains(" 502 "));
    }
    let mut third = world.framed(3);
    let _client = world.client_with(POST);
    assert_eq!(heads(&mut third).len(), 1);
}

#[test]
fn off_means_off() {
    let mut world = World::with_ending(|setup| setup.quarantine_ms = None, |_| true);
    for number in 1..=3 {
        let mut worker = world.framed(number);
        let client = world.client_with(POST);
        assert_eq!(heads(&mut worker).len(), 1);
        die(&mut world, &worker, number);
        assert!(client.read().contains(" 502 "));
    }
}

#[test]
fn a_request_that_hung_two_workers_is_refused() {
    let mut world = deadly();
    for number in 1..=2 {
        let worker = world.framed(number);
        let client = world.client_with(KILLER);
        world.block(number);
        world.later(10_200);
        assert!(client.read().contains("X-Hostler-Error: worker-hangs\r\n"));
        world.unblock(number, &worker);
        die(&mut world, &worker, number);
        world.block(number);
    }
    let mut third = world.framed(3);
    let answer = world.client_with(KILLER).read();
    assert!(answer.contains("X-Hostler-Error: poison\r\n"), "{answer}");
    assert_served(&mut world, &mut third, GET);
}

#[test]
fn an_answer_that_had_begun_is_not_suspected() {
    let mut world = deadly();
    for number in 1..=2 {
        let mut worker = world.framed(number);
        let client = world.client_with(KILLER);
        let tag = tags(&mut worker)[0];
        worker.put(
            hostler_protocol::worker::FromWorker::Data,
            tag,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        );
        world.settle();
        assert!(client.read().ends_with("half"));
        die(&mut world, &worker, number);
    }
    let mut third = world.framed(3);
    assert_served(&mut world, &mut third, KILLER);
}
