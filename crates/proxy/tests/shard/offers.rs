//! Connections that a process under exec accepted: served over frames as they are, or given back with what was read.

use hostler_protocol::worker::peer::{self, PeerBody, PeerFrame, PeerHead};
use hostler_protocol::worker::{FromWorker, Offer, StreamTag};

use super::world::{Framed, GET, World};

pub(crate) const OFFER: Offer = Offer { offer: 7, server: 1, fd: 9, header_bytes_max: 16_384 };

pub(crate) fn opened(process: &mut Framed) -> (StreamTag, PeerHead) {
    let frames = process.frames();
    let [
        PeerFrame { tag: open, body: PeerBody::Open(7) },
        PeerFrame { tag, body: PeerBody::Head(head) },
    ] = &frames[..]
    else {
        panic!("no OPEN and HEAD but {frames:?}");
    };
    assert_eq!(open, tag);
    (*tag, head.clone())
}

fn given_back(process: &mut Framed, tag: StreamTag) -> String {
    let frames = process.frames();
    let [PeerFrame { tag: of, body: PeerBody::GiveBack { offer: 7, lead: 0, read } }] = &frames[..]
    else {
        panic!("no GIVE_BACK but {frames:?}");
    };
    assert_eq!(*of, tag);
    String::from_utf8(read.clone()).expect("ASCII")
}

#[test]
fn requests_and_answers_pass_unchanged() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write("GET /a HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, X\r\nX: 1\r\nX-Forwarded-For: me\r\n\r\n");
    world.settle();
    let (tag, head) = opened(&mut process);
    let fields: Vec<(&str, &str)> = head
        .fields
        .iter()
        .map(|(name, value)| (str::from_utf8(name).unwrap(), str::from_utf8(value).unwrap()))
        .collect();
    let sent =
        [("host", "a"), ("Connection", "keep-alive, X"), ("X", "1"), ("X-Forwarded-For", "me")];
    assert_eq!(fields, sent);

    let answer =
        "HTTP/1.1 200 Fine\r\nconnection: keep-alive\r\nTE: x\r\nContent-Length: 2\r\n\r\nok";
    process.put(FromWorker::End, tag, answer);
    world.settle();
    assert_eq!(client.read(), answer);

    client.write(GET);
    world.settle();
    let (again, _) = process.head();
    assert_eq!(again.stream, tag.stream);
    process.put(FromWorker::EndClose, again, "not HTTP at all");
    world.settle();
    assert_eq!(client.read(), "not HTTP at all");
    process.put(FromWorker::Reset, again, "");
    world.settle();
    assert!(client.peer.is_closed());
    world.assert_no_leak(1);
    assert_eq!(world.shard.offer_counts().frames, 2);
}

#[test]
fn what_frames_cannot_carry_goes_back_with_its_bytes() {
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nbroken\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        let mut world = World::under_exec();
        let mut process = world.process();
        let client = world.offered(OFFER);
        client.write(bytes);
        world.settle();
        assert_eq!(given_back(&mut process, StreamTag::CHANNEL), bytes);
        assert!(client.read().is_empty(), "the proxy says nothing itself");
        world.assert_no_leak(1);
    }
}

#[test]
fn a_head_larger_than_the_servers_limit_is_for_node() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(Offer { header_bytes_max: 20, ..OFFER });
    client.write(GET);
    world.settle();
    assert_eq!(given_back(&mut process, StreamTag::CHANNEL), GET);
}

#[test]
fn silence_and_half_a_head_go_back_after_a_moment() {
    for bytes in ["", "GET / HT"] {
        let mut world = World::under_exec();
        let mut process = world.process();
        let client = world.offered(OFFER);
        client.write(bytes);
        world.settle();
        assert!(process.frames().is_empty(), "a moment to finish it");
        world.later(100);
        assert_eq!(given_back(&mut process, StreamTag::CHANNEL), bytes);
    }
}

#[test]
fn an_open_stream_goes_back_when_its_next_request_is_an_upgrade() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(GET);
    world.settle();
    let (tag, _) = opened(&mut process);
    process.answer(tag, "ok");
    world.later(10_000);
    client.read();
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    client.write(upgrade);
    world.settle();
    assert_eq!(given_back(&mut process, tag), upgrade);
    world.assert_no_leak(1);
}

#[test]
fn fin_between_requests_is_for_node_to_decide() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(GET);
    world.settle();
    let (tag, _) = opened(&mut process);
    process.answer(tag, "ok");
    world.settle();
    client.peer.finish();
    world.settle();
    assert_eq!(process.frames(), [PeerFrame { tag, body: PeerBody::HalfClose }]);
    process.put(FromWorker::Reset, tag, "");
    world.settle();
    assert!(client.peer.is_closed());
    world.assert_no_leak(1);
}

#[test]
fn a_process_that_ends_takes_its_connections_along_after_what_it_wrote() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let busy = world.offered(OFFER);
    busy.write(GET);
    world.settle();
    let (tag, _) = opened(&mut process);
    process.put(FromWorker::Data, tag, "HTTP/1.1 200 OK\r\n\r\npart");
    process.peer.close();
    world.settle();
    assert_eq!(busy.read(), "HTTP/1.1 200 OK\r\n\r\npart");
    assert!(busy.peer.is_closed());
    world.assert_no_leak(0);
}

#[test]
fn a_client_that_breaks_off_is_named_to_the_worker() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(GET);
    world.settle();
    let (tag, _) = opened(&mut process);
    client.peer.reset();
    world.settle();
    assert_eq!(process.frames(), [PeerFrame { tag, body: PeerBody::Close("ECONNRESET".into()) }]);
}

// ---- back in the middle of an exchange ----

pub(crate) fn held(process: &Framed, tag: StreamTag) {
    let mut bytes = Vec::new();
    peer::put_held(&mut bytes, tag);
    process.peer.write(&bytes);
}

/// The last frame of the worker's channel: GIVE_BACK on a stream, its lead and its bytes.
pub(crate) fn led_back(process: &mut Framed, tag: StreamTag) -> (String, String) {
    let frames = process.frames();
    let Some(PeerFrame { tag: of, body: PeerBody::GiveBack { offer: 7, lead, read } }) =
        frames.last()
    else {
        panic!("no GIVE_BACK but {frames:?}");
    };
    assert_eq!(*of, tag);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
    let (lead, read) = read.split_at(*lead as usize);
    (text(lead), text(read))
}

const HOLD: PeerBody = PeerBody::Hold;

#[test]
fn requests_before_their_turn_are_for_node() {
    for (first, more) in [(GET, GET), (&format!("{GET}{GET}")[..], "")] {
        let mut world = World::under_exec();
        let mut process = world.process();
        let client = world.offered(OFFER);
        client.write(first);
        world.settle();
        client.write(more);
        client.peer.finish();
        world.settle();
        let frames = process.frames();
        let tag = frames[0].tag;
        assert_eq!(frames.last(), Some(&PeerFrame { tag, body: HOLD }), "{frames:?}");
        // The worker writes until it has read HOLD.
        process.put(FromWorker::Data, tag, "HTTP/1.1 200 OK\r\n");
        held(&process, tag);
        world.settle();
        assert_eq!(led_back(&mut process, tag), (String::new(), GET.into()));
        assert_eq!(client.read(), "HTTP/1.1 200 OK\r\n");
        world.assert_no_leak(1);
    }
}

#[test]
fn an_answer_that_crosses_hold_ends_nothing() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(&format!("{GET}{GET}"));
    world.settle();
    let tag = process.frames()[0].tag;
    process.put(FromWorker::End, tag, "whole");
    world.settle();
    assert!(process.frames().is_empty(), "no second HEAD");
    held(&process, tag);
    world.settle();
    assert_eq!(led_back(&mut process, tag), (String::new(), GET.into()));
    assert_eq!(client.read(), "whole");
    world.assert_no_leak(1);
}

#[test]
fn a_body_that_breaks_goes_back_from_its_last_good_place() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, data, lead, bad) in [
        ("", "", "1\r\nX\r\n", "nonsense\r\n"),
        ("5\r\nhello\r\n", "hello", "1\r\nX", "no line\r\n"),
        ("5\r\nhello", "hello", "1\r\nX", "no line\r\n"),
        ("5\r\nhello\r\n0\r\nA: b\r\n", "hello", "1\r\nX\r\n0\r\nA: b\r\n", "no field\r\n"),
    ] {
        let mut world = World::under_exec();
        let mut process = world.process();
        let client = world.offered(OFFER);
        client.write(&format!("{head}{good}"));
        world.settle();
        client.write(bad);
        world.settle();
        let frames = process.frames();
        let tag = frames[0].tag;
        let body: Vec<u8> = frames
            .iter()
            .filter_map(|frame| match &frame.body {
                PeerBody::Data(bytes) => Some(bytes.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(String::from_utf8(body).expect("ASCII"), data);
        assert_eq!(frames.last(), Some(&PeerFrame { tag, body: HOLD }), "{frames:?}");
        held(&process, tag);
        world.settle();
        let (led, read) = led_back(&mut process, tag);
        // Where exactly the last good piece ended is the decoder's business: together they are the same text.
        assert!(format!("{led}{read}").ends_with(bad), "{led:?} {read:?}");
        assert!(led.starts_with(lead) || lead.starts_with(&led[..]), "{led:?}");
        assert!(client.read().is_empty(), "the proxy says nothing itself");
        world.assert_no_leak(1);
    }
}

#[test]
fn a_worker_may_want_its_connection_back() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    world.settle();
    let tag = process.frames()[0].tag;
    process.put(FromWorker::Data, tag, "HTTP/1.1 200 OK\r\n\r\n");
    held(&process, tag);
    world.settle();
    assert_eq!(led_back(&mut process, tag), (String::new(), String::new()));
    assert_eq!(client.read(), "HTTP/1.1 200 OK\r\n\r\n");
    world.assert_no_leak(1);
}

#[test]
fn a_connection_goes_back_when_its_answer_has_left() {
    let mut world = World::under_exec();
    let mut process = world.process();
    let client = world.offered(OFFER);
    client.write(GET);
    world.settle();
    let tag = process.frames()[0].tag;
    let long = "x".repeat(200_000);
    process.put(FromWorker::Data, tag, &long);
    held(&process, tag);
    client.peer.stall(true);
    world.settle();
    assert!(process.frames().iter().all(|frame| !matches!(frame.body, PeerBody::GiveBack { .. })));
    client.peer.stall(false);
    world.settle();
    assert_eq!(client.read(), long);
    assert_eq!(led_back(&mut process, tag), (String::new(), String::new()));
    world.assert_no_leak(1);
}
