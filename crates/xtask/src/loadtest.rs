//! `cargo xtask loadtest`: builds for release and hands over to the `loadtest` crate.
//!
//! Owns: which Node all peers run on, and where other programs are looked for. Must never know: what is measured.

use crate::Outcome;
use crate::nodes;
use crate::run::{cargo, root, run};

/// What measures nothing and so needs no release binary of Hostler.
const WITHOUT_BINARY: [&str; 7] = ["docs", "list", "setup", "remove", "help", "--help", "-h"];

/// Runs the load test with the given arguments. `--node 24` before them puts that Node first in `PATH`.
pub(crate) fn loadtest(arguments: &[String]) -> Outcome {
    if !arguments.iter().any(|argument| WITHOUT_BINARY.contains(&&**argument)) {
        let mut build = cargo();
        build.args(["build", "--release", "--package", "hostler", "--package", "loadtest"]);
        run(build)?;
    }
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "loadtest", "--"]);
    // What `loadtest setup` has installed goes before what the system has.
    let tools = root().join("target/loadtest/tools/bin");
    let (path, arguments) = match arguments {
        [option, wanted, rest @ ..] if option == "--node" => {
            (nodes::install(wanted)?.path(&[tools]), rest)
        }
        rest => {
            let inherited = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(tools).chain(std::env::split_paths(&inherited));
            (std::env::join_paths(all).expect("folders of ours have no colon"), rest)
        }
    };
    // Servers are where PATH of an ordinary user does not lead.
    let path = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    command.env("PATH", std::env::join_paths(path).expect("it was split from one"));
    command.args(arguments);
    run(command)
}
