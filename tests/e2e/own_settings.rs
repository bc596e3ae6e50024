//! Time-outs, limits and client errors that the app's own server has: they are in effect, unless the operator chose.
//!
//! What plain Node does with the same app is the measure; where the proxy is stricter, it answers by itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bad_input_tables::{BAD_CHUNKS, MALFORMED, SMUGGLING};
use crate::support::{Client, Instance, Setup, Variant, matrix};

matrix!(frames: client_errors, broken_bodies, client_errors_that_node_does_not_see, refused_as_without_listener, keep_alive,
    heads_and_requests, sizes, requests_per_connection);

fn start(variant: Variant, settings: &str, options: &str) -> Instance {
    Setup::new(variant, "own-settings.js").options(options).app_args(&[settings]).start()
}

fn facts(instance: &Instance) -> Value {
    instance.get("/facts").json()
}

/// Sends bytes on a connection of their own and gives everything that comes back until the server closes.
fn raw(instance: &Instance, bytes: impl AsRef<[u8]>) -> String {
    let mut client = instance.client();
    // The server may answer and close before everything is sent.
    let _ = client.try_send(bytes);
    String::from_utf8_lossy(&client.read_to_close()).into_owned()
}

fn client_errors(variant: Variant) {
    let instance = start(variant, r#"{"clientError":true}"#, "");
    let mut client = instance.client();
    assert_eq!(client.get("/first").status, 200);
    // After a good request, in two pieces, with more behind it.
    client.send("GET / HTTP/1.1\r\nHost: a\r\nA b");
    client.send(": c\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.text()), (422, "own"));
    assert_eq!(answer.field("x-request-id"), None, "the app's own bytes");
    let rest = client.read_to_close();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    let facts = facts(&instance);
    let error = &facts["errors"][0];
    assert_eq!(error["code"], "HPE_INVALID_HEADER_TOKEN");
    assert_eq!((&error["address"], &error["real"]), (&"127.0.0.1".into(), &"Socket".into()));
    // The second piece may reach Node before the app has closed, and is an error of its own then, as under Node alone.
    let errors = facts["errors"].as_array().map(Vec::len);
    assert!(matches!(errors, Some(1 | 2)), "{facts}");
    assert!(!facts["seen"].to_string().contains("evil"), "{facts}");
    let status = instance.shards();
    assert_eq!((status.refused, status.failed), (0, 0));

    assert!(raw(&instance, "NONSENSE\r\n\r\n").starts_with("HTTP/1.1 422 Own Words\r\n"));
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(40_000));
    assert!(raw(&instance, long).starts_with("HTTP/1.1 431 Own Overflow\r\n"));
    let mut cut = instance.client();
    cut.send("GET / HT");
    cut.half_close();
    assert_eq!(cut.response().status, 422);
    assert_eq!(last_code(&instance), "HPE_INVALID_EOF_STATE");
    drop((client, cut));
    instance.finish();
}

/// The app has the request, whose body breaks: its answer comes on the socket of the request.
fn broken_bodies(variant: Variant) {
    let instance = start(variant, r#"{"clientError":true}"#, "");
    for (name, chunks) in BAD_CHUNKS {
        let answer = raw(
            &instance,
            format!(
                "POST /broken HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 422 Own Words\r\n"), "{name}: {answer:?}");
        assert_eq!(answer.matches("Content-Length: ").count(), 1, "{name}: {answer:?}");
    }
    let mut client = instance.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab");
    client.send("c!\r\n");
    assert_eq!(client.response().status, 422);
    client.expect_close();
    let facts = facts(&instance);
    assert_eq!(facts["errors"][0]["code"], "HPE_INVALID_CHUNK_SIZE");
    drop(client);
    instance.finish();
}

fn last_code(instance: &Instance) -> String {
    let facts = facts(instance);
    let last = facts["errors"].as_array().and_then(|errors| errors.last().cloned());
    last.map_or_else(String::new, |error| error["code"].as_str().unwrap_or_default().to_owned())
}

/// All that is malformed: either the app's words or ours, and no request comes through.
fn client_errors_that_node_does_not_see(variant: Variant) {
    let instance = start(variant, r#"{"clientError":true}"#, "");
    let good = "POST /evil HTTP/1.1\r\nHost: test\r\n";
    let fields = |text: &str| {
        text.replace("{cl}", "Content-Length: 5\r\n")
            .replace("{te}", "Transfer-Encoding: chunked\r\n")
    };
    let heads =
        MALFORMED.iter().map(|(name, bytes, _)| (*name, bytes.replace("{host}", "Host: test\r\n")));
    let smuggled = SMUGGLING
        .iter()
        .map(|(name, lines, body)| (*name, format!("{good}{}\r\n{body}", fields(lines))));
    for (name, bytes) in heads.chain(smuggled) {
        let answer = raw(&instance, &bytes);
        let own = answer.starts_with("HTTP/1.1 422 Own Words\r\n");
        let ours = ["400", "501", "505"].iter().any(|status| {
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("X-Hostler-Error")
        });
        assert!(own || ours, "{name}: {answer:?}");
        assert_eq!(answer.matches("Content-Length: ").count(), 1, "{name}: {answer:?}");
    }
    // Node takes each of these; the answer is ours.
    for request in [
        "GET /evil#fragment HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /evil HTTP/2.0\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /evil HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        assert!(
            raw(&instance, request).contains("X-Hostler-Error: bad-request\r\n"),
            "{request:?}"
        );
    }
    let facts = facts(&instance);
    assert!(!facts["seen"].to_string().contains("evil"), "{facts}");
    instance.finish();
}

/// Without a listener nothing of it.
fn refused_as_without_listener(variant: Variant) {
    let instance = start(variant, "{}", "");
    assert!(raw(&instance, "NONSENSE\r\n\r\n").contains("X-Hostler-Error: bad-request\r\n"));
    instance.finish();
}

/// Until the server closes an idle connection, within `limit`.
fn closes_within(client: &mut Client, limit: Duration) -> Duration {
    let start = Instant::now();
    client.set_patience(limit);
    client.expect_close();
    start.elapsed()
}

const SOON: Duration = Duration::from_secs(4);

fn keep_alive(variant: Variant) {
    let own = start(variant, r#"{"keepAliveTimeout":700}"#, "");
    let mut client = own.client();
    assert_eq!(client.get("/").status, 200);
    closes_within(&mut client, SOON);
    // A connection that has asked nothing is not held to it.
    let mut silent = own.client();
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(silent.get("/").status, 200);
    // What the app tells its clients is what we do.
    silent.get(r#"/set?to={"keepAliveTimeout":72000}"#);
    let told = silent.get("/");
    assert_eq!(told.field("keep-alive"), Some("timeout=72"));
    assert_eq!(told.field("connection"), Some("keep-alive"));
    let idle_ms = own.shards().app.idle_ms_max;
    assert!(idle_ms.is_some_and(|ms| (72_000..=74_000).contains(&ms)), "{idle_ms:?}");
    drop((client, silent));
    own.finish();

    let typed = start(variant, r#"{"keepAliveTimeout":72000}"#, "--idle-timeout 500ms");
    let mut client = typed.client();
    assert_eq!(client.get("/").field("keep-alive"), None);
    assert_eq!(typed.shards().app.idle_ms_max, None);
    closes_within(&mut client, SOON);
    drop(client);
    typed.finish();

    let plain = start(variant, "{}", "");
    assert_eq!(plain.get("/").field("keep-alive"), None, "ours is in effect, not Node's default");
    plain.finish();
}

fn heads_and_requests(variant: Variant) {
    let instance = start(variant, r#"{"headersTimeout":500,"requestTimeout":1000}"#, "");
    let mut head = instance.client();
    head.send("GET / HTTP/1.1\r\n");
    let mut body = instance.client();
    body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    let drip = body.writer();
    let dripping = std::thread::spawn(move || {
        let mut drip = drip;
        while drip.try_send("a").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(head.response().status, 408);
    assert_eq!(body.response().status, 408, "each byte is progress, the whole is late");
    drop((head, body));
    dripping.join().expect("the sender ends");
    instance.finish();

    let own = start(variant, r#"{"headersTimeout":500,"clientError":true}"#, "");
    let mut late = own.client();
    late.send("GET / HTTP/1.1\r\n");
    assert_eq!(late.response().status, 422);
    // As under Node alone its end is a second one: the parser is still in the middle of a head.
    assert_eq!(facts(&own)["errors"][0]["code"], "ERR_HTTP_REQUEST_TIMEOUT");
    drop(late);
    own.finish();
}

fn sizes(variant: Variant) {
    let request = |bytes: usize, target: usize| {
        let target = "a".repeat(target);
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(bytes))
    };
    let large = start(variant, r#"{"options":{"maxHeaderSize":40000}}"#, "");
    assert!(raw_get(&large, &request(30_000, 1)).starts_with("HTTP/1.1 200 "));
    assert!(raw_get(&large, &request(10, 20_000)).starts_with("HTTP/1.1 200 "), "the target too");
    assert!(raw_get(&large, &request(41_000, 1)).starts_with("HTTP/1.1 431 "));
    large.finish();

    let small = start(variant, r#"{"options":{"maxHeaderSize":4000}}"#, "");
    assert!(raw_get(&small, &request(3_000, 1)).starts_with("HTTP/1.1 200 "));
    assert!(raw_get(&small, &request(5_000, 1)).starts_with("HTTP/1.1 431 "));
    small.finish();

    let typed = start(variant, r#"{"options":{"maxHeaderSize":4000}}"#, "--max-head-size 8K");
    assert!(raw_get(&typed, &request(5_000, 1)).starts_with("HTTP/1.1 200 "));
    typed.finish();
}

fn raw_get(instance: &Instance, request: &str) -> String {
    raw(instance, request.replace("Host: a\r\n", "Host: a\r\nConnection: close\r\n"))
}

fn requests_per_connection(variant: Variant) {
    let instance = start(variant, r#"{"maxRequestsPerSocket":3}"#, "--workers 2");
    for _ in 0..4 {
        let mut client = instance.client();
        let answers: Vec<_> = (0..5).map(|_| client.get("/")).collect();
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 200, 200, 503, 503], "as Node alone");
        let ends: Vec<_> = answers.iter().map(|answer| answer.field("connection")).collect();
        assert_eq!(ends, [None, None, Some("close"), Some("close"), Some("close")]);
        let pids: Vec<_> = answers[..3].iter().map(|answer| answer.json()["pid"].clone()).collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    }
    // Its worker dies: any other one serves on and counts anew.
    let mut client = instance.client();
    let mut other = instance.client();
    let pid = client.get("/").json()["pid"].clone();
    assert_eq!(client.get("/").json()["pid"], pid);
    other.send("POST /quit HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(other.response().status, 502);
    let mut pids = Vec::new();
    for _ in 0..2 {
        pids.push(client.get("/").json()["pid"].clone());
    }
    assert_eq!(pids[0], pids[1]);
    drop((client, other));
    instance.wait_all_workers();
    // What the app said outlives the worker that said it.
    let mut client = instance.client();
    let statuses: Vec<_> = (0..4).map(|_| client.get("/").status).collect();
    assert_eq!(statuses, [200, 200, 200, 503]);
    drop(client);
    instance.finish();
}
