//! Slots that are used again within one turn, limits, the queue.

use hostler_driver::{Completion, Driver, PoolClass};
use hostler_protocol::worker::FromWorker;

use crate::ordered::kind;
use crate::world::{GET, World, ok, read};

#[test]
fn a_hello_over_frames_leaves_nothing_behind() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let (tag, head) = worker.head();
    assert!(head.client.is_some(), "NEW_CONNECTION");
    worker.answer(tag, "hi");
    world.settle();
    assert!(client.read().ends_with("\r\n\r\nhi"));
    client.peer.close();
    world.assert_no_leak(1);
}

#[test]
fn a_hello_over_the_plain_path_leaves_nothing_behind() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let client = world.client_with(GET);
    let worker = server.accept().expect("connected");
    assert!(read(&worker).starts_with("GET / HTTP/1.1\r\n"));
    worker.write(ok("hi").as_bytes());
    world.settle();
    assert!(client.read().ends_with("\r\n\r\nhi"));
    client.write(GET);
    world.settle();
    assert!(server.accept().is_none(), "the connection is used again");
    worker.write(ok("again").as_bytes());
    world.settle();
    assert!(client.read().ends_with("\r\n\r\nagain"));
    client.peer.close();
    world.assert_no_leak(1);
    world.later(4_100);
    world.assert_no_leak(0);
    assert!(worker.is_closed());
}

#[test]
fn an_answer_never_reaches_the_next_owner_of_a_plain_slot() {
    let mut world = World::new(|_| {});
    let server = world.plain(1);
    let leaver = world.client_with(GET);
    let worker = server.accept().expect("connected");
    let stayer = world.client();
    world.settle();
    // In one turn: the first client goes, the second asks, the worker answers the first.
    leaver.peer.reset();
    stayer.write(GET);
    worker.write(ok("secret of the first").as_bytes());
    *world.order.borrow_mut() = Some(|completion| match completion {
        Completion::Failed { .. } => 0,
        other => kind(other),
    });
    world.settle();
    assert_eq!(stayer.read(), "", "not its answer");
    let second = server.accept().expect("a connection of its own");
    second.write(ok("hi").as_bytes());
    world.settle();
    assert!(stayer.read().ends_with("\r\n\r\nhi"));
}

#[test]
fn a_failure_never_reaches_the_next_owner_of_a_client_slot() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let leaver = world.client_with(GET);
    let (tag, _) = worker.head();
    leaver.peer.stall(true);
    worker.answer(tag, "hi");
    world.turn();
    // Send and receive fail in the turn that accepts the next client.
    leaver.peer.reset();
    let next = world.client();
    next.write(GET);
    *world.order.borrow_mut() = Some(|completion| match completion {
        Completion::Failed { operation: hostler_driver::Operation::Send, .. } => 0,
        Completion::Accepted { .. } => 1,
        _ => 2,
    });
    world.settle();
    let (tag, _) = worker.heads().remove(0);
    worker.answer(tag, "mine");
    world.settle();
    assert!(next.read().ends_with("\r\n\r\nmine"));
}

#[test]
fn late_frames_of_a_slot_s_former_owner_are_dropped() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let leaver = world.client_with(GET);
    let (old, _) = worker.head();
    leaver.peer.reset();
    world.settle();
    let next = world.client_with(GET);
    let (new, _) = worker.heads().remove(0);
    assert_eq!(new.stream, old.stream);
    assert_ne!(new.generation, old.generation);
    worker.answer(old, "secret");
    worker.put(FromWorker::Reset, old, "");
    world.settle();
    assert_eq!(next.read(), "");
    worker.answer(new, "mine");
    world.settle();
    assert!(next.read().ends_with("\r\n\r\nmine"));
}

#[test]
fn accepting_stops_at_the_limit_and_goes_on_below_it() {
    let mut world = World::new(|setup| setup.conns_max = 2);
    let mut worker = world.framed(1);
    let first = world.client_with("");
    let _second = world.client_with("");
    let third = world.client_with(GET);
    assert_eq!(world.shard.conns_open(), 2);
    assert!(worker.frames().is_empty());
    first.peer.close();
    world.settle();
    let (tag, _) = worker.head();
    worker.answer(tag, "at last");
    world.settle();
    assert!(third.read().ends_with("at last"));
}

#[test]
fn a_pause_for_want_of_descriptors_does_not_overrule_the_limit() {
    const EMFILE: i32 = 24;
    let mut world = World::new(|setup| setup.conns_max = 2);
    let _worker = world.framed(1);
    let _first = world.client_with("");
    world.net.fail_accept(hostler_driver::Key(0), EMFILE);
    let _second = world.client();
    world.settle();
    assert_eq!(world.shard.conns_open(), 1, "accepting is off");
    world.later(150);
    assert_eq!(world.shard.conns_open(), 2, "accepted after the pause");
    let third = world.client();
    world.later(150);
    assert!(!third.peer.is_closed(), "it waits in the kernel's queue");
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_place() {
    let mut world = World::new(|setup| {
        setup.worker_requests_max = Some(1);
        setup.queue_requests_max = 2;
    });
    let mut worker = world.framed(1);
    let busy = world.client_with(GET);
    let (tag, _) = worker.head();
    let leaver = world.client_with(GET);
    let stayer = world.client_with(GET);
    let refused = world.client_with(GET);
    assert!(refused.read().contains(" 503 "), "at once");
    leaver.peer.close();
    // FIN alone may be a half close; after a second it counts as leaving.
    world.later(1_100);
    let late = world.client_with(GET);
    worker.answer(tag, "1");
    world.settle();
    assert!(busy.read().ends_with('1'));
    let (tag, _) = worker.head();
    worker.answer(tag, "2");
    world.settle();
    assert!(stayer.read().ends_with('2'));
    let (tag, _) = worker.head();
    worker.answer(tag, "3");
    world.settle();
    assert!(late.read().ends_with('3'));
    for client in [busy, stayer, refused, late] {
        client.peer.close();
    }
    world.assert_no_leak(1);
}

#[test]
fn a_head_that_only_seems_to_fit_into_the_last_batch_buffer_is_not_lost() {
    // Large heads fill the open batch; the host of the last one is written twice more than it is in the head.
    let filler = |bytes| format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(bytes));
    let host = format!("GET http://{}/ HTTP/1.1\r\nHost: a\r\n\r\n", "h".repeat(512));
    for bytes in (14_000..16_200).step_by(50) {
        let mut world = World::new(|_| {});
        let mut worker = world.framed(1);
        let requests =
            [filler(15_900), filler(15_900), filler(15_900), filler(bytes), host.clone()];
        let clients = requests.each_ref().map(|request| {
            let (all_but_one, last) = request.split_at(request.len() - 1);
            (world.client_with(all_but_one), last)
        });
        let pool = world.shard.driver().pool().clone();
        let mut hoard: Vec<_> = std::iter::from_fn(|| pool.take(PoolClass::Batch)).collect();
        hoard.pop();
        clients.iter().for_each(|(client, last)| client.write(last));
        world.turn();
        drop(hoard);
        world.settle();
        let heads = worker.heads();
        let hosts = heads.iter().map(|(_, head)| head.fields[0].1.len()).max();
        assert_eq!((heads.len(), hosts), (5, Some(512)), "{bytes}");
    }
}

#[test]
fn idle_plain_connections_do_not_keep_other_workers_from_clients() {
    // Of two shards this one is home to the worker with the even number.
    let mut world = World::new(|setup| (setup.conns_max, setup.shards) = (2, 2));
    let first = world.plain(1);
    let clients = [world.client_with(GET), world.client_with(GET)];
    let workers = [first.accept().expect("one"), first.accept().expect("two")];
    workers.iter().for_each(|worker| _ = worker.write(ok("1").as_bytes()));
    world.settle();
    // Both slots are taken by idle connections to the first worker, and the next request goes to the second.
    let second = world.plain(2);
    clients[0].read();
    clients[0].write(GET);
    world.settle();
    let worker = second.accept().expect("a slot was made free");
    worker.write(ok("2").as_bytes());
    world.settle();
    assert!(clients[0].read().ends_with('2'));
}
