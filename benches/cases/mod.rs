//! What is measured: named cases with a set-up and one iteration.
//!
//! Owns: the list. Must never know: how it is measured; `time.rs` takes the time, `count.rs` lets instructions be counted.
//!
//! An iteration leaves everything as it found it, so that each one costs the same, and takes its input through
//! [`black_box`](std::hint::black_box), so that the compiler cannot work it out beforehand.

mod channel;
mod exchange;
mod heads;
mod parts;
mod rig;
mod turn;
mod wire;

/// What one iteration works through, for figures per byte or per element.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "only `time` wants to know")]
pub(crate) enum Amount {
    One,
    Bytes(usize),
    Elements(usize),
}

/// The measured body; called again and again.
pub(crate) type Iteration = Box<dyn FnMut()>;

/// One thing that is measured.
pub(crate) struct Case {
    /// `group/name`.
    pub(crate) name: String,
    pub(crate) amount: Amount,
    prepare: Box<dyn FnOnce() -> Iteration>,
}

impl Case {
    /// `prepare` is not measured; what it returns is.
    fn new<F: FnMut() + 'static>(
        group: &str,
        name: &str,
        prepare: impl FnOnce() -> F + 'static,
    ) -> Self {
        Self {
            name: format!("{group}/{name}"),
            amount: Amount::One,
            prepare: Box::new(|| Box::new(prepare())),
        }
    }

    fn of(mut self, amount: Amount) -> Self {
        self.amount = amount;
        self
    }

    /// Does the set-up.
    pub(crate) fn prepare(self) -> Iteration {
        (self.prepare)()
    }
}

/// Every case, in the order of a request's way through the proxy.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    heads::add(&mut cases);
    channel::add(&mut cases);
    parts::add(&mut cases);
    exchange::add(&mut cases);
    turn::add(&mut cases);
    cases
}
