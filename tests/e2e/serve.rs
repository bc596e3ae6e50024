//! Ordinary exchanges: what every HTTP/1.1 client may expect.

use crate::support::{
    Client, Instance, Setup, Target, Transport, Variant, app, eventually, matrix,
};

matrix!(all:
    hello, keep_alive_and_pipelining, no_body_responses, chunked_both_ways, large_bodies,
    expect_continue, trailers_and_hints, http_1_0, connection_close, half_closed_client,
    many_connections, several_workers_and_shards, several_listeners, esm_app,
);

fn basic(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").start()
}

fn hello(variant: Variant) {
    let instance = basic(variant);
    let response = instance.get("/hello");
    assert_eq!(response.version, "HTTP/1.1");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-length"), Some("14"));
    assert_eq!(response.field("content-type"), Some("text/plain"));
    assert!(response.field("date").is_some());
    assert_eq!(response.text(), "Hello, world!\n");
    assert_eq!(instance.get("/nowhere").status, 404);
    let server_says = instance.shards();
    assert!(server_says.requests >= 2, "{server_says:?}");
    instance.finish();
}

fn keep_alive_and_pipelining(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    for _ in 0..50 {
        assert_eq!(client.get("/hello").text(), "Hello, world!\n");
    }
    // Ten requests in one piece; the answers keep their order although some are slower than others.
    let mut burst = String::new();
    for index in 0..10 {
        let path = if index % 2 == 0 { "chunked" } else { "inspect" };
        burst.push_str(&format!("GET /{path}?n={index} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    client.send(&burst);
    for index in 0..10 {
        let response = client.response();
        if index % 2 == 0 {
            assert_eq!(response.text(), "one,two,three");
        } else {
            assert_eq!(response.json()["url"], format!("/inspect?n={index}"));
        }
    }
    // The same with bodies between the heads.
    let mut burst = String::new();
    for index in 0..10 {
        burst.push_str(&format!(
            "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nbody-{index}"
        ));
    }
    client.send(&burst);
    for index in 0..10 {
        assert_eq!(client.response().text(), format!("body-{index}"));
    }
    // And byte by byte.
    for byte in b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nslow" {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "slow");
    drop(client);
    instance.finish();
}

fn no_body_responses(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    for _ in 0..3 {
        client.send("HEAD /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        let head = client.head_response();
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-length"), Some("14"));
        let none = client.get("/status/204");
        assert_eq!((none.status, none.body.len()), (204, 0));
        assert_eq!(none.field("content-length"), None);
        assert_eq!(none.field("transfer-encoding"), None);
        let same = client.get("/status/304");
        assert_eq!((same.status, same.body.len()), (304, 0));
        let empty = client.get("/status/200");
        assert_eq!((empty.status, empty.body.len()), (200, 0));
        client.send("HEAD /chunked HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.head_response().status, 200);
        client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response().status, 404);
    }
    drop(client);
    instance.finish();
}

fn chunked_both_ways(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    let response = client.get("/chunked");
    assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    assert_eq!(response.text(), "one,two,three");
    client.send("POST /inspect HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    // A chunk extension, hexadecimal in both cases, and cuts in the middle of everything.
    for piece in ["5;ext=1\r\nhel", "lo\r\n", "A", "\r\n, chunked!\r", "\n0\r", "\n\r\n"] {
        client.send(piece);
    }
    let seen = client.response().json();
    assert_eq!(seen["body"], "hello, chunked!");
    assert_eq!(client.get("/hello").status, 200);
    // Empty bodies of both framings.
    client.send(
        "POST /inspect HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().json()["body"], "");
    client.send("POST /inspect HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().json()["body"], "");
    drop(client);
    instance.finish();
}

fn large_bodies(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    let body: Vec<u8> = (0..1 << 20).map(|index: u32| ((index * 31) >> 3) as u8).collect();
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    // The echo answers while it reads: writing must not wait for reading.
    let mut writer = client.writer();
    let message = [head.as_bytes(), &body].concat();
    let writing = std::thread::spawn(move || writer.send(message));
    let response = client.response();
    assert_eq!(response.body.len(), body.len());
    assert!(response.body == body, "the body changed on its way");
    writing.join().expect("writer");
    for target in ["/download?bytes=1048577", "/download?bytes=1048577&chunked=1"] {
        let response = client.get(target);
        assert_eq!(response.body.len(), 1_048_577);
        assert!(response.body.starts_with(b"abcdefghijklmnopqrstuvwxyz012345abc"));
    }
    drop(client);
    instance.finish();
}

fn expect_continue(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    client.send(
        "POST /inspect HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    // The client waits for the 100 before it sends the body, as the RFC allows it to.
    let go_on = client.read_head().expect("100");
    assert_eq!(go_on.status, 100);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, &response.interim[..]), (200, &[][..]));
    assert_eq!(response.json()["body"], "hello");
    // A client that does not wait is served too.
    client.send(
        "POST /inspect HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhasty",
    );
    assert_eq!(client.response().json()["body"], "hasty");
    assert_eq!(client.get("/hello").status, 200);
    drop(client);
    instance.finish();
}

fn trailers_and_hints(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    let response = client.get("/trailers");
    assert_eq!(response.text(), "body");
    assert_eq!(response.trailers, [("x-checksum".to_owned(), "abc".to_owned())]);
    client.send(
        "POST /inspect HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let seen = client.response().json();
    assert_eq!((&seen["body"], &seen["trailers"]["x-sum"]), (&"abc".into(), &"42".into()));
    let hinted = client.get("/early-hints");
    assert_eq!((hinted.status, &hinted.interim[..]), (200, &[103][..]));
    assert_eq!(hinted.text(), "after hints");
    drop(client);
    instance.finish();
}

fn http_1_0(variant: Variant) {
    let instance = basic(variant);
    // Closes after the answer unless asked to keep the connection.
    let mut client = instance.client();
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "Hello, world!\n"));
    client.expect_close();
    // A response of unknown length must not be chunked for a 1.0 client.
    let mut client = instance.client();
    client.send("GET /chunked HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), "one,two,three");
    let mut client = instance.client();
    for _ in 0..3 {
        client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.text(), "Hello, world!\n");
        assert!(response.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("keep-alive")));
    }
    drop(client);
    instance.finish();
}

fn connection_close(variant: Variant) {
    let instance = basic(variant);
    let mut client = instance.client();
    client.send("GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "Hello, world!\n");
    assert!(response.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")));
    client.expect_close();
    // The app wants it.
    let mut client = instance.client();
    let response = client.get("/close");
    assert_eq!(response.text(), "last answer");
    // `Connection` is a matter of one hop: on the plain path it ends the proxy's connection to the app only.
    if variant.transport == Transport::Frames {
        assert!(response.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close")));
        client.expect_close();
    }
    drop(client);
    // A request after one that closes is not served.
    let mut client = instance.client();
    client.send(
        "GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n\
         GET /after-close HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    client.expect_close();
    assert!(!instance.get("/seen").text().contains("/after-close"));
    drop(client);
    instance.finish();
}

fn half_closed_client(variant: Variant) {
    let instance = basic(variant);
    // `printf ... | nc`: the client's FIN follows its request at once. As under Node alone, an answer that the
    // app gives at once arrives; what comes later is lost, because Node ends its side too.
    for round in 0..5 {
        let mut client = instance.client();
        client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        client.half_close();
        let answer = client.try_response("GET");
        let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(answer.text(), "Hello, world!\n");
        client.expect_close();
        let mut client = instance.client();
        client.send("GET /slow?ms=50 HTTP/1.1\r\nHost: test\r\n\r\n");
        client.half_close();
        client.read_to_close();
    }
    // FIN without any request: just closed.
    let mut client = instance.client();
    client.half_close();
    client.expect_close();
    drop(client);
    instance.finish();
}

fn many_connections(variant: Variant) {
    let instance = basic(variant);
    for index in 0..1000 {
        let mut client = instance.client();
        client.send("GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().text(), "Hello, world!\n", "connection {index}");
    }
    // And side by side, all kept.
    let mut clients: Vec<Client> = (0..200).map(|_| instance.client()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
    }
    assert_eq!(instance.shards().conns, 200);
    drop(clients);
    instance.finish();
}

fn several_workers_and_shards(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").options("--workers 2 --shards 2").start();
    let status = instance.status();
    assert_eq!(status.workers.len(), 2);
    assert_eq!(status.proxy.as_ref().map(|proxy| proxy.shards.len()), Some(2));
    let mut pids = std::collections::BTreeSet::new();
    // A worker with a request in flight makes dispatch take the other one sooner or later.
    let mut clients: Vec<Client> = (0..32).map(|_| instance.client()).collect();
    eventually("both workers answered", || {
        for client in &mut clients {
            client.send("GET /pid HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            pids.insert(client.response().json()["pid"].as_u64());
        }
        (pids.len() == 2).then_some(())
    });
    let slots: Vec<u32> = status.workers.iter().map(|worker| worker.slot).collect();
    assert_eq!(slots, [0, 1]);
    drop(clients);
    instance.finish();
}

fn several_listeners(variant: Variant) {
    let socket = std::env::temp_dir()
        .join(format!("hostler-e2e-{}-{variant}.sock", std::process::id()).replace('/', "-"));
    let socket = socket.to_str().expect("utf-8").to_owned();
    let instance = Setup::new(variant, "basic.js")
        .listen("127.0.0.1:0")
        .listen("[::1]:0")
        .listen(format!("unix:{socket}"))
        .start();
    assert_eq!(instance.targets().len(), 3, "{:?}", instance.targets());
    for target in instance.targets() {
        let mut client = Client::connect(target);
        assert_eq!(client.get("/hello").text(), "Hello, world!\n");
        let seen = client.get("/inspect").json();
        if let Target::Tcp(address) = target {
            assert_eq!(seen["headers"]["x-forwarded-for"], address.ip().to_string());
            assert_eq!(seen["headers"]["x-forwarded-port"], address.port().to_string());
        }
        assert_eq!(seen["headers"]["x-forwarded-proto"], "http");
    }
    instance.finish();
    assert!(!std::path::Path::new(&socket).exists(), "the unix socket is removed at the end");
}

fn esm_app(variant: Variant) {
    let instance = Setup::path(variant, app("esm.mjs")).start();
    assert_eq!(instance.get("/").text(), "esm\n");
    instance.finish();
}

#[test]
fn app_gets_its_arguments_and_a_clean_environment() {
    let instance = Setup::new(Variant::PLAIN, "basic.js").app_args(&["--flag", "value"]).start();
    let seen = instance.get("/env").json();
    let argv: Vec<&str> = seen["argv"]
        .as_array()
        .expect("argv")
        .iter()
        .skip(2)
        .filter_map(|arg| arg.as_str())
        .collect();
    assert_eq!(argv, ["--flag", "value"]);
    assert_eq!(seen["execArgv"], serde_json::json!([]));
    assert_eq!(seen["env"]["HOSTLER_WORKER"], serde_json::Value::Null);
    assert_eq!(seen["env"]["NODE_ENV"], "production");
    assert_eq!(seen["env"]["NODE_APP_INSTANCE"], "0");
    instance.finish();
}

#[test]
fn one_worker_leads_and_all_know_their_number() {
    let instance = Setup::new(Variant::PLAIN, "basic.js")
        .options("--workers 3")
        .env("HOSTLER_LEADER", "1")
        .env("HOSTLER_GENERATION", "77")
        .start();
    let mut leaders: Vec<(String, bool)> = Vec::new();
    for slot in 0..3 {
        let path = format!("/proc/{}/environ", instance.worker_pid(slot));
        let text = std::fs::read(path).expect("a live worker");
        let text = String::from_utf8_lossy(&text);
        let value = |name: &str| {
            let found = text.split('\0').filter_map(|entry| entry.split_once('='));
            found.rev().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        assert_eq!(value("HOSTLER_WORKERS").as_deref(), Some("3"));
        assert_eq!(value("HOSTLER_GENERATION").as_deref(), Some("1"));
        leaders.push((value("NODE_APP_INSTANCE").expect("set"), value("HOSTLER_LEADER").is_some()));
    }
    let expected = [("0", true), ("1", false), ("2", false)];
    assert_eq!(leaders, expected.map(|(slot, leads)| (slot.to_owned(), leads)));
    instance.finish();
}
