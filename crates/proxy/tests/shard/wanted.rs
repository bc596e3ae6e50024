//! Requests that find no worker: who is asked, how often, and what they are told.

use hostler_protocol::control::{StartProblem, Transport};
use hostler_proxy::{ShardCommand, ShardEvent};

use crate::world::{GET, World};

impl World {
    fn asked(&self) -> usize {
        let events = self.events.borrow();
        events.iter().filter(|event| matches!(event, ShardEvent::WorkerWanted)).count()
    }
}

fn world() -> World {
    World::new(|setup| {
        setup.queue_ms_max = 1_000;
        setup.start_ms_max = 10_000;
        setup.queue_requests_max = 3;
    })
}

fn failed(problem: StartProblem) -> ShardCommand {
    ShardCommand::StartFailed { problem, retry_ms: 400 }
}

#[test]
fn the_first_request_asks_once_and_is_served_by_who_comes() {
    let mut world = world();
    assert_eq!(world.asked(), 0, "nobody asks for nobody");
    let clients = [world.client_with(GET), world.client_with(GET)];
    assert_eq!(world.asked(), 1);
    world.command(ShardCommand::WorkersStarting);
    world.later(9_000);
    let mut worker = world.framed(1);
    for (tag, _) in worker.heads() {
        worker.answer(tag, "x");
    }
    world.settle();
    assert!(clients.iter().all(|client| client.read().starts_with("HTTP/1.1 200 ")));
    assert_eq!(world.asked(), 1);
    // It dies: that is a new want, as soon as somebody comes.
    world.command(ShardCommand::WorkerGone { worker: 1 });
    assert_eq!(world.asked(), 1);
    let _waiting = world.client_with(GET);
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_start_may_take_its_time_and_then_the_queue_has_its_own() {
    let mut world = world();
    let waiting = world.client_with(GET);
    world.command(ShardCommand::WorkersStarting);
    world.later(9_500);
    let late = world.client_with(GET);
    world.later(2_499);
    assert_eq!((waiting.read(), late.read()), (String::new(), String::new()));
    world.later(1);
    for client in [&waiting, &late] {
        assert!(client.read().contains("X-Hostler-Error: no-worker\r\n"), "never longer than that");
    }
    // Announced, but not reached yet: from now on it is a wait as any other.
    let mut world = self::world();
    let waiting = world.client_with(GET);
    world.command(ShardCommand::WorkersStarting);
    world.later(5_000);
    world.announce(1, Transport::Frames);
    world.later(999);
    assert_eq!(waiting.read(), "");
    world.later(1);
    assert!(waiting.read().starts_with("HTTP/1.1 503 "));
}

#[test]
fn without_a_start_the_wait_is_that_of_the_queue() {
    let mut world = world();
    let waiting = world.client_with(GET);
    world.later(999);
    assert_eq!(waiting.read(), "");
    world.later(1);
    assert!(waiting.read().contains("X-Hostler-Error: no-worker\r\n"));
}

#[test]
fn a_failed_start_is_told_at_once_and_for_a_while() {
    for (problem, word) in
        [(StartProblem::Died, "start-failed"), (StartProblem::TimedOut, "start-timeout")]
    {
        let word = format!("X-Hostler-Error: {word}\r\n");
        let mut world = world();
        let clients = [world.client_with(GET), world.client_with(GET)];
        world.command(ShardCommand::WorkersStarting);
        world.command(failed(problem));
        for client in &clients {
            let answer = client.read();
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(&word), "{answer}");
            assert!(answer.contains("\r\nRetry-After: "), "{answer}");
        }
        world.later(399);
        assert!(world.client_with(GET).read().contains(&word), "nobody tries again yet");
        assert_eq!(world.asked(), 1);
        world.later(1);
        let waiting = world.client_with(GET);
        assert_eq!((waiting.read(), world.asked()), (String::new(), 2));
        let mut worker = world.framed(1);
        let (tag, _) = worker.head();
        worker.answer(tag, "x");
        world.settle();
        assert!(waiting.read().starts_with("HTTP/1.1 200 "));
    }
}

/// Who waited when the last worker was put to sleep has nobody else to speak for it.
#[test]
fn a_drain_of_the_last_worker_asks_for_those_in_the_queue() {
    let mut world = World::new(|setup| setup.worker_requests_max = Some(1));
    let mut worker = world.framed(1);
    let (served, waiting) = (world.client_with(GET), world.client_with(GET));
    let (tag, _) = worker.head();
    assert_eq!(world.asked(), 0);
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 1 });
    assert_eq!(world.asked(), 1);
    worker.answer(tag, "x");
    world.settle();
    assert!(served.read().starts_with("HTTP/1.1 200 "));
    world.command(ShardCommand::WorkerResume { worker: 1 });
    let (tag, _) = worker.head();
    worker.answer(tag, "y");
    world.settle();
    assert!(waiting.read().starts_with("HTTP/1.1 200 "));
    // Once more, and the answer to the question is that all sleep: it is asked again.
    world.command(ShardCommand::WorkerDrain { worker: 1, drain: 2 });
    let _waiting = world.client_with(GET);
    assert_eq!(world.asked(), 2);
    world.command(ShardCommand::Asleep);
    assert_eq!(world.asked(), 3);
}

#[test]
fn a_queue_without_room_wakes_too_and_a_drain_asks_nobody() {
    let mut world = World::new(|setup| setup.queue_requests_max = 0);
    assert!(world.client_with(GET).read().contains("X-Hostler-Error: no-worker\r\n"));
    assert_eq!(world.asked(), 1);
    let mut world = self::world();
    let client = world.client_with(GET);
    world.command(ShardCommand::WorkersStarting);
    world.command(ShardCommand::Drain { deadline_ms: 5_000 });
    assert!(client.read().contains("X-Hostler-Error: draining\r\n"), "none will come any more");
    assert_eq!(world.asked(), 1);
}
