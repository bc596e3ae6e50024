//! Requests that belong to a worker.

use hostler_protocol::control::Sticky;
use hostler_protocol::worker::{FromWorker, StreamTag};
use hostler_proxy::ShardCommand;

use crate::world::{Client, Framed, GET, World, ok};

const HANDSHAKE: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";

fn world(cookie: bool, sessions: bool) -> World {
    limited(cookie, sessions, 64)
}

fn limited(cookie: bool, sessions: bool, requests_max: u32) -> World {
    World::new(|setup| {
        let cookie = cookie.then(|| "way".to_owned());
        setup.sticky = Some(Sticky { cookie, sessions, key: [1, 2] });
        setup.worker_requests_max = Some(requests_max);
        setup.conns_max = 64;
    })
}

fn with_cookie(value: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: way={value}\r\n\r\n")
}

fn of_session(sid: &str) -> String {
    format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// What the answer sets.
fn cookie_set(answer: &str) -> Option<String> {
    let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("Set-Cookie: ")).collect();
    assert!(lines.len() < 2, "{answer}");
    let line = lines.first()?.strip_prefix("Set-Cookie: way=").expect("ours");
    let (value, attributes) = line.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    Some(value.to_owned())
}

fn tags(worker: &mut Framed) -> Vec<StreamTag> {
    worker.heads().into_iter().map(|(tag, _)| tag).collect()
}

/// The one of them that has the request answers it with its number.
fn answer_any(world: &mut World, workers: &mut [Framed]) -> usize {
    let mut served = None;
    for (at, worker) in workers.iter_mut().enumerate() {
        for tag in tags(worker) {
            assert_eq!(served.replace(at), None, "one request");
            worker.answer(tag, &format!("of {at}"));
        }
    }
    world.settle();
    served.expect("a worker has it")
}

/// Asks, and gives who answered with the cookie that was set.
fn ask(world: &mut World, workers: &mut [Framed], request: &str) -> (usize, Option<String>) {
    let client = world.client_with(request);
    let served = answer_any(world, workers);
    let answer = client.read();
    assert!(answer.ends_with(&format!("of {served}")), "{answer}");
    client.peer.close();
    (served, cookie_set(&answer))
}

/// Opens a session at some worker, with its number as the id.
fn open_session(world: &mut World, workers: &mut [Framed]) -> (usize, String) {
    let client = world.client_with(HANDSHAKE);
    let (at, tag) = workers
        .iter_mut()
        .enumerate()
        .find_map(|(at, worker)| Some((at, *tags(worker).first()?)))
        .expect("a worker has it");
    let sid = format!("session-{}-of-{at}", tag.stream);
    workers[at].answer(tag, &format!(r#"0{{"sid":"{sid}","upgrades":["websocket"]}}"#));
    world.settle();
    assert!(client.read().contains(&sid));
    (at, sid)
}

#[test]
fn a_client_comes_back_to_its_worker_however_busy_that_is() {
    let mut world = world(true, false);
    let mut workers = [world.framed(1), world.framed(2), world.framed(3)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = cookie.expect("the first answer sets it");
    let _busy: Vec<_> = (0..4).map(|_| world.client_with(&with_cookie(&cookie))).collect();
    assert_eq!(tags(&mut workers[own]).len(), 4);
    for _ in 0..3 {
        assert_eq!(ask(&mut world, &mut workers, &with_cookie(&cookie)), (own, None));
    }
    assert_ne!(ask(&mut world, &mut workers, GET).0, own, "others are balanced");
}

#[test]
fn a_cookie_that_nobody_wrote_is_replaced() {
    let mut world = world(true, false);
    let mut workers = [world.framed(1)];
    for odd in ["0123456789abcdef", "", "x"] {
        let (_, cookie) = ask(&mut world, &mut workers, &with_cookie(odd));
        assert!(cookie.is_some_and(|cookie| cookie != odd));
    }
}

#[test]
fn without_stickiness_no_cookie_is_set() {
    let mut world = World::new(|_| {});
    let mut workers = [world.framed(1)];
    assert_eq!(ask(&mut world, &mut workers, GET).1, None);
    let mut world = self::world(false, true);
    let mut workers = [world.framed(1)];
    assert_eq!(ask(&mut world, &mut workers, GET).1, None, "sessions need none");
}

#[test]
fn answers_that_caches_share_and_our_own_set_none() {
    let mut world = world(true, false);
    let client = world.client_with(GET);
    world.later(5_200);
    let answer = client.read();
    assert!(answer.contains(" 503 ") && cookie_set(&answer).is_none(), "{answer}");
    let mut worker = world.framed(1);
    client.write(GET);
    world.settle();
    let tag = tags(&mut worker)[0];
    let shared = "HTTP/1.1 200 OK\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n";
    worker.put(FromWorker::End, tag, shared);
    world.settle();
    assert_eq!(cookie_set(&client.read()), None);
}

#[test]
fn an_upgrade_sets_the_cookie_too() {
    let mut world = world(true, false);
    let worker = world.plain(1);
    let client = world.client_with(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let peer = worker.accept().expect("a connection");
    peer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    world.settle();
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 101 ") && cookie_set(&answer).is_some(), "{answer}");
}

#[test]
fn who_follows_in_a_slot_takes_over_its_clients() {
    let mut world = world(true, false);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = cookie.expect("set");
    let number = own as u32 + 1;
    // A second process in the slot, as during a reload: the first serves on until it drains.
    let successor = world.framed_in(number + 10, number);
    let [first, second] = workers;
    let mut workers = [first, second, successor];
    assert_eq!(ask(&mut world, &mut workers, &with_cookie(&cookie)), (own, None));
    world.command(ShardCommand::WorkerDrain { worker: number, drain: 1 });
    assert_eq!(ask(&mut world, &mut workers, &with_cookie(&cookie)), (2, None));
    // The release is taken back.
    world.command(ShardCommand::WorkerResume { worker: number });
    world.command(ShardCommand::WorkerGone { worker: number + 10 });
    assert_eq!(ask(&mut world, &mut workers, &with_cookie(&cookie)), (own, None));
}

#[test]
fn with_its_worker_gone_a_client_gets_another_and_stays_there() {
    let mut world = world(true, false);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let number = own as u32 + 1;
    world.command(ShardCommand::WorkerGone { worker: number });
    let cookie = cookie.expect("set");
    let (other, anew) = ask(&mut world, &mut workers, &with_cookie(&cookie));
    assert_ne!(other, own);
    let anew = anew.expect("set anew");
    workers[own] = world.framed(number + 10);
    assert_eq!(ask(&mut world, &mut workers, &with_cookie(&anew)), (other, None));
}

#[test]
fn a_full_worker_is_waited_for_while_others_serve() {
    let mut world = limited(true, false, 1);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = with_cookie(&cookie.expect("set"));
    let held = world.client_with(&cookie);
    let tag = tags(&mut workers[own])[0];
    let waits = world.client_with(&cookie);
    // It stands first in the queue, and keeps nobody from the other worker.
    assert_ne!(ask(&mut world, &mut workers, GET).0, own);
    assert_eq!((waits.read().as_str(), world.shard.status().queued), ("", 1));
    workers[own].answer(tag, "done");
    world.settle();
    assert!(held.read().ends_with("done"));
    assert_eq!(answer_any(&mut world, &mut workers), own);
    assert_eq!(cookie_set(&waits.read()), None);
}

#[test]
fn it_is_waited_for_during_half_of_the_queue_s_time() {
    let mut world = limited(true, false, 1);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = with_cookie(&cookie.expect("set"));
    let _held = world.client_with(&cookie);
    assert_eq!(tags(&mut workers[own]).len(), 1);
    let waits = world.client_with(&cookie);
    world.later(2_400);
    assert_eq!((waits.read().as_str(), tags(&mut workers[1 - own]).len()), ("", 0));
    world.later(200);
    assert_eq!(answer_any(&mut world, &mut workers), 1 - own);
    assert!(cookie_set(&waits.read()).is_some());
}

#[test]
fn no_room_to_wait_is_no_reason_to_be_refused() {
    let mut world = World::new(|setup| {
        let cookie = Some("way".to_owned());
        setup.sticky = Some(Sticky { cookie, sessions: false, key: [1, 2] });
        setup.worker_requests_max = Some(1);
        setup.queue_requests_max = 0;
    });
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = with_cookie(&cookie.expect("set"));
    let _held = world.client_with(&cookie);
    assert_eq!(tags(&mut workers[own]).len(), 1);
    let (other, anew) = ask(&mut world, &mut workers, &cookie);
    assert!(other != own && anew.is_some());
}

#[test]
fn a_worker_that_hangs_is_not_waited_for() {
    let mut world = world(true, false);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, cookie) = ask(&mut world, &mut workers, GET);
    let cookie = with_cookie(&cookie.expect("set"));
    world.block(own as u32 + 1);
    world.later(2_000);
    // Late, but perhaps not for long.
    let client = world.client_with(&cookie);
    assert_eq!(client.read(), "");
    assert!(tags(&mut workers[1 - own]).is_empty());
    world.later(9_000);
    tags(&mut workers[1 - own]);
    let (other, anew) = ask(&mut world, &mut workers, &cookie);
    assert!(other != own && anew.is_some());
}

#[test]
fn a_session_stays_with_its_process() {
    let mut world = world(false, true);
    let mut workers = [world.framed(1), world.framed(2), world.framed(3)];
    for _ in 0..4 {
        let (own, sid) = open_session(&mut world, &mut workers);
        let _poll = world.client_with(&of_session(&sid));
        assert_eq!(tags(&mut workers[own]).len(), 1);
        // Posts, the WebSocket and the next polls come on other connections.
        for _ in 0..2 {
            assert_eq!(ask(&mut world, &mut workers, &of_session(&sid)), (own, None));
        }
    }
}

#[test]
fn new_sessions_are_dealt_out_in_turn() {
    let mut world = world(false, true);
    let mut workers = [world.framed(1), world.framed(2), world.framed(3)];
    let owners: Vec<_> = (0..6)
        .map(|_| {
            let (own, sid) = open_session(&mut world, &mut workers);
            // What belongs to somebody takes no turn.
            assert_eq!(ask(&mut world, &mut workers, &of_session(&sid)), (own, None));
            own
        })
        .collect();
    let shares: Vec<_> = (0..3).map(|at| owners.iter().filter(|own| **own == at).count()).collect();
    assert_eq!(shares, [2, 2, 2], "{owners:?}");
}

#[test]
fn a_session_is_learnt_from_an_answer_in_pieces() {
    let mut world = world(false, true);
    let mut worker = world.framed(1);
    let client = world.client_with(HANDSHAKE);
    let tag = tags(&mut worker)[0];
    let answer = ok(r#"0{"sid":"abcdef","upgrades":[]}"#);
    let (first, second) = answer.split_at(answer.find("cdef").expect("in it"));
    worker.put(FromWorker::Data, tag, first);
    world.settle();
    let mut other = world.framed(2);
    worker.put(FromWorker::End, tag, second);
    world.settle();
    assert!(client.read().contains("abcdef"));
    for _ in 0..4 {
        let _poll = world.client_with(&of_session("abcdef"));
    }
    assert_eq!((tags(&mut worker).len(), tags(&mut other).len()), (4, 0));
}

#[test]
fn a_session_ends_with_its_process_and_not_with_an_error_of_ours() {
    let mut world = world(false, true);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, sid) = open_session(&mut world, &mut workers);
    let number = own as u32 + 1;
    world.command(ShardCommand::WorkerDrain { worker: number, drain: 1 });
    assert_eq!(ask(&mut world, &mut workers, &of_session(&sid)).0, 1 - own);
    world.command(ShardCommand::WorkerGone { worker: number });
    // Who follows in the slot knows nothing of it.
    workers[own] = world.framed_in(number + 10, number);
    let busy: Vec<Client> = (0..3).map(|_| world.client_with(&of_session(&sid))).collect();
    let counts: Vec<_> = workers.iter_mut().map(|worker| tags(worker).len()).collect();
    assert_eq!((busy.len(), counts.iter().sum()), (3, 3), "balanced as any: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn with_both_the_session_decides_and_the_cookie_stays() {
    let mut world = world(true, true);
    let mut workers = [world.framed(1), world.framed(2)];
    let (own, sid) = open_session(&mut world, &mut workers);
    let other = loop {
        let (served, cookie) = ask(&mut world, &mut workers, GET);
        if served != own {
            break cookie.expect("set");
        }
        // Others are balanced: with one more at work there, the next goes elsewhere.
        let _busy = world.client_with(&of_session(&sid));
        tags(&mut workers[own]);
    };
    let request = of_session(&sid).replace("\r\n\r\n", &format!("\r\nCookie: way={other}\r\n\r\n"));
    assert_eq!(ask(&mut world, &mut workers, &request), (own, None));
}
