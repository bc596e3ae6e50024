//! How many requests one worker may have of one shard.
//!
//! Owns: the limit and what is counted against it. Must never know: requests, other workers. Part of `dispatch`.
//!
//! What waits inside Node cannot be refused, cannot go elsewhere and is worked on after its client has left; so it should wait
//! here. But many requests in flight are no sign that they wait for the loop: most apps wait for a database, and long polls for
//! an event. Nor are long response times. Only the loop itself tells: how much of the time it was busy, and how late its timer
//! for the heartbeat came. While it is busy and late, the limit shrinks in proportion to the lateness; while it has time left, it grows
//! in proportion to that. Each shard does so by itself and from the same beats, as TCP senders share a link.
//!
//! The beats of a loop that is flooded do not come at all, because Node reads on as long as there is something to read. So nothing more is
//! given to a loop whose beat is overdue (`Pulse::is_saturated`).
//!
//! Counted are only requests of the last one or two seconds. Older ones are parked: with the limit in force nothing waits for the
//! loop for so long, and a thousand event streams must not take the places of requests.

/// Lateness of the loop that is aimed at. On average a timer comes in the middle of what the loop does in one go, so that twice
/// as much is waiting.
const LATE_US_AIM: u32 = 50_000;
/// So late is no wave: whatever else a beat says, the loop had more to do than it could.
const FLOODED_US: u32 = 4 * LATE_US_AIM;
/// A loop that is busy for less of the time than this, in 1/1000, has time left.
const BUSY_PERMILLE: u32 = 900;
/// What is aimed at then.
const BUSY_PERMILLE_AIM: u32 = 950;
/// No limit. One that would grow beyond `LARGEST` is none.
const NONE: u32 = u32::MAX;
const LARGEST: u32 = 100_000;
/// Requests are counted by the second in which they began, nearly.
const SECOND_SHIFT: u32 = 10;

/// When a request began, as far as its count is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Began(u32);

impl Began {
    /// Not counted.
    pub const LONG_AGO: Self = Self(u32::MAX);

    fn at(now_ms: u64) -> Self {
        Self((now_ms >> SECOND_SHIFT) as u32)
    }
}

/// What a beat says about the loop.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Share of the time in which it was busy, 1/1000.
    pub utilisation_permille: u32,
    /// How late the beat was, microseconds.
    pub late_us: u32,
    /// Time since the last one, milliseconds.
    pub elapsed_ms: u64,
}

/// The limit of one worker in one shard.
#[derive(Debug)]
pub struct Limit {
    max: u32,
    adapts: bool,
    late_us: u32,
    /// Requests that must end before the limit shrinks again.
    settling: u32,
    /// The last beat found the loop busy.
    busy: bool,
    second: u32,
    /// Requests in flight that began in this second and in the one before.
    began: [u32; 2],
    /// Requests that have ended since the last beat.
    ended: u32,
}

impl Limit {
    /// Of so many requests, or as many as the loop can take.
    pub fn new(fixed: Option<u32>) -> Self {
        Self {
            max: fixed.unwrap_or(NONE),
            adapts: fixed.is_none(),
            late_us: 0,
            settling: 0,
            busy: false,
            second: 0,
            began: [0; 2],
            ended: 0,
        }
    }

    /// Does the loop decide?
    pub fn adapts(&self) -> bool {
        self.adapts
    }

    /// With `in_flight` requests in hand, may there be another one?
    pub fn has_room(&self, in_flight: u32, now_ms: u64) -> bool {
        if self.max == NONE {
            return true;
        }
        let counted = if self.adapts { self.recent(now_ms) } else { in_flight };
        counted < self.max
    }

    fn recent(&self, now_ms: u64) -> u32 {
        match Began::at(now_ms).0.wrapping_sub(self.second) {
            0 => self.began[0] + self.began[1],
            1 => self.began[0],
            _ => 0,
        }
    }

    /// A request begins.
    pub fn begin(&mut self, now_ms: u64) -> Began {
        if !self.adapts {
            return Began::LONG_AGO;
        }
        let second = Began::at(now_ms);
        self.roll(second.0);
        self.began[0] += 1;
        second
    }

    /// A request that began then has ended, or counts no more.
    pub fn end(&mut self, began: Began, now_ms: u64) {
        if !self.adapts {
            return;
        }
        self.roll(Began::at(now_ms).0);
        self.ended += 1;
        let age = self.second.wrapping_sub(began.0);
        if began != Began::LONG_AGO
            && let Some(count) = self.began.get_mut(age as usize)
        {
            *count -= 1;
        }
    }

    fn roll(&mut self, second: u32) {
        match second.wrapping_sub(self.second) {
            0 => return,
            1 => self.began = [0, self.began[0]],
            _ => self.began = [0; 2],
        }
        self.second = second;
    }

    /// What the loop says about itself.
    pub fn beat(&mut self, beat: Beat, now_ms: u64) {
        let ended = std::mem::take(&mut self.ended);
        if !self.adapts {
            return;
        }
        // One beat sees one moment of the loop, and may come early in a long turn; never too late.
        self.late_us = beat.late_us.max(self.late_us / 2 + beat.late_us / 2);
        let recent = self.recent(now_ms);
        let flooded = beat.late_us >= FLOODED_US;
        let busy = flooded || beat.utilisation_permille >= BUSY_PERMILLE;
        let was_busy = std::mem::replace(&mut self.busy, busy);
        if !busy {
            let room = BUSY_PERMILLE_AIM * 16 / beat.utilisation_permille.max(1);
            // Requests that wait for something else than the loop took their places while it was busy.
            self.grow(self.max.max(recent), ended, room.min(32) - 16);
        } else if self.late_us <= LATE_US_AIM {
            self.grow(self.max, ended, 1);
        } else if was_busy || flooded {
            // Twice: a wave that breaks over an idle loop is gone at the next beat.
            self.shrink(recent.max(ended), ended, beat.elapsed_ms);
        }
    }

    /// By so many 16ths, but by no more than that for each request that has ended: what one more does to the loop may be seen only
    /// when its database has answered. TCP's window grows per acknowledgement for the same reason.
    fn grow(&mut self, from: u32, ended: u32, sixteenths: u32) {
        if self.max == NONE {
            return;
        }
        let more = if ended > 0 { ended.min(from) * sixteenths / 16 } else { from / 32 };
        self.max = from.saturating_add(more.max(1));
        if self.max > LARGEST {
            self.max = NONE;
        }
    }

    /// By as many as the loop would have to do in the time that it is too late, as TCP Vegas does it; and then not again before those
    /// have ended that are under way.
    fn shrink(&mut self, recent: u32, ended: u32, elapsed_ms: u64) {
        self.settling = self.settling.saturating_sub(ended);
        if self.settling > 0 {
            return;
        }
        let done_in = |us: u32| {
            let done = u64::from(ended) * u64::from(us) / (1_000 * elapsed_ms.max(1));
            u32::try_from(done).unwrap_or(LARGEST)
        };
        let from = self.max.min(recent);
        let surplus = done_in(self.late_us - LATE_US_AIM).max(1);
        // What the loop does in the time that may wait is never too much: whatever makes it late is something else.
        self.max = from.saturating_sub(surplus).max(1 + done_in(LATE_US_AIM));
        self.settling = self.max;
    }
}

#[cfg(test)]
mod tests;
