//! The figures: what each is called, where it is in a sample, how many samples become one number.
//!
//! Owns: names, units, medians, ratios within a round. Must never know: how a figure was measured.

use serde::Deserialize;

use crate::peers::Peer;
use crate::record::{Record, Sample};

/// What is measured. `Front` is whatever stands before the app, `worker` the app's processes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    Throughput,
    P50,
    P90,
    P99,
    P999,
    FrontCpu,
    WorkerCpu,
    ServerCpu,
    FrontRss,
    WorkerRss,
    /// The last memory of a long warm-up against that after its first fifth.
    FrontRssGrowth,
    FrontSwitches,
    WorkerSwitches,
    FrontSyscalls,
    WorkerSyscalls,
    /// What an idle connection adds to the front's own pages.
    ConnectionBytes,
}

impl Figure {
    /// For people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::P50 => "p50 latency",
            Self::P90 => "p90 latency",
            Self::P99 => "p99 latency",
            Self::P999 => "p99.9 latency",
            Self::FrontCpu => "front CPU",
            Self::WorkerCpu => "worker CPU",
            Self::ServerCpu => "server CPU",
            Self::FrontRss => "memory of the front",
            Self::WorkerRss => "memory of the worker",
            Self::FrontRssGrowth => "growth of the front's memory",
            Self::FrontSwitches => "context switches of the front",
            Self::WorkerSwitches => "context switches of the worker",
            Self::FrontSyscalls => "system calls of the front",
            Self::WorkerSyscalls => "system calls of the worker",
            Self::ConnectionBytes => "memory of an idle connection",
        }
    }

    /// Behind an absolute value or a difference.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Throughput => " requests/s",
            Self::P50 | Self::P90 | Self::P99 | Self::P999 => " us",
            Self::FrontCpu | Self::WorkerCpu | Self::ServerCpu => " us per request",
            Self::FrontRss | Self::WorkerRss => " MiB",
            Self::FrontRssGrowth => "x",
            Self::FrontSwitches | Self::WorkerSwitches => " per request",
            Self::FrontSyscalls | Self::WorkerSyscalls => " per request",
            Self::ConnectionBytes => " bytes",
        }
    }

    /// Whether a larger value is the better one.
    pub(crate) const fn is_better_when_larger(self) -> bool {
        matches!(self, Self::Throughput)
    }

    /// Its value in a sample that has it.
    pub(crate) fn of(self, sample: &Sample) -> Option<f64> {
        let mib = |kib: u64| kib as f64 / 1024.0;
        // A peer without a front has nothing to compare there.
        let of_front = |value: f64| sample.has_front.then_some(value);
        match self {
            Self::Throughput => Some(sample.per_second),
            Self::P50 => Some(sample.p50_us as f64),
            Self::P90 => Some(sample.p90_us as f64),
            Self::P99 => Some(sample.p99_us as f64),
            Self::P999 => Some(sample.p999_us as f64),
            Self::FrontCpu => of_front(sample.front_us),
            Self::WorkerCpu => Some(sample.worker_us),
            Self::ServerCpu => Some(sample.front_us + sample.worker_us),
            Self::FrontRss => sample.front_peak_kib.map(mib).and_then(of_front),
            Self::WorkerRss => sample.worker_peak_kib.map(mib),
            Self::FrontRssGrowth => growth(&sample.front_kib_over_time),
            Self::FrontSwitches => sample.front_switches.and_then(of_front),
            Self::WorkerSwitches => sample.worker_switches,
            Self::FrontSyscalls => sample.front_syscalls.and_then(of_front),
            Self::WorkerSyscalls => sample.worker_syscalls,
            Self::ConnectionBytes => sample.connection_front_bytes,
        }
    }
}

/// What a peer is called for people; a stored record may know one that this version does not.
pub(crate) fn title(peer: &str) -> String {
    Peer::by_name(peer).map_or_else(|_| peer.to_owned(), |peer| peer.to_string())
}

fn growth(front_kib_over_time: &[u64]) -> Option<f64> {
    let early = *front_kib_over_time.get(front_kib_over_time.len() / 5)?;
    let last = *front_kib_over_time.last()?;
    (early > 0 && front_kib_over_time.len() >= 5).then(|| last as f64 / early as f64)
}

/// Median, smallest and largest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }

    /// `1.71x (1.68-1.75)`
    pub(crate) fn ratio(self) -> String {
        format!("{:.2}x ({:.2}-{:.2})", self.median, self.min, self.max)
    }

    /// With as many digits as its size deserves: `12.3 (11.9-12.8)`.
    pub(crate) fn plain(self) -> String {
        format!("{} ({}-{})", number(self.median), number(self.min), number(self.max))
    }
}

/// A number with as many digits as its size deserves.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One side of a comparison: a peer in a case, at saturation or at a share of Node's capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) peer: &'a str,
    pub(crate) case: &'a str,
    pub(crate) rate: Option<f64>,
}

impl<'a> Side<'a> {
    pub(crate) const fn saturated(peer: &'a str, case: &'a str) -> Self {
        Self { peer, case, rate: None }
    }

    /// Its figures, one a round; `None` in a round that does not have it.
    fn rounds(self, record: &Record, figure: Figure) -> Vec<Option<f64>> {
        let samples = match self.rate {
            None => record.samples(self.peer, self.case),
            Some(share) => record.samples_at(self.peer, share),
        };
        samples.iter().map(|sample| figure.of(sample)).collect()
    }
}

/// The median of a figure.
pub(crate) fn spread(record: &Record, figure: Figure, side: Side<'_>) -> Option<Spread> {
    Spread::of(side.rounds(record, figure).into_iter().flatten())
}

/// Two sides made one number in each round, so that a slow minute of the machine hits both.
pub(crate) fn compared(
    record: &Record,
    figure: Figure,
    ours: Side<'_>,
    theirs: Side<'_>,
    by: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    let (ours, theirs) = (ours.rounds(record, figure), theirs.rounds(record, figure));
    let pairs = ours.into_iter().zip(theirs).filter_map(|(ours, theirs)| Some((ours?, theirs?)));
    Spread::of(pairs.map(|(ours, theirs)| by(ours, theirs)).filter(|value| value.is_finite()))
}

/// Ratios of two sides, each taken within a round.
pub(crate) fn ratio(
    record: &Record,
    figure: Figure,
    ours: Side<'_>,
    theirs: Side<'_>,
) -> Option<Spread> {
    compared(record, figure, ours, theirs, |ours, theirs| ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, sample};

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round: both peers saw it, the ratio does not.
        let record = record(&[
            ("node", vec![sample(1.0, 10.0), sample(1.0, 20.0)]),
            ("uring", vec![sample(1.0, 3.0), sample(1.0, 6.0)]),
        ]);
        let (ours, theirs) = (Side::saturated("uring", ""), Side::saturated("node", ""));
        let spread = ratio(&record, Figure::WorkerCpu, ours, theirs).expect("both are there");
        assert!((spread.median - 0.3).abs() < 1e-9 && (spread.max - spread.min).abs() < 1e-9);
        // Node alone has no front.
        assert_eq!(ratio(&record, Figure::FrontCpu, ours, theirs), None);
        assert_eq!(ratio(&record, Figure::WorkerCpu, ours, Side::saturated("nginx", "")), None);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).map(|s| s.median), Some(2.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn memory_is_flat_or_grows() {
        assert_eq!(growth(&[1, 10, 10, 10, 11]), Some(1.1));
        assert_eq!(growth(&[10, 10]), None, "too few to say");
    }
}
