//! Automatic scaling: how many workers the load needs.
//!
//! Owns: what is high and what is low, for how long, and by how much. Must never know: how workers come and go (`scale`), where
//! figures come from.
//!
//! Event loops say how busy they are, and that is the measure: a loop has one core at most, so a busy one is full whatever the
//! machine does. Requests that wait are the other one, for workers that say nothing of themselves. Up at once, down slowly: a
//! worker too many costs memory, one too few costs clients.

use serde::{Deserialize, Serialize};

use super::event::Action;
use super::scale::Scale;
use super::slot::Slot;
use super::{Machine, Phase};
use crate::config::WorkerRange;

/// Busier than this is high, in 1/1000 of the time.
const HIGH: u32 = 800;

/// What is aimed at.
const AIM: u32 = 600;

/// One worker fewer must leave the others below this.
const LOW: u32 = 500;

/// Looks in a row that have to agree; there is one a second. Short peaks are what the queue is for.
const HIGH_LOOKS: u32 = 3;
const LOW_LOOKS: u32 = 60;

/// What the workers are doing, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Mean share of the time that their loops were busy, in 1/1000; none if they do not say.
    pub(crate) utilisation: Option<u32>,
    /// Requests that wait for a worker.
    pub(crate) queued: u32,
    /// Requests in the workers.
    pub(crate) in_flight: u32,
    /// Upgraded connections there.
    pub(crate) upgraded: u32,
    /// Requests that the app has answered since the proxy was started.
    pub(crate) served: u64,
}

/// The looks in a row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AutoScale {
    high: u32,
    low: u32,
}

impl AutoScale {
    /// How many workers there should be instead of `workers`.
    fn judge(&mut self, load: Load, workers: u32, range: WorkerRange) -> Option<u32> {
        let busy = load.utilisation.unwrap_or(0);
        let is_high = load.queued > 0 || busy > HIGH;
        let is_low = workers > 1
            && load.queued == 0
            && match load.utilisation {
                Some(busy) => busy * workers < LOW * (workers - 1),
                None => load.in_flight == 0,
            };
        self.high = if is_high { self.high + 1 } else { 0 };
        self.low = if is_low { self.low + 1 } else { 0 };
        let wanted = if self.high >= HIGH_LOOKS {
            (busy * workers).div_ceil(AIM).max(workers + 1)
        } else if self.low >= LOW_LOOKS {
            workers - 1
        } else {
            workers
        };
        let wanted = wanted.clamp(range.min, range.max);
        (wanted != workers).then(|| {
            *self = Self::default();
            wanted
        })
    }
}

impl Machine {
    /// Is there somebody who wants to know the load?
    pub(crate) fn scales_itself(&self) -> bool {
        let awake = self.phase == Phase::Running && !self.sleep.is_asleep();
        awake && self.release.spec.range.is_some()
    }

    /// New figures.
    pub(super) fn load_seen(&mut self, load: Load, now_ms: u64, actions: &mut Vec<Action>) {
        self.idleness_seen(load, now_ms, actions);
        let Some(range) = self.release.spec.range else { return };
        // Those that are asked for and not ready yet are the answer to what is seen now.
        let settled = self.slots.iter().all(|slot| !slot.is_wanted() || slot.is_ready());
        if !settled || self.ending.is_some() || self.roll.is_some() {
            self.auto_scale = AutoScale::default();
            return;
        }
        let workers = self.slots.iter().filter(|slot| Slot::is_ready(slot)).count() as u32;
        if let Some(wanted) = self.auto_scale.judge(load, workers, range) {
            let busy = load.utilisation.map_or_else(
                || "the loops say nothing".to_owned(),
                |busy| format!("the loops are busy for {} %", busy / 10),
            );
            let cause = format!("{busy}, {} requests wait", load.queued);
            self.want_workers(&cause, Scale::To(wanted), None, actions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: WorkerRange = WorkerRange { min: 1, max: 8 };

    fn load(utilisation: u32, queued: u32) -> Load {
        Load { utilisation: Some(utilisation), queued, in_flight: 1, ..Load::default() }
    }

    /// The first answer and the look that gave it.
    fn first(load: Load, workers: u32) -> Option<(u32, u32)> {
        let mut auto = AutoScale::default();
        (1..=200).find_map(|look| Some((look, auto.judge(load, workers, RANGE)?)))
    }

    #[test]
    fn up_soon_and_by_as_much_as_is_missing() {
        assert_eq!(first(load(790, 0), 2), None);
        assert_eq!(first(load(990, 0), 1), Some((3, 2)));
        assert_eq!(first(load(990, 0), 4), Some((3, 7)));
        assert_eq!(first(load(1_000, 50), 8), None, "that is all there may be");
        assert_eq!(first(load(100, 5), 2), Some((3, 3)), "who waits is a reason of its own");
    }

    #[test]
    fn down_late_one_at_a_time_and_never_into_the_next_step_up() {
        assert_eq!(first(load(100, 0), 3), Some((60, 2)));
        assert_eq!(first(load(260, 0), 2), None, "one alone would be busy for 520");
        assert_eq!(first(load(0, 0), 1), None);
        let idle = Load::default();
        assert_eq!(first(idle, 2), Some((60, 1)));
        assert_eq!(first(Load { in_flight: 3, ..idle }, 2), None, "nobody knows how busy they are");
    }

    #[test]
    fn a_look_that_disagrees_begins_the_count_anew() {
        let mut auto = AutoScale::default();
        for _ in 0..50 {
            assert_eq!(auto.judge(load(900, 0), 2, RANGE), None);
            assert_eq!(auto.judge(load(900, 0), 2, RANGE), None);
            assert_eq!(auto.judge(load(400, 0), 2, RANGE), None);
        }
    }
}
