//! How an offered connection ends: the app's side and the client's are over one by one, as on a socket of Node's own.

use hostler_driver::fake::FakeRead;
use hostler_protocol::worker::peer::{PeerBody, PeerFrame};
use hostler_protocol::worker::{FromWorker, StreamTag};

use super::offers::{OFFER, held, led_back, opened};
use super::world::{Client, Framed, GET, World};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";

/// A client whose request an app has.
fn asked(request: &str) -> (World, Framed, Client, StreamTag) {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(request);
    world.settle();
    let (tag, _) = opened(&mut process);
    (world, process, client, tag)
}

/// What has come, and FIN behind it.
fn read_to_end(client: &Client) -> String {
    let mut bytes = Vec::new();
    loop {
        match client.peer.read(&mut bytes) {
            FakeRead::Bytes => {}
            FakeRead::End => return String::from_utf8(bytes).expect("ASCII"),
            other => panic!("no FIN but {other:?} after {bytes:?}"),
        }
    }
}

#[test]
fn the_apps_end_is_a_fin_and_the_client_may_go_on() {
    for (answer, frames) in [("", 1), ("HTTP/1.1 200 OK\r\n\r\n", 2)] {
        let (mut world, mut process, client, tag) = asked(POST);
        client.write("ab");
        if frames == 2 {
            process.put(FromWorker::Data, tag, answer);
        }
        process.put(FromWorker::EndClose, tag, "");
        world.settle();
        assert_eq!(read_to_end(&client), answer);
        assert!(!client.peer.is_closed());
        client.write("cd");
        client.peer.finish();
        world.settle();
        let bodies: Vec<PeerBody> = process.frames().into_iter().map(|frame| frame.body).collect();
        let data = |text: &str| PeerBody::Data(text.into());
        assert_eq!(bodies, [data("ab"), data("cd"), PeerBody::End(vec![]), PeerBody::HalfClose]);
        process.put(FromWorker::Reset, tag, "");
        world.settle();
        assert!(client.peer.is_closed());
        world.assert_no_leak(1);
    }
}

#[test]
fn a_request_behind_the_apps_end_is_the_apps() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::EndClose, tag, "last");
    world.settle();
    assert_eq!(read_to_end(&client), "last");
    client.write(GET);
    world.settle();
    let (again, _) = process.head();
    assert_eq!(again.stream, tag.stream);
    process.put(FromWorker::End, again, "nobody can read this");
    process.put(FromWorker::Reset, again, "");
    world.settle();
    assert_eq!(read_to_end(&client), "");
    assert!(client.peer.is_closed());
    world.assert_no_leak(1);
}

#[test]
fn the_apps_fin_waits_for_what_it_wrote() {
    let (mut world, process, client, tag) = asked(GET);
    client.peer.stall(true);
    let long = "x".repeat(200_000);
    process.put(FromWorker::Data, tag, &long);
    process.put(FromWorker::EndClose, tag, "");
    world.settle();
    client.peer.stall(false);
    world.settle();
    assert_eq!(read_to_end(&client), long);
    assert!(!client.peer.is_closed());
    process.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    world.assert_no_leak(1);
}

#[test]
fn an_idle_connection_that_the_app_ends_gets_a_fin() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::End, tag, "ok");
    world.settle();
    process.put(FromWorker::EndClose, tag, "");
    world.settle();
    assert_eq!(read_to_end(&client), "ok");
    client.peer.finish();
    world.settle();
    assert_eq!(process.frames(), [PeerFrame { tag, body: PeerBody::HalfClose }]);
    process.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    world.assert_no_leak(1);
}

#[test]
fn bytes_behind_an_answer_are_the_clients() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::End, tag, "answer");
    process.put(FromWorker::Data, tag, "raw");
    world.settle();
    assert_eq!(client.read(), "answerraw");
    // Also when the next HEAD has crossed them.
    client.write(GET);
    world.settle();
    process.put(FromWorker::Data, tag, "more");
    world.settle();
    let (again, _) = process.head();
    process.put(FromWorker::End, again, "second");
    world.settle();
    assert_eq!(client.read(), "moresecond");
    process.peer.close();
    world.settle();
    world.assert_no_leak(0);
}

#[test]
fn bytes_behind_an_answer_have_credit() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::End, tag, "answer");
    world.settle();
    assert_eq!(client.read(), "answer");
    process.put(FromWorker::Data, tag, &"x".repeat(150_000));
    world.settle();
    client.read();
    world.settle();
    let credit: u32 = process
        .frames()
        .iter()
        .map(|frame| match frame.body {
            PeerBody::Window(bytes) => bytes,
            ref other => panic!("no WINDOW but {other:?}"),
        })
        .sum();
    assert!(credit >= 131_072, "{credit}");
    world.settle();
}

#[test]
fn bytes_of_the_connection_before_are_nobodys() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::End, tag, "ok");
    process.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    let next = world.offered(OFFER);
    next.write(GET);
    world.settle();
    let (of_next, _) = opened(&mut process);
    assert_eq!(of_next.stream, tag.stream, "the same slot");
    process.put(FromWorker::Data, tag, "late");
    process.put(FromWorker::End, of_next, "its own");
    world.settle();
    assert_eq!(next.read(), "its own");
}

#[test]
fn reset_between_two_parts_of_a_head_ends_the_connection() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::End, tag, "ok");
    world.settle();
    client.write("GET / HT");
    process.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    world.later(100);
    assert!(process.frames().is_empty(), "its stream was free already");
    world.assert_no_leak(1);
}

#[test]
fn half_a_head_behind_the_apps_end_is_for_node() {
    let (mut world, mut process, client, tag) = asked(GET);
    process.put(FromWorker::EndClose, tag, "last");
    world.settle();
    assert_eq!(read_to_end(&client), "last");
    client.write("GET / HT");
    world.later(100);
    assert_eq!(led_back(&mut process, tag), (String::new(), "GET / HT".into()));
    world.assert_no_leak(1);
}

#[test]
fn an_end_that_crosses_hold_is_a_fin_before_the_connection_goes_back() {
    let (mut world, mut process, client, tag) = asked(GET);
    client.write(GET);
    world.settle();
    process.put(FromWorker::EndClose, tag, "whole");
    held(&process, tag);
    world.settle();
    assert_eq!(led_back(&mut process, tag), (String::new(), GET.into()));
    assert_eq!(read_to_end(&client), "whole");
    world.assert_no_leak(1);
}

#[test]
fn all_trailers_are_the_apps_but_those_that_llhttp_refuses() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    let trailers = "Set-Cookie: a\r\nHost: b\r\nConnection: close\r\n";
    let (_world, mut process, _client, tag) = asked_with_body(&format!("{head}{trailers}\r\n"));
    let fields = [("Set-Cookie", "a"), ("Host", "b"), ("Connection", "close")];
    let end = PeerBody::End(fields.map(|(name, value)| (name.into(), value.into())).to_vec());
    assert_eq!(process.frames().last(), Some(&PeerFrame { tag, body: end }));

    for bad in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (mut world, mut process, _client, tag) =
            asked_with_body(&format!("{head}A: b\r\n{bad}\r\n"));
        assert_eq!(process.frames().last(), Some(&PeerFrame { tag, body: PeerBody::Hold }));
        held(&process, tag);
        world.settle();
        let (lead, read) = led_back(&mut process, tag);
        assert!(lead.ends_with("A: b\r\n"), "{lead:?}");
        assert_eq!(read, format!("{bad}\r\n"));
    }
}

/// As `asked`, with the frames of the body left to read.
fn asked_with_body(request: &str) -> (World, Framed, Client, StreamTag) {
    let at = request.find("\r\n\r\n").expect("a head") + 4;
    let (mut world, process, client, tag) = asked(&request[..at]);
    client.write(&request[at..]);
    world.settle();
    (world, process, client, tag)
}
