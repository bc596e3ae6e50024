//! Whether a worker's event loop turns, as far as its heartbeats tell.
//!
//! Owns: when the next sign of life is due, and what a missing one means. Must never know: why a loop stands still, what is done
//! about it. Part of `dispatch`, told by the shard.
//!
//! A worker beats every 100 ms while requests are in flight, and once a second otherwise (HEARTBEAT of
//! `docs/worker-protocol.md`). Three missed beats make it *stuck*: it gets no new requests, but those it has may still be answered.
//! A worker that stays silent for long hangs: nobody should wait for it any more.

/// How often it beats while requests are in flight, and while none is.
const BUSY_BEAT_MS: u64 = 100;
const IDLE_BEAT_MS: u64 = 1_000;
/// What a beat may be late.
const LATE_MS: u64 = 250;
/// A loop whose beat is so late is saturated, whatever else it says: answers may leave in the middle of a long turn.
const SATURATED_MS: u64 = 100;

/// What is thought of a long silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// There is none.
    No,
    /// It is long. If we slept ourselves, the worker's words are on their way and will be seen before the next look.
    Doubted { since_ms: u64 },
    /// It is too long.
    Due,
    /// And that was told.
    Told,
}

/// What a look at a worker gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Look again at this moment.
    Again(u64),
    /// It hangs, which is to be told now.
    Hangs,
    /// That has been told, or it is not watched.
    Never,
}

/// The signs of life of one worker.
#[derive(Debug)]
pub struct Pulse {
    heard_ms: u64,
    /// By then it must have spoken.
    speaks_by_ms: u64,
    /// By then it beats, unless its loop is saturated.
    beats_by_ms: u64,
    silence: Silence,
}

impl Pulse {
    /// Of a worker that does not beat, or not yet.
    pub fn none() -> Self {
        Self { heard_ms: 0, speaks_by_ms: u64::MAX, beats_by_ms: u64::MAX, silence: Silence::No }
    }

    /// Its app's server is closed, or its channel: it does not beat.
    pub fn rest(&mut self) {
        self.speaks_by_ms = u64::MAX;
        self.beats_by_ms = u64::MAX;
    }

    /// It has said something. Was it said to hang?
    pub fn hear(&mut self, now_ms: u64) -> bool {
        self.heard_ms = now_ms;
        // Before its first beat, and when its server is closed, nothing is due.
        self.speaks_by_ms = self.speaks_by_ms.max(now_ms + BUSY_BEAT_MS + LATE_MS);
        std::mem::replace(&mut self.silence, Silence::No) == Silence::Told
    }

    /// It has beaten, with so many requests in flight; or begins to beat.
    pub fn beat(&mut self, in_flight: u32, now_ms: u64) {
        let beat_ms = if in_flight > 0 { BUSY_BEAT_MS } else { IDLE_BEAT_MS };
        self.heard_ms = now_ms;
        self.speaks_by_ms = now_ms + beat_ms + LATE_MS;
        self.beats_by_ms = now_ms + beat_ms + SATURATED_MS;
    }

    /// It gets a request: that makes it beat faster.
    pub fn ask(&mut self, now_ms: u64) {
        if self.speaks_by_ms != u64::MAX {
            self.speaks_by_ms = self.speaks_by_ms.min(now_ms + BUSY_BEAT_MS + LATE_MS);
            self.beats_by_ms = self.beats_by_ms.min(now_ms + BUSY_BEAT_MS + SATURATED_MS);
        }
    }

    /// Is its loop so busy that it does not come to beat?
    pub fn is_saturated(&self, now_ms: u64) -> bool {
        now_ms > self.beats_by_ms
    }

    /// Is a sign of life overdue?
    pub fn is_stuck(&self, now_ms: u64) -> bool {
        now_ms > self.speaks_by_ms
    }

    /// Was it said to hang?
    pub fn hangs(&self) -> bool {
        self.silence == Silence::Told
    }

    /// How long nothing has been heard.
    pub fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms)
    }

    /// Does it hang, if it may be silent for `hang_ms` at most?
    pub fn look(&mut self, hang_ms: u64, now_ms: u64) -> Look {
        let doubted_at_ms = self.heard_ms.saturating_add(hang_ms - hang_ms / 4);
        match self.silence {
            _ if self.speaks_by_ms == u64::MAX || hang_ms == u64::MAX => Look::Never,
            Silence::Told => Look::Never,
            Silence::Due => {
                self.silence = Silence::Told;
                Look::Hangs
            }
            Silence::No if now_ms < doubted_at_ms => Look::Again(doubted_at_ms),
            Silence::No => {
                self.silence = Silence::Doubted { since_ms: now_ms };
                self.look(hang_ms, now_ms)
            }
            Silence::Doubted { since_ms } => {
                let told_at_ms = (self.heard_ms + hang_ms).max(since_ms + hang_ms / 8);
                if now_ms < told_at_ms {
                    return Look::Again(told_at_ms);
                }
                self.silence = Silence::Due;
                self.look(hang_ms, now_ms)
            }
        }
    }

    /// Nothing may take so long, and it has been silent all the time: it hangs, if it is stuck at all.
    pub fn time_out(&mut self, waited_ms: u64, now_ms: u64) {
        let silent = self.is_stuck(now_ms) && self.silent_ms(now_ms) >= waited_ms;
        if silent && self.silence != Silence::Told {
            self.silence = Silence::Due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beating() -> Pulse {
        let mut pulse = Pulse::none();
        pulse.beat(0, 0);
        pulse
    }

    #[test]
    fn who_does_not_beat_is_never_stuck() {
        let mut pulse = Pulse::none();
        pulse.ask(5);
        assert!(!pulse.is_stuck(1_000_000));
        assert_eq!(pulse.look(10, 1_000_000), Look::Never);
    }

    #[test]
    fn three_beats_are_missed_before_a_worker_is_stuck() {
        let mut pulse = beating();
        assert!(!pulse.is_stuck(1_250) && pulse.is_stuck(1_251), "idle");
        pulse.beat(0, 1_000);
        pulse.ask(1_100);
        pulse.ask(1_200);
        assert!(!pulse.is_stuck(1_450) && pulse.is_stuck(1_451), "since the first request");
        pulse.beat(1, 1_460);
        assert!(!pulse.is_stuck(1_810) && pulse.is_stuck(1_811), "busy");
        pulse.hear(1_900);
        assert!(!pulse.is_stuck(2_250) && pulse.is_stuck(2_251), "an answer will do");
        pulse.beat(0, 3_000);
        pulse.hear(3_010);
        assert!(!pulse.is_stuck(4_250), "an idle one beats slowly whatever it says");
    }

    #[test]
    fn a_loop_that_answers_and_does_not_beat_is_saturated() {
        let mut pulse = beating();
        assert!(!pulse.is_saturated(1_100));
        pulse.ask(500);
        for now in (500..=900).step_by(50) {
            pulse.hear(now);
            assert!(!pulse.is_stuck(now));
            assert_eq!(pulse.is_saturated(now), now > 700, "{now}");
        }
        pulse.beat(1, 950);
        assert!(!pulse.is_saturated(1_150) && pulse.is_saturated(1_151));
        pulse.rest();
        assert!(!pulse.is_saturated(9_000));
    }

    #[test]
    fn a_long_silence_is_told_once() {
        let mut pulse = beating();
        assert_eq!(pulse.look(10_000, 100), Look::Again(7_500));
        assert_eq!(pulse.look(10_000, 7_500), Look::Again(10_000));
        assert_eq!(pulse.look(10_000, 9_999), Look::Again(10_000));
        assert_eq!(pulse.look(10_000, 10_000), Look::Hangs);
        assert_eq!((pulse.look(10_000, 20_000), pulse.silent_ms(20_000)), (Look::Never, 20_000));
        assert!(pulse.hear(21_000) && !pulse.hear(21_001));
        assert_eq!(pulse.look(10_000, 21_001), Look::Again(28_501));
    }

    #[test]
    fn a_request_that_waited_in_silence_for_too_long_tells_it_sooner() {
        let mut pulse = beating();
        pulse.time_out(900, 1_000);
        assert_eq!(pulse.look(10_000, 1_000), Look::Again(7_500), "it is not even stuck");
        pulse.time_out(2_001, 2_000);
        assert_eq!(pulse.look(10_000, 2_000), Look::Again(7_500), "it has spoken meanwhile");
        pulse.time_out(2_000, 2_000);
        let looks = [pulse.look(10_000, 2_000), pulse.look(10_000, 2_000)];
        assert_eq!(looks, [Look::Hangs, Look::Never]);
        pulse.time_out(2_000, 2_100);
        assert_eq!(pulse.look(10_000, 2_100), Look::Never, "once");
    }

    #[test]
    fn our_own_sleep_is_not_the_workers_silence() {
        let mut pulse = beating();
        assert_eq!(pulse.look(10_000, 60_000), Look::Again(61_250), "a second look");
        pulse.hear(60_001);
        assert_eq!(pulse.look(10_000, 61_250), Look::Again(67_501));
        assert_eq!(beating().look(u64::MAX, u64::MAX - 1), Look::Never);
    }
}
