//! `cargo xtask loadtest`: builds for release and hands over to the `loadtest` crate.
//!
//! Owns: which Node all peers run on. Must never know: what is measured.

use crate::Outcome;
use crate::nodes;
use crate::run::{cargo, run};

/// What measures nothing and so needs no release binary of Hostler.
const WITHOUT_BINARY: [&str; 5] = ["docs", "list", "help", "--help", "-h"];

/// Runs the load test with the given arguments. `--node 24` before them puts that Node first in `PATH`.
pub(crate) fn loadtest(arguments: &[String]) -> Outcome {
    if !arguments.iter().any(|argument| WITHOUT_BINARY.contains(&&**argument)) {
        let mut build = cargo();
        build.args(["build", "--release", "--package", "hostler", "--package", "loadtest"]);
        run(build)?;
    }
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
