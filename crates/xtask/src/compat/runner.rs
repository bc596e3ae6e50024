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
use super::suite::{Runner, Source, Suite, bench};
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
    /// The test whose result is the exit code; otherwise the program writes results.
    pub(crate) test: Option<String>,
    pub(crate) deadline: Duration,
}

/// Size of the large upload where time is short. It does not fit into the sockets on its way, and that is what it is for.
const UPLOAD_MIB_QUICK: u64 = 64;

/// The test that a program is, if it is one, and its words.
type Line = (Option<String>, Vec<String>);

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
            _ => vec![(None, self.runner_line()?)],
        };
        let jobs = lines.into_iter().map(|(test, line)| {
            let mut command = self.on_side(side, &line);
            command.env("HOSTLER_COMPAT_RESULTS", results);
            if let Some(mib) = options.upload_mib.or(options.quick.then_some(UPLOAD_MIB_QUICK)) {
                command.env("HOSTLER_COMPAT_UPLOAD_MIB", mib.to_string());
            }
            Job { command, test, deadline }
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

    fn runner_line(&self) -> Result<Vec<String>, String> {
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
        line.extend(self.files()?);
        Ok(line)
    }

    fn file_lines(&self, only: Option<&BTreeSet<String>>) -> Result<Vec<Line>, String> {
        let files = self.files()?.into_iter();
        let files = files.filter(|file| only.is_none_or(|only| only.contains(file)));
        let line = |file: String| {
            let flags = flags(&self.folder.join(&file));
            let node = ["node".to_owned()].into_iter();
            let words = node.chain(self.suite.arguments.clone()).chain(flags).chain([file.clone()]);
            (Some(file), words.collect())
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
        if matches!(self.suite.source, Source::NodeTests { .. }) {
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

/// A file without a server says nothing about Hostler.
fn has_server(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    ["createServer(", "new Server(", "http.Server("].iter().any(|call| text.contains(call))
}

/// Node's own tests name the flags that they need: `// Flags: --expose-gc`.
fn flags(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("// Flags:"));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}
