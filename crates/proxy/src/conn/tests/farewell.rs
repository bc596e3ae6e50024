//! Upgraded connections that end before their worker.

use hostler_protocol::websocket::SERVICE_RESTART;

use super::tunnel::open;
use super::*;

const HELLO: &[u8] = b"\x81\x05hello";
const BEGIN: &[u8] = b"\x01\x03one";
const END: &[u8] = b"\x80\x7e\x00\x82"; // and 130 bytes
const APP_CLOSE: &[u8] = b"\x88\x02\x03\xe8";

impl World {
    /// Bytes of the app.
    fn app(&mut self, bytes: &[u8]) -> Vec<String> {
        let buffer = Buffer::from_vec(bytes.to_vec());
        let range = 0..bytes.len();
        let end = ResponseEnd::Open;
        self.step(Event::WorkerBytes { buffer: &buffer, range, end, scarce: false })
    }

    /// What a client that reads gets.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !self.closed && self.send() {
            bytes.append(&mut self.in_flight);
            self.step(Event::Sent);
        }
        bytes
    }

    /// It is to end in `at` milliseconds, or in `until` at the latest.
    fn end(&mut self, at: u64, until: u64) {
        let now_ms = self.now.ms;
        let event = Event::EndUpgraded { at_ms: now_ms + at, until_ms: now_ms + until };
        assert_eq!(self.step(event), NOTHING);
    }
}

/// Whole messages: short, in two fragments with a ping between them, compressed, long.
fn messages() -> Vec<u8> {
    let long = [b"\xc2\x7f\0\0\0\0\0\x01\0\x07".as_slice(), &[0x88; 65_543]].concat();
    [HELLO, BEGIN, b"\x89\x00", END, &[b'x'; 130], b"\x81\x80mask", &long].concat()
}

#[test]
fn a_websocket_is_closed_between_two_frames_and_the_client_has_its_say() {
    let mut world = open();
    world.end(300, 5_000);
    world.app(HELLO);
    assert_eq!(world.deadline(299), NOTHING);
    assert_eq!(world.bytes(), HELLO, "not yet");
    world.deadline(1);
    assert_eq!(world.app(HELLO), ["credit 0"], "read, and not passed on");
    assert_eq!(world.bytes(), SERVICE_RESTART);
    assert_eq!(world.receive("close"), ["pause", "body close"], "the app hears of it");
    assert_eq!(world.step(Event::BodySent), ["once Head"]);
    assert_eq!(world.step(Event::WorkerEnded), ["cancel", "fin", "stream"]);
    assert_eq!(world.receive("more"), NOTHING);
    assert_eq!(world.step(Event::ReceiveEnded), ["close"]);
}

#[test]
fn it_is_closed_at_the_first_boundary_wherever_it_is_due() {
    let all = messages();
    for due in (0..250).chain([10_000, all.len()]) {
        for piece in [1, 7, 66_000] {
            let mut world = open();
            world.end(0, 5_000);
            if due > 0 {
                all[..due].chunks(piece.max(due / 300)).for_each(|bytes| _ = world.app(bytes));
            }
            world.deadline(0);
            all[due..].chunks(piece.max(400)).for_each(|bytes| _ = world.app(bytes));
            let got = world.bytes();
            let told = got.strip_suffix(SERVICE_RESTART).expect("it is told");
            assert!(all.starts_with(told), "due at {due}, in pieces of {piece}");
            let ends = [0, 7, 12, 14, 148, 154, all.len()];
            let first = ends.into_iter().find(|end| *end >= due).expect("a boundary");
            assert_eq!(told.len(), first, "due at {due}, in pieces of {piece}");
        }
    }
}

#[test]
fn a_frame_that_does_not_end_in_time_is_cut_off() {
    let mut world = open();
    world.end(1_000, 3_000);
    world.app(b"\x81\x05he");
    assert_eq!(world.deadline(1_000), NOTHING);
    world.app(b"l");
    assert_eq!(world.bytes(), b"\x81\x05hel");
    assert_eq!(world.deadline(1_999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel", "fin", "stream"], "nothing can be said inside of it");
}

#[test]
fn whoever_does_not_answer_is_not_waited_for() {
    let mut world = open();
    world.end(0, 0);
    world.deadline(0);
    assert_eq!(world.bytes(), SERVICE_RESTART);
    assert_eq!(world.deadline(999), NOTHING);
    assert_eq!(world.deadline(1), ["cancel", "fin", "stream"]);
    assert_eq!(world.deadline(2_000), ["close"]);
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_it_and_does_not_hold_the_worker() {
    let mut world = open();
    world.end(0, 0);
    world.app(HELLO);
    world.deadline(0);
    assert!(world.send(), "and it does not arrive");
    assert_eq!(world.deadline(1_000), ["cancel"]);
    assert_eq!(world.step(Event::SendProgress), NOTHING);
    assert_eq!(std::mem::take(&mut world.in_flight), [HELLO, SERVICE_RESTART].concat());
    assert_eq!(world.step(Event::Sent), ["fin", "stream"]);
}

#[test]
fn an_app_that_has_closed_it_itself_is_not_spoken_for() {
    for begun in 1..=APP_CLOSE.len() {
        let mut world = open();
        world.end(0, 1_000);
        world.app(HELLO);
        world.app(&APP_CLOSE[..begun]);
        world.deadline(0);
        world.app(&APP_CLOSE[begun..]);
        assert_eq!(world.bytes(), [HELLO, APP_CLOSE].concat());
        assert_eq!(world.step(Event::WorkerEnded), ["cancel", "fin", "stream"]);
    }
    // Its end waits for a client that does not read.
    let mut world = open();
    world.end(100, 1_000);
    world.app(HELLO);
    assert!(world.send());
    assert_eq!(world.step(Event::WorkerEnded), NOTHING);
    assert_eq!(world.deadline(100), ["cancel"]);
    assert_eq!(world.in_flight, HELLO);
}

#[test]
fn what_is_no_websocket_ends_at_the_end() {
    let connect = "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";
    let other =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket2\r\n\r\n";
    let agreed =
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket2\r\nConnection: Upgrade\r\n\r\n\x01\x05he";
    for (request, answer) in [
        (connect, "HTTP/1.1 200 Connected\r\nUpgrade: websocket\r\n\r\n\x01\x05he"),
        (other, agreed),
    ] {
        let mut world = World::in_exchange(request, PLAIN);
        world.app(answer.as_bytes());
        world.end(100, 3_000);
        assert!(world.bytes().ends_with(b"\x01\x05he"));
        assert_eq!(world.deadline(2_999), NOTHING);
        world.app(b"more");
        assert_eq!(world.deadline(1), ["cancel"]);
        assert_eq!(world.bytes(), b"more");
        assert_eq!(world.conn.phase(), Phase::Lingering);
    }
}

#[test]
fn it_stays_if_its_worker_serves_on_and_the_client_has_not_been_told() {
    for inside in [false, true] {
        let mut world = open();
        world.end(100, 3_000);
        if inside {
            world.app(b"\x81\x05he");
            world.deadline(100);
        }
        assert_eq!(world.step(Event::KeepUpgraded), NOTHING);
        assert_eq!(world.deadline(10_000), NOTHING);
        world.app(if inside { b"llo" } else { HELLO });
        assert_eq!(world.bytes(), HELLO);
        // And may be asked for again, once in time.
        world.end(100, 3_000);
        world.end(50, 60);
        world.deadline(50);
        assert_eq!(world.bytes(), SERVICE_RESTART);
        world.step(Event::KeepUpgraded);
        world.end(100, 3_000);
        assert_eq!(world.deadline(1_000), ["cancel", "fin", "stream"], "it was told");
    }
}

#[test]
fn a_request_that_is_not_upgraded_has_nothing_to_end() {
    let mut world = World::in_exchange(GET, PLAIN);
    world.end(0, 0);
    assert_eq!(world.deadline(1_000), NOTHING);
    assert_eq!(world.conn.phase(), Phase::Exchange);
}

#[test]
fn bytes_behind_the_101_count() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let mut world = World::in_exchange(upgrade, PLAIN);
    let agreed = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    world.app(&[agreed.as_bytes(), b"\x82\x05he"].concat());
    world.end(0, 1_000);
    world.deadline(0);
    world.app(b"llo\x82");
    assert!(world.bytes().ends_with(&[b"\x82\x05hello".as_slice(), SERVICE_RESTART].concat()));
}
