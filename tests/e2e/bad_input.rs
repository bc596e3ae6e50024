//! Malformed, over-long and hostile requests: refused at the door, no other connection harmed.
//!
//! The rule: nothing that Node would refuse reaches a worker, one request in is one request out, no 5xx and
//! no hang for a client's mistake.

use std::time::Duration;

use crate::bad_input_tables::{BAD_CHUNKS, CHUNKED, MALFORMED, SMUGGLING};
use crate::support::{Client, Instance, Setup, Transport, Variant, eventually, matrix};

matrix!(all: malformed_heads, smuggling, bad_chunks, over_long);
matrix!(frames: half_sent_heads, silent_bodies, slow_readers_do_not_stop_others);

fn start(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").start()
}

/// Sends bytes on a fresh connection; the server must answer with one of the statuses and close, and no request
/// whose target contains `evil` may reach the app.
fn refused(instance: &Instance, name: &str, bytes: &[u8], statuses: &[u16]) {
    let mut client = instance.client();
    // The server may answer and close before everything is sent.
    let _ = client.try_send(bytes);
    match client.try_response("GET") {
        Ok(response) => {
            assert!(statuses.contains(&response.status), "{name}: {response:?}");
            let rest = client.read_to_close();
            assert!(rest.is_empty(), "{name}: more than one answer: {:?}", String::from_utf8(rest));
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// The app saw none of it and serves the next client.
fn unharmed(instance: &Instance, good: &mut Client) {
    assert_eq!(good.get("/hello").text(), "Hello, world!\n");
    instance.assert_serves();
    let seen = instance.get("/seen").text().to_owned();
    assert!(!seen.contains("evil"), "a refused request reached the app: {seen}");
}

fn malformed_heads(variant: Variant) {
    let instance = start(variant);
    let mut good = instance.client();
    assert_eq!(good.get("/hello").status, 200);
    for (name, bytes, statuses) in MALFORMED {
        let bytes = bytes.replace("{host}", "Host: test\r\n");
        refused(&instance, name, bytes.as_bytes(), statuses);
    }
    unharmed(&instance, &mut good);
    // What looks odd but is allowed.
    let mut client = instance.client();
    client.send("\r\nGET /hello HTTP/1.1\r\nHost:\ttest \r\n\r\n");
    assert_eq!(client.response().status, 200, "one empty line first, tab before the value");
    client.send("GET http://test/hello HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().status, 200, "absolute form");
    drop((client, good));
    instance.finish();
}

fn smuggling(variant: Variant) {
    let instance = start(variant);
    let mut good = instance.client();
    let (cl, te) =
        (format!("Content-Length: {}\r\n", CHUNKED.len()), "Transfer-Encoding: chunked\r\n");
    for (name, fields, body) in SMUGGLING {
        let fields = fields.replace("{cl}", &cl).replace("{te}", te);
        let bytes = format!("POST /evil-outer HTTP/1.1\r\nHost: test\r\n{fields}\r\n{body}");
        refused(&instance, name, bytes.as_bytes(), &[400, 413, 501]);
    }
    // TE in HTTP/1.0.
    let old = format!("POST /evil HTTP/1.0\r\n{te}\r\n{CHUNKED}");
    refused(&instance, "TE in 1.0", old.as_bytes(), &[400, 501]);
    unharmed(&instance, &mut good);
    drop(good);
    instance.finish();
}

fn bad_chunks(variant: Variant) {
    let instance = start(variant);
    let mut good = instance.client();
    for (name, body) in BAD_CHUNKS {
        let request = format!(
            "POST /inspect?{} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
            name.replace(' ', "-")
        );
        let mut client = instance.client();
        let _ = client.try_send(&request);
        // The head was good, so the app may have the request already; it must not see an ended body.
        // The client gets 400, or a closed connection when nothing can be answered any more.
        if let Ok(response) = client.try_response("GET") {
            assert_eq!(response.status, 400, "{name}: {response:?}");
        }
        client.read_to_close();
    }
    // Announces 3 bytes, ends in the middle.
    for body in ["3\r\nab", "3\r\nabc", "3\r\nabc\r\n0\r\n", "5"] {
        let mut client = instance.client();
        client
            .send("POST /inspect?cut HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(body);
        client.half_close();
        let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
        assert!(!answer.contains(" 200 "), "{body:?}: {answer}");
    }
    unharmed(&instance, &mut good);
    drop(good);
    instance.finish();
}

fn over_long(variant: Variant) {
    let instance = start(variant);
    let mut good = instance.client();
    let long = |count: usize| "a".repeat(count);
    let table: &[(&str, String, &[u16])] = &[
        ("target", format!("GET /evil{} HTTP/1.1\r\nHost: test\r\n\r\n", long(9_000)), &[414]),
        ("endless target", format!("GET /evil{}", long(100_000)), &[414, 431]),
        ("endless method", long(100_000), &[400, 414, 431, 501]),
        (
            "value",
            format!("GET /evil HTTP/1.1\r\nHost: test\r\nA: {}\r\n\r\n", long(20_000)),
            &[431],
        ),
        (
            "endless value",
            format!("GET /evil HTTP/1.1\r\nHost: test\r\nA: {}", long(100_000)),
            &[431],
        ),
        (
            "name",
            format!("GET /evil HTTP/1.1\r\nHost: test\r\n{}: b\r\n\r\n", long(300)),
            &[400, 431],
        ),
        (
            "fields",
            format!("GET /evil HTTP/1.1\r\nHost: test\r\n{}\r\n", "A: b\r\n".repeat(200)),
            &[431],
        ),
        (
            "endless fields",
            format!("GET /evil HTTP/1.1\r\nHost: test\r\n{}", "A: b\r\n".repeat(20_000)),
            &[431],
        ),
    ];
    for (name, bytes, statuses) in table {
        refused(&instance, name, bytes.as_bytes(), statuses);
    }
    unharmed(&instance, &mut good);
    drop(good);
    just_below_the_bounds(&instance);
    instance.finish();
    body_limit(variant);
}

fn just_below_the_bounds(instance: &Instance) {
    let long = |count: usize| "a".repeat(count);
    let mut client = instance.client();
    client.send(format!("GET /hello?{} HTTP/1.1\r\nHost: test\r\n\r\n", long(7_000)));
    assert_eq!(client.response().status, 200);
    client.send(format!("GET /hello HTTP/1.1\r\nHost: test\r\nA: {}\r\n\r\n", long(14_000)));
    assert_eq!(client.response().status, 200);
}

fn body_limit(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--max-body-size 64K").start();
    let mut client = instance.client();
    client.send("POST /evil HTTP/1.1\r\nHost: test\r\nContent-Length: 65537\r\n\r\n");
    assert_eq!(client.response().status, 413);
    client.read_to_close();
    let mut client = instance.client();
    client.send("POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..5 {
        let _ = client.try_send(format!("4000\r\n{}\r\n", "b".repeat(0x4000)));
    }
    // The answer is 413 unless the app's own answer was under way; never a 200.
    if let Ok(response) = client.try_response("GET") {
        assert_eq!(response.status, 413);
    }
    client.read_to_close();
    let mut client = instance.client();
    client.send(format!(
        "POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 65536\r\n\r\n{}",
        "c".repeat(65_536)
    ));
    assert_eq!(client.response().json()["bytes"], 65_536);
    drop(client);
    assert!(!instance.get("/seen").text().contains("evil"));
    instance.finish();
}

fn half_sent_heads(variant: Variant) {
    let instance = Setup::new(variant, "basic.js")
        .options("--head-timeout 400ms --idle-timeout 700ms")
        .start();
    let mut held: Vec<Client> = Vec::new();
    for bytes in ["G", "GET /evil HTTP/1.1\r\n", "GET /evil HTTP/1.1\r\nHost: test\r\n", "\r\n"] {
        let mut client = instance.client();
        client.send(bytes);
        held.push(client);
    }
    // One that drips: every byte is progress, the head as a whole is still late.
    let mut dripping = instance.client();
    let drip = std::thread::spawn(move || {
        for byte in b"GET /evil HTTP/1.1\r\nHost: test\r\nA: ".iter().chain([&b'a'; 2000]) {
            if dripping.try_send([*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        dripping
    });
    for (index, client) in held.iter_mut().enumerate() {
        match client.try_response("GET") {
            Ok(response) => assert_eq!(response.status, 408, "{index}"),
            // A lone CRLF is not the beginning of a request: closing silently is right as well.
            Err(error) if index == 3 => drop(error),
            Err(error) => panic!("{index}: {error}"),
        }
        client.read_to_close();
        instance.assert_serves();
    }
    let mut dripping = drip.join().expect("drip");
    // Its last bytes may have met a closed socket: then the 408 is lost in the reset.
    if let Ok(response) = dripping.try_response("GET") {
        assert_eq!(response.status, 408);
    }
    dripping.read_to_close();
    assert!(!instance.get("/seen").text().contains("evil"));
    instance.finish();
    idle_connections(variant);
}

/// Nothing is sent at all, or nothing after a served request.
fn idle_connections(variant: Variant) {
    let instance = Setup::new(variant, "basic.js")
        .options("--head-timeout 400ms --idle-timeout 700ms")
        .start();
    let mut idle = instance.client();
    assert_eq!(idle.get("/hello").status, 200);
    idle.expect_close();
    let silent = instance.client().read_to_close();
    assert!(silent.is_empty() || silent.starts_with(b"HTTP/1.1 408"), "{silent:?}");
    assert!(!instance.get("/seen").text().contains("evil"));
    instance.finish();
}

fn silent_bodies(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--client-timeout 400ms").start();
    let mut client = instance.client();
    client.send("POST /inspect?silent HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf");
    if let Ok(response) = client.try_response("GET") {
        assert_eq!(response.status, 408);
    }
    client.read_to_close();
    eventually("the app hears of it", || {
        instance.get("/closed").text().contains("/inspect?silent").then_some(())
    });
    instance.assert_serves();
    drop(client);
    instance.finish();
}

fn slow_readers_do_not_stop_others(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--client-timeout 1s").start();
    // These ask for much and read nothing.
    let mut stuck: Vec<Client> = (0..40).map(|_| instance.client()).collect();
    for client in &mut stuck {
        client.send("GET /download?bytes=16777216 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for _ in 0..50 {
        instance.assert_serves();
    }
    // A response that nobody takes is cut after the client's silence limit.
    eventually("slow readers are cut", || (instance.shards().conns == 0).then_some(()));
    assert_eq!(variant.transport, Transport::Frames);
    instance.assert_serves();
    drop(stuck);
    instance.finish();
}
