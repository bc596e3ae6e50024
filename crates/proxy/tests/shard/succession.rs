//! Another proxy takes over.

use hostler_protocol::worker::Move;
use hostler_protocol::worker::peer::PeerBody;
use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{GET, World};

const RETIRE: ShardCommand = ShardCommand::Retire { idle_ms: 10_000, deadline_ms: 60_000 };

fn to_the_end(world: &mut World) -> Option<u32> {
    let mut turns = 0;
    while world.turn() {
        turns += 1;
        assert!(turns < 100, "it does not end");
    }
    world.events.borrow().iter().find_map(|event| match event {
        ShardEvent::Drained { cut } => Some(*cut),
        _ => None,
    })
}

#[test]
fn idle_clients_get_one_more_answer() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, _) = worker.head();
    worker.answer(tag, "first");
    world.settle();
    assert!(client.read().ends_with("first"));
    world.shard.command(RETIRE);
    assert!(world.turn() && !client.peer.is_closed(), "it may take its time");
    world.later(9_000);
    client.write(GET);
    world.settle();
    let (tag, _) = worker.head();
    worker.answer(tag, "second");
    assert_eq!(to_the_end(&mut world), Some(0));
    let answer = client.read();
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("second"), "{answer}");
}

#[test]
fn idle_time_ends_and_a_long_request_does_not() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let long = world.client_with(GET);
    let idle = world.client_with("");
    let (tag, _) = worker.head();
    world.shard.command(RETIRE);
    assert!(world.turn());
    world.now_ms += 10_000;
    assert!(world.turn());
    assert!(idle.peer.is_closed() && !long.peer.is_closed());
    worker.answer(tag, "at last");
    assert_eq!(to_the_end(&mut world), Some(0));
    assert!(long.read().ends_with("at last"));
}

#[test]
fn what_lives_too_long_is_cut() {
    let mut world = World::new(|_| {});
    let _worker = world.framed(1);
    let long = world.client_with(GET);
    world.shard.command(RETIRE);
    assert!(world.turn());
    world.now_ms += 60_000;
    assert_eq!(to_the_end(&mut world), Some(1));
    assert!(long.peer.is_closed());
}

#[test]
fn a_stop_ends_a_retirement() {
    let mut world = World::new(|_| {});
    let _worker = world.framed(1);
    let idle = world.client_with("");
    world.shard.command(RETIRE);
    assert!(world.turn() && !idle.peer.is_closed());
    world.shard.command(ShardCommand::Drain { deadline_ms: 1_000 });
    assert_eq!(to_the_end(&mut world), Some(0));
    assert!(idle.peer.is_closed());
}

#[test]
fn every_worker_hears_where_to_follow() {
    let moved = |to: &str| PeerBody::Move(Move { channel: to.to_owned() });
    let mut world = World::new(|_| {});
    let mut before = world.framed(1);
    world.shard.command(ShardCommand::MoveWorkers { channel: "/run/next.sock".into() });
    world.settle();
    let told = before.frames();
    assert_eq!(told.last().map(|frame| &frame.body), Some(&moved("/run/next.sock")));
    let mut behind = world.greeted(2);
    let told = behind.frames();
    assert_eq!(told.last().map(|frame| &frame.body), Some(&moved("/run/next.sock")));
    world.shard.command(ShardCommand::MoveWorkers { channel: "/run/own.sock".into() });
    world.settle();
    assert_eq!(before.frames().last().map(|frame| &frame.body), Some(&moved("/run/own.sock")));
}
