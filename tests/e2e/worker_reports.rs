//! What a worker tells of itself: an event loop that does not turn, that the app is ready, how it ended.

use hostler_protocol::control::WorkerState;
use rustix::process::Signal;

use crate::support::{Instance, Setup, Variant, matrix, signal};

matrix!(all: a_stuck_loop_is_told_with_its_stack, ready_is_what_the_app_says);

fn a_stuck_loop_is_told_with_its_stack(variant: Variant) {
    block(Setup::new(variant, "basic.js"));
}

#[test]
fn so_it_is_below_a_command() {
    block(Setup::command(Variant::PLAIN, "apps", "node basic.js"));
}

fn block(setup: Setup) {
    let instance = setup.options("--hang-after 6s").start();
    let mut client = instance.client();
    let told = client.get("/env").json();
    assert_eq!(told["env"]["HOSTLER_HANG_MS"], serde_json::Value::Null);
    // Over http the first beat may be a second away.
    assert_eq!(client.get("/block?ms=5000").text(), "blocked");
    let line =
        instance.wait_output("a stack", |line| line.contains("has not turned its event loop"));
    assert!(line.contains("/block (") && line.contains("basic.js:"), "{line}");
    instance.wait_output("the end", |line| line.contains("turns its event loop again, after"));
    let printed = instance.printed();
    assert_eq!(printed.matches("has not turned").count(), 1, "once per silence: {printed}");
    drop(client);
    instance.finish();
}

fn ready_is_what_the_app_says(variant: Variant) {
    let setup = Setup::new(variant, "says-ready.js").options("--ready message");
    says_ready(setup.spawn());
}

#[test]
fn so_it_is_for_an_app_below_a_command() {
    let setup = Setup::command(Variant::PLAIN, "apps", "node says-ready.js");
    says_ready(setup.options("--ready message").spawn());
}

fn says_ready(mut instance: Instance) {
    let line = instance.wait_output("its pid", |line| line.contains("listens, pid "));
    let pid: String = line.split("listens, pid ").nth(1).into_iter().flat_map(str::chars).collect();
    let pid = pid.chars().take_while(char::is_ascii_digit).collect::<String>();
    let state = instance.status().workers[0].state;
    assert_eq!(state, WorkerState::Starting, "{}", instance.printed());
    signal(pid.parse().expect("a pid"), Signal::USR2);
    instance.wait_ready();
    instance.assert_serves();
    let printed = instance.printed();
    let (said, ready) = (printed.find("now it says so"), printed.find("is ready after"));
    assert!(said.expect("said") < ready.expect("told"), "{printed}");
    instance.finish();
}

#[test]
fn an_app_that_never_says_it_has_not_started() {
    let command = Setup::command(Variant::PLAIN, "apps", "node says-ready.js");
    for setup in [Setup::new(Variant::PLAIN, "says-ready.js"), command] {
        setup
            .options("--ready message")
            .options("--start-timeout 2s")
            .spawn_and_fail()
            .expect(1, &["has not called process.send('ready') within 2 s", "--ready message"]);
    }
}

#[test]
fn without_the_setting_its_word_changes_nothing() {
    let instance = Setup::new(Variant::PLAIN, "says-ready.js").app_args(&["at-once"]).start();
    instance.assert_serves();
    instance.finish();
}
