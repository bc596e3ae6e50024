//! `cargo xtask lint`: everything about the code that needs no run.
//!
//! Owns: the list of checks. All of them run, so that one look shows all complaints.

use crate::run::{cargo, run};
use crate::{Outcome, codegen, tidy};

/// Runs all checks.
pub(crate) fn lint() -> Outcome {
    let cargo_checks: [&[&str]; 2] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ];
    let mut broken: Vec<String> = cargo_checks
        .iter()
        .filter_map(|arguments| {
            let mut command = cargo();
            command.args(*arguments);
            run(command).err()
        })
        .collect();
    broken.extend(codegen::codegen(true).err());
    broken.extend(tidy::tidy().err());
    broken.extend(deny().err());
    if broken.is_empty() { Ok(()) } else { Err(format!("\n  {}", broken.join("\n  "))) }
}

fn deny() -> Outcome {
    let installed = cargo().args(["deny", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: cargo-deny is missing; install it: cargo install --locked cargo-deny");
        return Ok(());
    }
    let mut command = cargo();
    // Not the advisories: their database is fetched, and a check must give the same answer without a network.
    command.args(["deny", "check", "licenses", "bans", "sources"]);
    run(command)
}
