//! Processes, ports and folders that end with the test.
//!
//! Owns: stopping by pid with a deadline, free ports, temporary folders. Must never know: what a process is for, who
//! descends from whom (that is `family`).

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::Outcome;

const STEP: Duration = Duration::from_millis(10);

/// Polls until there is a value; `None` at the deadline.
pub(crate) fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

/// A process that ends with the test: it is stopped when this goes.
pub(crate) struct Owned {
    pid: u32,
    /// `None` for a daemon: others started it, and it came to this process when they ended.
    child: Option<Child>,
    ended: Option<ExitStatus>,
    /// Longest wait between SIGTERM and SIGKILL.
    patience: Duration,
}

impl Owned {
    pub(crate) fn new(child: Child) -> Self {
        let pid = child.id();
        Self { pid, child: Some(child), ended: None, patience: Duration::from_secs(15) }
    }

    /// A daemon below this process, see [`crate::family::become_reaper`].
    pub(crate) fn adopt(pid: u32) -> Self {
        Self { pid, child: None, ended: None, patience: Duration::from_secs(15) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its status if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = match &mut self.child {
                // An error means that it was waited for elsewhere: it has ended.
                Some(child) => child.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0))),
                None => daemon_ended(self.pid),
            };
        }
        self.ended
    }

    /// Waits for its end and gives what it wrote to the piped standard output.
    pub(crate) fn output(&mut self, limit: Duration) -> Outcome<String> {
        let pipe = self.child.as_mut().and_then(|child| child.stdout.take());
        let mut pipe = pipe.ok_or("stdout is not piped")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        let status = wait_for(limit, || self.ended());
        let status = status.ok_or_else(|| format!("process {} does not end", self.pid))?;
        let text = reader.join().map_err(|_| "the reader of a pipe failed")?;
        if status.success() { Ok(text) } else { Err(format!("{status}: {text}")) }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    /// SIGTERM, a deadline, SIGKILL.
    pub(crate) fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.signal(Signal::TERM);
        if wait_for(self.patience, || self.ended()).is_none() {
            eprintln!("note: process {} ignored SIGTERM and is killed", self.pid);
            self.signal(Signal::KILL);
            wait_for(self.patience, || self.ended());
        }
    }
}

/// A daemon belongs to whoever started it until that one ends; then it is a child of ours and can be waited for.
fn daemon_ended(pid: u32) -> Option<ExitStatus> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    match waitpid(Some(id), WaitOptions::NOHANG) {
        Ok(None) => None,
        Ok(Some((_, status))) => {
            let code = status.exit_status().unwrap_or(0) << 8;
            Some(ExitStatus::from_raw(code | status.terminating_signal().unwrap_or(0)))
        }
        Err(_) if Path::new(&format!("/proc/{pid}")).exists() => None,
        Err(_) => Some(ExitStatus::from_raw(0)),
    }
}

/// Sends a signal to a process; one that has ended is passed over.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A folder that is removed when this goes.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{}{number}", Self::prefix()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn prefix() -> String {
        format!("hostler-loadtest-{}-", std::process::id())
    }

    /// Removes those of this process, for an end at which nothing is dropped.
    pub(crate) fn remove_all() {
        let prefix = Self::prefix();
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    pub(crate) fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
