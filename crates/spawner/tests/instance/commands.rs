//! Workers that are commands: this program as a server that knows nothing of Hostler, started by the shell.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use hostler_protocol::control::{Transport, WorkerState};
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Instance, exists, kill};
use crate::tests::Test;

/// All of them.
pub(crate) const ALL: &[Test] = &[
    ("a_command_serves_on_its_socket", a_command_serves_on_its_socket),
    ("a_command_serves_on_its_port", a_command_serves_on_its_port),
    ("each_worker_has_places_of_its_own", each_worker_has_places_of_its_own),
    ("a_dead_command_is_replaced", a_dead_command_is_replaced),
    ("the_app_below_a_shell_may_finish", the_app_below_a_shell_may_finish),
    ("what_ignores_sigterm_below_a_shell_is_killed", what_ignores_sigterm_below_a_shell_is_killed),
    ("a_command_that_is_not_there_is_explained", a_command_that_is_not_there_is_explained),
    ("a_command_that_ends_is_explained", a_command_that_ends_is_explained),
    ("a_command_that_never_listens_is_explained", a_command_that_never_listens_is_explained),
    ("a_command_that_listens_elsewhere_is_told_so", a_command_that_listens_elsewhere_is_told_so),
];

/// The role of a server: accepts until it is killed.
pub(crate) fn serve(place: &str) {
    if place.starts_with('/') {
        let listener = UnixListener::bind(place).expect("bound");
        println!("serves");
        while listener.accept().is_ok() {}
    } else {
        let listener = TcpListener::bind(place).expect("bound");
        println!("serves {}", listener.local_addr().expect("bound"));
        std::io::stdout().flush().expect("flushed");
        while listener.accept().is_ok() {}
    }
}

fn me() -> String {
    std::env::current_exe().expect("own path").to_str().expect("UTF-8").to_owned()
}

fn start(command: &str, mut extra: serde_json::Value) -> Instance {
    extra["command"] = json!(command.replace("ME", &me()));
    Instance::start("", extra)
}

fn a_command_serves_on_its_socket() {
    let mut instance = start("ME serve $SOCKET", json!({}));
    instance.line("NOTICE ready");
    let plain = instance.line("proxy: plain ");
    assert!(plain.contains("unix:") && plain.ends_with("/app.on.0.1.sock"), "{plain}");
    let worker = &instance.status().workers[0];
    assert_eq!((worker.state, worker.transport), (WorkerState::Ready, Transport::Http));
    assert_eq!(worker.core, None, "nobody knows what it runs on");
    // The shell has become the program: the worker's pid is the app's.
    let exe = std::fs::read_link(format!("/proc/{}/exe", worker.pid.expect("alive")));
    assert_eq!(exe.expect("readable"), std::env::current_exe().expect("own path"));
    instance.stop();
}

fn a_command_serves_on_its_port() {
    let mut instance = start("ME serve $HOST:$PORT", json!({}));
    instance.line("NOTICE ready");
    let plain = instance.line("proxy: plain 127.0.0.1:");
    let serves = instance.line("[web.0] serves 127.0.0.1:");
    assert_eq!(plain.rsplit(' ').next(), serves.rsplit(' ').next());
    instance.stop();
}

fn each_worker_has_places_of_its_own() {
    let mut instance = start("ME serve $HOST:$PORT", json!({ "workers": 3 }));
    let mut ports: Vec<u32> =
        (0..3).map(|_| instance.number_after("proxy: plain 127.0.0.1:")).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
    instance.stop();
}

fn a_dead_command_is_replaced() {
    let mut instance = start("ME serve $SOCKET", json!({}));
    instance.line("/app.on.0.1.sock");
    let pid = instance.status().workers[0].pid.expect("alive");
    kill(pid, Signal::KILL);
    instance.line("proxy: worker 1 gone");
    instance.line(&format!("web.0 (pid {pid}) was killed by SIGKILL"));
    instance.line("/app.on.0.2.sock");
    assert!(!instance.dir.join("app.on.0.1.sock").exists());
    instance.stop();
}

/// A shell that has to stay ends at SIGTERM at once. Its end is not the app's.
fn the_app_below_a_shell_may_finish() {
    let app = r#"trap "sleep 0.5; echo farewell; exit 0" TERM; ME serve $SOCKET & while :; do wait; done"#;
    let mut instance = start(&format!("true; sh -c '{app}'; true"), json!({}));
    instance.line("NOTICE ready");
    instance.signal(Signal::TERM);
    instance.line("[web.0] farewell");
    assert_eq!(instance.end(), 0);
    let end = instance.line("END stopped");
    assert!(!end.contains("killed"), "{end}");
}

fn what_ignores_sigterm_below_a_shell_is_killed() {
    let app = r#"trap "" TERM; echo app $$; ME serve $SOCKET"#;
    let options = json!({ "stop_ms_max": 1_000 });
    let mut instance = start(&format!("true; sh -c '{app}'; true"), options);
    instance.line("NOTICE ready");
    let app = instance.number_after("[web.0] app");
    instance.signal(Signal::TERM);
    instance.line("web.0 did not stop in time; it is killed");
    assert_eq!(instance.end(), 0);
    assert!(!exists(app));
}

fn a_command_that_is_not_there_is_explained() {
    let mut instance = start("no-such-server --port $PORT", json!({}));
    instance.line("the shell did not find the command: ");
    instance.line("hint     install it");
    assert_eq!(instance.end(), 1);
    let mut instance = start("/etc/passwd", json!({}));
    instance.line("the shell may not execute the command");
    assert_eq!(instance.end(), 1);
}

fn a_command_that_ends_is_explained() {
    let mut instance = start("ME serve $SOCKET & true", json!({}));
    instance
        .line("the command ended with code 0 before it accepted a connection, neither on unix:");
    instance.line("a server must stay in the foreground");
    assert_eq!(instance.end(), 1);
    let mut instance = start("echo 'no database' >&2; exit 3", json!({}));
    instance.line("the command exited with code 3 before it accepted a connection");
    instance.line("| no database");
    assert_eq!(instance.end(), 1);
}

fn a_command_that_never_listens_is_explained() {
    let mut instance = start("echo thinking >&2; exec sleep 1000", json!({ "start_ms_max": 700 }));
    let why = instance.line("the app did not accept a connection within 700 ms, neither on unix:");
    assert!(why.contains("($SOCKET) nor on 127.0.0.1:") && why.ends_with("($PORT)"), "{why}");
    let failed = instance.line("FAIL");
    assert!(failed.contains("wait until the app accepts"), "{failed}");
    instance.line("raise --start-timeout");
    instance.line("| thinking");
    assert_eq!(instance.end(), 1);
}

fn a_command_that_listens_elsewhere_is_told_so() {
    let mut instance = start("ME serve 127.0.0.1:0", json!({ "start_ms_max": 1_000 }));
    let serves = instance.line("[web.0] serves 127.0.0.1:");
    let place = serves.rsplit(' ').next().expect("an address").to_owned();
    let why = instance.line("did not start: the app did not accept");
    assert!(why.ends_with(&format!("; it listens on {place} instead")), "{why}");
    instance.line("let the command listen on $SOCKET or on $PORT, as in");
    assert_eq!(instance.end(), 1);
}
