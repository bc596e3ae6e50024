//! `cargo xtask loadtest`: builds for release and hands over to the `loadtest` crate.
//!
//! Owns: which Node all peers run on, and where other programs are looked for. Must never know: what is measured.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::Outcome;
use crate::nodes;
use crate::run::{cargo, root, run};

/// Runs the load test with the given arguments. `--node 24` before them puts that Node first in `PATH`.
pub(crate) fn loadtest(arguments: &[String]) -> Outcome {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "hostler", "--package", "loadtest"]);
    run(build)?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "loadtest", "--"]);
    // What `loadtest setup` has installed goes before what the system has, and servers are often not in PATH.
    let tools = root().join("target/loadtest/tools/bin");
    let (path, arguments) = match arguments {
        [option, wanted, rest @ ..] if option == "--node" => {
            (nodes::install(wanted)?.path(&[tools]), rest)
        }
        rest => (with_inherited(tools), rest),
    };
    command.env("PATH", path_with_servers(&path));
    command.args(arguments);
    run(command)
}

fn with_inherited(first: PathBuf) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first).chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).expect("folders of ours have no colon")
}

fn path_with_servers(path: &OsStr) -> OsString {
    let all = std::env::split_paths(path).chain(["/usr/sbin".into()]);
    std::env::join_paths(all).expect("it was split from one")
}
