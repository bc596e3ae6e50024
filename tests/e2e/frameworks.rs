//! Unmodified framework apps from npm: Express 5, Fastify 5, Koa 3.

use serde_json::json;

use crate::support::{Client, Instance, Setup, Variant, matrix};

matrix!(all: express5, fastify5, koa3);

fn express5(variant: Variant) {
    exercise(variant, "express5.js", "express");
}

fn fastify5(variant: Variant) {
    exercise(variant, "fastify5.js", "fastify");
}

fn koa3(variant: Variant) {
    exercise(variant, "koa3.js", "koa");
}

/// The three apps answer the same routes.
fn exercise(variant: Variant, app: &str, name: &str) {
    let instance = Setup::new(variant, app).start();
    let mut client = instance.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), name);
        json_body(&mut client, app);
        broken_json(&instance);
        let user = client.get("/users/7?sort=up").json();
        assert_eq!((&user["id"], &user["query"]["sort"]), (&json!("7"), &json!("up")));
        let streamed = client.get("/stream").body;
        assert_eq!(streamed.len(), 30_000);
        assert!(streamed.starts_with(b"aaaa") && streamed.ends_with(b"cccc"));
        assert_eq!(client.get("/nothing-here").status, 404);
        let error = client.get("/error");
        assert_eq!((error.status, &error.json()["error"]), (418, &json!("broken on purpose")));
        let moved = client.get("/redirect");
        assert_eq!((moved.status, moved.field("location")), (302, Some("/")));
        static_file(&mut client);
    }
    drop(client);
    instance.finish();
}

fn json_body(client: &mut Client, app: &str) {
    let body = json!({ "list": [1, 2, 3], "text": "gr\u{fc}n" }).to_string();
    client.send(format!(
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    let answer = response.json();
    assert_eq!(answer["got"], json!({ "list": [1, 2, 3], "text": "gr\u{fc}n" }));
    assert_eq!(answer["protocol"], "http");
    // Koa and Fastify trust the forwarded address; Express sees the socket's.
    if app != "express5.js" {
        assert_eq!(answer["ip"], "127.0.0.1");
    }
}

/// Broken JSON is the framework's business; Fastify closes the connection after it.
fn broken_json(instance: &Instance) {
    let mut client = instance.client();
    client.send(
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 5\r\n\r\n{oops",
    );
    assert!(matches!(client.response().status, 400 | 500));
}

fn static_file(client: &mut Client) {
    let file = client.get("/static/file.txt");
    assert_eq!((file.status, file.text()), (200, "a static file\n"));
    client.send("HEAD /static/file.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.head_response();
    assert_eq!(head.field("content-length"), Some("14"));
    assert_eq!(client.get("/static/missing.txt").status, 404);
    let tag = file.field("etag").or(file.field("last-modified")).expect("a validator").to_owned();
    let name = if file.field("etag").is_some() { "If-None-Match" } else { "If-Modified-Since" };
    client.send(format!("GET /static/file.txt HTTP/1.1\r\nHost: test\r\n{name}: {tag}\r\n\r\n"));
    let again = client.response();
    assert!(matches!(again.status, 304 | 200), "{again:?}");
}
