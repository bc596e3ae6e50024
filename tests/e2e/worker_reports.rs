//! What a worker tells of itself: an event loop that does not turn, that the app is ready, how it ended.

use crate::support::{Setup, Variant, matrix};

matrix!(all: a_stuck_loop_is_told_with_its_stack);

fn a_stuck_loop_is_told_with_its_stack(variant: Variant) {
    block(Setup::new(variant, "basic.js"));
}

#[test]
fn so_it_is_below_a_command() {
    block(Setup::command(Variant::PLAIN, "apps", "node basic.js"));
}

fn block(setup: Setup) {
    let instance = setup.env("HOSTLER_HANG_MS", "300").start();
    let mut client = instance.client();
    let told = client.get("/env").json();
    assert_eq!(told["env"]["HOSTLER_HANG_MS"], serde_json::Value::Null);
    // Over http the first beat may be a second away.
    assert_eq!(client.get("/block?ms=2500").text(), "blocked");
    let line =
        instance.wait_output("a stack", |line| line.contains("has not turned its event loop"));
    assert!(line.contains("/block (") && line.contains("basic.js:12"), "{line}");
    instance.wait_output("the end", |line| line.contains("turns its event loop again, after"));
    let printed = instance.printed();
    assert_eq!(printed.matches("has not turned").count(), 1, "once per silence: {printed}");
    drop(client);
    instance.finish();
}

#[test]
fn a_setting_that_is_no_number_is_told() {
    let instance = Setup::new(Variant::PLAIN, "basic.js").env("HOSTLER_HANG_MS", "soon").start();
    instance.wait_output("the warning", |line| line.contains("HOSTLER_HANG_MS must be"));
    instance.assert_serves();
    instance.finish();
}
