//! Requests that belong to one worker.
//!
//! Owns: whether that worker takes a request now, later or never. Must never know: why it belongs there, how long it may wait. Part of
//! `dispatch`, asked by the shard before [`Dispatch::choose`].

use super::{Dispatch, Worker};
use crate::sticky::Token;

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// To this process, by the supervisor's number: what it needs is in its memory.
    Process(u32),
    /// To whoever runs in this slot.
    Slot(Token),
}

/// What its worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// It takes the request.
    To(u16),
    /// It may do so in a moment: it is full, or its loop is late.
    Waits,
    /// It is gone, drains or hangs: any other will do.
    ToNobody,
}

impl Dispatch {
    /// Whether the worker takes its request. `open` is as in [`Dispatch::choose`].
    pub fn own(&self, own: Own, now_ms: u64, open: impl Fn(&Worker) -> bool) -> Belongs {
        let is_own = |worker: &Worker| match own {
            Own::Process(number) => worker.address.worker.0 == number,
            Own::Slot(token) => worker.token == Some(token),
        };
        let serves = |worker: &Worker| worker.takes_requests() && !worker.pulse.hangs();
        // During a reload there are two in a slot: the old one until it drains, for the new release may yet be taken back.
        let workers = self.iter().filter(|(_, worker)| is_own(worker) && serves(worker));
        match workers.min_by_key(|(_, worker)| worker.address.worker) {
            None => Belongs::ToNobody,
            Some((index, worker))
                if worker.suspect_until_ms <= now_ms && worker.can_take(now_ms, open) =>
            {
                Belongs::To(index)
            }
            Some(_) => Belongs::Waits,
        }
    }

    /// The process whose turn it is, by the supervisor's number, if requests are dealt out one by one.
    pub fn in_turn(&self, turn: u32) -> Option<u32> {
        let serving = || self.iter().filter(|(_, worker)| worker.takes_requests());
        let count = serving().count();
        let nth = (turn as usize).checked_rem(count)?;
        serving().nth(nth).map(|(_, worker)| worker.address.worker.0)
    }
}
