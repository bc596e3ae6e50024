//! Starts that fail: the exit code, the explanation, nothing left behind.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::{Io, Setup, Transport, Variant, app, matrix, uring_or_skip};

matrix!(all: throws_on_start);

fn throws_on_start(variant: Variant) {
    let failure = Setup::new(variant, "throws.js").spawn_and_fail();
    failure.expect(1, &["the database is not there", "about to fail"]);
}

const PLAIN_HTTP: Variant = Variant { io: Io::Epoll, transport: Transport::Http };

#[test]
fn exits_with_0_before_it_listens() {
    for variant in [Variant::PLAIN, PLAIN_HTTP] {
        let failure = Setup::new(variant, "exits.js").spawn_and_fail();
        failure.expect(1, &["code 0", "nothing to do"]);
    }
}

#[test]
fn never_listens() {
    for variant in [Variant::PLAIN, PLAIN_HTTP] {
        let failure =
            Setup::new(variant, "never-listens.js").options("--start-timeout 1s").spawn_and_fail();
        failure.expect(1, &["listen", "thinking"]);
        assert!(failure.took < Duration::from_secs(6), "{failure:?}");
    }
}

#[test]
fn port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("bound").to_string();
    let failure = Setup::new(Variant::PLAIN, "basic.js").listen(&*address).spawn_and_fail();
    failure.expect(69, &[&address, "in use"]);
}

#[test]
fn port_in_use_by_another_instance() {
    let first = Setup::new(Variant::PLAIN, "basic.js").start();
    let address = format!("127.0.0.1:{}", first.port());
    let failure = Setup::new(Variant::PLAIN, "basic.js").listen(&*address).spawn_and_fail();
    failure.expect(69, &[&address, "in use"]);
    first.assert_serves();
    first.finish();
}

#[test]
fn runtime_dir_in_use() {
    let first = Setup::new(Variant::PLAIN, "basic.js").start();
    let dir = first.runtime_dir().to_str().expect("utf-8").to_owned();
    let pid = first.supervisor_pid().to_string();
    let failure = Setup::new(Variant::PLAIN, "basic.js").runtime_dir(&dir).spawn_and_fail();
    assert_ne!(failure.code, Some(0));
    failure.expect(failure.code.expect("a code"), &[&dir, &pid, "--runtime-dir"]);
    first.assert_serves();
    first.finish();
}

#[test]
fn bad_paths() {
    let missing = Setup::path(Variant::PLAIN, "/nonexistent/app.js".into()).spawn_and_fail();
    assert_ne!(missing.code, Some(0));
    missing.expect(missing.code.expect("a code"), &["/nonexistent/app.js"]);
    // A folder without anything to run.
    let empty = Setup::path(Variant::PLAIN, app("public")).spawn_and_fail();
    assert_ne!(empty.code, Some(0));
    empty.expect(empty.code.expect("a code"), &["public"]);
}

#[test]
fn no_node() {
    let failure =
        Setup::new(Variant::PLAIN, "basic.js").options("--node /nonexistent/node").spawn_and_fail();
    assert_ne!(failure.code, Some(0));
    failure.expect(failure.code.expect("a code"), &["/nonexistent/node"]);
}

#[test]
fn privileged_or_unknown_addresses() {
    // An address that no interface has.
    let failure = Setup::new(Variant::PLAIN, "basic.js").listen("192.0.2.1:0").spawn_and_fail();
    failure.expect(69, &["192.0.2.1"]);
    // A unix socket whose folder does not exist.
    let failure =
        Setup::new(Variant::PLAIN, "basic.js").listen("unix:/nonexistent/x.sock").spawn_and_fail();
    failure.expect(69, &["/nonexistent/x.sock"]);
}

#[test]
fn auto_says_which_backend_and_why() {
    let ring = Variant { io: Io::Uring, transport: Transport::Frames };
    if !uring_or_skip(ring) {
        return;
    }
    let instance = Setup::new(ring, "basic.js").start();
    let proxy = instance.status().proxy.expect("proxy figures");
    assert_eq!(proxy.io, hostler_protocol::control::IoChoice::Uring);
    assert!(!proxy.io_reason.is_empty());
    instance.finish();
}
