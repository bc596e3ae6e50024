//! Upgrades and CONNECT.

use super::*;

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const AGREED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

pub(super) fn open() -> World {
    let mut world = World::in_exchange(UPGRADE, PLAIN);
    assert_eq!(world.worker(AGREED, ResponseEnd::Open), ["upgraded", "credit 0", "once Head"]);
    assert_eq!(world.conn.phase(), Phase::Tunnel);
    assert_eq!(world.flush(), (AGREED.into(), vec!["credit 0".into()]));
    world
}

#[test]
fn bytes_pass_in_both_directions_one_buffer_at_a_time() {
    let mut world = open();
    assert_eq!(world.receive("ping"), ["pause", "body ping"]);
    assert_eq!(world.step(Event::BodySent), ["once Head"]);
    assert_eq!(world.receive(&"x".repeat(2_048))[..1], ["pause"]);
    assert_eq!(world.step(Event::BodySent), ["once body"], "a full buffer: more is coming");
    assert_eq!(world.worker("pong", ResponseEnd::Open), NOTHING, "no credit before it left");
    assert_eq!(world.flush(), ("pong".into(), vec!["credit 0".into()]));
}

#[test]
fn early_bytes_of_both_sides_are_not_lost() {
    let mut world = World::in_exchange(&format!("{UPGRADE}early"), PLAIN);
    let seen = world.worker(&format!("{AGREED}hello"), ResponseEnd::Open);
    assert_eq!(seen, ["upgraded", "pause", "body early"]);
    assert_eq!(world.output(), format!("{AGREED}hello"));
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let mut world = World::in_exchange(UPGRADE, PLAIN);
    let answer = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(world.worker(answer, ResponseEnd::Open), ["reuse"]);
    assert_eq!(status(&world.output()), 426);
    assert_eq!(world.receive(GET), ["dispatch"]);
}

#[test]
fn connect_is_a_tunnel_with_2xx_only() {
    let connect = "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";
    let mut world = World::in_exchange(connect, PLAIN);
    world.worker("HTTP/1.1 103 Early Hints\r\n\r\n", ResponseEnd::Open);
    assert_eq!(world.conn.phase(), Phase::Exchange, "an interim answer agrees to nothing");
    world.worker("HTTP/1.1 200 Connected\r\n\r\nhi", ResponseEnd::Open);
    assert_eq!(world.conn.phase(), Phase::Tunnel);
    assert!(world.output().ends_with("\r\n\r\nhi"));

    let mut world = World::in_exchange(connect, PLAIN);
    world.worker("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ResponseEnd::Open);
    assert_eq!(status(&world.output()), 403);
    assert_ne!(world.conn.phase(), Phase::Tunnel);
}

#[test]
fn a_client_s_fin_is_passed_on_and_the_worker_may_go_on() {
    let mut world = open();
    assert_eq!(world.step(Event::ReceiveEnded), ["half-close"]);
    world.worker("last", ResponseEnd::Open);
    assert_eq!(world.output(), "last");
    assert_eq!(world.step(Event::WorkerEnded), ["cancel", "close"]);
}

#[test]
fn a_fin_before_the_upgrade_is_passed_on_with_it() {
    let mut world = World::in_exchange(UPGRADE, PLAIN);
    assert_eq!(world.step(Event::ReceiveEnded), ["half-close"]);
    let seen = world.worker(AGREED, ResponseEnd::Open);
    assert_eq!(world.conn.phase(), Phase::Tunnel);
    assert_eq!(seen, ["upgraded", "credit 0"], "once");
    assert_eq!(world.output(), AGREED);
}

#[test]
fn a_fin_behind_early_bytes_is_passed_on_behind_them() {
    let mut world = World::in_exchange(&format!("{UPGRADE}early"), PLAIN);
    assert_eq!(world.step(Event::ReceiveEnded), NOTHING);
    let seen = world.worker(AGREED, ResponseEnd::Open);
    assert_eq!(seen, ["upgraded", "credit 0", "pause", "body early", "half-close"]);
}

#[test]
fn many_early_bytes_go_in_pieces() {
    let tunnel = Link::Tunnel { worker: 0, channel: 0, batch: 1 };
    let mut world = World::in_exchange(UPGRADE, tunnel);
    for _ in 0..40 {
        world.receive(&"x".repeat(4_000));
    }
    let pieces = |seen: Vec<String>| -> Vec<usize> {
        let body = seen.iter().filter_map(|action| action.strip_prefix("body "));
        body.map(str::len).collect()
    };
    assert_eq!(pieces(world.worker(AGREED, ResponseEnd::Open)), [65_536]);
    assert_eq!(pieces(world.step(Event::BodySent)), [65_536]);
    assert_eq!(pieces(world.step(Event::BodySent)), [160_000 - 2 * 65_536]);
    assert_eq!(world.step(Event::BodySent), ["once body"]);
}

#[test]
fn the_worker_s_end_waits_for_its_last_bytes() {
    let mut world = open();
    world.worker("bye", ResponseEnd::Open);
    assert_eq!(world.step(Event::WorkerEnded), NOTHING);
    assert_eq!(world.flush(), ("bye".into(), vec!["cancel".into(), "close".into()]));
}

#[test]
fn a_held_worker_is_no_ended_worker() {
    // The plain worker was held back by an earlier answer when it agreed to the upgrade.
    let mut world = World::in_exchange(&format!("{GET}{UPGRADE}"), PLAIN);
    let body = "x".repeat(60_000);
    world.worker(
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{body}"),
        ResponseEnd::Open,
    );
    world.grant(PLAIN);
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(50_000));
    world.worker(&hints, ResponseEnd::Open);
    assert_eq!(world.worker(&hints, ResponseEnd::Open), NOTHING, "held");
    world.worker(AGREED, ResponseEnd::Open);
    world.output();
    assert_eq!(world.conn.phase(), Phase::Tunnel, "still open");
}

#[test]
fn loss_and_reset_end_a_tunnel() {
    for event in [Event::WorkerLost { unsent: false }, Event::WorkerReset] {
        let mut world = open();
        assert_eq!(world.step(event), ["cancel", "close"]);
    }
}

#[test]
fn a_tunnel_does_not_hold_scarce_buffers() {
    let mut world = open();
    let mut taken = world.pool.take(PoolClass::Channel).expect("free");
    taken.extend_from_slice(&[b'x'; 4_000]);
    let buffer = taken.freeze();
    let (range, end) = (0..4_000, ResponseEnd::Open);
    world.step(Event::WorkerBytes { buffer: &buffer, range, end, scarce: true });
    drop(buffer);
    assert_eq!(world.pool.free(PoolClass::Channel), world.pool.capacity(PoolClass::Channel));
}

#[test]
fn the_chunks_of_a_request_to_switch_go_on_as_they_came() {
    let head = "POST /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let body = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..=body.len() {
        let mut world = World::new();
        world.receive(&format!("{head}{}", &body[..cut]));
        let mut seen = world.grant(PLAIN);
        seen.extend(world.step(Event::BodySent));
        if cut < body.len() {
            seen.extend(world.receive(&body[cut..]));
        }
        let passed: String = seen.iter().filter_map(|wish| wish.strip_prefix("body ")).collect();
        assert_eq!(passed, body, "cut at {cut}");
        assert_eq!(seen.iter().filter(|wish| *wish == "end").count(), 1, "cut at {cut}: {seen:?}");
        world.worker(AGREED, ResponseEnd::Open);
        assert_eq!(world.conn.phase(), Phase::Tunnel);
    }
}

#[test]
fn an_app_may_agree_in_the_middle_of_the_chunks() {
    let head = "POST /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let mut world = World::in_exchange(&format!("{head}5\r\nhel"), PLAIN);
    world.step(Event::BodySent);
    world.worker(AGREED, ResponseEnd::Open);
    assert_eq!(world.conn.phase(), Phase::Tunnel);
    assert_eq!(world.receive("lo\r\n0\r\n\r\nmore"), ["pause", "body lo\r\n0\r\n\r\nmore"]);
}

#[test]
fn bad_chunks_of_a_request_to_switch_are_refused() {
    let head = "POST /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let mut world = World::in_exchange(&format!("{head}5\r\nhello"), PLAIN);
    world.step(Event::BodySent);
    world.receive("\n");
    assert_eq!(status(&world.output()), 400);
}
