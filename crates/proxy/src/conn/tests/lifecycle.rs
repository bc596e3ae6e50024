//! Loss of workers, refusals, half closes, drains and the ways to the end.

use super::*;

const ID: &str = "X-Request-Id: 1\r\n";

#[test]
fn a_lost_request_is_repeated_once_if_nobody_can_have_seen_it() {
    for (method, unsent, again) in [
        ("GET", false, true),
        ("HEAD", false, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("POST", true, true),
    ] {
        for length in ["", "Content-Length: 0\r\n"] {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{length}\r\n");
            let mut world = World::in_exchange(&request, STREAM);
            let seen = world.step(Event::WorkerLost { unsent });
            if !again {
                assert_eq!(seen, ["cancel"], "{method} {unsent}");
                assert_eq!(status(&world.output()), 502);
                continue;
            }
            assert_eq!(seen, ["cancel", "dispatch"], "{method} {unsent}");
            assert_eq!(world.stats.retried, 1);
            // A request that never left may be given out a few more times: it does no harm.
            for _ in 0..if unsent { 3 } else { 0 } {
                assert_eq!(world.grant(PLAIN), ["head"]);
                assert_eq!(world.step(Event::WorkerLost { unsent }), ["cancel", "dispatch"]);
            }
            assert_eq!(world.grant(PLAIN), ["head"]);
            assert_eq!(world.step(Event::WorkerLost { unsent }), ["cancel"], "no more");
            assert_eq!(status(&world.output()), 502);
            assert_eq!(world.conn.phase(), Phase::Idle);
        }
    }
}

#[test]
fn who_was_in_killed_workers_is_repeated_more_than_once() {
    let mut world = World::in_exchange(GET, STREAM);
    for _ in 0..3 {
        world.conn.request.blameless = true;
        assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel", "dispatch"]);
        assert_eq!(world.grant(STREAM), ["head"]);
    }
    world.conn.request.blameless = true;
    assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"], "there is an end");
    assert_eq!(status(&world.output()), 502);

    let mut world = World::in_exchange(GET, STREAM);
    world.conn.request.blameless = true;
    world.step(Event::WorkerLost { unsent: false });
    world.grant(STREAM);
    // This worker ended by itself.
    assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"]);
}

#[test]
fn a_request_with_a_body_is_not_repeated() {
    let request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    for unsent in [false, true] {
        let mut world = World::in_exchange(request, STREAM);
        assert_eq!(world.step(Event::WorkerLost { unsent }), ["cancel"]);
        assert_eq!(status(&world.output()), 502);
    }
}

#[test]
fn a_request_is_not_repeated_once_the_client_has_seen_anything() {
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        world.worker("HTTP/1.1 103 Early Hints\r\n\r\n", ResponseEnd::Open);
        world.output();
        assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"]);
        assert_eq!(status(&world.output()), 502);
    }
}

#[test]
fn a_piece_of_a_head_is_forgotten_when_another_worker_is_asked() {
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        world.worker("HTTP/1.1 2", ResponseEnd::Open);
        assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel", "dispatch"]);
        world.grant(link);
        world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
        assert_eq!(status(&world.output()), 204);
    }
}

#[test]
fn a_worker_lost_behind_the_head_truncates() {
    for body in ["", "ab"] {
        let mut world = World::in_exchange(GET, STREAM);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}");
        world.worker(&head, ResponseEnd::Open);
        assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"]);
        let (out, wishes) = world.flush();
        assert_eq!((body_of(&out), wishes), (body, vec!["close".to_owned()]));
    }
}

#[test]
fn a_worker_lost_before_it_said_that_its_whole_answer_is_whole_harms_nobody() {
    for fields in ["Content-Length: 2\r\n\r\nhi", "Content-Length: 0\r\n\r\n"] {
        let mut world = World::in_exchange(GET, STREAM);
        world.worker(&format!("HTTP/1.1 200 OK\r\n{fields}"), ResponseEnd::Open);
        // The client knows where it ends, and asks on.
        world.receive(GET);
        assert_eq!(
            world.step(Event::WorkerLost { unsent: false }),
            ["cancel", "stream", "dispatch"]
        );
        assert_eq!(world.stats.failed, 0);
    }
}

#[test]
fn a_worker_lost_behind_its_answer_harms_only_the_upload() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab";
    let mut world = World::in_exchange(request, STREAM);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{ID}\r\nhi");
    world.worker(&answer, ResponseEnd::End);
    assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"]);
    assert_eq!(world.flush(), (answer, vec!["fin".into(), "stream".into()]));
}

#[test]
fn the_plain_connection_that_ends_before_an_answer_counts_as_lost() {
    let mut world = World::in_exchange(GET, PLAIN);
    assert_eq!(world.step(Event::WorkerEnded), ["cancel", "dispatch"]);
    let post = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut world = World::in_exchange(post, PLAIN);
    assert_eq!(world.step(Event::WorkerEnded), ["cancel"]);
    assert_eq!(status(&world.output()), 502);
}

#[test]
fn a_refused_request_leaves_the_connection_usable() {
    let mut world = World::new();
    world.receive(&GET.repeat(2));
    assert_eq!(
        world.step(Event::Refused(crate::respond::OwnAnswer::Overload)),
        ["stream", "dispatch"]
    );
    world.grant(STREAM);
    world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
    let out = world.output();
    assert_eq!(status(&out), 503);
    assert!(out.contains("\r\nRetry-After: ") && out.contains("HTTP/1.1 204"), "{out}");
}

#[test]
fn a_refused_body_ends_the_connection() {
    let mut world = World::new();
    world.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab");
    world.step(Event::Refused(crate::respond::OwnAnswer::Overload));
    let (out, wishes) = world.flush();
    assert!(out.contains("\r\nConnection: close\r\n"));
    assert_eq!((status(&out), wishes), (503, vec!["fin".into(), "stream".into()]));
}

#[test]
fn a_client_that_leaves_the_queue_is_forgotten() {
    let mut world = World::new();
    world.receive(GET);
    let seen = world.step(Event::Failed("ECONNRESET"));
    assert!(seen.contains(&"undispatch".into()), "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some("close"));
}

#[test]
fn fin_in_the_queue_leaves_a_moment_for_a_worker() {
    let mut world = World::new();
    world.receive(GET);
    assert_eq!(world.step(Event::ReceiveEnded), NOTHING);
    assert_eq!(world.deadline(999), NOTHING);
    assert_eq!(world.deadline(1), ["undispatch", "close"]);

    let mut world = World::new();
    world.receive(GET);
    world.step(Event::ReceiveEnded);
    assert_eq!(world.grant(STREAM), ["head", "half-close"]);

    // With a whole body in hand, and with half of one.
    for (length, wishes) in [
        (2, vec!["head", "body hi", "end", "stream", "half-close"]),
        // Nobody will ever have the rest, so the worker does not hear of it.
        (3, vec!["cancel", "close"]),
    ] {
        let mut world = World::new();
        world.receive(&format!(
            "{}hi",
            format_args!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
        ));
        world.step(Event::ReceiveEnded);
        assert_eq!(world.grant(STREAM), wishes, "{length}");
    }
}

#[test]
fn a_client_that_fails_cancels_its_request() {
    for link in BOTH {
        for why in ["ECONNRESET", ""] {
            let mut world = World::in_exchange(GET, link);
            assert_eq!(world.step(Event::Failed(why)), ["cancel", "close"]);
        }
    }
}

#[test]
fn a_half_closed_client_gets_the_answer_that_the_worker_gives() {
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        assert_eq!(world.step(Event::ReceiveEnded), ["half-close"]);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{ID}\r\nhi");
        let keep = if link == PLAIN { "cancel" } else { "reuse" };
        assert_eq!(world.worker(&answer, ResponseEnd::End), [keep], "no reuse behind a FIN");
        let (out, wishes) = world.flush();
        assert_eq!((body_of(&out), wishes), ("hi", vec!["close".to_owned()]));
    }
}

#[test]
fn a_half_close_does_not_truncate_what_is_on_its_way() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut world = World::in_exchange(request, STREAM);
    let body = "x".repeat(100_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n{ID}\r\n{body}");
    assert_eq!(world.worker(&answer, ResponseEnd::End), ["reuse"]);
    world.send();
    assert_eq!(world.conn.phase(), Phase::Closing);
    assert_eq!(world.step(Event::ReceiveEnded), NOTHING);
    let (first, _) = world.sent();
    let all = if world.closed { first } else { first + &world.output() };
    assert_eq!(body_of(&all).len(), body.len());
    assert!(world.closed);
}

#[test]
fn an_idle_client_that_ends_is_closed() {
    let mut world = World::new();
    assert_eq!(world.step(Event::ReceiveEnded), ["close"]);
    let mut world = World::new();
    world.receive("GET / HT");
    assert_eq!(world.step(Event::ReceiveEnded), ["close"]);
}

#[test]
fn a_drain_ends_every_phase_in_its_own_way() {
    // Idle: at once.
    let mut world = World::new();
    world.ending = Ending::Stopping;
    assert_eq!(world.step(Event::Drain), ["close"]);

    // Idle with an answer on its way: behind it.
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ResponseEnd::End);
    world.send();
    world.ending = Ending::Stopping;
    assert_eq!(world.step(Event::Drain), NOTHING);
    assert_eq!(world.sent().1, ["close"]);

    // Half a head, a queued request and an exchange are served, then the connection ends.
    for sent in ["GET / HTTP/1.1\r\n", GET] {
        let mut world = World::new();
        world.receive(sent);
        world.ending = Ending::Stopping;
        assert_eq!(world.step(Event::Drain), NOTHING);
        if world.conn.phase() == Phase::Head {
            world.receive("Host: a\r\n\r\n");
        }
        world.grant(STREAM);
        assert_eq!(world.step(Event::Drain), NOTHING);
        world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ResponseEnd::End);
        let (out, wishes) = world.flush();
        assert!(out.contains("\r\nConnection: close\r\n"), "{out}");
        assert_eq!(wishes, ["close"]);
    }

    // Behind the head nothing can be announced; the connection ends all the same.
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", ResponseEnd::Open);
    world.ending = Ending::Stopping;
    world.step(Event::Drain);
    world.worker("i", ResponseEnd::End);
    assert_eq!(world.flush().1, ["close"]);

    // A tunnel lives on until it is cut.
    let mut world = tunnel::open();
    world.ending = Ending::Stopping;
    assert_eq!(world.step(Event::Drain), NOTHING);
    assert_eq!(world.step(Event::Cut), ["cancel", "close"]);
}

#[test]
fn who_was_not_told_that_a_retiring_proxy_closes_may_ask_once_more() {
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", ResponseEnd::Open);
    world.ending = Ending::Retiring;
    world.worker("i", ResponseEnd::End);
    assert_eq!(world.flush().1, NOTHING);
    assert_eq!(world.conn.phase(), Phase::Idle);
    world.receive(GET);
    world.grant(STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ResponseEnd::End);
    let (out, wishes) = world.flush();
    assert!(out.contains("\r\nConnection: close\r\n"), "{out}");
    assert_eq!(wishes, ["close"]);
}

#[test]
fn a_pipelined_request_of_a_draining_connection_is_not_begun() {
    let mut world = World::in_exchange(&GET.repeat(2), STREAM);
    world.ending = Ending::Stopping;
    assert_eq!(world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End), ["reuse"]);
    let (out, wishes) = world.flush();
    assert!(out.contains("\r\nConnection: close\r\n"), "{out}");
    assert_eq!(wishes, ["fin", "stream"], "its bytes are unread: linger");
}

#[test]
fn a_cut_ends_every_phase_at_once() {
    for (mut world, wishes) in [
        (World::new(), &["close"][..]),
        (with("GET /"), &["close"]),
        (with(GET), &["undispatch", "close"]),
        (World::in_exchange(GET, PLAIN), &["cancel", "close"]),
        (with("nonsense\r\n\r\n"), &["close"]),
    ] {
        let phase = world.conn.phase();
        assert_eq!(world.step(Event::Cut), wishes, "{phase:?}");
        assert!(!world.send(), "nothing is left to send");
    }
}

fn with(bytes: &str) -> World {
    let mut world = World::new();
    world.receive(bytes);
    world
}

#[test]
fn late_events_of_a_worker_do_nothing() {
    let mut world = World::in_exchange(GET, STREAM);
    world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
    world.output();
    for event in [
        Event::WorkerEnded,
        Event::WorkerLost { unsent: true },
        Event::WorkerWindow(5),
        Event::BodySent,
        Event::SendProgress,
    ] {
        assert_eq!(world.step(event), NOTHING);
    }
    assert_eq!(world.worker("HTTP/1.1 200 OK\r\n\r\n", ResponseEnd::End), NOTHING);
    assert_eq!(world.output(), "");
    assert_eq!(world.receive(GET), ["dispatch"]);
}
