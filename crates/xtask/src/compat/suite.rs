//! A suite as its file in `crates/xtask/compat/suites` describes it.
//!
//! Owns: the fields of that file and the reading of it. Must never know: how a suite is fetched or run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::run::root;

/// One suite.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// The file's name, set by `load`.
    #[serde(skip)]
    pub(crate) name: String,
    /// As the report calls it: `Express 5`.
    pub(crate) title: String,
    /// Place in the report.
    pub(crate) order: u32,
    pub(crate) source: Source,
    /// Where in the source the tests run; the top if empty.
    #[serde(default)]
    pub(crate) folder: String,
    /// Development dependencies that no test needs, by name or with `*`.
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// Further packages.
    #[serde(default)]
    pub(crate) with: Vec<String>,
    /// Whether the lock file of the source says what is installed.
    #[serde(default)]
    pub(crate) locked: bool,
    /// Commands after the install, each in the suite's folder.
    #[serde(default)]
    pub(crate) prepare: Vec<String>,
    pub(crate) runner: Runner,
    /// The test files, as patterns.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Files that are left out.
    #[serde(default)]
    pub(crate) left_out: Vec<LeftOut>,
    /// Each file is a run of the runner of its own: one that does not end takes no other with it, and only files with
    /// differences are run again.
    #[serde(default)]
    pub(crate) file_by_file: bool,
    /// Of these only the ones that create a server; the others say nothing about Hostler.
    #[serde(default)]
    pub(crate) servers_only: bool,
    /// Further arguments of the runner.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// The release line of Node if not the usual one.
    pub(crate) node: Option<String>,
    /// A whole run of the suite, or one file of it if every file is run alone, never takes longer.
    pub(crate) deadline_s: u64,
    /// Part of `--quick`.
    #[serde(default)]
    pub(crate) quick: bool,
    /// Its tests make no request of a server in the process, so that it says little about Hostler.
    #[serde(default)]
    pub(crate) no_requests: bool,
    /// Also served by `hostler run`; the app's check does that.
    #[serde(default)]
    pub(crate) served: bool,
    /// One of its tests is the large upload, whose size the report gives.
    #[serde(default)]
    pub(crate) upload: bool,
    /// Differences that have a reason.
    #[serde(default)]
    pub(crate) known: Vec<Known>,
}

/// Where the tests are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Source {
    /// A repository on GitHub, `owner/name`, at a tag.
    Repository { repository: String, tag: String },
    /// A package on npm that contains its tests, `name` at `version`.
    Package { package: String, version: String },
    /// An app of our own in `crates/xtask/compat/apps`; `version` is what it is an app of.
    App { app: String, version: String },
    /// The folder that `--node-tests` names.
    NodeTests { node_tests: bool, version: String },
}

/// What runs the tests.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runner {
    Mocha,
    NodeTest,
    Lab,
    Jest,
    Vitest,
    /// Each file alone; its exit status is the result.
    Files,
    /// The files write their results themselves.
    Checks,
}

/// Test files that are not run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeftOut {
    /// A pattern.
    pub(crate) files: String,
    pub(crate) reason: String,
}

/// A difference that has a reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// The test's name; with `*` at the end every test that begins so.
    pub(crate) test: String,
    pub(crate) reason: String,
}

impl Suite {
    /// What was tested, for the report.
    pub(crate) fn version(&self) -> &str {
        Self::version_of(&self.source)
    }

    pub(crate) fn version_of(source: &Source) -> &str {
        match source {
            Source::Repository { tag, .. } => tag,
            Source::Package { version, .. }
            | Source::App { version, .. }
            | Source::NodeTests { version, .. } => version,
        }
    }

    /// The known difference that covers a test.
    pub(crate) fn known(&self, test: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.covers(test))
    }
}

impl Known {
    /// Whether this is about the test.
    pub(crate) fn covers(&self, test: &str) -> bool {
        match self.test.strip_suffix('*') {
            Some(beginning) => test.starts_with(beginning),
            None => self.test == test,
        }
    }
}

/// The folder of the bench's own files.
pub(crate) fn bench() -> PathBuf {
    root().join("crates/xtask/compat")
}

/// All suites in the order of the report.
pub(crate) fn load() -> Result<Vec<Suite>, String> {
    let folder = bench().join("suites");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut suites = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let mut suite: Suite =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        suite.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        suites.push(suite);
    }
    suites.sort_by(|one, other| (one.order, &one.name).cmp(&(other.order, &other.name)));
    Ok(suites)
}

/// The chosen ones, or all.
pub(crate) fn choose(
    suites: Vec<Suite>,
    names: &[String],
    quick: bool,
) -> Result<Vec<Suite>, String> {
    if let Some(unknown) = names.iter().find(|name| suites.iter().all(|suite| suite.name != **name))
    {
        return Err(format!("no suite `{unknown}`; cargo xtask compat --list shows them"));
    }
    let chosen = |suite: &Suite| {
        if names.is_empty() { !quick || suite.quick } else { names.contains(&suite.name) }
    };
    Ok(suites.into_iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_file_can_be_read() {
        let suites = load().expect("all are right");
        assert!(suites.iter().any(|suite| suite.quick));
        for suite in &suites {
            assert!(suite.deadline_s > 0 && !suite.title.is_empty());
            let known = suite.known.iter().map(|known| &known.reason);
            let left_out = suite.left_out.iter().map(|left_out| &left_out.reason);
            assert!(known.chain(left_out).all(|reason| reason.len() > 20), "{}", suite.name);
        }
    }

    #[test]
    fn a_known_difference_covers_a_name_or_a_beginning() {
        let known = |test: &str| Known { test: test.to_owned(), reason: String::new() };
        assert!(known("a > b").covers("a > b") && !known("a > b").covers("a > b c"));
        assert!(known("a > *").covers("a > b c") && !known("a > *").covers("b"));
    }

    #[test]
    fn suites_are_chosen_by_name_or_all() {
        let all = load().expect("all are right");
        assert!(choose(all.clone(), &["nonsense".to_owned()], false).is_err());
        assert_eq!(choose(all.clone(), &[], false).expect("all").len(), all.len());
        assert!(choose(all.clone(), &[], true).expect("some").len() < all.len());
    }
}
