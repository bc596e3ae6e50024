//! The command lines of a suite's runner, under Node and under Hostler.
//!
//! Owns: how each runner is called and told where its results go. Must never know: what the results are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::install::search_path;
use super::options::Options;
use super::suite::{Runner, Suite, bench};
use crate::nodes::Node;

/// What serves the suite's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Node alone.
    Node,
    /// `hostler exec -- ...`
    Exec,
    /// The app is started by `hostler run`; its check does that.
    Run,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Exec => "exec",
            Self::Run => "run",
        }
    }
}

/// A suite that is ready to run.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) suite: Suite,
    pub(crate) node: Node,
    /// The top of its files.
    pub(crate) source: PathBuf,
    /// The folder in which the tests run.
    pub(crate) folder: PathBuf,
    pub(crate) hostler: PathBuf,
}

/// One program to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) command: Command,
    /// What else the program's end says; its reporter writes the rest.
    pub(crate) end: End,
    pub(crate) deadline: Duration,
}

/// What the end of a program means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Something is wrong with the run if it does not come in time.
    Run,
    /// The exit status is the result of this test.
    Test(String),
    /// That this file's process ends is a test of its own.
    File(String),
}

/// What a program's end means, and its words.
type Line = (End, Vec<String>);

impl Ready {
    /// The programs of one run; with `only` those of the files of these tests, where each file runs alone.
    pub(crate) fn jobs(
        &self,
        side: Side,
        results: &Path,
        options: &Options,
        only: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Job>, String> {
        let deadline = Duration::from_secs(self.suite.deadline_s);
        let lines = match self.suite.runner {
            Runner::Files => self.file_lines(only)?,
            _ if self.suite.file_by_file => self.lines_by_file(only)?,
            _ => {
                let mut line = self.runner_line();
                line.extend(self.files()?);
                vec![(End::Run, line)]
            }
        };
        let jobs = lines.into_iter().map(|(end, line)| {
            let mut command = self.on_side(side, &line);
            command.env("HOSTLER_COMPAT_RESULTS", results);
            command.env("HOSTLER_COMPAT_UPLOAD_MIB", options.upload_mib().to_string());
            Job { command, end, deadline }
        });
        Ok(jobs.collect())
    }

    fn on_side(&self, side: Side, line: &[String]) -> Command {
        let mut command = match side {
            Side::Exec => {
                let mut command = Command::new(&self.hostler);
                command.args(["exec", "--summary", "--"]).args(line);
                command
            }
            Side::Node | Side::Run => {
                let mut command = Command::new(&line[0]);
                command.args(&line[1..]);
                command
            }
        };
        let path = search_path(&[&self.folder, &self.source], &self.node);
        command.current_dir(&self.folder).env("PATH", path);
        // What a developer has set for himself must not decide.
        for variable in ["NODE_OPTIONS", "NODE_ENV", "NODE_PATH", "PORT", "HOSTLER_EXEC"] {
            command.env_remove(variable);
        }
        command.envs(&self.suite.env).env("HOSTLER_COMPAT_REPORTERS", bench().join("reporters"));
        if side == Side::Run {
            command.env("HOSTLER_COMPAT_SERVE", &self.hostler);
        }
        command
    }

    fn runner_line(&self) -> Vec<String> {
        let reporter = |file: &str| bench().join("reporters").join(file).display().to_string();
        let mut line: Vec<String> = match self.suite.runner {
            Runner::Mocha => vec!["mocha".into(), "--reporter".into(), reporter("mocha.cjs")],
            Runner::NodeTest => vec![
                "node".into(),
                "--test".into(),
                format!("--test-reporter={}", reporter("node-test.mjs")),
                "--test-reporter-destination=stdout".into(),
                // Node's own choice depends on the machine.
                "--test-concurrency=2".into(),
                // A file that does not end takes the others' results with it.
                "--test-timeout=60000".into(),
            ],
            Runner::Lab => vec!["lab".into(), "--reporter".into(), reporter("lab.cjs")],
            Runner::Jest => vec!["jest".into(), format!("--reporters={}", reporter("jest.cjs"))],
            Runner::Vitest => {
                vec![
                    "vitest".into(),
                    "run".into(),
                    format!("--reporter={}", reporter("vitest.mjs")),
                ]
            }
            Runner::Checks | Runner::Files => vec!["node".into()],
        };
        line.extend(self.suite.arguments.iter().cloned());
        line
    }

    /// The runner once for each file that has one of the tests.
    fn lines_by_file(&self, only: Option<&BTreeSet<String>>) -> Result<Vec<Line>, String> {
        let wanted = |file: &String| {
            only.is_none_or(|only| only.iter().any(|test| file_of(test) == file.as_str()))
        };
        let files = self.files()?.into_iter().filter(wanted);
        let line = |file: String| {
            let mut words = self.runner_line();
            words.push(file.clone());
            (End::File(file), words)
        };
        Ok(files.map(line).collect())
    }

    fn file_lines(&self, only: Option<&BTreeSet<String>>) -> Result<Vec<Line>, String> {
        let files = self.files()?.into_iter();
        let files = files.filter(|file| only.is_none_or(|only| only.contains(file)));
        let line = |file: String| {
            let flags = flags(&self.folder.join(&file));
            let node = ["node".to_owned()].into_iter();
            let words = node.chain(self.suite.arguments.clone()).chain(flags).chain([file.clone()]);
            (End::Test(file), words.collect())
        };
        Ok(files.map(line).collect())
    }

    /// The test files, from the suite's folder.
    fn files(&self) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for pattern in &self.suite.files {
            found.extend(self.matching(pattern)?);
        }
        for left_out in &self.suite.left_out {
            let files = self.matching(&left_out.files)?;
            found.retain(|file| !files.contains(file));
        }
        if found.is_empty() && !self.suite.files.is_empty() {
            return Err(format!("{}: no file matches {:?}", self.suite.name, self.suite.files));
        }
        if self.suite.servers_only {
            found.retain(|file| has_server(&self.folder.join(file)));
        }
        Ok(found)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let full = self.folder.join(pattern);
        let paths = glob::glob(&full.to_string_lossy()).map_err(|error| error.to_string())?;
        let names = paths.flatten().filter_map(|path| {
            path.strip_prefix(&self.folder).ok().map(|name| name.to_string_lossy().into_owned())
        });
        Ok(names.collect())
    }
}

fn has_server(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    ["createServer(", "new Server(", "http.Server(", "WebSocketServer("]
        .iter()
        .any(|call| text.contains(call))
}

/// The file of a test's name: `test/app.js > app > is callable`.
fn file_of(test: &str) -> &str {
    test.split_once(" > ").map_or(test, |(file, _)| file)
}

/// Node's own tests name the flags that they need: `// Flags: --expose-gc`.
fn flags(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("// Flags:"));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}
