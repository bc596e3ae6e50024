//! Time, read once per turn of a shard.
//!
//! Owns: the only `Instant::now` and `SystemTime::now` of the data plane. Must never know: who waits
//! for what. The simulator gives times of its own and never calls this.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The two clocks of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds since the shard's start; all deadlines are in this unit.
    pub ms: u64,
    /// Wall-clock milliseconds since 1970, for request ids and `Date`; never for deadlines.
    pub unix_ms: u64,
}

/// Reads the kernel's clocks.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at 0 ms.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
