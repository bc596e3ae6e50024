//! The committed counts, and what a change of them means.
//!
//! Owns: the file's format, the limit, the comparison. Must never know: how instructions are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::Deserialize;

use super::machine::Machine;

/// Growth that is let through: other code nearby moves what the compiler inlines.
const GROWTH_PERCENT_MAX: f64 = 3.0;

/// Instructions of one iteration, by case.
pub(crate) type Counts = BTreeMap<String, f64>;

/// The file.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Baseline {
    pub(crate) made_with: Machine,
    pub(crate) instructions: Counts,
}

/// What a count is, beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Grown,
    Shrunk,
    /// The baseline does not have it.
    New,
    /// Only the baseline has it.
    Vanished,
}

/// A line of the table.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) count: Option<f64>,
    pub(crate) baseline: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// Every case that is in one of the two. `partial`: only some cases were counted, so a missing one means nothing.
pub(crate) fn compare(baseline: &Counts, counts: &Counts, partial: bool) -> Vec<Line> {
    let cases: BTreeSet<&String> = baseline.keys().chain(counts.keys()).collect();
    let line = |case: &String| {
        let (count, old) = (counts.get(case).copied(), baseline.get(case).copied());
        let verdict = match (count, old) {
            (Some(count), Some(old)) => verdict(count, old),
            (Some(_), None) => Verdict::New,
            (None, _) => Verdict::Vanished,
        };
        Line { case: case.clone(), count, baseline: old, verdict }
    };
    cases.into_iter().map(line).filter(|line| !partial || line.count.is_some()).collect()
}

fn verdict(count: f64, baseline: f64) -> Verdict {
    match percent(count, baseline) {
        change if change > GROWTH_PERCENT_MAX => Verdict::Grown,
        change if change < -GROWTH_PERCENT_MAX => Verdict::Shrunk,
        _ => Verdict::Same,
    }
}

fn percent(count: f64, baseline: f64) -> f64 {
    (count - baseline) / baseline * 100.0
}

impl Line {
    /// What is wrong, in a sentence.
    pub(crate) fn complaint(&self) -> String {
        match (self.count, self.baseline) {
            (Some(count), Some(old)) => format!(
                "{}: {old:.1} instructions became {count:.1}, {:+.1} %; more than {GROWTH_PERCENT_MAX} % is too much",
                self.case,
                percent(count, old)
            ),
            (Some(_), None) => format!("{}: the baseline does not have this case", self.case),
            (None, _) => format!("{}: only the baseline has this case", self.case),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure =
            |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.1}"));
        write!(f, "{:<32} {:>14} {:>14} ", self.case, figure(self.count), figure(self.baseline))?;
        match (self.count, self.baseline) {
            (Some(count), Some(old)) => write!(f, "{:>+7.1} %", percent(count, old))?,
            _ => write!(f, "{:>9}", "-")?,
        }
        match self.verdict {
            Verdict::Same => Ok(()),
            other => write!(f, "  {other:?}"),
        }
    }
}

impl Baseline {
    /// Of the file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The baseline from now on. What was not counted stays when only a part was.
    pub(crate) fn bless(self, counts: Counts, made_with: Machine, partial: bool) -> Self {
        let mut instructions = if partial { self.instructions } else { Counts::new() };
        instructions.extend(counts);
        Self { made_with, instructions }
    }

    /// The file's text: one line a case, in the order of their names, so that a diff shows which ones moved.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# Instructions of one iteration of each case in benches/cases.\n\
             # Written by `cargo xtask instructions --bless`; benches/README.md tells when.\n\n[made_with]\n",
        );
        let made_with = [
            ("target", &self.made_with.target),
            ("rustc", &self.made_with.rustc),
            ("libc", &self.made_with.libc),
            ("valgrind", &self.made_with.valgrind),
        ];
        for (name, value) in made_with {
            put(&mut text, format_args!("{name} = {value:?}\n"));
        }
        text.push_str("\n[instructions]\n");
        for (case, count) in &self.instructions {
            put(&mut text, format_args!("{case:?} = {count:.1}\n"));
        }
        text
    }
}

fn put(text: &mut String, line: fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, f64)]) -> Counts {
        of.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect()
    }

    fn verdicts(old: &[(&str, f64)], new: &[(&str, f64)], partial: bool) -> Vec<(String, Verdict)> {
        let lines = compare(&counts(old), &counts(new), partial);
        lines.into_iter().map(|line| (line.case, line.verdict)).collect()
    }

    #[test]
    fn growth_and_shrinking_count_from_three_per_cent_on() {
        let table = [
            (1000.0, Verdict::Same),
            (1030.0, Verdict::Same),
            (1030.1, Verdict::Grown),
            (970.0, Verdict::Same),
            (969.9, Verdict::Shrunk),
            (0.0, Verdict::Shrunk),
        ];
        for (count, expected) in table {
            let found = verdicts(&[("a", 1000.0)], &[("a", count)], false);
            assert_eq!(found, [("a".to_owned(), expected)], "{count}");
        }
    }

    #[test]
    fn new_and_vanished_cases_are_seen() {
        let (old, new) = ([("a", 1.0), ("b", 1.0)], [("b", 1.0), ("c", 1.0)]);
        let expected = [
            ("a".to_owned(), Verdict::Vanished),
            ("b".to_owned(), Verdict::Same),
            ("c".to_owned(), Verdict::New),
        ];
        assert_eq!(verdicts(&old, &new, false), expected);
        assert_eq!(verdicts(&old, &new, true), expected[1..]);
    }

    #[test]
    fn a_complaint_names_case_and_growth() {
        let [line] = &compare(&counts(&[("a/b", 200.0)]), &counts(&[("a/b", 250.0)]), false)[..]
        else {
            panic!("one line");
        };
        assert_eq!(
            line.complaint(),
            "a/b: 200.0 instructions became 250.0, +25.0 %; more than 3 % is too much"
        );
        assert!(line.to_string().ends_with("+25.0 %  Grown"), "{line}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let made_with = Machine { rustc: "rustc 1.95.0 (\"x\")".into(), ..Machine::default() };
        let old = Baseline { made_with: Machine::default(), instructions: counts(&[("a", 1.0)]) };
        let blessed = old.bless(counts(&[("b/c", 12.5)]), made_with, true);
        assert_eq!(blessed.instructions, counts(&[("a", 1.0), ("b/c", 12.5)]));
        assert_eq!(Baseline::parse(&blessed.text()), Ok(blessed));
    }

    #[test]
    fn a_full_count_forgets_what_is_gone() {
        let old =
            Baseline { made_with: Machine::default(), instructions: counts(&[("gone", 1.0)]) };
        let blessed = old.bless(counts(&[("b", 2.0)]), Machine::default(), false);
        assert_eq!(blessed.instructions, counts(&[("b", 2.0)]));
        assert!(Baseline::parse("[instructions]\n").is_err(), "a file of another kind");
    }
}
