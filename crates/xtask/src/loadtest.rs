//! `cargo xtask loadtest`: builds for release and hands over to the `loadtest` crate.

use crate::Outcome;
use crate::run::{cargo, run};

/// Runs the load test with the given arguments.
pub(crate) fn loadtest(arguments: &[String]) -> Outcome {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "hostler", "--package", "loadtest"]);
    run(build)?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "loadtest", "--"]).args(arguments);
    run(command)
}
