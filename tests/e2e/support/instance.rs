//! One running `hostler run` with everything that a test wants to know about it.
//!
//! Owns: status over the control socket, signals, the end with its leak checks. Must never know: what a
//! test does with the instance.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostler_protocol::control::{
    CommandAnswer, CommandRequest, InstanceStatus, LineBuffer, ShardStatus, WorkerState,
    WorkerStatus, encode_line,
};
use rustix::process::Signal;

use super::output::{Output, addresses_in};
use super::process::{fd_count, processes_with_tag, signal};
use super::{Client, PATIENCE, Response, Target, Variant, eventually, within};

/// A running instance.
pub(crate) struct Instance {
    pub(super) variant: Variant,
    pub(super) child: Child,
    pub(super) output: Arc<Output>,
    pub(super) runtime_dir: PathBuf,
    /// Removed when the test ends.
    pub(super) own_dir: PathBuf,
    pub(super) tag: String,
    pub(super) targets: Vec<Target>,
    pub(super) baseline_fds: usize,
    pub(super) started: Instant,
    pub(super) ended: bool,
}

impl Instance {
    /// The workers turned out to be served over http, which keeps connections to them: descriptors are not compared.
    pub(crate) fn expect_plain(&mut self) {
        self.baseline_fds = 0;
    }

    /// Where clients connect; the first listener.
    pub(crate) fn target(&self) -> Target {
        self.targets.first().expect("an address in the ready line").clone()
    }

    /// All addresses of the ready line.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The TCP port of the first listener.
    pub(crate) fn port(&self) -> u16 {
        match self.target() {
            Target::Tcp(address) => address.port(),
            Target::Unix(path) => panic!("unix listener {}", path.display()),
        }
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.target())
    }

    /// One GET on a new connection.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    /// A good client is served as usual.
    pub(crate) fn assert_serves(&self) {
        let response = self.get("/hello");
        assert_eq!((response.status, response.text()), (200, "Hello, world!\n"));
    }

    pub(crate) fn supervisor_pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) fn proxy_pid(&self) -> u32 {
        eventually("a proxy pid", || self.status().proxy_pid)
    }

    /// Pid of the worker in a slot, once it is ready.
    pub(crate) fn worker_pid(&self, slot: u32) -> u32 {
        eventually("a ready worker", || {
            let status = self.status();
            let worker = status.workers.iter().find(|worker| worker.slot == slot)?;
            (worker.state == WorkerState::Ready).then_some(worker.pid).flatten()
        })
    }

    /// Status over the control socket.
    pub(crate) fn status(&self) -> InstanceStatus {
        eventually("an answer on the control socket", || self.try_status())
    }

    /// Status, `None` if nothing answers.
    pub(crate) fn try_status(&self) -> Option<InstanceStatus> {
        let mut stream = UnixStream::connect(self.runtime_dir.join("control.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(&encode_line(&CommandRequest::Status)).ok()?;
        let mut lines = LineBuffer::default();
        let mut piece = [0; 4096];
        loop {
            if let Some(answer) = lines.next_message::<CommandAnswer>().expect("a valid answer") {
                let CommandAnswer::Status(status) = answer else { panic!("{answer:?}") };
                return Some(*status);
            }
            let count = stream.read(&mut piece).ok().filter(|&count| count > 0)?;
            lines.push(&piece[..count]);
        }
    }

    /// Sums over the shards, once the proxy has answered.
    pub(crate) fn shards(&self) -> ShardStatus {
        eventually("proxy figures", || {
            let proxy = self.status().proxy?;
            Some(proxy.shards.iter().fold(ShardStatus::default(), |sum, shard| ShardStatus {
                shard: 0,
                conns: sum.conns + shard.conns,
                in_flight: sum.in_flight + shard.in_flight,
                upgraded: sum.upgraded + shard.upgraded,
                queued: sum.queued + shard.queued,
                requests: sum.requests + shard.requests,
                refused: sum.refused + shard.refused,
                failed: sum.failed + shard.failed,
                shed: sum.shed + shard.shed,
                retried: sum.retried + shard.retried,
                starved: sum.starved + shard.starved,
                sockets: sum.sockets + shard.sockets,
                buffers_out: sum.buffers_out + shard.buffers_out,
                app: shard.app,
            }))
        })
    }

    /// Waits until a line of stdout or stderr satisfies `accept`.
    pub(crate) fn wait_output(&self, what: &str, accept: impl Fn(&str) -> bool) -> String {
        self.output
            .wait(PATIENCE, accept)
            .unwrap_or_else(|| panic!("{}: no output with {what}", self.variant))
    }

    /// Everything printed so far.
    pub(crate) fn printed(&self) -> String {
        self.output.dump()
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    /// Waits for the end of the supervisor.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                self.output.wait_closed();
                return status;
            }
            if start.elapsed() > limit {
                panic!("{}: still runs", self.variant);
            }
            std::thread::sleep(super::STEP);
        }
    }

    /// Waits for the end of the supervisor alone: others may still write to its output.
    pub(crate) fn reap_supervisor(&mut self, limit: Duration) {
        within(limit, "the supervisor has ended", || self.child.try_wait().expect("wait"));
    }

    /// Another instance has taken over what it had started.
    pub(crate) fn forget(mut self) {
        self.ended = true;
    }

    /// All that it had started is gone, and its files, by the hand of somebody else.
    pub(crate) fn has_ended(mut self) {
        self.assert_gone();
    }

    /// Nothing is held for clients any more: connections, requests, buffers, descriptors.
    pub(crate) fn assert_idle(&self) {
        let start = Instant::now();
        loop {
            let sum = self.shards();
            let held = (sum.conns, sum.in_flight, sum.queued, sum.buffers_out);
            let fds = fd_count(self.proxy_pid());
            // A worker that was restarted may be connecting its channels: hence the loop. The plain path keeps
            // connections to the worker, so descriptors are compared for frames only.
            // One more is allowed: the proxy opens its log with the first line that it has to say.
            let fds_ok = self.baseline_fds == 0 || fds <= self.baseline_fds + 1;
            if held == (0, 0, 0, 0) && fds_ok {
                return;
            }
            if start.elapsed() > PATIENCE {
                panic!(
                    "{}: leak: (conns, in flight, queued, buffers) {held:?}, {fds} fds, at start {}; {sum:?}",
                    self.variant, self.baseline_fds
                );
            }
            std::thread::sleep(super::STEP);
        }
    }

    /// The end of every test: no leak, SIGTERM, exit 0, no process and no file left.
    pub(crate) fn finish(mut self) {
        self.assert_idle();
        self.signal(Signal::TERM);
        let status = self.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}: {}", self.variant, self.output.dump());
        self.assert_gone();
    }

    /// After the supervisor's end: no process, no socket left.
    pub(crate) fn assert_gone(&mut self) {
        self.assert_no_process_left();
        let left: Vec<_> = fs::read_dir(&self.runtime_dir)
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "left in the runtime directory: {left:?}");
        self.ended = true;
    }

    pub(super) fn assert_no_process_left(&self) {
        within(Duration::from_secs(2), "all processes of the instance are gone", || {
            processes_with_tag(&self.tag).is_empty().then_some(())
        });
    }

    /// For an instance that was only spawned.
    pub(crate) fn wait_ready(&mut self) {
        let line = self
            .output
            .wait_or_exit(&mut self.child, PATIENCE * 2, |line| !addresses_in(line).is_empty());
        let line = line.unwrap_or_else(|| panic!("{}: not ready", self.variant));
        self.targets = addresses_in(&line);
    }

    pub(crate) fn wait_all_workers(&self) {
        eventually("all workers ready", || {
            let status = self.try_status()?;
            let ready = |worker: &WorkerStatus| worker.state == WorkerState::Ready;
            status.workers.iter().all(ready).then_some(())
        });
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if !self.ended {
            // A failed test: end what it started, by pid, and show what it printed.
            for pid in processes_with_tag(&self.tag) {
                signal(pid, Signal::KILL);
            }
            let _ = self.child.kill();
            // What is in the pipes arrives now that their writers are gone.
            self.output.wait_closed();
            if std::thread::panicking() {
                eprintln!("--- output of the instance ({}):\n{}", self.variant, self.output.dump());
            }
        }
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.own_dir);
    }
}
