//! What the figures say, in sentences.
//!
//! Owns: who wins by what, and where Hostler does not. Must never know: why; that is written by hand in the scenario's
//! file. A sentence follows from the figures alone, whoever it pleases.

use crate::figures::{Figure, Side, Spread, number, ratio, spread, title};
use crate::record::Record;

/// Hostler as it runs by default.
const OURS: &str = "uring";
const NODE: &str = "node";
const OURS_TOO: [&str; 3] = [OURS, "epoll", "uring-http"];

/// Less than this is no difference.
const NOTEWORTHY: f64 = 1.02;

/// In which figures somebody may be better, and how that is said.
const CONTESTS: [(Figure, &str); 13] = [
    (Figure::Throughput, "serves more"),
    (Figure::P50, "has a lower median latency at saturation"),
    (Figure::P99, "has a lower p99 latency at saturation"),
    (Figure::P999, "has a lower p99.9 latency at saturation"),
    (Figure::ServerCpu, "needs less CPU in all"),
    (Figure::FrontCpu, "needs less CPU in the front"),
    (Figure::WorkerCpu, "needs less CPU in the worker"),
    (Figure::FrontRss, "needs less memory in the front"),
    (Figure::WorkerRss, "needs less memory in the worker"),
    (Figure::FrontSyscalls, "makes fewer system calls in the front"),
    (Figure::WorkerSyscalls, "makes fewer system calls in the worker"),
    (Figure::FrontSwitches, "switches context less in the front"),
    (Figure::WorkerSwitches, "switches context less in the worker"),
];

/// The sentences about a run, one a paragraph.
pub(super) fn sentences(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    for case in record.cases() {
        let mut words = Vec::new();
        words.extend(against_node(record, case));
        words.extend(against_best(record, case));
        words.extend(where_others_win(record, case));
        if words.is_empty() {
            continue;
        }
        let name = if case.is_empty() { String::new() } else { format!("**{case}**: ") };
        found.push(name + &words.join(" "));
    }
    found.extend(between_cases(record));
    found.extend(at_rates(record));
    found
}

fn others(record: &Record) -> impl Iterator<Item = &str> {
    record.peers().into_iter().filter(|peer| !OURS_TOO.contains(peer))
}

fn median(record: &Record, figure: Figure, side: Side<'_>) -> Option<f64> {
    spread(record, figure, side).map(|spread| spread.median)
}

fn against_node(record: &Record, case: &str) -> Option<String> {
    let (ours, node) = (Side::saturated(OURS, case), Side::saturated(NODE, case));
    let served = ratio(record, Figure::Throughput, ours, node)?;
    let spent = ratio(record, Figure::ServerCpu, ours, node)?;
    Some(format!(
        "Hostler serves {} what node alone serves, with {} its CPU for a request.",
        times(served),
        times(spent)
    ))
}

/// Against the strongest of the other fronts.
fn against_best(record: &Record, case: &str) -> Option<String> {
    let served = |peer: &&str| {
        median(record, Figure::Throughput, Side::saturated(peer, case)).unwrap_or(0.0)
    };
    let fronts = others(record).filter(|peer| *peer != NODE);
    let best = fronts.max_by(|a, b| served(a).total_cmp(&served(b)))?;
    let (ours, theirs) = (Side::saturated(OURS, case), Side::saturated(best, case));
    let against = |figure| ratio(record, figure, ours, theirs);
    let mut text = format!(
        "Of the other fronts {} serves most; Hostler serves {} as much, with {} the CPU",
        title(best),
        times(against(Figure::Throughput)?),
        times(against(Figure::ServerCpu)?),
    );
    if let Some(front) = against(Figure::FrontCpu) {
        text += &format!(" ({} in the front alone)", times(front));
    }
    Some(text + ".")
}

fn where_others_win(record: &Record, case: &str) -> Option<String> {
    let ours = Side::saturated(OURS, case);
    spread(record, Figure::Throughput, ours)?;
    let wins: Vec<String> = CONTESTS
        .iter()
        .filter_map(|&(figure, words)| {
            let winner = winner(record, figure, case)?;
            let theirs = Side::saturated(winner, case);
            let worse = worse_by(figure, ratio(record, figure, ours, theirs)?);
            let doubt = if worse.min <= 1.0 { ", within the spread of the rounds" } else { "" };
            let side = |side| median(record, figure, side).map_or_else(String::new, number);
            let unit = figure.unit();
            (worse.median > NOTEWORTHY).then(|| {
                format!(
                    "{} {words} ({}{unit} against {}{unit}{doubt})",
                    title(winner),
                    side(theirs),
                    side(ours)
                )
            })
        })
        .collect();
    others(record).next()?;
    if wins.is_empty() {
        return Some("No peer is better than Hostler in any figure here.".to_owned());
    }
    Some(format!("Where Hostler is not the best: {}.", wins.join("; ")))
}

/// The best of the others in a figure.
fn winner<'a>(record: &'a Record, figure: Figure, case: &str) -> Option<&'a str> {
    let value = |peer: &str| median(record, figure, Side::saturated(peer, case));
    let known = others(record).filter_map(|peer| Some((peer, value(peer)?)));
    let best = if figure.is_better_when_larger() {
        known.max_by(|a, b| a.1.total_cmp(&b.1))
    } else {
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    best.map(|(peer, _)| peer)
}

/// How many times worse ours is, whatever is better in this figure.
fn worse_by(figure: Figure, ours_against_theirs: Spread) -> Spread {
    if !figure.is_better_when_larger() {
        return ours_against_theirs;
    }
    let Spread { median, min, max } = ours_against_theirs;
    Spread { median: 1.0 / median, min: 1.0 / max, max: 1.0 / min }
}

/// Where there are two cases, what the second changes for each peer.
fn between_cases(record: &Record) -> Option<String> {
    let [before, after] = record.cases()[..] else {
        return None;
    };
    let each = record.peers().into_iter().filter_map(|peer| {
        let (new, old) = (Side::saturated(peer, after), Side::saturated(peer, before));
        let change = ratio(record, Figure::Throughput, new, old)?;
        Some(format!("{} {}", title(peer), change.ratio()))
    });
    let each: Vec<String> = each.collect();
    Some(format!("Throughput with \"{after}\" against \"{before}\": {}.", each.join(", ")))
}

/// Latency at half of what Node alone can do, and who fell behind at any rate.
fn at_rates(record: &Record) -> Option<String> {
    let share = record.shares().into_iter().find(|share| (share - 0.5).abs() < 1e-9)?;
    let at =
        |peer: &str, figure| median(record, figure, Side { peer, case: "", rate: Some(share) });
    let of = |peer: &str, figure| at(peer, figure).map(number);
    let mut text = format!(
        "At half of what node alone can do, Hostler's median latency is {} us and its p99 {} us; node alone has {} us and {} us",
        of(OURS, Figure::P50)?,
        of(OURS, Figure::P99)?,
        of(NODE, Figure::P50)?,
        of(NODE, Figure::P99)?
    );
    let fronts = others(record).filter(|peer| *peer != NODE && record.keeps_rate(peer, share));
    let best = fronts
        .filter_map(|peer| Some((peer, at(peer, Figure::P99)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((best, _)) = best {
        let (p50, p99) = (of(best, Figure::P50)?, of(best, Figure::P99)?);
        text +=
            &format!("; of the other fronts {} is best with {p50} us and {p99} us", title(best));
    }
    let behind: Vec<String> =
        record.peers().into_iter().filter_map(|peer| fell_behind(record, peer)).collect();
    if !behind.is_empty() {
        text += &format!(". The rate was not kept by {}", behind.join("; "));
    }
    Some(text + ".")
}

/// `node alone at 75, 90 %`, if there is such a rate.
fn fell_behind(record: &Record, peer: &str) -> Option<String> {
    let shares = record.shares().into_iter().filter(|share| !record.keeps_rate(peer, *share));
    let shares: Vec<String> = shares.map(|share| format!("{:.0}", share * 100.0)).collect();
    (!shares.is_empty()).then(|| format!("{} at {} %", title(peer), shares.join(", ")))
}

/// `1.71 times (1.68-1.75)`
fn times(spread: Spread) -> String {
    format!("{:.2} times ({:.2}-{:.2})", spread.median, spread.min, spread.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, sample};

    #[test]
    fn a_peer_that_is_better_is_named() {
        let mut record = record(&[
            ("node", vec![sample(100.0, 10.0)]),
            ("nginx", vec![sample(120.0, 10.0)]),
            ("uring", vec![sample(110.0, 5.0)]),
        ]);
        for (series, front_us) in record.series.iter_mut().zip([0.0, 5.0, 6.0]) {
            series.samples[0].front_us = front_us;
        }
        let text = sentences(&record).join("\n");
        assert!(text.contains("Hostler serves 1.10 times (1.10-1.10) what node alone serves"));
        assert!(text.contains("nginx -> node serves more (120 requests/s against 110 requests/s)"));
        assert!(text.contains("node alone needs less CPU in all"));
        assert!(text.contains("nginx -> node needs less CPU in the front (5.00 us per request"));
        assert!(!text.contains("needs less CPU in the worker"));
    }

    #[test]
    fn a_lead_within_the_spread_is_called_so() {
        let ours = vec![sample(100.0, 1.0), sample(130.0, 1.0), sample(100.0, 1.0)];
        let theirs = vec![sample(110.0, 1.0), sample(110.0, 1.0), sample(110.0, 1.0)];
        let text = sentences(&record(&[("node", theirs), ("uring", ours)])).join("\n");
        assert!(text.contains("node alone serves more"), "{text}");
        assert!(text.contains("within the spread of the rounds"), "{text}");
    }

    #[test]
    fn where_nobody_is_better_that_is_said() {
        let text = sentences(&record(&[
            ("node", vec![sample(100.0, 10.0)]),
            ("uring", vec![sample(200.0, 5.0)]),
        ]));
        assert!(
            text[0].ends_with("No peer is better than Hostler in any figure here."),
            "{text:?}"
        );
    }
}
