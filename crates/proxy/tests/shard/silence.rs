//! Workers whose event loops stand still.

use hostler_protocol::worker::StreamTag;
use hostler_proxy::ShardEvent;

use crate::world::{Framed, GET, World, ok};

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn tags(worker: &mut Framed) -> Vec<StreamTag> {
    worker.heads().into_iter().map(|(tag, _)| tag).collect()
}

#[test]
fn new_requests_avoid_a_silent_worker_at_its_first_missed_beats() {
    let mut world = World::new(|_| {});
    let mut first = world.framed(1);
    let _held = world.client_with(GET);
    assert_eq!(tags(&mut first).len(), 1);
    world.block(1);
    let mut second = world.framed(2);
    world.later(400);
    let _others: Vec<_> = (0..3).map(|_| world.client_with(GET)).collect();
    assert_eq!((tags(&mut first).len(), tags(&mut second).len()), (0, 3));
    assert_eq!(world.bad_news(), []);
}

#[test]
fn while_all_are_silent_requests_wait_and_the_first_word_lets_them_in() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let held = world.client_with(GET);
    let tag = tags(&mut worker)[0];
    world.block(1);
    world.later(400);
    let waiting = world.client_with(GET);
    world.later(3_000);
    assert_eq!((tags(&mut worker).len(), waiting.read().as_str()), (0, ""));
    worker.answer(tag, "late");
    world.settle();
    assert!(held.read().ends_with("late"));
    let tag = tags(&mut worker)[0];
    worker.answer(tag, "waited");
    world.settle();
    assert!(waiting.read().ends_with("waited"));
}

#[test]
fn a_request_that_waits_for_silent_workers_in_vain_is_told_so() {
    let mut world = World::new(|setup| setup.queue_ms_max = 1_000);
    let _worker = world.framed(1);
    world.block(1);
    world.later(1_300);
    let waiting = world.client_with(GET);
    world.later(1_000);
    assert!(waiting.read().contains("X-Hostler-Error: no-worker\r\n"));
}

#[test]
fn nobody_waits_for_a_worker_that_hangs() {
    let mut world = World::new(|_| {});
    let mut worker = world.framed(1);
    let unanswered = world.client_with(GET);
    let answered = world.client_with(GET);
    let socket = world.client_with(UPGRADE);
    let heads = tags(&mut worker);
    worker.put(
        hostler_protocol::worker::FromWorker::Data,
        heads[1],
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    );
    world.later(100);
    assert!(answered.read().ends_with("half"));
    world.block(1);
    world.later(9_900);
    assert_eq!((unanswered.read().as_str(), world.bad_news().len()), ("", 0));
    world.later(200);
    let answer = unanswered.read();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("X-Hostler-Error: worker-hangs\r\n"), "{answer}");
    assert!(!unanswered.peer.is_closed() && answered.peer.is_closed());
    let answer = socket.read();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let news = world.bad_news();
    let [ShardEvent::WorkerSilent { worker: 1, silent_ms, in_flight: 3 }] = news[..] else {
        panic!("{news:?}")
    };
    assert!((10_000..10_200).contains(&silent_ms), "{silent_ms}");
    assert_eq!(world.shard.status().in_flight, 0);
    // It comes back before it is replaced: what it says about the old requests is late, and it serves on.
    worker.answer(heads[0], "too late");
    world.unblock(1, &worker);
    world.later(100);
    assert_eq!(unanswered.read(), "");
    assert!(matches!(world.bad_news()[1..], [ShardEvent::WorkerBack { worker: 1 }]));
    unanswered.write(GET);
    world.settle();
    let tag = tags(&mut worker)[0];
    worker.answer(tag, "again");
    world.settle();
    assert!(unanswered.read().ends_with("again"));
    world.block(1);
    world.later(12_000);
    assert!(matches!(world.bad_news()[2..], [ShardEvent::WorkerSilent { worker: 1, .. }]));
}

#[test]
fn an_idle_worker_hangs_too_and_one_whose_server_is_closed_does_not() {
    let mut world = World::new(|_| {});
    let _idle = world.framed(1);
    let closed = world.framed(2);
    closed.unlisten();
    world.settle();
    world.block(1);
    world.block(2);
    world.later(12_000);
    let news = world.bad_news();
    assert!(
        matches!(news[..], [ShardEvent::WorkerSilent { worker: 1, in_flight: 0, .. }]),
        "{news:?}"
    );
}

#[test]
fn who_may_be_silent_for_ever_is_never_told_of() {
    let mut world = World::new(|setup| setup.hang_ms_max = None);
    let _worker = world.framed(1);
    world.block(1);
    world.later(50_000);
    assert_eq!(world.bad_news(), []);
}

#[test]
fn a_proxy_that_slept_itself_blames_nobody() {
    let mut world = World::new(|_| {});
    let worker = world.framed(1);
    world.now_ms += 30_000;
    world.turn();
    worker.put(
        hostler_protocol::worker::FromWorker::End,
        StreamTag { stream: 9, generation: 0 },
        &ok(""),
    );
    world.later(5_000);
    assert_eq!(world.bad_news(), []);
}

#[test]
fn a_request_that_times_out_in_silence_tells_of_it_at_once() {
    let mut world = World::new(|setup| setup.answer_ms_max = Some(3_000));
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let other = world.client_with(GET);
    assert_eq!(tags(&mut worker).len(), 2);
    world.block(1);
    // One that waits for a database is no news; but this loop stands still.
    world.later(3_200);
    for client in [&client, &other] {
        let answer = client.read();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
    let news = world.bad_news();
    assert!(matches!(news[..], [ShardEvent::WorkerSilent { worker: 1, .. }]), "{news:?}");
}

#[test]
fn a_request_that_times_out_at_a_turning_loop_is_cancelled_and_no_more() {
    let mut world = World::new(|setup| setup.answer_ms_max = Some(3_000));
    let mut worker = world.framed(1);
    let client = world.client_with(GET);
    let tag = tags(&mut worker)[0];
    world.later(3_200);
    assert!(client.read().contains("X-Hostler-Error: request-timeout\r\n"));
    let close = worker.frames().into_iter().any(|frame| {
        frame.tag == tag && matches!(frame.body, hostler_protocol::worker::peer::PeerBody::Close(_))
    });
    assert!(close, "the app sees its client leave");
    assert_eq!(world.bad_news(), []);
}
