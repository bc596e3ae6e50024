//! Results of tests, one by one.
//!
//! Owns: the lines that the reporters write (`crates/xtask/compat/reporters`) and the last line of `hostler exec`.
//! Must never know: which runner wrote them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Pass,
    Fail,
    Skip,
}

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TestResult {
    pub(crate) outcome: Outcome,
    /// Beginning of the error's text; empty unless it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

/// All results of a run by name: `test/app.js > app > is callable`.
pub(crate) type Results = BTreeMap<String, TestResult>;

/// What `hostler exec --summary` counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) servers: u64,
    pub(crate) requests: u64,
    pub(crate) frames: u64,
    pub(crate) http: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.servers += other.servers;
        self.requests += other.requests;
        self.frames += other.frames;
        self.http += other.http;
    }

    /// The sum of all summary lines of an output: a suite may run Hostler more than once.
    pub(crate) fn read(output: &str) -> Self {
        let mut sum = Self::default();
        for (_, line) in output.lines().filter_map(|line| line.split_once("hostler exec: ")) {
            let count = |key: &str| {
                let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
                words.find(|(found, _)| *found == key)?.1.parse::<u64>().ok()
            };
            let [servers, requests, frames, http] =
                ["servers", "requests", "frames", "http"].map(count);
            if let (Some(servers), Some(requests), Some(frames), Some(http)) =
                (servers, requests, frames, http)
            {
                sum.add(Self { servers, requests, frames, http });
            }
        }
        sum
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    file: String,
    name: String,
    outcome: Outcome,
    #[serde(default)]
    error: String,
}

/// Reads the lines of a results file. `folder` is taken off the files' names and out of the errors: results are committed, and
/// where a machine keeps its sources says nothing.
pub(crate) fn read_results(text: &str, folder: &Path) -> Result<Results, String> {
    let mut results = Results::new();
    let prefix = format!("{}/", folder.display());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let file = Path::new(&line.file);
        let file = file.strip_prefix(folder).unwrap_or(file).to_string_lossy();
        let name = if file.is_empty() { line.name } else { format!("{file} > {}", line.name) };
        let result = TestResult { outcome: line.outcome, error: line.error.replace(&prefix, "") };
        results.insert(free_name(&results, name), result);
    }
    Ok(results)
}

/// Suites give several tests the same name; the second becomes `name (2)`.
fn free_name(results: &Results, name: String) -> String {
    if !results.contains_key(&name) {
        return name;
    }
    let numbered = (2..).map(|number| format!("{name} ({number})"));
    numbered.into_iter().find(|name| !results.contains_key(name)).expect("numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named_by_file_and_title() {
        let text = concat!(
            r#"{"file":"/s/test/a.js","name":"x > y","outcome":"pass"}"#,
            "\n",
            r#"{"file":"/s/test/a.js","name":"x > y","outcome":"fail","error":"no (/s/test/a.js)"}"#,
            "\n",
            r#"{"name":"z","outcome":"skip"}"#,
            "\n",
        );
        let results = read_results(text, Path::new("/s")).expect("right");
        let outcomes: Vec<_> =
            results.iter().map(|(name, result)| (&**name, result.outcome)).collect();
        assert_eq!(
            outcomes,
            [
                ("test/a.js > x > y", Outcome::Pass),
                ("test/a.js > x > y (2)", Outcome::Fail),
                ("z", Outcome::Skip),
            ]
        );
        assert_eq!(results["test/a.js > x > y (2)"].error, "no (test/a.js)");
        assert!(read_results("{\"name\":", Path::new("/s")).is_err());
    }

    #[test]
    fn summaries_are_added() {
        let output = "x\nhostler exec: servers=2 requests=7 frames=5 http=2\n\
            hostler exec: something else\nhostler exec: servers=1 requests=1 frames=1 http=0\n";
        let counts = Counts { servers: 3, requests: 8, frames: 6, http: 2 };
        assert_eq!(Counts::read(output), counts);
    }
}
