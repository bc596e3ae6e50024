//! What systemd is told, by sd_notify(3) and a real socket.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::reload::{code, told, verb};
use crate::support::{Instance, PATIENCE, Setup, Variant};

/// The manager's side.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("notify-{name}-{}.sock", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Self { path, socket }
    }

    fn setup(&self, app: &str) -> Setup {
        let setup = Setup::new(Variant::PLAIN, app);
        setup.env("NOTIFY_SOCKET", self.path.to_str().expect("UTF-8"))
    }

    /// The next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).expect("a message in time");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// The next message with an assignment that begins so; those before it have none but STATUS.
    fn wait(&self, assignment: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|line| line.starts_with(assignment)) {
                return message;
            }
            assert!(message.starts_with("STATUS="), "before {assignment}: {message}");
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// RELOADING with a time of this reload, then READY.
fn reloaded(manager: &Manager, asked_us: i64) {
    let message = manager.wait("RELOADING=1");
    let time = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let time: i64 = time.and_then(|time| time.parse().ok()).expect("a time");
    assert!((asked_us..=monotonic_us()).contains(&time), "{asked_us}: {message}");
    manager.wait("READY=1");
}

fn assert_end(mut instance: Instance, manager: &Manager) {
    instance.signal(Signal::TERM);
    let message = manager.wait("STOPPING=1");
    assert!(message.contains("STATUS=stopping"), "{message}");
    assert_eq!(instance.wait_exit(PATIENCE).code(), Some(0));
    instance.assert_gone();
}

#[test]
fn a_life() {
    let manager = Manager::new("life");
    let instance = manager.setup("basic.js").options("--workers 2 --probation 100ms").start();
    let message = manager.next();
    assert_eq!(message, "STATUS=starting; 0 of 2 workers ready");
    let message = manager.wait("READY=1");
    assert!(message.contains(" of 2 workers ready"), "{message}");
    instance.assert_serves();
    let environment = instance.get("/env").json();
    assert_eq!(environment["env"]["NOTIFY_SOCKET"], serde_json::Value::Null);

    let asked_us = monotonic_us();
    let output = verb(&instance, &["reload"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    reloaded(&manager, asked_us);

    // As `Type=notify-reload` does it.
    let asked_us = monotonic_us();
    instance.signal(Signal::HUP);
    reloaded(&manager, asked_us);

    let output = verb(&instance, &["scale", "3"]);
    assert_eq!(code(&output), Some(0), "{}", told(&output));
    while !manager.next().contains("STATUS=serving; 3 of 3 workers ready") {}
    assert_end(instance, &manager);
}

#[test]
fn a_start_that_fails() {
    let manager = Manager::new("failure");
    let failure = manager.setup("throws.js").spawn_and_fail();
    failure.expect(1, &["the database is not there"]);
    let message = manager.wait("STOPPING=1");
    assert!(message.contains("the database is not there"), "{message}");
    manager.socket.set_nonblocking(true).expect("set");
    let mut buffer = [0; 4096];
    while let Ok(count) = manager.socket.recv(&mut buffer) {
        let message = String::from_utf8_lossy(&buffer[..count]);
        assert!(!message.contains("READY"), "{message}");
    }
}

#[test]
fn a_manager_that_is_not_there() {
    for address in ["/nonexistent/notify.sock", "@hostler-nobody", "nonsense"] {
        let setup = Setup::new(Variant::PLAIN, "basic.js").env("NOTIFY_SOCKET", address);
        setup.start().finish();
    }
}
