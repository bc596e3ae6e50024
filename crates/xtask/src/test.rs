//! `cargo xtask test`: everything that can fail, one closing line.
//!
//! Owns: the order of the test runs, which of them run on which Node, and their sum. Called by people and by `.ci/run`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::nodes::{self, Node};
use crate::run::{cargo, is_installed, root, run, run_watching};
use crate::{Outcome, fixtures};

/// No test takes this long, nor does what cargo builds before the first.
const SILENCE_MAX: Duration = Duration::from_mins(15);

/// Results of all runners together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u32,
    failed: u32,
    ignored: u32,
}

/// Runs all tests: everything on the newest supported Node, what Node's version can change on the others too.
pub(crate) fn test(arguments: &[String]) -> Outcome {
    fixtures::all()?;
    let installed: Vec<Node> =
        nodes::SUPPORTED.into_iter().map(nodes::install).collect::<Result<_, _>>()?;
    mention_optional_tools();
    let filter = arguments.first().map(String::as_str);
    let files = loader_tests(filter);
    if files.is_empty() {
        eprintln!("SKIPPED: no file of crates/loader/test mentions {}", filter.unwrap_or("a test"));
    }
    let mut sum = Sum::default();
    let mut broken = Vec::new();
    for node in installed.iter().rev() {
        println!("\n== Node {}", node.version);
        let rust = if node.version == nodes::DEFAULT {
            rust_tests(node, arguments)
        } else {
            end_to_end_tests(node, arguments)
        };
        broken.extend(run_watching(rust, SILENCE_MAX, |line| sum.add_rust(line)).err());
        if !files.is_empty() {
            let loader = node_tests(node, &files, filter);
            broken.extend(run_watching(loader, SILENCE_MAX, |line| sum.add_node(line)).err());
        }
    }
    let compared = comparisons(&files);
    if !compared.is_empty() {
        println!("\n== Node {}, the same semantics behind the real `hostler exec`", nodes::DEFAULT);
        run(binary_build())?;
        let node = nodes::install(nodes::DEFAULT)?;
        let real = real_tests(&node, &compared, filter)?;
        broken.extend(run_watching(real, SILENCE_MAX, |line| sum.add_node(line)).err());
    }
    println!("{}", sum.closing_line());
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

fn rust_tests(node: &Node, arguments: &[String]) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(arguments);
    command.env("PATH", node.path(&[]));
    command
}

/// The tests in which the worker's Node matters. Not the cells of the http transport: there Node's own parser reads
/// a plain socket, and the full run has been through that.
fn end_to_end_tests(node: &Node, arguments: &[String]) -> Command {
    let mut command = cargo();
    command.args(["test", "--package", "hostler", "--test", "e2e", "--no-fail-fast"]);
    command.args(arguments);
    if !arguments.iter().any(|argument| argument == "--") {
        command.arg("--");
    }
    command.args(["--skip", "uring_http", "--skip", "epoll_http"]);
    command.env("PATH", node.path(&[]));
    command
}

fn node_tests(node: &Node, files: &[PathBuf], filter: Option<&str>) -> Command {
    // The limit is for a test that hangs; none takes a tenth of it.
    let mut command = node_command(node, &["--test-timeout=60000"], filter);
    command.args(files);
    command
}

fn node_command(node: &Node, options: &[&str], filter: Option<&str>) -> Command {
    let mut command = Command::new(node.program());
    command.args(["--test", "--test-reporter=spec"]).args(options).current_dir(root());
    if let Some(filter) = filter {
        command.arg(format!("--test-name-pattern={filter}"));
    }
    command
}

/// The tests that compare an app with itself under Node alone, with the binary on the other side instead of the tests' own
/// proxy: what only the real one does wrong (a FIN that became the end of a connection, a trailer that it dropped) shows here.
fn real_tests(node: &Node, files: &[PathBuf], filter: Option<&str>) -> Result<Command, String> {
    // They wait more than they work; and the limit counts for whole files too.
    let options = ["--test-concurrency=4", "--test-timeout=300000"];
    let mut command = node_command(node, &options, filter);
    command.args(files).env("HOSTLER_BIN", binary()?);
    Ok(command)
}

/// The binary as the tests of its package build it: nothing to do if they have run.
fn binary_build() -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "hostler", "--test", "e2e", "--no-run"]);
    command
}

fn binary() -> Result<PathBuf, String> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = root().join(target).join("debug/hostler");
    if binary.exists() { Ok(binary) } else { Err(format!("{} is missing", binary.display())) }
}

/// Those of the loader's test files that can have the binary on the other side.
fn comparisons(files: &[PathBuf]) -> Vec<PathBuf> {
    let compares = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        // A tunnel is made by a test; the real proxy of `exec` has none.
        !text.contains("tunnels: true")
            && ["compareAll(", "HOSTLER_BIN"].iter().any(|mark| text.contains(mark))
    };
    files.iter().filter(compares).cloned().collect()
}

/// The files are named one by one, because Node 20 and 22 read a folder differently. With a filter only those that
/// mention it: a file whose tests are all left out waits for ever for the workers it started for them.
fn loader_tests(filter: Option<&str>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join("crates/loader/test")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| {
                [".test.mjs", ".test.cjs", ".test.js"].iter().any(|end| name.ends_with(end))
            })
        })
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            filter.is_none_or(|filter| text.contains(filter))
        })
        .collect();
    files.sort();
    files
}

fn mention_optional_tools() {
    if !is_installed("wrk", "-v") {
        eprintln!(
            "note: wrk is missing; only `cargo xtask loadtest` needs it: apt-get install -y wrk"
        );
    }
}

impl Sum {
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; ...`
    fn add_rust(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result:") else {
            return;
        };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u32>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// `ℹ pass 12` of the spec reporter.
    fn add_node(&mut self, line: &str) {
        let mut words = line.split_whitespace().skip(1);
        let (Some(what), Some(count), None) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let count = count.parse::<u32>().ok().filter(|_| line.starts_with('\u{2139}'));
        match (what, count) {
            ("pass", Some(count)) => self.passed += count,
            ("fail" | "cancelled", Some(count)) => self.failed += count,
            ("skipped" | "todo", Some(count)) => self.ignored += count,
            _ => {}
        }
    }

    fn closing_line(&self) -> String {
        let ignored = match self.ignored {
            0 => String::new(),
            count => format!(", {count} ignored"),
        };
        format!("{} passed, {} failed{ignored}", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_runners_are_added() {
        let mut sum = Sum::default();
        sum.add_rust("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out");
        sum.add_rust(
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; finished in 0.1s",
        );
        sum.add_rust("test serve::hello ... ok");
        sum.add_node("\u{2139} tests 9");
        sum.add_node("\u{2139} pass 7");
        sum.add_node("\u{2139} fail 2");
        sum.add_node("\u{2714} pass 7 (1.2ms)");
        assert_eq!(sum, Sum { passed: 14, failed: 3, ignored: 1 });
        assert_eq!(sum.closing_line(), "14 passed, 3 failed, 1 ignored");
    }
}
