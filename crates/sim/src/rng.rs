//! Chance, from one seed.
//!
//! Owns: the generator. Must never know: what is decided by it. Used by every actor; each has a generator of its own,
//! so that a change in one script does not reshuffle the others.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Numbers from this seed; any seed is good.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator for an actor, independent of this one's further use.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    /// Any number.
    #[expect(
        clippy::should_implement_trait,
        reason = "a generator is not an iterator: it never ends"
    )]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// The same for milliseconds.
    pub fn ms(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.next() % 100 < u64::from(percent)
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A length: mostly small, at times around the sizes of buffers and windows, up to `max`.
    pub fn length(&mut self, max: usize) -> usize {
        let length = match self.below(100) {
            0..=9 => 0,
            10..=49 => self.within(1, 64),
            50..=79 => self.within(65, 3_000),
            80..=92 => self.within(3_001, 70_000),
            93..=96 => 65_536 - 8 + self.below(16),
            _ => self.within(70_000, 400_000),
        };
        length.min(max)
    }
}

/// Scrambles a number.
pub fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Byte number `at` of the body with this key. Bodies are never stored: whoever sees a byte knows whose it should be.
pub fn body_byte(key: u64, at: usize) -> u8 {
    let word = mix(key.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ (at as u64 >> 3));
    (word >> (8 * (at & 7))) as u8
}

/// A range of that body.
pub fn body(key: u64, from: usize, to: usize) -> Vec<u8> {
    (from..to).map(|at| body_byte(key, at)).collect()
}

/// Is `bytes` that body from `from` on?
pub fn is_body(key: u64, from: usize, bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| *byte == body_byte(key, from + index))
}
