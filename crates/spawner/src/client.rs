//! The command line's side of `control.sock`.
//!
//! Owns: one question to a running instance and its answer. Must never know: what the answer is
//! used for. Called by the verbs `status` and `stop`.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostler_protocol::control::{
    CommandAnswer, CommandRequest, LineBuffer, LineError, encode_line,
};

use crate::adoption::is_orphaned;
use crate::runtime_dir::CONTROL_SOCKET;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nobody listens.
    #[error("no instance runs in {}; name another with --runtime-dir", .0.display())]
    NoInstance(PathBuf),
    /// The supervisor is dead, and what it has started serves on.
    #[error(
        "the supervisor of the instance in {} is dead; its proxy and workers serve on. Start it as before to take them over, or end them by `hostler stop`",
        .0.display()
    )]
    Orphaned(PathBuf),
    /// The folder belongs to somebody else.
    #[error("no right to talk to the instance in {}; run this as the user who started it", .0.display())]
    Forbidden(PathBuf),
    /// The instance lives but does not answer.
    #[error("the instance in {} did not answer within {waited_ms} ms", runtime_dir.display())]
    Timeout {
        /// The asked instance.
        runtime_dir: PathBuf,
        /// How long it had.
        waited_ms: u64,
    },
    /// The connection ended before the answer.
    #[error("the instance in {} closed the connection without an answer", .0.display())]
    Closed(PathBuf),
    /// The answer is not one (another version?).
    #[error("the answer of the instance is not understood: {0}")]
    Garbled(#[from] LineError),
    /// Anything else.
    #[error("talking to the instance failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Asks the instance in `runtime_dir` and waits for its answer.
pub fn command(
    runtime_dir: &Path,
    request: CommandRequest,
    timeout: Duration,
) -> Result<CommandAnswer, CommandError> {
    Ok(ask(runtime_dir, &request, timeout)?.0)
}

/// Tells the instance to stop and waits until it is gone.
pub fn stop(runtime_dir: &Path, timeout: Duration) -> Result<CommandAnswer, CommandError> {
    let begun = Instant::now();
    let (answer, mut stream) = ask(runtime_dir, &CommandRequest::Stop, timeout)?;
    if answer != CommandAnswer::Accepted {
        return Ok(answer);
    }
    // The supervisor keeps this connection open until it has removed its last file: the end of the
    // stream is the end of the instance, with nothing to poll.
    let mut rest = [0_u8; 64];
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(timed_out(runtime_dir, timeout));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut rest) {
            Ok(0) => return Ok(answer),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(timed_out(runtime_dir, timeout));
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(answer),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask(
    runtime_dir: &Path,
    request: &CommandRequest,
    timeout: Duration,
) -> Result<(CommandAnswer, UnixStream), CommandError> {
    let begun = Instant::now();
    let mut stream = match UnixStream::connect(runtime_dir.join(CONTROL_SOCKET)) {
        Ok(stream) => stream,
        Err(error) => return Err(connect_error(runtime_dir, error)),
    };
    stream.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    stream.write_all(&encode_line(request))?;
    let mut lines = LineBuffer::default();
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        if let Some(answer) = lines.next_message::<CommandAnswer>()? {
            return Ok((answer, stream));
        }
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(timed_out(runtime_dir, timeout));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(CommandError::Closed(runtime_dir.to_owned())),
            Ok(count) => lines.push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(timed_out(runtime_dir, timeout));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn connect_error(runtime_dir: &Path, error: std::io::Error) -> CommandError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused if is_orphaned(runtime_dir) => {
            CommandError::Orphaned(runtime_dir.to_owned())
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused => {
            CommandError::NoInstance(runtime_dir.to_owned())
        }
        ErrorKind::PermissionDenied => CommandError::Forbidden(runtime_dir.to_owned()),
        _ => CommandError::Io(error),
    }
}

fn timed_out(runtime_dir: &Path, timeout: Duration) -> CommandError {
    CommandError::Timeout {
        runtime_dir: runtime_dir.to_owned(),
        waited_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    }
}
