//! The end of the shard.

use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{GET, World, read};

fn drained(world: &World) -> Option<u32> {
    world.events.borrow().iter().find_map(|event| match event {
        ShardEvent::Drained { cut } => Some(*cut),
        _ => None,
    })
}

#[test]
fn idle_clients_go_at_once_and_busy_ones_behind_their_answer() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let idle = world.client_with("");
    let busy = world.client_with(GET);
    let (tag, _) = worker.head();
    world.shard.command(ShardCommand::Drain { deadline_ms: 5_000 });
    assert!(world.turn(), "one is left");
    assert!(idle.peer.is_closed() && !busy.peer.is_closed());
    worker.answer(tag, "hi");
    let mut turns = 0;
    while world.turn() {
        turns += 1;
        assert!(turns < 100, "the drain does not end");
    }
    let answer = busy.read();
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("hi"), "{answer}");
    assert_eq!(drained(&world), Some(0));
}

#[test]
fn tunnels_and_stuck_requests_are_cut_at_the_deadline() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let tunnel = world.client_with(upgrade);
    let worker = server.accept().expect("connected");
    worker.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
    world.settle();
    assert!(tunnel.read().starts_with("HTTP/1.1 101 "));
    let stuck = world.client_with(GET);
    world.shard.command(ShardCommand::Drain { deadline_ms: 5_000 });
    assert!(world.turn());
    tunnel.write("still here");
    world.settle();
    assert!(read(&worker).ends_with("still here"));
    world.now_ms += 5_000;
    while world.turn() {
        assert!(world.shard.conns_open() == 0, "all are cut");
    }
    assert!(tunnel.peer.is_closed() && stuck.peer.is_closed() && worker.is_closed());
    assert_eq!(drained(&world), Some(2));
}

#[test]
fn a_queued_request_is_served_before_the_end() {
    let mut world = World::new(|setup| setup.worker_requests_max = Some(1));
    let mut worker = world.framed(1);
    let clients = [world.client_with(GET), world.client_with(GET)];
    world.shard.command(ShardCommand::Drain { deadline_ms: 5_000 });
    for client in &clients {
        world.turn();
        world.turn();
        let heads = worker.heads();
        assert_eq!(heads.len(), 1);
        worker.answer(heads[0].0, "hi");
        world.turn();
        world.turn();
        assert!(client.read().ends_with("hi"));
    }
    let mut turns = 0;
    while world.turn() && turns < 100 {
        turns += 1;
    }
    assert_eq!(drained(&world), Some(0));
}
