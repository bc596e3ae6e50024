//! What a socket should receive, what the kernel was asked to receive, and how the two meet.
//!
//! Owns: the decision to arm, to cancel, to wait. Must never know: rings, descriptors, buffers.
//! Used by `submit` (which carries out a [`Step`]) and `complete` (which reports what came).
//!
//! ```text
//!            Step::Arm                     final completion
//!   Idle ---------------> Armed(Stream | Once) -----------> Idle
//!                            | Step::Cancel                  ^
//!                            v          final completion     |
//!                         Cancelling ------------------------+
//! ```
//!
//! Only `next` moves to the right, and it is called once before each hand-over to the kernel: a
//! wish that is taken back before then has cost nothing.

use crate::{PoolClass, ReceiveMode};

/// What the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    /// Nothing.
    Idle,
    /// A multishot receive.
    Stream,
    /// A single receive.
    Once(PoolClass),
    /// Something with buffers of this class, and to give it up.
    Cancelling { class: PoolClass, cancel: Cancel },
}

/// How a receive is being given up. On some 6.11 kernels the first attempt, by token, is reported
/// not to find a multishot receive, where the second, by descriptor, does. If that fails too, the
/// receive stays as it is until it ends by itself; what it brings is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    /// Asked for, by token.
    First,
    /// Has not found the receive.
    Missed,
    /// Asked for again, by descriptor.
    Second,
}

/// What to ask the kernel now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Nothing,
    /// A multishot receive.
    ArmStream,
    /// A single receive.
    ArmOnce {
        /// Buffers to receive into.
        class: PoolClass,
        /// There are no bytes as far as we know, so that trying before waiting would be work for
        /// nothing.
        wait_first: bool,
    },
    /// To give up the receive.
    CancelByToken,
    /// To give up everything on this descriptor, because the cancel by token did not find it.
    CancelByDescriptor,
}

/// The receiving side of one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receive {
    wanted: ReceiveMode,
    armed: Armed,
    /// Waits in the line for buffers of this class.
    parked: Option<PoolClass>,
    /// FIN or an error has come; there is nothing more to receive.
    ended: bool,
    /// The kernel said after the last receive that more bytes are there.
    more_waits: bool,
}

impl Receive {
    pub(super) fn new() -> Self {
        Self {
            wanted: ReceiveMode::Paused,
            armed: Armed::Idle,
            parked: None,
            ended: false,
            more_waits: false,
        }
    }

    /// The caller's wish. Says whether there may be something to do.
    pub(super) fn want(&mut self, mode: ReceiveMode) -> bool {
        if self.ended || self.wanted == mode {
            return false;
        }
        self.wanted = mode;
        true
    }

    /// The next thing to ask the kernel, which the caller then does ask.
    pub(super) fn next(&mut self) -> Step {
        match (self.armed, self.wanted) {
            _ if self.ended && self.armed == Armed::Idle => Step::Nothing,
            (Armed::Cancelling { class, cancel: Cancel::Missed }, _) => {
                self.armed = Armed::Cancelling { class, cancel: Cancel::Second };
                Step::CancelByDescriptor
            }
            (Armed::Cancelling { .. }, _)
            | (Armed::Idle, ReceiveMode::Paused)
            | (Armed::Stream, ReceiveMode::Stream) => Step::Nothing,
            (Armed::Once(armed), ReceiveMode::Once(wanted)) if armed == wanted => Step::Nothing,
            (Armed::Stream, _) => self.cancel(PoolClass::Head),
            (Armed::Once(class), _) => self.cancel(class),
            (Armed::Idle, _) if self.parked == self.class() => Step::Nothing,
            (Armed::Idle, ReceiveMode::Stream) => {
                self.armed = Armed::Stream;
                Step::ArmStream
            }
            (Armed::Idle, ReceiveMode::Once(class)) => {
                self.armed = Armed::Once(class);
                let wait_first = !self.more_waits;
                Step::ArmOnce { class, wait_first }
            }
        }
    }

    fn cancel(&mut self, class: PoolClass) -> Step {
        self.armed = Armed::Cancelling { class, cancel: Cancel::First };
        Step::CancelByToken
    }

    /// The class of buffers that the wish needs.
    pub(super) fn class(&self) -> Option<PoolClass> {
        match self.wanted {
            ReceiveMode::Paused => None,
            ReceiveMode::Stream => Some(PoolClass::Head),
            ReceiveMode::Once(class) => Some(class),
        }
    }

    /// The class of buffers that the kernel was asked to receive into.
    pub(super) fn armed_class(&self) -> Option<PoolClass> {
        match self.armed {
            Armed::Idle => None,
            Armed::Stream => Some(PoolClass::Head),
            Armed::Once(class) | Armed::Cancelling { class, .. } => Some(class),
        }
    }

    /// The last receive left bytes behind, as the kernel said.
    pub(super) fn more_waits(&self) -> bool {
        self.more_waits
    }

    /// Bytes have come. `last`: the kernel's operation is over. Says whether there may be something
    /// to do.
    pub(super) fn delivered(&mut self, last: bool, more_waits: bool) -> bool {
        self.more_waits = more_waits;
        if matches!(self.wanted, ReceiveMode::Once(_)) {
            self.wanted = ReceiveMode::Paused;
        }
        if last {
            self.armed = Armed::Idle;
        }
        self.unsettled()
    }

    /// The operation is over without bytes. Says whether there may be something to do.
    pub(super) fn finished(&mut self) -> bool {
        self.armed = Armed::Idle;
        self.unsettled()
    }

    /// FIN or an error has come. Says whether it is the first.
    pub(super) fn end(&mut self) -> bool {
        self.armed = Armed::Idle;
        self.wanted = ReceiveMode::Paused;
        !std::mem::replace(&mut self.ended, true)
    }

    /// A cancel has not found its target. Says whether to try once more.
    pub(super) fn cancel_missed(&mut self) -> bool {
        let Armed::Cancelling { class, cancel: Cancel::First } = self.armed else {
            return false;
        };
        self.armed = Armed::Cancelling { class, cancel: Cancel::Missed };
        true
    }

    /// There was no buffer of this class; the socket stands in line now.
    pub(super) fn park(&mut self, class: PoolClass) {
        self.armed = Armed::Idle;
        self.parked = Some(class);
    }

    /// The head of the line was reached. Says whether the socket was still waiting.
    pub(super) fn unpark(&mut self, class: PoolClass) -> bool {
        let waiting = self.parked == Some(class);
        if waiting {
            self.parked = None;
        }
        waiting
    }

    /// Whether wish and kernel differ.
    fn unsettled(&self) -> bool {
        let mut copy = *self;
        copy.next() != Step::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: ReceiveMode = ReceiveMode::Once(PoolClass::Body);
    const ARM_BODY: Step = Step::ArmOnce { class: PoolClass::Body, wait_first: true };

    fn armed(mode: ReceiveMode) -> Receive {
        let mut receive = Receive::new();
        assert!(receive.want(mode));
        assert_ne!(receive.next(), Step::Nothing);
        assert_eq!(receive.next(), Step::Nothing, "asked once");
        receive
    }

    #[test]
    fn every_pair_of_armed_and_wanted() {
        use ReceiveMode::{Paused, Stream};
        let head = ReceiveMode::Once(PoolClass::Head);
        let table = [
            (Stream, Stream, Step::Nothing),
            (Stream, Paused, Step::CancelByToken),
            (Stream, BODY, Step::CancelByToken),
            (BODY, BODY, Step::Nothing),
            (BODY, Paused, Step::CancelByToken),
            (BODY, Stream, Step::CancelByToken),
            (BODY, head, Step::CancelByToken),
        ];
        for (first, second, step) in table {
            let mut receive = armed(first);
            receive.want(second);
            assert_eq!(receive.next(), step, "{first:?} then {second:?}");
            assert_eq!(receive.next(), Step::Nothing, "asked once");
        }
    }

    #[test]
    fn a_wish_taken_back_costs_nothing() {
        let mut receive = armed(ReceiveMode::Stream);
        assert!(receive.want(ReceiveMode::Paused));
        assert!(receive.want(ReceiveMode::Stream));
        assert_eq!(receive.next(), Step::Nothing);
    }

    #[test]
    fn after_the_cancel_the_wish_of_that_moment_counts() {
        for (wish, step) in [
            (ReceiveMode::Stream, Step::ArmStream),
            (BODY, ARM_BODY),
            (ReceiveMode::Paused, Step::Nothing),
        ] {
            let mut receive = armed(ReceiveMode::Stream);
            receive.want(ReceiveMode::Paused);
            assert_eq!(receive.next(), Step::CancelByToken);
            receive.want(wish);
            assert_eq!(receive.next(), Step::Nothing, "first the final completion");
            receive.finished();
            assert_eq!(receive.next(), step);
        }
    }

    #[test]
    fn once_is_satisfied_by_bytes_of_the_stream() {
        let mut receive = armed(ReceiveMode::Stream);
        receive.want(BODY);
        assert_eq!(receive.next(), Step::CancelByToken);
        receive.delivered(false, false);
        receive.finished();
        assert_eq!(receive.next(), Step::Nothing, "paused now");
        assert_eq!(receive.class(), None);
    }

    #[test]
    fn once_delivers_once() {
        let mut receive = armed(BODY);
        assert!(!receive.delivered(true, true));
        assert_eq!(receive.next(), Step::Nothing);
        receive.want(BODY);
        let step = Step::ArmOnce { class: PoolClass::Body, wait_first: false };
        assert_eq!(receive.next(), step, "more bytes wait, so try at once");
    }

    #[test]
    fn a_stream_that_the_kernel_ended_is_armed_again() {
        let mut receive = armed(ReceiveMode::Stream);
        assert!(!receive.delivered(false, false));
        assert!(receive.delivered(true, false));
        assert_eq!(receive.next(), Step::ArmStream);
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut receive = armed(ReceiveMode::Stream);
        assert!(receive.end());
        assert!(!receive.end());
        assert!(!receive.want(BODY));
        assert_eq!(receive.next(), Step::Nothing);
    }

    #[test]
    fn parked_until_the_head_of_the_line() {
        let mut receive = armed(BODY);
        receive.park(PoolClass::Body);
        assert_eq!(receive.next(), Step::Nothing);
        assert!(!receive.unpark(PoolClass::Head));
        assert!(receive.unpark(PoolClass::Body));
        assert!(!receive.unpark(PoolClass::Body));
        assert_eq!(receive.next(), ARM_BODY);
    }

    #[test]
    fn parked_for_one_class_does_not_hold_back_another() {
        let mut receive = armed(ReceiveMode::Stream);
        receive.park(PoolClass::Head);
        receive.want(BODY);
        assert_eq!(receive.next(), ARM_BODY);
    }

    #[test]
    fn a_missed_cancel_is_tried_once_more_by_descriptor() {
        let mut receive = armed(ReceiveMode::Stream);
        receive.want(ReceiveMode::Paused);
        assert_eq!(receive.next(), Step::CancelByToken);
        assert!(receive.cancel_missed());
        assert_eq!(receive.next(), Step::CancelByDescriptor);
        assert!(!receive.cancel_missed());
        assert_eq!(receive.next(), Step::Nothing);
    }

    #[test]
    fn a_cancel_that_comes_too_late_is_no_miss() {
        let mut receive = armed(BODY);
        receive.want(ReceiveMode::Paused);
        assert_eq!(receive.next(), Step::CancelByToken);
        receive.delivered(true, false);
        assert!(!receive.cancel_missed());
    }
}
