//! Our stderr, shared by the app's output and our own log.
//!
//! Owns: the one sink in front of it. Log lines and the app's lines keep their order that way, and
//! a reader of stderr that hangs cannot stop the supervisor in the middle of a log line. Must never
//! know: what is written.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::Sink;

static STDERR: OnceLock<Option<Mutex<Sink>>> = OnceLock::new();

/// The sink in front of stderr; `None` if stderr is not usable at all.
pub(crate) fn stderr_sink() -> Option<MutexGuard<'static, Sink>> {
    let sink = STDERR.get_or_init(|| Sink::new(io::stderr().as_fd()).ok().map(Mutex::new));
    sink.as_ref().map(|sink| sink.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Writes log lines to stderr without ever waiting; see [`log_writer`].
#[derive(Debug)]
pub struct LogWriter(());

/// The writer for the supervisor's log subscriber: `.with_writer(hostler_spawner::log_writer)`. A
/// plain `std::io::stderr` would stop the whole supervisor when its reader hangs.
pub fn log_writer() -> LogWriter {
    LogWriter(())
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut sink) = stderr_sink() {
            sink.push(bytes);
            sink.flush();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
