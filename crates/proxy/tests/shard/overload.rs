//! More requests than the workers take: who waits, who is refused, and what it is told.

use crate::world::{Client, Framed, GET, World};

/// A worker that is busy with one request, which is all it takes.
fn busy(world: &mut World) -> (Framed, Client) {
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    worker.head();
    (worker, client)
}

fn one_at_a_time(queue_ms_max: u32) -> World {
    World::new(|setup| {
        setup.worker_requests_max = Some(1);
        setup.queue_requests_max = 100;
        setup.queue_ms_max = queue_ms_max;
        setup.conns_max = 200;
    })
}

#[test]
fn a_wait_ends_at_its_millisecond_and_the_connection_stays() {
    let mut world = one_at_a_time(730);
    let (_worker, _client) = busy(&mut world);
    let waiting = world.client_with(GET);
    world.later(729);
    assert_eq!(waiting.read(), "");
    world.later(1);
    let answer = waiting.read();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("X-Hostler-Error: overload\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: ") && !answer.contains("\r\nConnection: close"));
    waiting.write(GET);
    world.later(729);
    assert_eq!(waiting.read(), "", "it may try again on the same connection, and waits again");
    assert!(!waiting.peer.is_closed());
    assert_eq!(world.shard.stats().shed, 1);
}

#[test]
fn a_refused_request_with_an_unread_body_ends_its_connection() {
    let mut world = one_at_a_time(100);
    let (_worker, _client) = busy(&mut world);
    let waiting = world.client_with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    world.later(100);
    assert!(waiting.read().contains("\r\nConnection: close\r\n"));
}

#[test]
fn what_is_refused_is_told_why() {
    let mut world = one_at_a_time(300);
    let waiting = world.client_with(GET);
    world.later(300);
    assert!(waiting.read().contains("X-Hostler-Error: no-worker\r\n"));
    let (_worker, _client) = busy(&mut world);
    let waiting = world.client_with(GET);
    world.command(hostler_proxy::ShardCommand::Drain { deadline_ms: 60_000 });
    world.later(300);
    let answer = waiting.read();
    assert!(answer.contains("X-Hostler-Error: draining\r\n"), "{answer}");
    assert!(answer.contains("Retry-After: ") && answer.contains("Connection: close\r\n"));
}

#[test]
fn who_leaves_the_queue_never_reaches_a_worker() {
    // With a reset and with FIN.
    for reset in [true, false] {
        let mut world = one_at_a_time(5_000);
        let (mut worker, client) = busy(&mut world);
        let leaver = world.client_with(GET);
        world.later(200);
        match reset {
            true => leaver.peer.reset(),
            false => leaver.peer.close(),
        }
        world.settle();
        assert_eq!(world.shard.status().queued, 0);
        client.peer.reset();
        world.settle();
        assert!(worker.heads().is_empty());
        world.assert_no_leak(1);
    }
}

#[test]
fn who_half_closes_behind_its_request_still_reaches_one() {
    let mut world = one_at_a_time(5_000);
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    let half = world.client_with(GET);
    half.peer.finish();
    world.settle();
    world.later(200);
    worker.answer(tag, "1");
    world.settle();
    assert_eq!(worker.heads().len(), 1);
    drop(client);
}

/// Every 5 ms five clients come and one is answered.
#[test]
fn while_the_wait_is_long_newcomers_are_refused_in_a_moment() {
    let mut world = one_at_a_time(1_000);
    let mut worker = world.framed(1);
    let mut waiting: Vec<(u64, Client)> = Vec::new();
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    let mut in_hand = Vec::new();
    for round in 0..600_u64 {
        for _ in 0..5 {
            let client = world.client();
            client.write(GET);
            waiting.push((world.now_ms, client));
        }
        in_hand.extend(worker.heads());
        for (tag, _) in in_hand.drain(..) {
            worker.answer(tag, "hi");
        }
        for _ in 0..5 {
            world.now_ms += 1;
            world.turn();
            world.turn();
        }
        let now_ms = world.now_ms;
        waiting.retain(|(since_ms, client)| {
            let answer = client.read();
            let list = if answer.contains("200 OK") {
                &mut served
            } else if answer.contains("X-Hostler-Error: overload\r\n") {
                &mut refused
            } else {
                assert_eq!(answer, "");
                return true;
            };
            list.push((round, now_ms - since_ms));
            client.peer.close();
            false
        });
    }
    assert!(served.len() >= 540, "{}", served.len());
    assert!(served.iter().all(|(_, wait)| *wait < 1_000));
    let late = refused.iter().filter(|(_, wait)| *wait > 50).count();
    assert_eq!((late, refused.is_empty()), (0, false));
    let settled = served.iter().filter(|(round, _)| *round > 300).map(|(_, wait)| *wait);
    let longest = settled.max().expect("some");
    assert!(longest <= 150, "an eighth of the time-out at most: {longest}");
}
