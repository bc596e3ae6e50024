//! Numbered slots, reused last in first out so that the hot ones stay in cache.
//!
//! Owns: which slots are free. Must never know: what is in them. Used by the shard.

/// A bounded set of numbered values. Memory is reserved at start and touched as it is used.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    max: u32,
    used: u32,
}

impl<T> Slab<T> {
    /// Room for `max` values.
    pub(super) fn new(max: u32) -> Self {
        Self {
            slots: Vec::with_capacity(max as usize),
            free: Vec::with_capacity(max as usize),
            max,
            used: 0,
        }
    }

    /// Values held.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// The slot that the next [`Slab::insert`] will use, `None` when all are taken.
    pub(super) fn next(&self) -> Option<u32> {
        match self.free.last() {
            Some(slot) => Some(*slot),
            None if (self.slots.len() as u32) < self.max => Some(self.slots.len() as u32),
            None => None,
        }
    }

    /// Stores a value; the caller has checked [`Slab::next`].
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.used += 1;
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return slot;
        }
        assert!((self.slots.len() as u32) < self.max, "insert into a full slab");
        self.slots.push(Some(value));
        self.slots.len() as u32 - 1
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.used -= 1;
        Some(value)
    }

    /// The value in a slot.
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The value in a slot.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// One more than the highest slot ever used.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }
}
