//! One hashed timer wheel per shard.
//!
//! Owns: which timer is due when, to 100 ms. Must never know: what a deadline means. Called by the
//! shard only.
//!
//! A timer's true deadline lies with its owner; the wheel keeps one entry per timer and is touched only when the
//! deadline comes *earlier* than the entry. When an entry fires too early the owner says the true deadline and the
//! entry moves there. So a request costs one store, not a wheel operation. Entries are links of
//! preallocated lists: the wheel never allocates after start.

/// Width of a bucket in milliseconds.
pub const TICK_MS: u64 = 100;
const BUCKETS: usize = 1024;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    /// The tick this entry waits for; `u64::MAX` when it is not in the wheel.
    tick: u64,
}

/// The wheel. A timer is a number below the capacity given at start.
#[derive(Debug)]
pub struct Wheel {
    heads: Vec<u32>,
    occupied: [u64; BUCKETS / 64],
    nodes: Vec<Node>,
    /// All ticks below this one have fired.
    tick_next: u64,
}

impl Wheel {
    /// A wheel for `timers` timers, at time 0.
    pub fn new(timers: u32) -> Self {
        // `vec![zero; n]` would touch every page; only the links in use should become resident.
        Self {
            heads: vec![NONE; BUCKETS],
            occupied: [0; BUCKETS / 64],
            nodes: Vec::with_capacity(timers as usize),
            tick_next: 0,
        }
    }

    fn node(&mut self, timer: u32) -> &mut Node {
        let index = timer as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node { next: NONE, previous: NONE, tick: u64::MAX });
        }
        &mut self.nodes[index]
    }

    /// Makes sure that `timer` fires at or before `deadline_ms` (rounded up to the next tick).
    pub fn arm(&mut self, timer: u32, deadline_ms: u64) {
        let tick = deadline_ms.div_ceil(TICK_MS).max(self.tick_next);
        if self.node(timer).tick <= tick {
            return;
        }
        self.disarm(timer);
        // A deadline beyond the horizon waits in the last bucket and is then moved on by its owner.
        let tick = tick.min(self.tick_next + BUCKETS as u64 - 1);
        let bucket = (tick as usize) % BUCKETS;
        let head = self.heads[bucket];
        *self.node(timer) = Node { next: head, previous: NONE, tick };
        if head != NONE {
            self.nodes[head as usize].previous = timer;
        }
        self.heads[bucket] = timer;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Takes `timer` out of the wheel.
    pub fn disarm(&mut self, timer: u32) {
        let Node { next, previous, tick } = *self.node(timer);
        if tick == u64::MAX {
            return;
        }
        let bucket = (tick as usize) % BUCKETS;
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[bucket] = next;
            if next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.nodes[previous as usize].next = next;
        }
        self.nodes[timer as usize].tick = u64::MAX;
    }

    /// The next timer that is due at `now_ms`, taken out of the wheel; the caller arms it again if its deadline
    /// is later. `None` when all that is due has been given.
    pub fn expire(&mut self, now_ms: u64) -> Option<u32> {
        let tick_now = now_ms / TICK_MS;
        while self.tick_next <= tick_now {
            let bucket = (self.tick_next as usize) % BUCKETS;
            let timer = self.heads[bucket];
            if timer == NONE {
                self.tick_next += self.empty_buckets(tick_now - self.tick_next + 1);
                continue;
            }
            self.disarm(timer);
            return Some(timer);
        }
        None
    }

    /// Number of empty buckets from `tick_next` on, at least 1, at most `limit`.
    fn empty_buckets(&self, limit: u64) -> u64 {
        self.ticks_to_occupied().map_or(limit, |ticks| ticks.clamp(1, limit))
    }

    /// Milliseconds from `now_ms` to the next bucket with a timer, `None` when there is none.
    pub fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        let tick = self.tick_next + self.ticks_to_occupied()?;
        Some((tick * TICK_MS).saturating_sub(now_ms))
    }

    fn ticks_to_occupied(&self) -> Option<u64> {
        let start = (self.tick_next as usize) % BUCKETS;
        let words = self.occupied.len();
        for step in 0..=words {
            let index = (start / 64 + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == words {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let bucket = index * 64 + word.trailing_zeros() as usize;
                return Some(((bucket + BUCKETS - start) % BUCKETS) as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut out: Vec<u32> = std::iter::from_fn(|| wheel.expire(now_ms)).collect();
        out.sort_unstable();
        out
    }

    #[test]
    fn fires_at_the_tick_after_the_deadline_and_not_before() {
        let mut wheel = Wheel::new(8);
        wheel.arm(1, 250);
        wheel.arm(2, 300);
        assert_eq!(fired(&mut wheel, 299), [] as [u32; 0]);
        assert_eq!(wheel.wait_ms(299), Some(1));
        assert_eq!(fired(&mut wheel, 300), [1, 2]);
        assert_eq!(wheel.wait_ms(300), None);
    }

    #[test]
    fn an_earlier_deadline_moves_the_entry_a_later_one_does_not() {
        let mut wheel = Wheel::new(8);
        wheel.arm(1, 75_000);
        wheel.arm(1, 10_000);
        wheel.arm(1, 60_000);
        assert_eq!(fired(&mut wheel, 10_000), [1]);
        assert_eq!(fired(&mut wheel, 80_000), [] as [u32; 0]);
    }

    #[test]
    fn a_deadline_beyond_the_horizon_fires_early_to_be_armed_again() {
        let mut wheel = Wheel::new(8);
        wheel.arm(3, 3_600_000);
        let horizon_ms = (BUCKETS as u64 - 1) * TICK_MS;
        assert_eq!(fired(&mut wheel, horizon_ms), [3]);
        wheel.arm(3, 3_600_000);
        assert!(wheel.wait_ms(horizon_ms).is_some());
    }

    #[test]
    fn disarmed_timers_stay_silent_whatever_their_place_in_the_bucket() {
        for victim in 0..3 {
            let mut wheel = Wheel::new(8);
            for timer in 0..3 {
                wheel.arm(timer, 500);
            }
            wheel.disarm(victim);
            let expected: Vec<u32> = (0..3).filter(|timer| *timer != victim).collect();
            assert_eq!(fired(&mut wheel, 600), expected);
        }
    }

    #[test]
    fn agrees_with_a_sorted_list_over_many_random_operations() {
        let mut wheel = Wheel::new(64);
        let mut model: Vec<Option<u64>> = vec![None; 64];
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut now_ms = 0;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let timer = (random % 64) as u32;
            match random >> 60 {
                0..=9 => {
                    let deadline = now_ms + (random >> 20) % 90_000;
                    let tick =
                        deadline.div_ceil(TICK_MS).max(now_ms / TICK_MS + u64::from(now_ms > 0));
                    let entry = &mut model[timer as usize];
                    *entry = Some(entry.map_or(tick, |old| old.min(tick)));
                    wheel.arm(timer, deadline);
                }
                10..=11 => {
                    model[timer as usize] = None;
                    wheel.disarm(timer);
                }
                _ => {
                    now_ms += (random >> 30) % 2_000;
                    let due = now_ms / TICK_MS;
                    let expected: Vec<u32> = (0..64)
                        .filter(|t| model[*t as usize].is_some_and(|tick| tick <= due))
                        .collect();
                    for timer in &expected {
                        model[*timer as usize] = None;
                    }
                    assert_eq!(fired(&mut wheel, now_ms), expected);
                }
            }
        }
    }
}
