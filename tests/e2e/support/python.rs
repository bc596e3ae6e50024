//! The Python servers that `cargo xtask fixtures` installs.
//!
//! Owns: where they are, and the loud word when this machine has no Python. Must never know: what is tested with them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The folder with uvicorn and gunicorn; none without Python.
pub(crate) fn python_or_skip() -> Option<PathBuf> {
    let bin = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/python-fixtures/bin");
    if bin.join("uvicorn").exists() {
        return Some(bin);
    }
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    assert!(python.is_err(), "run `cargo xtask fixtures` first: {} is missing", bin.display());
    // Straight to fd 2: the test runner swallows what `eprintln!` writes in a passing test.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED (python3 is missing): uvicorn and gunicorn\n");
    None
}
