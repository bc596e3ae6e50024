//! One program after another in the same process: the supervisor becomes a newer one and stays who it is, with its pid, its children
//! and everything that it has open.
//!
//! Owns: the way of the state through `exec`, and the way back. Must never know: what is in the state (`event_loop::estate`). Called by
//! the loop to go, and by the command line, which finds itself in the new program.
//!
//! The state lies in a file without a name, whose descriptor stays open over the `exec`. So does that of the old program, so that a new
//! one which cannot go on, whatever the reason, becomes the old one again.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use hostler_protocol::control::STATE_FORMAT;
use rustix::fs::MemfdFlags;

use crate::event_loop::{Estate, Header};
use crate::exec;
use crate::passed_fd::{self, Source};

/// The descriptors of the state and of the program before, and if that one is to go on, why: `5:6` or `5:6:why`.
pub(crate) const VARIABLE: &str = "HOSTLER_HAND_OVER";

/// Its value for a trial: the state is the first descriptor behind the usual three, and is only to be read.
pub(crate) const TRIAL: &str = "3";

/// State of an instance that this process has got from the program that it was before.
#[derive(Debug)]
pub struct Inheritance {
    state: File,
    /// The program before; none in a trial.
    before: Option<OwnedFd>,
    /// It was us: this is why nothing came of the other one.
    returned: Option<String>,
}

/// The state, read.
pub(crate) struct Opened {
    pub(crate) estate: Box<Estate<'static>>,
    /// Why the change of programs did not succeed, if it did not.
    pub(crate) returned: Option<String>,
}

impl Inheritance {
    /// What this process was given, if it was another program before. Called once, before anything else opens a descriptor.
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.splitn(3, ':');
        let mut fd = || exec::inherit(parts.next()?.parse().ok()?).ok();
        let state = fd()?;
        let before = if text == TRIAL { None } else { Some(fd()?) };
        let returned = parts.next().map(str::to_owned);
        Some(Self { state: File::from(state), before, returned })
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        self.state
            .rewind()
            .and_then(|()| self.state.read_to_end(&mut text))
            .map_err(|error| format!("the state cannot be read: {error}"))?;
        Ok(text)
    }

    /// Reads the state.
    pub(crate) fn open(&mut self) -> Result<Opened, String> {
        let text = self.text()?;
        Ok(Opened { estate: read_estate(&text)?, returned: self.returned.clone() })
    }

    /// It is only to be tried whether the state can be read; with what came of it.
    pub fn trial(&mut self) -> Option<Result<(), String>> {
        if self.before.is_some() {
            return None;
        }
        Some(passed_fd::reading_from(Source::Pretended, || self.open().map(|_| ())))
    }

    /// Becomes the program before again, which goes on as if nothing had happened and says why. Comes back only if even that is impossible.
    pub fn give_back(mut self, why: &str) -> String {
        // Ours may be others: this program has perhaps been started by something in between.
        let header = self.text().and_then(|text| read_header(&text));
        let args =
            header.map_or_else(|_| std::env::args_os().skip(1).collect(), |header| header.args);
        if let Some(first) = self.returned {
            return format!("{first}; and the program before cannot go on either: {why}");
        }
        let Some(before) = self.before else { return why.to_owned() };
        let program = PathBuf::from(format!("/proc/self/fd/{}", before.as_raw_fd()));
        let fds = [self.state.as_raw_fd(), before.as_raw_fd()];
        let (state, before) = (fds[0], fds[1]);
        exec::set_inheritable(&fds, true);
        let error = become_program(&program, args, &format!("{state}:{before}:{why}"));
        format!("{why}; and the program before cannot be started: {error}")
    }
}

/// Reads a state whose form is known.
pub(crate) fn read_estate(text: &[u8]) -> Result<Box<Estate<'static>>, String> {
    let header = read_header(text)?;
    if header.format != STATE_FORMAT {
        return Err(format!(
            "version {} has written its state in form {}, this one reads form {STATE_FORMAT}",
            header.version, header.format
        ));
    }
    serde_json::from_slice(text)
        .map_err(|error| format!("the state of version {}: {error}", header.version))
}

fn read_header(text: &[u8]) -> Result<Header, String> {
    serde_json::from_slice(text).map_err(|error| format!("the state is not understood: {error}"))
}

/// Becomes `program`, which goes on with `state` and gets the descriptors in it. Comes back only with the reason why not.
pub(crate) fn hand_over(program: &Path, state: &[u8], fds: &[RawFd]) -> String {
    let own = File::open("/proc/self/exe");
    let (state, before) = match carry(state).and_then(|state| Ok((state, own?))) {
        Ok(carried) => carried,
        Err(error) => return format!("the state cannot be written: {error}"),
    };
    let all: Vec<RawFd> =
        fds.iter().copied().chain([state.as_raw_fd(), before.as_raw_fd()]).collect();
    exec::set_inheritable(&all, true);
    let args = std::env::args_os().skip(1).collect();
    let fds = format!("{}:{}", state.as_raw_fd(), before.as_raw_fd());
    let error = become_program(program, args, &fds);
    exec::set_inheritable(&all, false);
    format!("{} cannot be executed: {error}", program.display())
}

/// A file without a name, with the state in it.
pub(crate) fn carry(state: &[u8]) -> std::io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("hostler-state", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(state)?;
    Ok(file.into())
}

/// The first word is the program, for who looks at the list of processes.
fn become_program(program: &Path, typed: Vec<OsString>, variable: &str) -> std::io::Error {
    let args: Vec<OsString> = std::iter::once(program.into()).chain(typed).collect();
    let others = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
    let env: Vec<_> = others.chain([(VARIABLE.into(), variable.into())]).collect();
    exec::become_program(program, &args, &env)
}
