//! The harness of the end-to-end tests.
//!
//! Owns: starting instances, talking to them byte by byte, waiting for conditions, leak checks.
//! Must never know: what a single test is about.

mod client;
mod instance;
mod output;
mod process;
mod python;
mod setup;
mod variant;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Response, Target};
pub(crate) use instance::Instance;
pub(crate) use process::{
    cpu_ticks, fd_count, memory_kib, processes_with_tag, signal, thread_count,
};
pub(crate) use python::python_or_skip;
pub(crate) use setup::Setup;
pub(crate) use variant::{Io, Transport, Variant, matrix, uring_or_skip};

/// Longest wait for anything that should happen at once. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Pause between two looks at a condition.
const STEP: Duration = Duration::from_millis(8);

/// Polls `look` until it gives a value; panics with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Polls `look` until it gives a value; panics with `what` at the deadline.
pub(crate) fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(STEP);
    }
}

/// A fixture app by its file name.
pub(crate) fn app(name: &str) -> PathBuf {
    fixtures().join("apps").join(name)
}

/// The folder of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Figures for people. Straight to fd 2: the test runner swallows what `eprintln!` writes in a passing test.
pub(crate) fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\nMEASURED {text}\n");
}
