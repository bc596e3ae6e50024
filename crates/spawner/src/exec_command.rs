//! `hostler exec`: one command with the loader in every Node process below it.
//!
//! Owns: the folder with the loader and the channel socket, the environment that makes Node load it, the command's
//! process and the signals meant for it. Must never know: what travels over the channel. Called by the command line.
//!
//! The command is a child like any other of a shell: it keeps the terminal, the group and the standard streams, and its
//! exit code becomes ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::exec;
use crate::listeners::bind_file;
use crate::runtime_dir::{RuntimeDir, RuntimeDirError, default_runtime_dir};

/// What tells the loader that it runs under `hostler exec`; `docs/worker-protocol.md`.
const VARIABLE: &str = "HOSTLER_EXEC";
const NODE_OPTIONS: &str = "NODE_OPTIONS";
/// Version of the worker protocol.
const PROTOCOL: u32 = 2;
/// Rights of the channel socket; its folder is closed to others anyway.
const SOCKET_MODE: u32 = 0o600;

/// Why the command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No folder for the socket.
    #[error("{0}")]
    Folder(#[from] RuntimeDirError),
    /// The program is not there, or may not be run.
    #[error("cannot run {}: {source}", program.display())]
    Program {
        /// What was to be run.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ExecError {
    /// The exit code that `env` and `nohup` have for it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Program { .. } => 126,
            Self::Folder(_) | Self::System { .. } => 1,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ExecVariable {
    protocol: u32,
    channel: PathBuf,
    /// The file in `NODE_OPTIONS`, so that an exec inside an exec can take it out again.
    preload: PathBuf,
}

/// The folder and the socket, made before the command starts.
#[derive(Debug)]
pub struct ExecSession {
    dir: RuntimeDir,
    variable: OsString,
    node_options: OsString,
    signals: OwnedFd,
}

impl ExecSession {
    /// Makes everything that the command's processes will look for, and gives the listening socket for their channels.
    /// From here on the calling thread, and those it starts, leave the usual signals to [`ExecSession::run`].
    pub fn prepare() -> Result<(Self, OwnedFd), ExecError> {
        let dir = acquire_dir()?;
        let loader = dir.write_loader(hostler_loader::FILES)?;
        let channel = dir.channel_socket(0);
        let listener = bind_file(&channel, SOCKET_MODE)
            .map_err(|source| ExecError::System { what: "open the channel socket", source })?;
        let signals = exec::block_signals()
            .map_err(|source| ExecError::System { what: "take over signals", source })?;
        let preload = loader.join(hostler_loader::ENTRY);
        let node_options = node_options(&preload, std::env::var_os(NODE_OPTIONS), &outer_preload());
        let variable = ExecVariable { protocol: PROTOCOL, channel, preload };
        let variable = serde_json::to_string(&variable)
            .map_err(|error| ExecError::System {
                what: "name its folder in the environment",
                source: io::Error::other(error),
            })?
            .into();
        Ok((Self { dir, variable, node_options, signals }, listener))
    }

    /// Starts `program`.
    pub fn start(&self, program: &OsStr, args: &[OsString]) -> Result<Child, ExecError> {
        let mut command = Command::new(program);
        command.args(args).env(VARIABLE, &self.variable).env(NODE_OPTIONS, &self.node_options);
        exec::unblock_in_child(&mut command);
        command.spawn().map_err(|source| ExecError::Program { program: program.into(), source })
    }

    /// Waits for the command's end and passes on the signals that are meant for it.
    pub fn wait(&self, child: &mut Child) -> Result<ExitStatus, ExecError> {
        let waits = |source| ExecError::System { what: "wait for the command", source };
        loop {
            if let Some(status) = child.try_wait().map_err(waits)? {
                return Ok(status);
            }
            let mut fds = [PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(waits(error.into())),
            }
            for received in read_signals(&self.signals) {
                received.pass_on(Pid::from_child(child));
            }
        }
    }

    /// Removes the folder.
    pub fn remove(self) {
        self.dir.remove();
    }
}

/// The exit code for a command that ended so; 128 and the signal's number for one that was killed, as shells have it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let killed = || status.signal().map_or(1, |signal| 128 + signal);
    u8::try_from(status.code().unwrap_or_else(killed)).unwrap_or(1)
}

/// A folder of this process's own beside the default place of instances, or in the folder for temporary files.
fn acquire_dir() -> Result<RuntimeDir, ExecError> {
    let name = format!("hostler-exec.{}", std::process::id());
    let beside = default_runtime_dir().and_then(|dir| Some(dir.parent()?.join(&name)));
    if let Some(dir) = beside.and_then(|dir| RuntimeDir::acquire(&dir, "exec").ok()) {
        return Ok(dir);
    }
    Ok(RuntimeDir::acquire(&std::env::temp_dir().join(name), "exec")?)
}

/// The loader's file of an exec around this one.
fn outer_preload() -> Option<PathBuf> {
    let text = std::env::var(VARIABLE).ok()?;
    serde_json::from_str::<ExecVariable>(&text).ok().map(|outer| outer.preload)
}

/// Our file in front of what is there: patches of the user's own tools find the patched methods, not the other way round.
fn node_options(preload: &Path, old: Option<OsString>, outer: &Option<PathBuf>) -> OsString {
    let mut old = old.unwrap_or_default();
    if let (Some(outer), Some(text)) = (outer, old.to_str()) {
        old = text.replace(&require(outer), "").trim().to_owned().into();
    }
    let mut options = OsString::from(require(preload));
    if !old.is_empty() {
        options.push(" ");
        options.push(old);
    }
    options
}

/// Quoted, because Node splits at spaces (node_options.cc, ParseNodeOptionsEnvVar).
fn require(preload: &Path) -> String {
    let path = preload.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("--require \"{path}\"")
}

/// A signal and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received {
    number: i32,
    /// A process sent it, not the terminal.
    by_process: bool,
}

impl Received {
    /// Ctrl-C and Ctrl-\ reach the command from the terminal by themselves.
    fn pass_on(self, child: Pid) {
        let Some(signal) = Signal::from_named_raw(self.number) else { return };
        if signal == Signal::CHILD
            || (!self.by_process && matches!(signal, Signal::INT | Signal::QUIT))
        {
            return;
        }
        // It may have ended at this very moment, and is not reaped yet.
        let _ = kill_process(child, signal);
    }
}

/// Size of the kernel's `struct signalfd_siginfo`, and where in it the code is.
const RECORD_BYTES: usize = 128;
const CODE_AT: usize = 8;

fn read_signals(fd: impl AsFd) -> Vec<Received> {
    let mut signals = Vec::new();
    let mut buffer = [0_u8; RECORD_BYTES * 8];
    while let Ok(count @ 1..) = rustix::io::read(&fd, &mut buffer[..]) {
        for record in buffer[..count].chunks_exact(RECORD_BYTES) {
            let int = |at: usize| {
                i32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
            };
            // Codes above zero are the kernel's own (sigaction(2)).
            signals.push(Received { number: int(0), by_process: int(CODE_AT) <= 0 });
        }
    }
    signals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_comes_first_and_the_outer_one_goes() {
        let inner = Path::new("/run/inner/preload.cjs");
        let outer = PathBuf::from("/run/outer/preload.cjs");
        let old = OsString::from(format!("{} --enable-source-maps", require(&outer)));
        assert_eq!(
            node_options(inner, Some(old), &Some(outer)),
            "--require \"/run/inner/preload.cjs\" --enable-source-maps"
        );
        assert_eq!(node_options(inner, None, &None), "--require \"/run/inner/preload.cjs\"");
    }

    #[test]
    fn a_path_with_spaces_and_quotes_stays_one_word() {
        assert_eq!(require(Path::new("/a b/\"c\"")), "--require \"/a b/\\\"c\\\"\"");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
