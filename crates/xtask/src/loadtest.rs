//! `cargo xtask loadtest`: builds for release and hands over to the `loadtest` crate.
//!
//! Owns: which Node all peers run on. Must never know: what is measured.

use crate::Outcome;
use crate::nodes;
use crate::run::{cargo, run};

/// Runs the load test with the given arguments. `--node 24` before them puts that Node first in `PATH`.
pub(crate) fn loadtest(arguments: &[String]) -> Outcome {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "hostler", "--package", "loadtest"]);
    run(build)?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "loadtest", "--"]);
    let arguments = match arguments {
        [option, wanted, rest @ ..] if option == "--node" => {
            command.env("PATH", nodes::install(wanted)?.path(&[]));
            rest
        }
        rest => rest,
    };
    command.args(arguments);
    run(command)
}
