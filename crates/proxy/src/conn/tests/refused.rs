//! Refused requests of an app that answers client errors itself.

use super::*;
use crate::forward::REFUSAL_RETURNED;
use crate::respond::OwnAnswer;

const BAD: &str = "GET / HTTP/1.1\r\nA b: c\r\n\r\n";
const OWN: &str = "HTTP/1.1 422 Own\r\n\r\n";

fn listening() -> World {
    let mut world = World::new();
    world.settings.client_error = true;
    world
}

/// The app has the bytes.
fn asked() -> World {
    let mut world = listening();
    assert_eq!(world.receive(BAD), ["pause", "dispatch"]);
    assert_eq!(world.conn.phase(), Phase::Queued);
    assert_eq!(world.grant(PLAIN), ["head", "pause", &format!("body {BAD}")]);
    assert_eq!(world.conn.phase(), Phase::Tunnel);
    world
}

#[test]
fn the_app_answers_and_the_connection_ends_with_it() {
    let mut world = asked();
    assert_eq!(world.step(Event::BodySent), ["once Head"]);
    assert_eq!(world.receive("more"), ["pause", "body more"]);
    assert_eq!(world.worker(OWN, ResponseEnd::Open), NOTHING);
    assert_eq!(world.conn.request.refusal, Refusal::Answered);
    assert_eq!(world.flush(), (OWN.into(), vec!["credit 0".into()]));
    // The client may still be sending, and is to read the answer.
    assert_eq!(world.step(Event::WorkerEnded), ["cancel", "fin", "stream"]);
    assert_eq!((world.stats.requests, world.stats.refused), (1, 0));
    assert_eq!(world.conn.request.status, 422);
}

#[test]
fn what_node_would_take_is_ours_to_answer() {
    let mut world = asked();
    let returned = std::str::from_utf8(REFUSAL_RETURNED).expect("ASCII");
    assert_eq!(world.worker(returned, ResponseEnd::Open), ["cancel"]);
    let out = world.output();
    assert_eq!(status(&out), 400);
    assert!(!out.contains("HOSTLER"), "{out}");
    assert_eq!((world.stats.requests, world.stats.refused), (1, 1));
}

#[test]
fn an_app_that_cannot_be_reached_or_says_nothing_leaves_the_answer_to_us() {
    let mut world = listening();
    world.receive(BAD);
    let answer = OwnAnswer::BadRequest { status: 400, why: "x" };
    assert_eq!(world.step(Event::Refused(answer)), NOTHING);
    let (out, wishes) = world.flush();
    assert_eq!((status(&out), wishes), (400, vec!["fin".into(), "stream".into()]));

    for unsent in [true, false] {
        let mut world = asked();
        assert_eq!(world.step(Event::WorkerLost { unsent }), ["cancel"]);
        assert_eq!(status(&world.output()), 400);
    }

    let mut world = asked();
    assert_eq!(world.deadline(59_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel"]);
    assert_eq!(status(&world.output()), 400);
}

#[test]
fn the_word_that_gives_it_back_may_come_in_pieces() {
    let mut world = asked();
    for byte in ["H", "OST"] {
        assert_eq!(world.worker(byte, ResponseEnd::Open), ["credit 0"]);
    }
    assert_eq!(world.worker("LER\n", ResponseEnd::Open), ["cancel"]);
    assert_eq!(status(&world.output()), 400);

    let mut world = asked();
    world.worker("HOST", ResponseEnd::Open);
    assert_eq!(world.step(Event::WorkerEnded), ["cancel"]);
    assert_eq!(status(&world.output()), 400);

    // An app may write anything.
    let mut world = asked();
    world.worker("HO", ResponseEnd::Open);
    world.worker("HO HO", ResponseEnd::Open);
    assert_eq!(world.output(), "HOHO HO");
}

#[test]
fn a_client_that_sends_on_gives_the_app_no_more_time() {
    let mut world = asked();
    for _ in 0..59 {
        assert_eq!(world.deadline(1_000), NOTHING);
        world.receive("x");
        world.step(Event::BodySent);
    }
    assert_eq!(world.deadline(1_000), ["cancel"]);
    assert_eq!(status(&world.output()), 400);
}

#[test]
fn the_app_may_close_without_a_word() {
    let mut world = asked();
    assert_eq!(world.step(Event::WorkerEnded), ["cancel", "fin", "stream"]);
    assert_eq!((world.conn.request.status, world.stats.requests), (444, 1));
    assert!(!world.send());
}

#[test]
fn an_answer_that_never_ends_is_cut() {
    let mut world = asked();
    world.worker(OWN, ResponseEnd::Open);
    world.flush();
    assert_eq!(world.deadline(29_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel", "fin", "stream"]);
}

#[test]
fn answers_before_it_come_first() {
    let mut world = World::in_exchange(&format!("{GET}{BAD}"), STREAM);
    world.settings.client_error = true;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: 1\r\n\r\nhi";
    assert_eq!(world.worker(answer, ResponseEnd::End), ["reuse", "stream", "pause", "dispatch"]);
    world.grant(PLAIN);
    world.worker(OWN, ResponseEnd::Open);
    assert_eq!(world.output(), format!("{answer}{OWN}"));
}

#[test]
fn half_a_head_is_an_error_of_its_end() {
    let mut world = listening();
    world.receive("GET / HT");
    assert_eq!(world.step(Event::ReceiveEnded), ["pause", "dispatch"]);
    assert_eq!(world.grant(PLAIN), ["head", "pause", "body GET / HT", "half-close"]);

    let mut world = listening();
    world.receive("GET / HT");
    assert_eq!(world.deadline(10_000), ["pause", "dispatch"]);
    assert_eq!(world.conn.request.refusal, Refusal::Asked(OwnAnswer::ClientTimeout));
    assert_eq!(world.grant(PLAIN), ["head", "pause", "body GET / HT"]);
}

#[test]
fn what_node_surely_takes_is_not_asked_about() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000)),
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
    ] {
        let mut world = listening();
        world.receive(&head);
        assert!(world.output().contains("X-Hostler-Error: bad-request\r\n"), "{head}");
    }
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A request whose body breaks behind its first chunk.
fn broken_body(link: Link) -> (World, Vec<String>) {
    let mut world = World::in_exchange(POST, link);
    world.settings.client_error = true;
    let seen = world.receive("3\r\nabc\r\nnone\r\n");
    (world, seen)
}

#[test]
fn over_frames_the_app_answers_a_body_that_breaks() {
    let (mut world, seen) = broken_body(STREAM);
    assert_eq!(seen, ["body abc", "broken 1\r\nX + \r\nnone\r\n", "pause"]);
    assert_eq!(world.receive("more"), ["pause"]);
    let answer = "HTTP/1.1 422 Own\r\nContent-Length: 0\r\nX-Request-Id: 1\r\n\r\n";
    assert_eq!(world.worker(answer, ResponseEnd::EndClose), ["reuse"]);
    let (out, wishes) = world.flush();
    assert_eq!(status(&out), 422);
    assert_eq!(wishes, ["fin", "stream"], "the client may still be sending");
    assert_eq!(world.stats.refused, 0);
}

#[test]
fn a_body_that_breaks_in_a_chunk_leads_the_parser_there() {
    let mut world = World::in_exchange(POST, STREAM);
    world.settings.client_error = true;
    world.receive("3\r\nab");
    world.step(Event::BodySent);
    assert_eq!(world.receive("cd"), ["body c", "broken 1\r\nX + d", "pause"]);
}

#[test]
fn an_app_that_does_not_answer_a_broken_body() {
    // It destroys the socket, ends it without a word, is lost, or never says anything.
    let (mut world, _) = broken_body(STREAM);
    assert_eq!(world.step(Event::WorkerReset), ["cancel", "fin", "stream"]);

    let (mut world, _) = broken_body(STREAM);
    assert_eq!(world.worker("", ResponseEnd::EndClose), ["cancel", "fin", "stream"]);

    let (mut world, _) = broken_body(STREAM);
    assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"]);
    assert_eq!(status(&world.output()), 400);

    let (mut world, _) = broken_body(STREAM);
    assert_eq!(world.deadline(60_000), ["cancel"]);
    assert_eq!(status(&world.output()), 400);
}

#[test]
fn an_answer_that_was_whole_before_the_body_broke_stands() {
    let mut world = World::in_exchange(POST, STREAM);
    world.settings.client_error = true;
    world.worker("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ResponseEnd::End);
    world.flush();
    assert_eq!(
        world.receive("none\r\n"),
        ["broken 1\r\nX\r\n + none\r\n", "pause", "cancel", "fin", "stream"]
    );
}

#[test]
fn on_the_plain_path_a_broken_body_is_ours_to_answer() {
    let (mut world, seen) = broken_body(PLAIN);
    assert_eq!(seen, ["body abc", "cancel"]);
    assert_eq!(status(&world.output()), 400);
}
