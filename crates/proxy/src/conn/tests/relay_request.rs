//! Request bodies: framing, the worker's window, trailers, broken ones.

use super::*;

const WINDOW: usize = hostler_protocol::worker::WINDOW_BYTES as usize;

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

fn chunked() -> String {
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into()
}

fn bodies(wishes: &[String]) -> String {
    wishes.iter().filter_map(|wish| wish.strip_prefix("body ")).collect()
}

#[test]
fn a_small_body_travels_with_its_head() {
    for link in BOTH {
        let mut world = World::new();
        world.receive(&format!("{}hello", post(5)));
        assert_eq!(world.grant(link), ["head", "body hello", "end", "stream"]);
    }
}

#[test]
fn a_body_of_no_bytes_is_complete_at_once() {
    for link in BOTH {
        let mut world = World::new();
        assert_eq!(world.receive(&post(0)), ["dispatch"]);
        assert_eq!(world.grant(link), ["head"], "NO_BODY says the rest");
        let answer = "HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(world.worker(answer, ResponseEnd::End), ["reuse"]);
    }
}

#[test]
fn one_buffer_at_a_time_is_read_from_the_client() {
    for link in BOTH {
        let mut world = World::new();
        world.receive(&format!("{}ab", post(7)));
        assert_eq!(world.grant(link), ["head", "body ab", "pause"]);
        assert_eq!(world.step(Event::BodySent), ["once body"]);
        assert_eq!(world.receive("cd"), ["body cd", "pause"]);
        assert_eq!(world.step(Event::BodySent), ["once body"]);
        assert_eq!(world.receive("efg"), ["body efg", "end", "stream"]);
    }
}

#[test]
fn bytes_behind_the_body_are_the_next_request() {
    let mut world = World::new();
    world.receive(&post(3));
    assert_eq!(world.grant(STREAM), ["head", "once body"]);
    assert_eq!(world.receive(&format!("abc{GET}")), ["body abc", "end"]);
    assert_eq!(
        world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End),
        ["reuse", "stream", "dispatch"]
    );
}

#[test]
fn the_window_of_a_length_body_is_never_exceeded() {
    let mut world = World::new();
    world.receive(&post(WINDOW + 10));
    world.grant(STREAM);
    let seen = world.receive(&"x".repeat(WINDOW + 4));
    assert_eq!(bodies(&seen).len(), WINDOW);
    assert_eq!(seen.last().map(String::as_str), Some("pause"));
    assert_eq!(world.step(Event::BodySent), ["pause"], "no credit, no bytes");
    // The silence is the worker's, not the client's.
    assert_eq!(world.conn.deadline_ms(&world.settings), world.now.ms + 60_000);
    assert_eq!(world.step(Event::WorkerWindow(3)), ["body xxx", "pause"]);
    let seen = world.step(Event::WorkerWindow(WINDOW as u32 / 4));
    assert_eq!(seen, ["body x", "pause"]);
    assert_eq!(world.step(Event::BodySent), ["once body"]);
    assert_eq!(world.receive("yyyyyy"), ["body yyyyyy", "end", "stream"]);
}

#[test]
fn the_plain_path_gets_new_room_whenever_its_socket_took_all() {
    let mut world = World::new();
    world.receive(&post(3 * WINDOW));
    world.grant(PLAIN);
    for _ in 0..2 {
        assert_eq!(bodies(&world.receive(&"x".repeat(WINDOW))).len(), WINDOW);
        assert_eq!(world.step(Event::BodySent), ["once body"]);
    }
    let seen = world.receive(&"x".repeat(WINDOW));
    assert_eq!(seen[1..], ["end", "stream"]);
}

#[test]
fn chunks_are_decoded_and_trailers_passed_on() {
    let body = "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\nHost: evil\r\nB:\r\n\r\n";
    for link in BOTH {
        let mut world = World::new();
        world.receive(&format!("{}{body}", chunked()));
        let seen = world.grant(link);
        assert_eq!(seen, ["head", "body abc", "body defg", "end X-Sum|7|B||", "stream"]);
    }
}

#[test]
fn very_many_chunks_at_once_do_not_cost_a_frame_each() {
    let mut world = World::in_exchange(&chunked(), STREAM);
    let seen = world.receive(&format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(2_000)));
    assert_eq!(bodies(&seen).len(), 2_000);
    let frames = seen.iter().filter(|wish| wish.starts_with("body"));
    assert_eq!(frames.count(), 1_024 + 1, "the ones that stay alone, and the rest");
}

#[test]
fn no_cut_of_a_chunked_body_changes_what_comes_out() {
    let body = "3\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 7\r\n\r\nGET / HTTP/1.1\r\n";
    for first in 0..body.len() {
        for second in first..body.len() {
            let mut world = World::in_exchange(&chunked(), STREAM);
            let mut seen = Vec::new();
            for piece in [&body[..first], &body[first..second], &body[second..]] {
                if !piece.is_empty() {
                    seen.extend(world.receive(piece));
                    seen.extend(world.step(Event::BodySent));
                }
            }
            assert_eq!(bodies(&seen), "abcd", "cuts {first} and {second}: {seen:?}");
            let ends: Vec<_> = seen.iter().filter(|wish| wish.starts_with("end")).collect();
            assert_eq!(ends, ["end X-Sum|7|"], "cuts {first} and {second}");
            world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
            assert_eq!(world.conn.phase(), Phase::Head, "the next request has begun");
        }
    }
}

#[test]
fn gathered_chunks_do_not_exceed_the_window() {
    let mut world = World::new();
    world.receive(&chunked());
    world.grant(STREAM);
    // Leave a window of 100 bytes ...
    let first = WINDOW - 100;
    let seen = world.receive(&format!("{first:x}\r\n{}\r\n", "x".repeat(first)));
    assert_eq!(bodies(&seen).len(), first);
    world.step(Event::BodySent);
    // ... and offer more small chunks than stay alone, a byte each.
    let seen = world.receive(&format!("{}0\r\n\r\n", "1\r\ny\r\n".repeat(2_000)));
    assert!(bodies(&seen).len() <= 100, "{} bytes", bodies(&seen).len());
    let before = bodies(&seen).len();
    let seen = world.step(Event::WorkerWindow(1_200));
    assert!(bodies(&seen).len() <= 1_200, "{} bytes", bodies(&seen).len());
    let before = before + bodies(&seen).len();
    let seen = world.step(Event::WorkerWindow(WINDOW as u32));
    assert_eq!(before + bodies(&seen).len(), 2_000);
    assert_eq!(seen[seen.len() - 2..], ["end", "stream"]);
}

#[test]
fn a_trailer_longer_than_the_window_waits_for_credit() {
    let mut world = World::new();
    world.receive(&chunked());
    world.grant(STREAM);
    let size = WINDOW - 5;
    world.receive(&format!("{size:x}\r\n{}\r\n", "x".repeat(size)));
    world.step(Event::BodySent);
    let seen = world.receive("0\r\nX-Long-Name: value\r\n\r\n");
    assert_eq!(seen, ["pause"]);
    let seen = world.step(Event::WorkerWindow(WINDOW as u32));
    assert_eq!(seen, ["end X-Long-Name|value|", "stream"]);
}

#[test]
fn a_worker_that_takes_nothing_holds_the_client_back() {
    for link in BOTH {
        let mut world = World::new();
        world.receive(&format!("{}{}", post(1_000_000), "x".repeat(100)));
        let mut seen = world.grant(link);
        // Deliveries that were on their way when the stream was turned off.
        seen.extend(world.receive(&"x".repeat(2_000)));
        assert_eq!(seen.last().map(String::as_str), Some("pause"));
        assert!(!seen.iter().any(|wish| wish == "once body" || wish == "stream"), "{seen:?}");
    }
}

#[test]
fn broken_chunks_are_refused_and_never_reach_the_next_request() {
    for bad in ["x\r\n", "3\nabc\r\n", "3\r\nabcd\r\n", "0\r\nBad Name: 1\r\n\r\n", "-1\r\n"] {
        let mut world = World::new();
        world.receive(&format!("{}{bad}{GET}", chunked()));
        let seen = world.grant(STREAM);
        assert_eq!(seen, ["cancel"], "the worker never hears of it: {bad:?}");
        let (out, wishes) = world.flush();
        assert_eq!((status(&out), wishes), (400, vec!["fin".into(), "stream".into()]), "{bad:?}");
    }
}

#[test]
fn broken_chunks_behind_the_answer_s_head_cut_the_answer_short() {
    let mut world = World::in_exchange(&chunked(), STREAM);
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", ResponseEnd::Open);
    assert_eq!(world.receive("zz\r\n"), ["cancel"]);
    let (out, wishes) = world.flush();
    assert!(
        out.ends_with("\r\n\r\nab"),
        "answers of earlier requests would be in there too: {out}"
    );
    assert_eq!(wishes, ["fin", "stream"]);
}

#[test]
fn a_chunked_body_beyond_the_limit_is_413() {
    let mut world = World::in_exchange(&chunked(), STREAM);
    let chunk = format!("{:x}\r\n{}\r\n", 200_000, "x".repeat(200_000));
    for _ in 0..5 {
        world.receive(&chunk);
        world.step(Event::BodySent);
        world.step(Event::WorkerWindow(200_000));
    }
    let seen = world.receive("1\r\ny\r\n");
    assert!(seen.contains(&"cancel".to_owned()), "{seen:?}");
    assert_eq!(status(&world.output()), 413);
}

#[test]
fn an_early_answer_lets_the_body_go_on() {
    for link in BOTH {
        let mut world = World::new();
        world.receive(&format!("{}ab", post(4)));
        world.grant(link);
        world.step(Event::BodySent);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(world.worker(answer, ResponseEnd::End), NOTHING);
        assert!(world.output().ends_with("hi"));
        assert_eq!(world.conn.phase(), Phase::Exchange);
        assert_eq!(
            world.receive(&format!("cd{GET}")),
            ["body cd", "end", "reuse", "stream", "dispatch"]
        );
    }
}

#[test]
fn an_early_answer_that_closes_lingers() {
    let mut world = World::new();
    world.receive(&format!("{}ab", post(4_000)));
    world.grant(STREAM);
    let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(world.worker(answer, ResponseEnd::EndClose), ["cancel"]);
    assert_eq!(world.flush().1, ["fin", "stream"]);
    assert_eq!(world.receive(&"x".repeat(100)), NOTHING);
    assert_eq!(world.receive(&"x".repeat(300_000)), ["close"], "enough is enough");
}

#[test]
fn a_client_that_ends_within_its_body_is_gone() {
    for (request, part) in [(post(5), "ab"), (chunked(), "5\r\nab")] {
        let mut world = World::new();
        world.receive(&format!("{request}{part}"));
        world.grant(STREAM);
        assert_eq!(world.step(Event::ReceiveEnded), ["cancel", "close"], "no end frame");
    }
}

#[test]
fn the_end_of_a_client_does_not_take_back_a_whole_early_answer() {
    let mut world = World::new();
    world.receive(&format!("{}ab", post(4)));
    world.grant(STREAM);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: 1\r\n\r\nhi";
    world.worker(answer, ResponseEnd::End);
    assert_eq!(world.step(Event::ReceiveEnded), ["cancel"]);
    assert_eq!(world.flush(), (answer.into(), vec!["close".into()]));
}

#[test]
fn a_continue_reaches_the_client_before_its_body_is_read() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    for link in BOTH {
        let mut world = World::new();
        world.receive(head);
        assert_eq!(world.grant(link), ["head", "once body"]);
        world.worker("HTTP/1.1 100 Continue\r\n\r\n", ResponseEnd::Open);
        assert_eq!(world.output(), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(world.receive("hi"), ["body hi", "end", "stream"]);
        world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
        assert_eq!(status(&world.output()), 204);
        assert_eq!(world.conn.phase(), Phase::Idle);
    }
}
