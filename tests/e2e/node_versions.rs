//! Versions of Node that the loader is not tested with: requests go over http, and that is said once.

use hostler_protocol::control::Transport;
use rustix::process::Signal;

use crate::support::{Setup, Variant, eventually, fixtures, matrix, signal};

matrix!(frames: an_untested_node_is_served_over_http);

fn an_untested_node_is_served_over_http(variant: Variant) {
    let node = fixtures().join("node-18");
    let node = node.to_str().expect("UTF-8");
    let mut instance =
        Setup::new(variant, "basic.js").options("--workers 2 --node").option(node).start();
    // Kept connections come and go: no comparison of descriptors at the end.
    instance.expect_plain();
    let ways: Vec<_> = instance.status().workers.iter().map(|worker| worker.transport).collect();
    assert_eq!(ways, [Transport::Http, Transport::Http]);
    instance.assert_serves();
    let mut client = instance.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    signal(instance.worker_pid(0), Signal::KILL);
    eventually("the worker is started again", || {
        (instance.status().workers[0].restarts >= 1).then_some(())
    });
    instance.worker_pid(0);
    instance.assert_serves();
    let told = instance.printed();
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("18.20.8")).collect();
    assert_eq!(lines.len(), 1, "one line for all workers and starts: {lines:#?}");
    assert!(lines[0].contains("over http") && lines[0].contains("20 to 25"), "{}", lines[0]);
    drop(client);
    instance.finish();
}
