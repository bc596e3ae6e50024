//! Starting a supervisor process and waiting for what it does.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hostler_protocol::control::{CommandAnswer, CommandRequest, InstanceStatus};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

/// Nothing in these tests takes longer on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A runtime directory of this test's own that does not exist yet.
pub(crate) fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("hostler-instance-{}-{number}", std::process::id()))
}

/// A running supervisor.
pub(crate) struct Instance {
    pub(crate) dir: PathBuf,
    child: Child,
    lines: Receiver<String>,
    /// Lines not yet looked at.
    unseen: VecDeque<String>,
    /// All of them, for messages.
    seen: Vec<String>,
}

impl Instance {
    /// Starts one; `extra` overrides the defaults of `supervise`.
    pub(crate) fn start(script: &str, extra: Value) -> Self {
        Self::start_in(&scratch(), script, extra)
    }

    /// The same in a given directory.
    pub(crate) fn start_in(dir: &Path, script: &str, extra: Value) -> Self {
        Self::spawn(dir, Self::command(dir, script, extra))
    }

    /// The same, started by another program that gets the supervisor's command as its last
    /// arguments.
    pub(crate) fn start_by(program: &str, args: &[&str], script: &str, extra: Value) -> Self {
        let dir = scratch();
        let inner = Self::command(&dir, script, extra);
        let mut command = Command::new(program);
        command.args(args).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        Self::spawn(&dir, command)
    }

    fn spawn(dir: &Path, mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test program itself");
        let (sender, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        let unseen = VecDeque::new();
        Self { dir: dir.to_owned(), child, lines, unseen, seen: Vec::new() }
    }

    /// The command that starts one.
    pub(crate) fn command(dir: &Path, script: &str, extra: Value) -> Command {
        let mut given = json!({ "dir": dir, "script": script });
        for (name, value) in extra.as_object().expect("an object") {
            given[name] = value.clone();
        }
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["supervise", &given.to_string()]).stdin(Stdio::null());
        command
    }

    /// Waits for a line with `part` in it; lines before it are passed over, but stay for other
    /// searches.
    pub(crate) fn line(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut index = 0;
        loop {
            while index < self.unseen.len() {
                if self.unseen[index].contains(part) {
                    return self.unseen.remove(index).expect("just seen");
                }
                index += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    self.unseen.push_back(line);
                }
                Err(_) => panic!("no line with `{part}` in:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The number behind `part` in a line that contains it.
    pub(crate) fn number_after(&mut self, part: &str) -> u32 {
        let line = self.line(part);
        let rest = line.split_once(part).expect("contained").1;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number behind `{part}` in `{line}`"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn status(&self) -> InstanceStatus {
        let answer = hostler_spawner::command(&self.dir, CommandRequest::Status, DEADLINE);
        match answer.expect("an answer") {
            CommandAnswer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the end; gives the exit code.
    pub(crate) fn end(&mut self) -> i32 {
        let mut code = None;
        wait_until("the end of the supervisor", || {
            code = self.child.try_wait().expect("our child");
            code.is_some()
        });
        code.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// The end after SIGTERM: clean, and nothing left.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.end(), 0, "{}", self.seen.join("\n"));
        assert!(!self.dir.exists(), "the runtime directory is left");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // After a failed test: its children die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

/// Whether a process with this pid is there, dead or alive.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    test_kill_process(pid).is_ok()
}

/// For facts that no event tells: looks again and again, up to the deadline.
pub(crate) fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !fact() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(2));
    }
}
