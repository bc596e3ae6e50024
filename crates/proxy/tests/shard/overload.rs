//! More requests than the workers take: who waits, who is refused, and what it is told.

use hostler_protocol::worker::Heartbeat;

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
    world.later(90);
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

/// Two beats of a loop that is far too late.
fn saturate(world: &mut World, worker: &Framed) {
    for _ in 0..2 {
        world.now_ms += 100;
        worker.beat(Heartbeat {
            utilisation_permille: 1_000,
            loop_delay_us: 400_000,
            in_flight: 1,
            ..Heartbeat::default()
        });
        world.settle();
    }
}

#[test]
fn a_saturated_worker_gets_less_until_its_loop_has_time_left() {
    let mut world = World::new(|setup| setup.worker_requests_max = None);
    let mut worker = world.framed(1);
    let clients: Vec<_> = (0..4).map(|_| world.client_with(GET)).collect();
    let tags: Vec<_> = worker.heads().into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags.len(), 4);
    saturate(&mut world, &worker);
    let waiting = world.client_with(GET);
    assert!(worker.heads().is_empty(), "less than it has");
    // Nothing ends, so only the beats can let it in.
    worker.beat(Heartbeat { utilisation_permille: 300, in_flight: 1, ..Heartbeat::default() });
    world.settle();
    worker.beat(Heartbeat { utilisation_permille: 300, in_flight: 1, ..Heartbeat::default() });
    world.settle();
    let (tag, _) = worker.heads().remove(0);
    worker.answer(tag, "late");
    world.settle();
    assert!(waiting.read().ends_with("late"));
    drop(clients);
}

#[test]
fn an_upgraded_connection_takes_no_place_at_a_saturated_worker() {
    const UPGRADE: &str =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut world = World::new(|setup| setup.worker_requests_max = None);
    let mut worker = world.framed(1);
    let clients: Vec<_> = (0..2).map(|_| world.client_with(GET)).collect();
    let socket = world.client_with(UPGRADE);
    let tunnel = worker.frames().into_iter().map(|frame| frame.tag).next_back().expect("a tunnel");
    saturate(&mut world, &worker);
    // Two of three may be there, and three are.
    let waiting = world.client_with(GET);
    assert_eq!(world.shard.status().queued, 1);
    worker.put(
        hostler_protocol::worker::FromWorker::TunnelData,
        tunnel,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    world.settle();
    assert!(socket.read().starts_with("HTTP/1.1 101 "));
    assert_eq!(world.shard.status().queued, 1, "two are there");
    clients[0].peer.reset();
    world.settle();
    assert_eq!(world.shard.status().queued, 0, "one is there");
    drop(waiting);
}
