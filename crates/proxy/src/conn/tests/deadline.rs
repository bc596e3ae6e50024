//! Every wait has an end.

use super::*;

#[test]
fn an_idle_connection_ends_silently() {
    let mut world = World::new();
    assert_eq!(world.deadline(74_999), NOTHING);
    assert_eq!(world.deadline(1), ["close"]);
    assert!(!world.send(), "no 408 for a client that asked nothing");
}

#[test]
fn half_a_head_is_a_408_however_slowly_it_drips() {
    let mut world = World::new();
    for byte in 0..10 {
        world.receive(&GET[byte..=byte]);
        assert_eq!(world.deadline(999), NOTHING);
    }
    assert_eq!(world.deadline(10), NOTHING, "the answer comes first");
    let (out, wishes) = world.flush();
    assert_eq!((status(&out), wishes), (408, vec!["fin".into(), "stream".into()]));
    assert_eq!(world.deadline(2_000), ["close"], "lingering has an end too");
}

#[test]
fn reading_an_old_answer_slowly_gives_no_time_for_a_new_head() {
    let mut world = World::in_exchange(GET, STREAM);
    let body = "x".repeat(10_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{body}");
    world.worker(&answer, ResponseEnd::End);
    world.send();
    world.receive("GET");
    for _ in 0..9 {
        world.now.ms += 1_000;
        world.step(Event::SendProgress);
    }
    world.sent();
    assert_eq!(world.deadline(1_000), NOTHING);
    assert_eq!(status(&world.output()), 408);
}

#[test]
fn the_queue_is_a_503() {
    let mut world = World::new();
    world.receive(GET);
    // The queue's own time and that of a start: which of them counts is known to the queue, which ends the wait before this.
    assert_eq!(world.deadline(5_000 + 61_999), NOTHING);
    assert_eq!(world.deadline(1), ["undispatch"]);
    let out = world.output();
    assert_eq!(status(&out), 503);
    assert!(out.contains("\r\nRetry-After: "));
    assert_eq!(world.conn.phase(), Phase::Idle);
}

#[test]
fn a_silent_worker_is_a_504() {
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        assert_eq!(world.deadline(59_999), NOTHING);
        assert_eq!(world.deadline(1), ["cancel"]);
        assert_eq!(status(&world.output()), 504);
        assert_eq!(world.conn.phase(), Phase::Idle, "the next request may come");
    }
}

#[test]
fn a_worker_silent_within_its_answer_is_cut() {
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", ResponseEnd::Open);
    world.output();
    assert_eq!(world.deadline(59_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel", "close"]);
}

#[test]
fn any_byte_of_the_worker_gives_new_time() {
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ResponseEnd::Open);
    world.output();
    for _ in 0..8 {
        assert_eq!(world.deadline(59_000), NOTHING);
        world.worker("x", ResponseEnd::Open);
        world.output();
    }
    assert_eq!(world.worker("x", ResponseEnd::End), ["reuse"]);
}

#[test]
fn a_silent_uploader_is_a_408_or_cut() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab";
    let mut world = World::in_exchange(request, STREAM);
    world.step(Event::BodySent);
    assert_eq!(world.deadline(29_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel"]);
    assert_eq!(status(&world.output()), 408);

    let mut world = World::in_exchange(request, STREAM);
    world.step(Event::BodySent);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", ResponseEnd::Open);
    world.output();
    assert_eq!(world.deadline(30_000), ["cancel", "close"]);
}

#[test]
fn a_worker_that_takes_no_body_is_the_silent_one() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab";
    let mut world = World::in_exchange(request, STREAM);
    assert_eq!(world.deadline(30_000), NOTHING, "its bytes are still in our hands");
    assert_eq!(world.deadline(30_000), ["cancel"]);
    assert_eq!(status(&world.output()), 504);
}

#[test]
fn a_slow_reader_is_cut_when_it_takes_nothing() {
    for closing in [false, true] {
        let mut world = World::in_exchange(GET, STREAM);
        let end = if closing { ResponseEnd::EndClose } else { ResponseEnd::Open };
        let length = if closing { 2_000 } else { 9_000 };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        world.worker(&format!("{head}{}", "x".repeat(2_000)), end);
        world.send();
        for _ in 0..3 {
            assert_eq!(world.deadline(29_999), NOTHING);
            world.step(Event::SendProgress);
        }
        let cut: &[&str] = if closing { &["close"] } else { &["cancel", "close"] };
        assert_eq!(world.deadline(30_000), cut);
    }
}

#[test]
fn an_idle_tunnel_ends() {
    let mut world = tunnel::open();
    assert_eq!(world.deadline(3_599_999), NOTHING);
    world.receive("ping");
    assert_eq!(world.deadline(3_599_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel", "close"]);
}

#[test]
fn the_deadline_is_always_in_the_future_or_the_connection_moves_on() {
    // The wheel fires a connection again and again within one turn while its deadline has passed.
    let worlds: [fn() -> World; 5] = [
        World::new,
        || {
            let mut world = World::new();
            world.receive("GET /");
            world
        },
        || {
            let mut world = World::new();
            world.receive(GET);
            world
        },
        || World::in_exchange(GET, STREAM),
        tunnel::open,
    ];
    for make in worlds {
        let mut world = make();
        world.deadline(10_000_000);
        assert!(world.closed || world.conn.deadline_ms(&world.settings) > world.now.ms);
    }
}

#[test]
fn a_whole_request_has_a_time_where_the_app_says_so() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    for answered in [false, true] {
        let mut world = World::new();
        world.settings.request_ms_max = 20_000;
        world.receive(&post[..10]);
        world.now.ms += 5_000;
        world.receive(&post[10..]);
        world.grant(STREAM);
        for _ in 0..14 {
            assert_eq!(world.deadline(1_000), NOTHING);
            world.receive("x");
            world.step(Event::BodySent);
        }
        if answered {
            world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", ResponseEnd::Open);
            world.flush();
        }
        let seen = world.deadline(1_000);
        match answered {
            false => assert_eq!(status(&world.output()), 408),
            true => assert_eq!(seen, ["cancel", "close"]),
        }
    }
    // A request that is here has no such deadline.
    let mut world = World::in_exchange(GET, STREAM);
    world.settings.request_ms_max = 1_000;
    assert_eq!(world.deadline(59_999), NOTHING);
}

#[test]
fn a_connection_that_asked_nothing_yet_is_not_held_to_a_short_idle_time() {
    let mut world = World::new();
    world.settings.idle_ms_max = 1_000;
    assert_eq!(world.deadline(9_999), NOTHING);
    world.receive(GET);
    world.grant(STREAM);
    world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
    world.flush();
    assert_eq!(world.deadline(999), NOTHING);
    assert_eq!(world.deadline(1), ["close"]);
}

#[test]
fn a_request_has_its_time_until_the_answers_head_is_here() {
    for link in BOTH {
        let mut world = World::new();
        world.settings.answer_ms_max = 3_000;
        world.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
        world.now.ms += 1_000;
        world.step(Event::Granted(link));
        world.now.ms += 1_000;
        world.receive("hi");
        world.worker("HTTP/1.1 102 Processing\r\n\r\n", ResponseEnd::Open);
        world.flush();
        assert_eq!(world.deadline(999), NOTHING, "the queue counts, progress does not");
        assert_eq!(world.deadline(1), ["timed out", "cancel"]);
        let out = world.output();
        assert_eq!(status(&out), 504);
        assert!(out.contains("X-Hostler-Error: request-timeout\r\n"), "{out}");
        assert_eq!(world.conn.phase(), Phase::Idle);
    }
}

#[test]
fn a_stream_whose_head_is_out_goes_on() {
    let mut world = World::in_exchange(GET, STREAM);
    world.settings.answer_ms_max = 3_000;
    world.worker("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseEnd::Open);
    world.flush();
    assert_eq!(world.deadline(50_000), NOTHING);
}

#[test]
fn time_that_was_spent_in_the_queue_alone_is_a_503() {
    let mut world = World::new();
    world.settings.answer_ms_max = 3_000;
    world.receive(GET);
    assert_eq!(world.deadline(2_999), NOTHING);
    assert_eq!(world.deadline(1), ["undispatch"]);
    assert_eq!(status(&world.output()), 503);
}
