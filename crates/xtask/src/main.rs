//! Developer commands: `cargo xtask test`, `lint`, `compat`, `loadtest`, ...
//!
//! Owns: the list of commands and their help. Must never know: how a command works; each has its file.
//! Called by people and by `.ci/run`, which call the same commands.
#![forbid(unsafe_code)]

mod codegen;
mod compat;
mod fixtures;
mod functions;
mod fuzz_smoke;
mod instructions;
mod lint;
mod loadtest;
mod nodes;
mod pgo;
mod run;
mod test;
mod tidy;
mod tidy_rules;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER]       all tests: Rust (unit, property, simulation, end to end) and the loader's, on Node 24;
                      end to end (frames) and the loader's on Node 20 and 22 too; sets up the Node versions
                      (target/node) and the npm and Python fixtures itself; FILTER is passed on as a part of
                      test names
  fixtures            that set-up alone
  lint                rustfmt, clippy with warnings as errors, tidy, codegen --check, cargo-deny if installed
  tidy                rules of this code base that clippy does not know
  codegen [--check]   writes crates/loader/js/constants.cjs from the tables of crates/protocol
  loadtest [--node 24] [SCENARIO...] [--quick]
                      builds for release and measures beside Node alone and other servers; `loadtest docs` writes
                      docs/benchmarks.md; `loadtest --help` for more
  pgo                 builds target/pgo/hostler, optimised by a profile of itself under load: 3 to 6 % less
                      CPU in the proxy; takes some minutes and needs LLVM's llvm-profdata
  instructions [--bless] [FILTER]
                      counts the instructions of what `cargo bench` times, under valgrind, and fails when a case
                      needs over 3 % more than benches/instructions.toml says; --bless moves that baseline
  compat [SUITE...]   other people's test suites under plain Node and under `hostler exec`, compared; writes
                      docs/compatibility.md; `compat help` for more
  fuzz-smoke [SECS]   each fuzz target for some seconds (needs cargo-fuzz and a nightly toolchain)
  help                this text
";

/// What a command ends with.
pub(crate) type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = arguments.collect();
    let outcome = match &*command {
        "test" => test::test(&rest),
        "fixtures" => fixtures::all(),
        "lint" => lint::lint(),
        "tidy" => tidy::tidy(),
        "codegen" => codegen::codegen(rest.iter().any(|argument| argument == "--check")),
        "loadtest" => loadtest::loadtest(&rest),
        "pgo" => pgo::pgo(),
        "compat" => compat::compat(&rest),
        "instructions" => instructions::instructions(&rest),
        "fuzz-smoke" => fuzz_smoke::fuzz_smoke(&rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("no command `{unknown}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask {command}: {why}");
            ExitCode::FAILURE
        }
    }
}
