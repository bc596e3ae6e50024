//! What the proxy adds, removes and overwrites among the fields of requests and responses.

use serde_json::Value;

use crate::support::{Client, Setup, Variant, matrix};

matrix!(all: hop_by_hop, forwarded, request_id, unusual_fields);

/// What the app saw of a request with these field lines.
fn inspect(client: &mut Client, fields: &str) -> Value {
    client.send(format!("GET /inspect HTTP/1.1\r\nHost: shop.example:8080\r\n{fields}\r\n"));
    client.response().json()
}

/// Names of the fields that the app saw, lower-case, in order, duplicates included.
fn names(seen: &Value) -> Vec<String> {
    let raw = seen["rawHeaders"].as_array().expect("rawHeaders");
    raw.iter().step_by(2).map(|name| name.as_str().expect("name").to_lowercase()).collect()
}

fn hop_by_hop(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let mut client = instance.client();
    let seen = inspect(
        &mut client,
        "Connection: keep-alive, X-Private, TE\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\nX-Public: 2\r\n",
    );
    let names = names(&seen);
    for gone in ["x-private", "keep-alive", "proxy-connection", "te"] {
        assert!(!names.iter().any(|name| name == gone), "{gone} reached the app: {names:?}");
    }
    assert_eq!(seen["headers"]["x-public"], "2");
    let response = client.get("/hop-by-hop");
    assert_eq!(response.text(), "hops");
    assert_eq!(response.field("x-private"), None);
    assert_eq!(response.field("x-public"), Some("for everyone"));
    assert!(response.field("keep-alive").is_none_or(|value| value != "timeout=1"));
    // A Connection header cannot take away what the proxy itself vouches for.
    let seen = inspect(
        &mut client,
        "Connection: close, X-Forwarded-For, Host, Content-Length\r\nX-Forwarded-For: 6.6.6.6\r\n",
    );
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["headers"]["host"], "shop.example:8080");
    client.expect_close();
    drop(client);
    instance.finish();
}

fn forwarded(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let mut client = instance.client();
    let port = instance.port().to_string();
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                  x-forwarded-port: 1\r\nX-FORWARDED-FOR: 7.7.7.7\r\n";
    for fields in ["", forged] {
        let seen = inspect(&mut client, fields);
        let headers = &seen["headers"];
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "shop.example:8080");
        assert_eq!(headers["x-forwarded-port"], *port);
        let names = names(&seen);
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]
        {
            assert_eq!(names.iter().filter(|seen| *seen == name).count(), 1, "{name}: {names:?}");
        }
        assert_eq!(headers["host"], "shop.example:8080", "Host is passed on as it came");
    }
    // The virtual socket tells the client's own address.
    let seen = inspect(&mut client, "");
    if variant.transport == crate::support::Transport::Frames {
        assert_eq!(seen["remoteAddress"], "127.0.0.1");
        assert_eq!(seen["remotePort"], client.local_port());
    }
    drop(client);
    instance.finish();
}

fn request_id(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let mut client = instance.client();
    // Made where there is none, echoed to the client, the same for the app, and new each time.
    let mut made = Vec::new();
    for _ in 0..3 {
        client.send("GET /inspect HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.response();
        let id = response.field("x-request-id").expect("an id").to_owned();
        assert_eq!(response.json()["headers"]["x-request-id"], *id);
        assert!(id.len() >= 16, "{id}");
        assert!(!made.contains(&id), "{id} twice");
        made.push(id);
    }
    // Kept when it is sane.
    client.send("GET /inspect HTTP/1.1\r\nHost: test\r\nX-Request-Id: abc-123\r\n\r\n");
    let response = client.response();
    assert_eq!(response.field("x-request-id"), Some("abc-123"));
    assert_eq!(response.json()["headers"]["x-request-id"], "abc-123");
    // Replaced when it is not.
    for bad in ["a b c".to_owned(), "x".repeat(1000), "\"quoted\"".to_owned()] {
        client.send(format!("GET /inspect HTTP/1.1\r\nHost: test\r\nX-Request-Id: {bad}\r\n\r\n"));
        let response = client.response();
        let id = response.field("x-request-id").expect("an id");
        assert_ne!(id, bad);
        assert_eq!(response.json()["headers"]["x-request-id"], id);
    }
    drop(client);
    instance.finish();
}

fn unusual_fields(variant: Variant) {
    let instance = Setup::new(variant, "basic.js").start();
    let mut client = instance.client();
    let seen = inspect(
        &mut client,
        "X-Empty:\r\nx-lower: a\r\nX-ODD-case: b\r\nX-Latin: caf\u{e9}\r\nCookie: a=1\r\n\
         Cookie: b=2\r\nX-Many: 1\r\nX-Many: 2\r\nX-Space:   padded   \r\n",
    );
    let headers = &seen["headers"];
    assert_eq!(headers["x-empty"], "");
    assert_eq!(headers["cookie"], "a=1; b=2");
    assert_eq!(headers["x-many"], "1, 2");
    assert_eq!(headers["x-space"], "padded");
    let raw = seen["rawHeaders"].as_array().expect("rawHeaders");
    for spelling in ["x-lower", "X-ODD-case", "X-Empty"] {
        assert!(raw.iter().any(|name| name == spelling), "{spelling} lost: {raw:?}");
    }
    // UTF-8 bytes arrive as Node gives them: one character per byte.
    assert_eq!(headers["x-latin"], "caf\u{c3}\u{a9}");
    let response = client.get("/hello");
    assert_eq!(response.field("x-powered-by"), None);
    assert_eq!(response.field("server"), None);
    let via = seen["headers"]["via"].as_str().expect("Via towards the app");
    assert!(via.starts_with("1.1 "), "{via}");
    drop(client);
    instance.finish();
}
