//! Whether a promise is kept.
//!
//! Owns: judging a target by a record. Must never know: how a figure was measured, how a verdict is printed.

use crate::figures::{Side, Spread, compared, number, spread, title};
use crate::record::Record;
use crate::scenarios::{Compare, Target};

/// What became of a promise.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// `throughput, hostler uring against node alone`
    pub(crate) figure: String,
    /// `>= 1.7x`
    pub(crate) wanted: String,
    /// `None` if a side was not measured.
    pub(crate) measured: Option<String>,
    pub(crate) holds: bool,
}

impl Verdict {
    /// One word.
    pub(crate) const fn mark(&self) -> &'static str {
        match (&self.measured, self.holds) {
            (None, _) => "not measured",
            (_, true) => "holds",
            (_, false) => "short",
        }
    }
}

/// Judges the promises that concern this record's Node.
pub(crate) fn judge_all(targets: &[Target], record: &Record) -> Vec<Verdict> {
    let concerns =
        |target: &&Target| target.node.is_none_or(|node| node == record.machine.node_major);
    targets.iter().filter(concerns).map(|target| judge(target, record)).collect()
}

fn judge(target: &Target, record: &Record) -> Verdict {
    let measured = measured(target, record);
    let unit = if target.compare == Compare::Ratio { "x" } else { target.figure.unit() };
    let (sign, limit) = match (target.at_most, target.at_least) {
        (Some(most), _) => ("<=", most),
        (None, least) => (">=", least.unwrap_or_default()),
    };
    let is_kept = keeps_rates(target, record);
    let is_within = measured.is_some_and(|spread| {
        if target.at_most.is_some() { spread.median <= limit } else { spread.median >= limit }
    });
    let show = |spread: Spread| match target.compare {
        Compare::Ratio => spread.ratio(),
        _ => {
            let median = number(spread.median);
            format!("{median}{unit} ({} to {})", number(spread.min), number(spread.max))
        }
    };
    Verdict {
        figure: describe(target),
        wanted: format!("{sign} {limit}{unit}"),
        measured: measured
            .map(|spread| show(spread) + if is_kept { "" } else { ", but the rate was not kept" }),
        holds: is_within && is_kept,
    }
}

fn measured(target: &Target, record: &Record) -> Option<Spread> {
    let Target { figure, rate, .. } = *target;
    let ours = Side { peer: &target.peer, case: &target.case, rate };
    let theirs = Side { peer: &target.against, case: target.other_case(), rate };
    match target.compare {
        Compare::Absolute => spread(record, figure, ours),
        Compare::Ratio => compared(record, figure, ours, theirs, |ours, theirs| ours / theirs),
        Compare::Difference => compared(record, figure, ours, theirs, |ours, theirs| ours - theirs),
    }
}

/// Latency of a side that served less than was asked for is no latency at that rate.
fn keeps_rates(target: &Target, record: &Record) -> bool {
    target.rate.is_none_or(|rate| {
        record.keeps_rate(&target.peer, rate)
            && target.other_side().is_none_or(|peer| record.keeps_rate(peer, rate))
    })
}

fn describe(target: &Target) -> String {
    let mut text = target.figure.label().to_owned();
    if let Some(rate) = target.rate {
        text += &format!(" at {:.0} % of Node's capacity", rate * 100.0);
    }
    let side = |peer: &str, case: &str| match case {
        "" => title(peer),
        case => format!("{} ({case})", title(peer)),
    };
    text += &format!(", {}", side(&target.peer, &target.case));
    if let Some(peer) = target.other_side() {
        let between = if target.compare == Compare::Difference { "less" } else { "against" };
        text += &format!(" {between} {}", side(peer, target.other_case()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RateSeries;
    use crate::record::tests::{record, sample};
    use crate::scenarios::Scenario;

    fn targets(text: &str) -> Vec<Target> {
        let scenario = "about = 'x'\norder = 1\napp = 'x'\nrates = [0.5]\nanswer = { text = 'x' }\n\
                        load = { kind = 'http', target = '/' }\n";
        Scenario::parse("x", &format!("{scenario}{text}")).expect("right").targets
    }

    fn measured() -> Record {
        let mut record = record(&[
            ("node", vec![sample(100.0, 10.0), sample(50.0, 20.0)]),
            ("uring", vec![sample(170.0, 3.0), sample(90.0, 5.0)]),
        ]);
        for (peer, p50_us) in [("node", 100), ("uring", 150)] {
            let mut at_half = sample(50.0, 1.0);
            at_half.p50_us = p50_us;
            record.rates.push(RateSeries {
                peer: peer.to_owned(),
                share: 0.5,
                wanted_per_second: 50.0,
                samples: vec![at_half],
            });
        }
        record
    }

    fn verdict(text: &str) -> Verdict {
        judge_all(&targets(&format!("[[targets]]\n{text}")), &measured()).remove(0)
    }

    #[test]
    fn ratios_differences_and_absolute_values_are_judged() {
        let ratio = verdict("figure = 'throughput'\nat_least = 1.7");
        assert_eq!((ratio.mark(), ratio.wanted.as_str()), ("holds", ">= 1.7x"));
        assert_eq!(ratio.measured.as_deref(), Some("1.75x (1.70-1.80)"));
        assert_eq!(verdict("figure = 'throughput'\nat_least = 1.8").mark(), "short");
        let latency = |most| {
            verdict(&format!(
                "figure = 'p50'\ncompare = 'difference'\nrate = 0.5\nat_most = {most}"
            ))
        };
        assert_eq!((latency("60.0").mark(), latency("40.0").mark()), ("holds", "short"));
        assert_eq!(latency("60.0").wanted, "<= 60 us");
        let absolute = verdict("figure = 'worker-cpu'\ncompare = 'absolute'\nat_most = 4.0");
        assert_eq!(
            (absolute.mark(), absolute.measured.as_deref()),
            ("holds", Some("4.00 us per request (3.00 to 5.00)"))
        );
    }

    #[test]
    fn latency_at_a_rate_that_was_not_kept_does_not_hold() {
        let text =
            "[[targets]]\nfigure = 'p50'\ncompare = 'difference'\nrate = 0.5\nat_most = 60.0";
        let mut record = measured();
        // Node alone fell behind.
        record.rates[0].samples[0].per_second = 40.0;
        let verdict = judge_all(&targets(text), &record).remove(0);
        assert_eq!(verdict.mark(), "short");
        assert!(verdict.measured.is_some_and(|text| text.ends_with("the rate was not kept")));
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let none = verdict("figure = 'throughput'\nagainst = 'nginx'\nat_least = 0.1");
        assert_eq!((none.mark(), none.holds), ("not measured", false));
    }

    #[test]
    fn a_promise_for_another_node_does_not_concern_this_record() {
        let other = targets("[[targets]]\nfigure = 'throughput'\nnode = 24\nat_least = 9.0");
        assert!(judge_all(&other, &measured()).is_empty());
    }
}
