//! Values by small numbers that are used again: what an event's token stands for.

/// A growing list with holes.
pub(super) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The number that [`insert`](Self::insert) will give.
    pub(super) fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.entries.len())
    }

    pub(super) fn insert(&mut self, value: T) {
        match self.free.pop().and_then(|index| self.entries.get_mut(index)) {
            Some(entry) => *entry = Some(value),
            None => self.entries.push(Some(value)),
        }
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.entries.get_mut(index)?.as_mut()
    }

    pub(super) fn remove(&mut self, index: usize) {
        if self.entries.get_mut(index).is_some_and(|entry| entry.take().is_some()) {
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_once_it_is_free() {
        let mut slots = Slots::default();
        for value in ["a", "b", "c"] {
            slots.insert(value);
        }
        slots.remove(1);
        slots.remove(1);
        assert_eq!(slots.get_mut(1), None);
        assert_eq!(slots.next(), 1);
        slots.insert("d");
        assert_eq!(slots.get_mut(1), Some(&mut "d"));
        assert_eq!(slots.next(), 3);
    }
}
