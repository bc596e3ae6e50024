//! `cargo xtask fuzz-smoke`: every fuzz target for a few seconds.
//!
//! Owns: finding the targets. The bodies of the targets run in `cargo test` as well, so a machine without a
//! nightly toolchain loses depth, not coverage.

use std::fs;

use crate::Outcome;
use crate::run::{cargo, root, run};

/// Runs each target for the given number of seconds (10 by default).
pub(crate) fn fuzz_smoke(arguments: &[String]) -> Outcome {
    let seconds = arguments.first().map_or("10", String::as_str);
    let installed = cargo().args(["+nightly", "fuzz", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: fuzzing needs `rustup toolchain install nightly` and `cargo install --locked cargo-fuzz`"
        );
        return Ok(());
    }
    for target in targets()? {
        let mut command = cargo();
        command.args(["+nightly", "fuzz", "run", &target, "--"]);
        command.arg(format!("-max_total_time={seconds}"));
        run(command)?;
    }
    Ok(())
}

fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}
