//! Responses: where they end, what makes them truncated, the worker's credit.

use super::*;

const ID: &str = "X-Request-Id: 1\r\n";

fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}{ID}\r\n{body}")
}

#[test]
fn frames_may_cut_an_answer_anywhere() {
    for (fields, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
    ] {
        let whole = answer(fields, body);
        for cut in 0..=whole.len() {
            for link in BOTH {
                let mut world = World::in_exchange(GET, link);
                world.worker(&whole[..cut], ResponseEnd::Open);
                if world.conn.phase() == Phase::Exchange {
                    world.worker(&whole[cut..], ResponseEnd::End);
                }
                assert_eq!(world.output(), whole, "cut at {cut} over {link:?}");
                assert_eq!(world.conn.phase(), Phase::Idle, "cut at {cut} over {link:?}");
            }
        }
    }
}

#[test]
fn the_end_may_come_in_a_frame_of_its_own() {
    let mut world = World::in_exchange(GET, STREAM);
    let whole = answer("Content-Length: 2\r\n", "hi");
    assert_eq!(world.worker(&whole, ResponseEnd::Open), NOTHING);
    assert_eq!(world.conn.phase(), Phase::Exchange, "frames say themselves where they end");
    assert_eq!(world.worker("", ResponseEnd::End), ["reuse"]);
}

#[test]
fn an_end_with_missing_bytes_is_never_a_clean_one() {
    for (fields, body) in [
        ("Content-Length: 5\r\n", "hell"),
        ("Content-Length: 5\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhel"),
    ] {
        for end in [ResponseEnd::End, ResponseEnd::EndClose] {
            let mut world = World::in_exchange(GET, STREAM);
            assert_eq!(world.worker(&answer(fields, body), end), ["cancel"], "{fields}{body}");
            assert_eq!(world.flush().1, ["close"], "{fields}{body}");
            assert_eq!(world.stats.failed, 1);
        }
    }
}

#[test]
fn a_plain_worker_that_ends_early_truncates() {
    for (fields, body) in
        [("Content-Length: 5\r\n", "hell"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")]
    {
        let mut world = World::in_exchange(GET, PLAIN);
        assert_eq!(world.worker(&answer(fields, body), ResponseEnd::Open), ["credit 0"]);
        assert_eq!(world.step(Event::WorkerEnded), ["cancel"]);
        assert_eq!(world.flush().1, ["close"]);
    }
}

#[test]
fn an_answer_until_close_ends_the_connection() {
    let mut world = World::in_exchange(GET, PLAIN);
    world.worker(&answer("", "abc"), ResponseEnd::Open);
    world.worker("def", ResponseEnd::Open);
    assert_eq!(world.step(Event::WorkerEnded), ["cancel"]);
    let (out, wishes) = world.flush();
    assert_eq!((body_of(&out), wishes), ("abcdef", vec!["close".to_owned()]));
    assert!(out.contains("\r\nConnection: close\r\n"));
    let mut world = World::in_exchange(GET, STREAM);
    world.worker(&answer("", "abc"), ResponseEnd::Open);
    assert_eq!(world.worker("def", ResponseEnd::End), ["reuse"]);
    assert_eq!(world.flush().1, ["close"]);
}

#[test]
fn bytes_behind_an_answer_belong_to_nobody() {
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        let twice = answer("Content-Length: 2\r\n", "hi").repeat(2);
        // Over frames they are a fault of this client's connection, on the plain path one of the worker's.
        let (keep, end) =
            if link == PLAIN { ("cancel", &[][..]) } else { ("reuse", &["close"][..]) };
        assert_eq!(world.worker(&twice, ResponseEnd::End), [keep]);
        let (out, wishes) = world.flush();
        assert_eq!(
            (body_of(&out), wishes.iter().map(String::as_str).collect()),
            ("hi", end.to_vec())
        );
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for (request, code, fields) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "Content-Length: 9\r\n"),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "Transfer-Encoding: chunked\r\n"),
        (GET, 204, ""),
        (GET, 304, "Content-Length: 9\r\n"),
    ] {
        for link in BOTH {
            let mut world = World::in_exchange(request, link);
            let head = format!("HTTP/1.1 {code} X\r\n{fields}{ID}\r\n");
            assert_eq!(world.worker(&head, ResponseEnd::End), ["reuse"], "{code} {link:?}");
            assert_eq!(world.output(), head);
            assert_eq!(world.conn.phase(), Phase::Idle);
        }
    }
}

#[test]
fn an_app_that_wants_to_close_does() {
    let mut world = World::in_exchange(GET, STREAM);
    let close = answer("Connection: close\r\nContent-Length: 2\r\n", "hi");
    assert_eq!(world.worker(&close, ResponseEnd::EndClose), ["reuse"]);
    let (out, wishes) = world.flush();
    assert_eq!(out.matches("Connection: close\r\n").count(), 1);
    assert_eq!(wishes, ["close"]);
    // On the plain path it is the worker's own connection that ends.
    let mut world = World::in_exchange(GET, PLAIN);
    assert_eq!(world.worker(&close, ResponseEnd::Open), ["cancel"]);
    let (out, wishes) = world.flush();
    assert!(!out.contains("Connection"), "{out}");
    assert_eq!((wishes, world.conn.phase()), (vec![], Phase::Idle));
}

#[test]
fn versions_decide_what_is_said_about_the_connection() {
    let old = "GET / HTTP/1.0\r\n\r\n";
    let old_keep = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (request, said, ends) in [
        (GET, None, false),
        (old, Some("close"), true),
        (old_keep, Some("keep-alive"), false),
        (close, Some("close"), true),
    ] {
        let mut world = World::in_exchange(request, STREAM);
        let fields = "Content-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
        world.worker(&answer(fields, "hi"), ResponseEnd::End);
        let (out, wishes) = world.flush();
        let found = out.lines().find_map(|line| line.strip_prefix("Connection: "));
        assert_eq!(found, said, "{request}");
        assert!(!out.contains("Keep-Alive:"));
        assert_eq!(wishes == ["close"], ends, "{request}");
    }
}

#[test]
fn interim_answers_are_forwarded_but_not_to_http_1_0() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let last = answer("Content-Length: 0\r\n", "");
    for link in BOTH {
        let mut world = World::in_exchange(GET, link);
        world.worker(&format!("{hints}{hints}{last}"), ResponseEnd::End);
        assert_eq!(world.output(), format!("{hints}{hints}{last}"));
    }
    let mut world = World::in_exchange("GET / HTTP/1.0\r\n\r\n", STREAM);
    world.worker(&format!("{hints}{last}"), ResponseEnd::End);
    assert_eq!(status(&world.output()), 200);
}

#[test]
fn a_worker_that_speaks_no_http_is_a_502() {
    let too_long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n", "x".repeat(62_000));
    for bad in [
        "hello\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes",
        &too_long,
    ] {
        for link in BOTH {
            let mut world = World::in_exchange(GET, link);
            assert_eq!(world.worker(bad, ResponseEnd::Open), ["cancel"], "{bad:.40}");
            let (out, wishes) = world.flush();
            assert_eq!((status(&out), wishes), (502, vec![]), "{bad:.40}");
            assert_eq!(world.conn.phase(), Phase::Idle, "the client did nothing wrong");
        }
    }
}

#[test]
fn an_end_without_a_head_is_a_502() {
    for part in ["", "HTTP/1.1 200", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let mut world = World::in_exchange(GET, STREAM);
        assert_eq!(world.worker(part, ResponseEnd::End), ["cancel"]);
        assert!(world.output().contains(" 502 "), "{part}");
    }
}

#[test]
fn a_chunked_body_with_a_broken_chunk_is_cut() {
    for link in BOTH {
        for end in [ResponseEnd::Open, ResponseEnd::End] {
            let mut world = World::in_exchange(GET, link);
            let bad = answer("Transfer-Encoding: chunked\r\n", "zz\r\n");
            assert_eq!(world.worker(&bad, end), ["cancel"]);
            assert_eq!(world.stats.requests, 0, "the step stops there");
            let (out, wishes) = world.flush();
            assert!(out.ends_with("\r\n\r\n") && !out.contains("zz"), "{out}");
            assert_eq!(wishes, ["close"]);
        }
    }
}

#[test]
fn credit_returns_when_the_client_has_taken_half_a_window() {
    let mut world = World::in_exchange(GET, STREAM);
    let head = answer("Content-Length: 1000000\r\n", "");
    world.worker(&head, ResponseEnd::Open);
    assert_eq!(world.flush().1, NOTHING);
    let quarter = "x".repeat(65_536);
    world.worker(&quarter, ResponseEnd::Open);
    assert!(world.send());
    assert_eq!(world.sent().1, NOTHING);
    world.worker(&quarter, ResponseEnd::Open);
    assert!(world.send());
    assert_eq!(world.sent().1, [format!("credit {}", 131_072 + head.len())]);
    // What was not sent is not credited.
    world.worker(&quarter, ResponseEnd::Open);
    world.worker(&quarter, ResponseEnd::Open);
    let (_, wishes) = world.flush();
    assert_eq!(wishes, ["credit 131072"]);
}

#[test]
fn a_plain_worker_is_held_while_the_client_does_not_read() {
    let mut world = World::in_exchange(GET, PLAIN);
    world.worker(&answer("Content-Length: 1000000\r\n", ""), ResponseEnd::Open);
    world.send();
    let part = "x".repeat(65_536);
    assert_eq!(world.worker(&part, ResponseEnd::Open), ["credit 0"]);
    assert_eq!(world.worker(&part, ResponseEnd::Open), NOTHING, "held");
    assert_eq!(world.sent().1, NOTHING);
    world.send();
    assert_eq!(world.sent().1, ["credit 0"]);
}

#[test]
fn a_plain_worker_held_before_its_head_is_released_again() {
    let mut world = World::in_exchange(&GET.repeat(2), PLAIN);
    let body = "x".repeat(60_000);
    world.worker(&answer("Content-Length: 60000\r\n", &body), ResponseEnd::Open);
    world.grant(PLAIN);
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(50_000));
    assert_eq!(world.worker(&hints, ResponseEnd::Open), ["credit 0"]);
    assert_eq!(world.worker(&hints, ResponseEnd::Open), NOTHING, "held");
    assert!(world.flush().1.contains(&"credit 0".into()));
}

#[test]
fn a_reader_who_makes_us_hoard_is_cut() {
    let mut world = World::in_exchange(GET, STREAM);
    world.settings.spill_bytes_max = 100_000;
    world.worker(&answer("Content-Length: 1000000\r\n", ""), ResponseEnd::Open);
    let buffer = buffer(&"x".repeat(60_000));
    let bytes =
        |range| Event::WorkerBytes { buffer: &buffer, range, end: ResponseEnd::Open, scarce: true };
    assert_eq!(world.step(bytes(0..60_000)), NOTHING);
    assert_eq!(world.step(bytes(0..60_000)), ["cancel", "close"]);
}

#[test]
fn a_slow_reader_does_not_hold_scarce_buffers() {
    let mut world = World::in_exchange(GET, STREAM);
    let mut taken = world.pool.take(PoolClass::Channel).expect("free");
    taken.extend_from_slice(answer("Content-Length: 2000\r\n", &"x".repeat(2_000)).as_bytes());
    let buffer = taken.freeze();
    let range = 0..buffer.len();
    world.step(Event::WorkerBytes { buffer: &buffer, range, end: ResponseEnd::End, scarce: true });
    drop(buffer);
    let pool = &world.pool;
    assert_eq!(pool.free(PoolClass::Channel), pool.capacity(PoolClass::Channel));
    assert!(body_of(&world.output()).len() == 2_000);
}

#[test]
fn an_app_that_resets_ends_the_connection() {
    let mut world = World::in_exchange(GET, STREAM);
    assert_eq!(world.step(Event::WorkerReset), ["cancel", "close"]);
    let mut world = World::in_exchange(GET, STREAM);
    world.worker(&answer("Content-Length: 5\r\n", "ab"), ResponseEnd::Open);
    assert_eq!(world.step(Event::WorkerReset), ["cancel"]);
    assert_eq!(world.flush().1, ["close"], "what it wrote before goes out");
    let mut world = World::new();
    assert_eq!(world.step(Event::WorkerReset), ["close"], "an idle one too");
}

const GET_10: &str = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";

#[test]
fn a_client_of_http_1_0_gets_the_content_without_chunks_and_an_end() {
    let whole = answer(
        "Transfer-Encoding: chunked\r\nTrailer: A\r\n",
        "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n",
    );
    let expected = format!("HTTP/1.1 200 OK\r\n{ID}Connection: close\r\n\r\nhello!");
    for cut in 0..=whole.len() {
        let mut world = World::in_exchange(GET_10, PLAIN);
        world.worker(&whole[..cut], ResponseEnd::Open);
        let mut seen = world.flush();
        if world.conn.phase() == Phase::Exchange {
            let wishes = world.worker(&whole[cut..], ResponseEnd::Open);
            assert_eq!(wishes.first().map(String::as_str), Some("reuse"), "cut at {cut}");
            let (rest, more) = world.flush();
            seen.0.push_str(&rest);
            seen.1.extend(wishes.into_iter().chain(more));
        }
        assert_eq!(seen.0, expected, "cut at {cut}");
        assert_eq!(seen.1.last().map(String::as_str), Some("close"), "cut at {cut}");
    }
}

#[test]
fn a_head_only_answer_to_http_1_0_names_no_coding() {
    let head = GET_10.replace("GET", "HEAD");
    let mut world = World::in_exchange(&head, PLAIN);
    assert_eq!(
        world.worker(&answer("Transfer-Encoding: chunked\r\n", ""), ResponseEnd::Open),
        ["reuse"]
    );
    let output = world.output();
    assert!(!output.contains("Transfer-Encoding"), "{output}");
    assert!(output.contains("\r\nConnection: keep-alive\r\n"), "there is nothing to end: {output}");
}

/// Where the end of the connection is the end of the answer, an orderly one would make half an answer look whole.
#[test]
fn an_answer_that_ends_with_its_connection_is_never_cut_in_order() {
    let until_close = answer("", "half of it");
    let chunked = answer("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n");
    for (request, text) in [(GET, &until_close), (GET_10, &until_close), (GET_10, &chunked)] {
        let mut world = World::in_exchange(request, PLAIN);
        world.worker(text, ResponseEnd::Open);
        assert_eq!(world.step(Event::WorkerLost { unsent: false }), ["cancel"], "{request}");
        let (out, wishes) = world.flush();
        assert!(out.contains("hel") || out.contains("half of it"), "what came is passed on: {out}");
        assert_eq!(wishes, ["reset"], "{request}");

        let mut world = World::in_exchange(request, PLAIN);
        world.worker(text, ResponseEnd::Open);
        assert_eq!(
            world.step(Event::Cut),
            ["cancel", "reset"],
            "the server does not wait: {request}"
        );

        let mut world = World::in_exchange(request, PLAIN);
        world.worker(text, ResponseEnd::Open);
        world.output();
        assert_eq!(world.deadline(60_001), ["cancel", "reset"], "a silent worker: {request}");
    }
    let mut world = World::in_exchange(GET_10, PLAIN);
    world.worker(&answer("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nx"), ResponseEnd::Open);
    assert_eq!(world.flush().1, ["reset"], "a broken coding");
    let mut world = World::in_exchange(GET, PLAIN);
    world.worker(&answer("Content-Length: 5\r\n", "hell"), ResponseEnd::Open);
    world.step(Event::WorkerLost { unsent: false });
    assert_eq!(world.flush().1, ["close"], "a length tells");
}

#[test]
fn behind_the_last_request_that_the_app_counts_the_end_is_announced_and_left_to_the_client() {
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut world = World::in_exchange(GET, STREAM);
    world.settings.requests_per_connection_max = Some(2);
    // The app's own wish, before: it closes.
    assert_eq!(world.worker(last, ResponseEnd::EndClose), ["reuse"]);
    assert!(world.output().contains("\r\nConnection: close\r\n"));
    assert_eq!(world.conn.phase(), Phase::Closing);

    let mut world = World::in_exchange(GET, STREAM);
    world.settings.requests_per_connection_max = Some(1);
    assert_eq!(world.worker(last, ResponseEnd::End), ["reuse"]);
    assert!(world.output().contains("\r\nConnection: close\r\n"));
    assert_eq!(world.receive(GET), ["dispatch"], "Node answers it with 503");
}

#[test]
fn the_apps_idle_time_is_told_where_it_is_in_effect() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=65\r\nContent-Length: 0\r\n\r\n";
    for announces in [false, true] {
        let mut world = World::in_exchange(GET, STREAM);
        world.settings.announces_idle = announces;
        world.worker(answer, ResponseEnd::End);
        let out = world.output();
        assert_eq!(out.contains("\r\nKeep-Alive: timeout=65\r\n"), announces, "{out}");
        assert_eq!(out.contains("\r\nConnection: keep-alive\r\n"), announces, "{out}");
    }
}
