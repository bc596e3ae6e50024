//! Heads: whole, in pieces, bad, late; what happens to the bytes behind them.

use super::*;

#[test]
fn a_get_goes_to_a_worker_and_its_answer_to_the_client() {
    for link in BOTH {
        let mut world = World::new();
        assert_eq!(world.receive(GET), ["dispatch"]);
        assert_eq!(world.conn.phase(), Phase::Queued);
        assert_eq!(world.grant(link), ["head"]);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: 1\r\n\r\nhi";
        assert_eq!(world.worker(answer, ResponseEnd::End), ["reuse"]);
        assert_eq!(world.flush(), (answer.into(), vec![]));
        assert_eq!(world.conn.phase(), Phase::Idle);
        assert_eq!((world.stats.requests, world.stats.failed), (1, 0));
    }
}

#[test]
fn the_generation_moves_with_every_request_and_wraps() {
    let mut world = World::in_exchange(GET, STREAM);
    assert_eq!(world.conn.generation, 0, "after 255");
    world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
    world.receive(GET);
    world.grant(STREAM);
    assert_eq!(world.conn.generation, 1);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let mut world = World::new();
    for at in 0..GET.len() - 1 {
        assert_eq!(world.receive(&GET[at..=at]), NOTHING, "byte {at}");
        assert_eq!(world.conn.phase(), Phase::Head);
    }
    assert_eq!(world.receive("\n"), ["dispatch"]);
    assert_eq!(world.conn.head.as_ref().expect("kept").as_slice(), GET.as_bytes());
}

#[test]
fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let mut world = World::new();
    let three = format!("{GET}HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n{GET}");
    assert_eq!(world.receive(&three), ["dispatch"]);
    world.grant(STREAM);
    // More of them wait in the client's socket.
    assert_eq!(world.receive(GET), ["pause"]);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(
        world.worker(&format!("{answer}1"), ResponseEnd::End),
        ["reuse", "stream", "dispatch"]
    );
    world.grant(STREAM);
    // No body for HEAD, whatever the length says.
    assert_eq!(world.worker(answer, ResponseEnd::End), ["reuse", "stream", "dispatch"]);
    world.grant(STREAM);
    world.worker(&format!("{answer}3"), ResponseEnd::End);
    world.grant(STREAM);
    assert_eq!(world.worker(&format!("{answer}4"), ResponseEnd::End), ["reuse"]);
    let out = world.output();
    assert_eq!(out.matches("HTTP/1.1 200 OK").count(), 4);
    assert!(out.ends_with('4'), "{out}");
}

#[test]
fn half_a_pipelined_head_waits_for_its_rest() {
    let mut world = World::in_exchange(&format!("{GET}GET /b HT"), STREAM);
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(world.worker(answer, ResponseEnd::End), ["reuse", "stream"]);
    assert_eq!(world.conn.phase(), Phase::Head);
    assert_eq!(world.receive("TP/1.1\r\nHost: a\r\n\r\n"), ["dispatch"]);
}

#[test]
fn a_client_that_pipelines_without_reading_is_not_answered_for_ever() {
    let mut world = World::new();
    let body = "x".repeat(40_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n{body}");
    world.receive(&GET.repeat(5));
    let mut served = 0;
    while world.conn.phase() == Phase::Queued {
        world.grant(STREAM);
        world.worker(&answer, ResponseEnd::End);
        served += 1;
    }
    assert_eq!(served, 2, "the third waits until the client reads");
    assert_eq!(world.conn.phase(), Phase::Idle);
    assert_eq!(world.receive(GET), ["pause"]);
    let (_, wishes) = world.flush();
    assert_eq!(wishes, ["stream", "dispatch"]);
    let mut served = 0;
    while world.conn.phase() == Phase::Queued {
        world.grant(STREAM);
        world.worker(&answer, ResponseEnd::End);
        world.flush();
        served += 1;
    }
    assert_eq!(served, 4, "and then nothing is lost");
}

#[test]
fn bytes_that_had_to_wait_come_before_those_that_arrive_later() {
    let mut world = World::in_exchange(GET, STREAM);
    let body = "x".repeat(70_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{body}");
    world.worker(&answer, ResponseEnd::End);
    assert_eq!(world.receive("GET /b HT"), ["pause"], "the answer waits, and so does the head");
    // The answer is on its way, not taken yet; what the ring had received already is delivered late.
    assert!(world.send());
    assert_eq!(world.receive("TP/1.1\r\nHost: a\r\n\r\n"), ["stream", "dispatch"]);
}

#[test]
fn bad_heads_are_refused_and_the_connection_ends() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(17_000));
    let cases: &[(&str, u16)] = &[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        ("GET /\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (&long_target, 414),
        (&long_head, 431),
    ];
    for (head, code) in cases {
        for step in [head.len(), 7, 1] {
            let mut world = World::new();
            for piece in head.as_bytes().chunks(step) {
                if world.conn.phase() == Phase::Closing {
                    break;
                }
                world.receive(std::str::from_utf8(piece).expect("ASCII"));
            }
            let (out, wishes) = world.flush();
            assert_eq!(status(&out), *code, "{head:.60?} in pieces of {step}");
            assert!(out.contains("\r\nConnection: close\r\n"), "{out}");
            assert_eq!(wishes, ["fin", "stream"], "{head:.60?}");
            assert_eq!(world.stats.refused + world.stats.failed, 1);
        }
    }
}

#[test]
fn no_cut_of_the_head_changes_what_comes_out() {
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n";
    for cut in 1..request.len() {
        let mut world = World::new();
        let mut wishes = world.receive(&request[..cut]);
        if world.conn.phase() == Phase::Queued {
            wishes.extend(world.grant(STREAM));
        }
        wishes.extend(world.receive(&request[cut..]));
        if world.conn.phase() == Phase::Queued {
            wishes.extend(world.grant(STREAM));
        }
        let body: String = wishes.iter().filter_map(|wish| wish.strip_prefix("body ")).collect();
        assert_eq!(body, "abc", "cut at {cut}: {wishes:?}");
        assert_eq!(wishes.iter().filter(|wish| *wish == "end").count(), 1, "cut at {cut}");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n";
    let mut world = World::new();
    assert_eq!(world.receive(head), NOTHING, "no worker hears of it");
    let (out, wishes) = world.flush();
    assert_eq!((status(&out), wishes), (413, vec!["fin".to_owned(), "stream".to_owned()]));
    assert_eq!(world.receive("body that nobody reads"), NOTHING);
    assert_eq!(world.step(Event::ReceiveEnded), ["close"]);
}

#[test]
fn the_client_s_request_id_is_echoed_if_it_is_sane() {
    let with = |id: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n");
        let mut world = World::in_exchange(&head, STREAM);
        world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
        world.output()
    };
    assert!(with("abc-1").contains("\r\nX-Request-Id: abc-1\r\n"));
    assert!(!with("a b").contains("a b"));
    assert!(with("a b").contains("\r\nX-Request-Id: "));
}

#[test]
fn short_receive_buffers_are_given_back_by_waiting_requests() {
    let mut world = World::new();
    let mut hoard = Vec::new();
    let head = {
        let mut buffer = world.pool.take(PoolClass::Head).expect("free");
        buffer.extend_from_slice(GET.as_bytes());
        buffer.extend_from_slice(GET.as_bytes());
        buffer.freeze()
    };
    world.step(Event::Received(head));
    world.conn.unpin_head(&world.pool);
    let pinned = world.conn.head.as_ref().expect("kept").buffer().class();
    assert_eq!(pinned, Some(PoolClass::Head), "while there are enough");
    while let Some(buffer) = world.pool.take(PoolClass::Head) {
        hoard.push(buffer);
    }
    world.conn.unpin_head(&world.pool);
    drop(hoard);
    assert_eq!(world.pool.out(), 0, "neither head nor inbox holds a buffer");
    world.grant(STREAM);
    world.worker("HTTP/1.1 204 No Content\r\n\r\n", ResponseEnd::End);
    assert_eq!(world.conn.phase(), Phase::Queued, "the pipelined request is intact");
}
