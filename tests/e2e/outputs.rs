//! Hostler's own stdout and stderr: nobody reads them, their reader has gone, or they are closed. It serves on, and does not spin.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::pipe;

use crate::support::{
    Client, Instance, PATIENCE, Setup, Target, Variant, app, cpu_ticks, eventually, within,
};

/// An instance whose output is not collected.
struct Mute {
    child: Child,
    dir: PathBuf,
    target: Target,
}

impl Mute {
    /// `redirect` is shell text behind the command; `stdout` becomes both outputs.
    fn start(name: &str, stdout: Stdio, stderr: Stdio, redirect: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("hostler-{name}-{}", std::process::id()));
        // Free a moment ago; what it prints cannot be read.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = port.expect("a port");
        let options = "--workers 1 --shards 1 --pin off --io epoll";
        let script = format!("exec \"$0\" run \"$@\" {options} {redirect}");
        let child = Command::new("/bin/sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_hostler")])
            .arg(app("basic.js"))
            .args(["--listen", &address.to_string(), "--runtime-dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("it starts");
        let mute = Self { child, dir, target: Target::Tcp(address) };
        eventually("it serves", || {
            let mut client = Client::try_connect(&mute.target).ok()?;
            client.try_send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
            client.try_response("GET").ok().filter(|response| response.status == 200)
        });
        mute
    }

    /// The app prints, nothing spins, and it stops in order.
    fn prints_and_stops(mut self) {
        let mut client = Client::connect(&self.target);
        let long = "x".repeat(4_000);
        for _ in 0..500 {
            assert_eq!(client.get(&format!("/log?text={long}")).text(), "logged");
        }
        let before = cpu_ticks(self.child.id());
        std::thread::sleep(Duration::from_millis(500));
        let used = cpu_ticks(self.child.id()) - before;
        // Of 50 that there are.
        assert!(used < 25, "the supervisor spins: {used} ticks in half a second");
        drop(client);
        let start = Instant::now();
        let verb = |verb: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hostler"));
            command.arg(verb).arg("--runtime-dir").arg(&self.dir).output().expect("it runs")
        };
        let status = verb("status");
        assert!(status.status.success(), "{status:?}");
        let stop = verb("stop");
        assert!(stop.status.success(), "{stop:?}");
        assert!(start.elapsed() < PATIENCE);
        let end = within(PATIENCE, "it ends", || self.child.try_wait().expect("wait"));
        assert_eq!(end.code(), Some(0));
        assert!(!self.dir.exists());
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_reader_has_gone() {
    let (reader, writer) = pipe().expect("a pipe");
    let both = writer.try_clone().expect("a copy");
    drop(reader);
    Mute::start("gone", writer.into(), both.into(), "").prints_and_stops();
}

#[test]
fn the_reader_does_not_read() {
    let (reader, writer) = pipe().expect("a pipe");
    let both = writer.try_clone().expect("a copy");
    Mute::start("full", writer.into(), both.into(), "").prints_and_stops();
    drop(reader);
}

#[test]
fn closed() {
    Mute::start("closed", Stdio::null(), Stdio::null(), ">&- 2>&- <&-").prints_and_stops();
}

#[test]
fn a_full_disk() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let open = || File::options().write(true).open("/dev/full").expect("opens");
    Mute::start("disk", open().into(), open().into(), "").prints_and_stops();
}

/// The same on the other side: an app whose outputs are closed.
#[test]
fn an_app_without_outputs() {
    let line = "exec node by-hand.cjs $SOCKET >&- 2>&-";
    let instance: Instance = Setup::command(Variant::PLAIN, "commands", line).start();
    instance.assert_serves();
    let before = cpu_ticks(instance.supervisor_pid());
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_ticks(instance.supervisor_pid()) - before;
    assert!(used < 25, "the supervisor spins: {used} ticks in half a second");
    instance.finish();
}
