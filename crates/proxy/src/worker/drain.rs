//! How far the drain of a worker is, in one shard.
//!
//! Owns: what was asked and what was reported, and the moments at which its upgraded connections end. Must never know:
//! requests, connections. Kept by `dispatch` with the worker, used by the shard.

/// A worker takes no new requests, and may have some in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Which drain it is, by the control thread's count; goes back with the report.
    pub number: u32,
    /// It was reported that nothing is in flight.
    pub reported: bool,
    /// Upgraded connections end until then, the ones that are agreed to meanwhile too; milliseconds of the shard.
    pub upgraded_until_ms: Option<u64>,
}

impl Drain {
    /// One that has just been asked for.
    pub fn new(number: u32) -> Self {
        Self { number, reported: false, upgraded_until_ms: None }
    }
}

/// Moments for a number of connections, one after the other: the time is cut into as many equal parts, and each
/// connection has a moment somewhere in its own.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    from_ms: u64,
    within_ms: u64,
    count: u64,
    next: u64,
}

impl Spread {
    /// From `from_ms` on, for `within_ms`. Where more connections come than were counted, they share the last part.
    pub fn new(from_ms: u64, within_ms: u64, count: u32) -> Self {
        Self { from_ms, within_ms, count: u64::from(count).max(1), next: 0 }
    }

    /// The next moment; `random` says where in its part.
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let part = self.next.min(self.count - 1);
        self.next += 1;
        let start_ms = self.within_ms * part / self.count;
        let end_ms = self.within_ms * (part + 1) / self.count;
        self.from_ms + start_ms + random % (end_ms - start_ms).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(within_ms: u64, count: u32, mut random: impl FnMut() -> u64) -> Vec<u64> {
        let mut spread = Spread::new(1_000, within_ms, count);
        (0..count).map(|_| spread.next_ms(random())).collect()
    }

    #[test]
    fn every_connection_has_a_part_of_its_own() {
        for seed in 0..50_u64 {
            let mut state = seed;
            let random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                state >> 33
            };
            let all = moments(10_000, 20, random);
            for (index, at_ms) in (0..).zip(&all) {
                assert!((1_000 + index * 500..1_500 + index * 500).contains(at_ms), "{all:?}");
            }
        }
        let (first, last) = (moments(10_000, 20, || 0), moments(10_000, 20, || 499));
        assert_ne!(first, last, "chance has a say");
    }

    #[test]
    fn more_connections_than_milliseconds_and_no_time_at_all() {
        let all = moments(3, 9, || 7);
        assert!(all.is_sorted() && all[0] == 1_000 && all[8] == 1_002, "{all:?}");
        assert_eq!(moments(0, 2, || 7), [1_000, 1_000]);
        let mut spread = Spread::new(0, 100, 0);
        assert!(spread.next_ms(99) < 100 && spread.next_ms(99) < 100);
    }
}
