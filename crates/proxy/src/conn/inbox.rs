//! Bytes of the client that were received and not looked at yet.
//!
//! Owns: their order. Must never know: what they mean. Filled by `conn` as they come, emptied by the stage whose turn it is.

use hostler_driver::{Buffer, Part};

/// What waits. Usually nothing, or one delivery; a request with a large body that is queued brings dozens in one turn, because
/// the kernel goes on with a stream until it is told to stop.
#[derive(Default)]
pub(super) struct Inbox {
    first: Option<Part>,
    more: Vec<u8>,
}

impl Inbox {
    /// Adds what has come.
    pub(super) fn add(&mut self, part: Part) {
        match &self.first {
            None => self.first = Some(part),
            Some(_) => self.more.extend_from_slice(part.as_slice()),
        }
    }

    /// Takes all of it, in one piece.
    pub(super) fn take(&mut self) -> Option<Part> {
        let first = self.first.take()?;
        if self.more.is_empty() {
            return Some(first);
        }
        let more = std::mem::take(&mut self.more);
        Some(Part::whole(Buffer::from_vec([first.as_slice(), &more].concat())))
    }

    /// Puts the rest of what was taken back.
    pub(super) fn put_back(&mut self, rest: Part) {
        debug_assert!(self.is_empty(), "one stage at a time");
        self.first = Some(rest);
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Forgets it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The part that may be in a receive buffer.
    pub(super) fn first_mut(&mut self) -> Option<&mut Part> {
        self.first.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_pieces_is_taken_in_one() {
        let part = |bytes: &str| Part::whole(Buffer::from_vec(bytes.into()));
        let mut inbox = Inbox::default();
        assert!(inbox.is_empty() && inbox.take().is_none());
        for piece in ["a", "bc", "d"] {
            inbox.add(part(piece));
        }
        let all = inbox.take().expect("something waits");
        assert_eq!(all.as_slice(), b"abcd");
        assert!(inbox.is_empty());
        inbox.put_back(all.slice(2..4));
        inbox.add(part("e"));
        assert_eq!(inbox.take().expect("something waits").as_slice(), b"cde");
        inbox.add(part("f"));
        inbox.clear();
        assert!(inbox.take().is_none());
    }
}
