//! Clients and apps that leave in the middle.

use serde_json::Value;

use crate::support::{Client, Instance, Setup, Variant, eventually, matrix};

matrix!(all:
    client_leaves_while_the_app_thinks, client_leaves_in_the_request_body,
    client_leaves_in_the_response, resets_at_every_point, app_destroys_the_socket,
);

fn start(variant: Variant) -> Instance {
    Setup::new(variant, "basic.js").start()
}

/// What the app recorded about a request that ended early.
fn closed_event(instance: &Instance, target: &str) -> Vec<String> {
    eventually(&format!("the app hears that {target} is closed"), || {
        let all = instance.get("/closed").json();
        let entry = all.as_array()?.iter().find(|entry| entry["target"] == target)?.clone();
        let events = entry["events"].as_array()?.iter().filter_map(Value::as_str);
        Some(events.map(str::to_owned).collect())
    })
}

/// The app has the request.
fn wait_seen(instance: &Instance, target: &str) {
    eventually(&format!("{target} reaches the app"), || {
        let seen = instance.get("/seen").json();
        seen.as_array()?.iter().any(|url| url == target).then_some(())
    });
}

fn client_leaves_while_the_app_thinks(variant: Variant) {
    let instance = start(variant);
    for (id, reset) in [("fin", false), ("rst", true)] {
        let target = format!("/hang?id={id}");
        let mut client = instance.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        wait_seen(&instance, &target);
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        let events = closed_event(&instance, &target);
        assert!(events.iter().any(|event| event == "res close"), "{events:?}");
        // A late answer of the app goes nowhere and hurts nobody.
        instance.get(&format!("/release?id={id}"));
        instance.assert_serves();
    }
    instance.finish();
}

fn client_leaves_in_the_request_body(variant: Variant) {
    let instance = start(variant);
    for (index, framing) in
        ["Content-Length: 1000", "Transfer-Encoding: chunked"].iter().enumerate()
    {
        let target = format!("/inspect?left={index}");
        let mut client = instance.client();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        client.send(if index == 0 { "some of it" } else { "a\r\nsome of it\r\n" });
        wait_seen(&instance, &target);
        drop(client);
        let events = closed_event(&instance, &target);
        assert!(events.iter().any(|event| event.contains("req")), "{events:?}");
        instance.assert_serves();
    }
    instance.finish();
}

fn client_leaves_in_the_response(variant: Variant) {
    let instance = start(variant);
    // After the first piece of a response that the app has not finished.
    let mut client = instance.client();
    client.send("GET /half?id=a HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().expect("head").status, 200);
    assert_eq!(client.read_exact(6).expect("first piece"), b"first,");
    drop(client);
    closed_event(&instance, "/half?id=a");
    // In the middle of a large one, with much of it on its way.
    let mut client = instance.client();
    client.send("GET /download?bytes=50000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_exact(100_000).expect("some of it");
    client.reset();
    closed_event(&instance, "/download?bytes=50000000");
    instance.assert_serves();
    instance.finish();
}

fn resets_at_every_point(variant: Variant) {
    let instance = start(variant);
    let request: &[u8] = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: test\r\n\r\n";
    for cut in 0..=request.len() {
        let mut client = instance.client();
        client.send(&request[..cut]);
        if cut % 2 == 0 {
            client.reset();
        }
        // else: FIN by drop
    }
    // Also after some of the answer has been read.
    for length in [1, 10, 100] {
        let mut client: Client = instance.client();
        client.send(request);
        client.read_exact(length).expect("bytes of the answer");
        client.reset();
    }
    instance.assert_serves();
    instance.finish();
}

fn app_destroys_the_socket(variant: Variant) {
    let instance = start(variant);
    for _ in 0..3 {
        let mut client = instance.client();
        client.send("GET /destroy HTTP/1.1\r\nHost: test\r\n\r\n");
        match client.try_response("GET") {
            // On the plain path nothing tells a destroyed socket from a dead worker: 502, and the client's
            // connection lives on.
            Ok(response) => {
                assert_eq!(response.status, 502);
                assert_eq!(client.get("/hello").status, 200);
            }
            Err(error) => assert!(
                error.to_string().contains("closed") || error.to_string() == "reset",
                "{error}"
            ),
        }
        drop(client);
        let mut client = instance.client();
        client.send("GET /destroy-half HTTP/1.1\r\nHost: test\r\n\r\n");
        let error = client.try_response("GET").expect_err("an unfinished response");
        assert!(!error.to_string().contains("silent"), "{error}");
        instance.assert_serves();
    }
    instance.finish();
}
