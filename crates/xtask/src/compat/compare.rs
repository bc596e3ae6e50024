//! What the results under Node and under Hostler say about each test.
//!
//! Owns: the verdicts. Must never know: how the results came about, what the report looks like.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, Results};
use super::suite::Suite;

/// How often a test is run on each side before a difference counts.
pub(crate) const ROUNDS_MAX: usize = 3;

/// What is to be said about a test that did not always end the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It ends differently on the two sides.
    Different {
        node: Seen,
        hostler: Seen,
        /// Why, if the suite's file says so.
        reason: Option<String>,
    },
    /// It does not always end the same on one side, and differs in a minority of the rounds only.
    Unsteady { node: Seen, hostler: Seen },
}

/// The ends of a test on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) passed: usize,
    pub(crate) rounds: usize,
    /// The last error, or what else was seen instead of a pass.
    pub(crate) instead: String,
}

impl Seen {
    /// It passed in more than half of the rounds.
    pub(crate) fn passes(&self) -> bool {
        self.passed * 2 > self.rounds
    }

    fn is_steady(&self) -> bool {
        self.passed == 0 || self.passed == self.rounds
    }

    fn of(test: &str, rounds: &[Results]) -> Self {
        let mut seen = Self { rounds: rounds.len(), ..Self::default() };
        for results in rounds {
            match results.get(test) {
                Some(result) if result.outcome == Outcome::Pass => seen.passed += 1,
                Some(result) if result.outcome == Outcome::Skip => {
                    "skipped".clone_into(&mut seen.instead)
                }
                Some(result) => seen.instead.clone_from(&result.error),
                None => "not reached".clone_into(&mut seen.instead),
            }
        }
        seen
    }
}

/// Tests that ended differently in the two runs.
pub(crate) fn differing(node: &Results, hostler: &Results) -> BTreeSet<String> {
    let names = node.keys().chain(hostler.keys());
    let outcome = |results: &Results, name: &str| results.get(name).map(|result| result.outcome);
    names.filter(|name| outcome(node, name) != outcome(hostler, name)).cloned().collect()
}

/// Judges the tests that differed in the first round by all rounds.
pub(crate) fn judge(
    suite: &Suite,
    tests: &BTreeSet<String>,
    node: &[Results],
    hostler: &[Results],
) -> BTreeMap<String, Verdict> {
    let judged = tests.iter().map(|test| {
        let (node, hostler) = (Seen::of(test, node), Seen::of(test, hostler));
        let verdict = if differ(&node, &hostler) {
            let reason = suite.known(test).map(|known| known.reason.clone());
            Verdict::Different { node, hostler, reason }
        } else {
            Verdict::Unsteady { node, hostler }
        };
        (test.clone(), verdict)
    });
    judged.collect()
}

/// Whether it is the side that makes the difference, not chance. A test that Hostler may have broken needs less proof.
fn differ(node: &Seen, hostler: &Seen) -> bool {
    let (steady_node, steady_hostler) = (node.is_steady(), hostler.is_steady());
    match (node.passes(), hostler.passes()) {
        (true, false) => steady_node || steady_hostler,
        (false, true) => steady_node && steady_hostler,
        (true, true) => false,
        (false, false) => steady_node && steady_hostler && node.instead != hostler.instead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::outcome::TestResult;
    use crate::compat::suite::load;

    fn results(pairs: &[(&str, Outcome)]) -> Results {
        let result = |outcome| TestResult { outcome, error: "broken".to_owned() };
        pairs.iter().map(|&(name, outcome)| (name.to_owned(), result(outcome))).collect()
    }

    fn judge_one(node: &[Outcome], hostler: &[Outcome]) -> Verdict {
        let rounds = |outcomes: &[Outcome]| -> Vec<Results> {
            outcomes.iter().map(|&outcome| results(&[("t", outcome)])).collect()
        };
        let suite = load().expect("right").remove(0);
        let tests = BTreeSet::from(["t".to_owned()]);
        judge(&suite, &tests, &rounds(node), &rounds(hostler)).remove("t").expect("judged")
    }

    #[test]
    fn a_test_that_is_not_reached_differs() {
        use Outcome::{Fail, Pass, Skip};
        let node = results(&[("a", Pass), ("b", Fail), ("c", Skip), ("d", Pass)]);
        let hostler = results(&[("a", Pass), ("b", Fail), ("c", Pass), ("e", Pass)]);
        let found: Vec<_> = differing(&node, &hostler).into_iter().collect();
        assert_eq!(found, ["c", "d", "e"]);
    }

    #[test]
    fn a_majority_of_rounds_counts() {
        use Outcome::{Fail, Pass, Skip};
        let different = |verdict| matches!(verdict, Verdict::Different { reason: None, .. });
        assert!(different(judge_one(&[Pass; 3], &[Fail; 3])));
        assert!(different(judge_one(&[Pass; 3], &[Fail, Pass, Fail])));
        assert!(different(judge_one(&[Fail; 3], &[Pass; 3])));
        assert!(different(judge_one(&[Skip; 3], &[Fail; 3])));
        assert!(different(judge_one(&[Pass, Fail, Pass], &[Fail; 3])));
        assert!(!different(judge_one(&[Pass; 3], &[Fail, Pass, Pass])));
        assert!(!different(judge_one(&[Pass, Fail, Pass], &[Fail, Pass, Fail])));
        assert!(!different(judge_one(&[Pass, Fail, Fail], &[Pass; 3])));
    }
}
