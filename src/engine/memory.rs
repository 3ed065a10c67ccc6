//! Accounting of memory that many connections hold together, and reuse of scratch lists. A holder updates its charge
//! when what it holds changes; dropping the charge releases it. Enforces no limit.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that all holders of one kind hold together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage(Rc<Cell<usize>>);

impl Usage {
    pub(crate) fn total(&self) -> usize {
        self.0.get()
    }

    /// A new holder's charge, of `bytes`.
    pub(crate) fn charge(&self, bytes: usize) -> Charge {
        self.0.set(self.0.get() + bytes);
        Charge {
            usage: self.clone(),
            bytes,
        }
    }
}

/// Bytes of one holder, counted in a [`Usage`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    usage: Usage,
    bytes: usize,
}

impl Charge {
    /// Bytes that the holder holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The holder now holds `bytes`.
    pub(crate) fn set(&mut self, bytes: usize) {
        let total = &self.usage.0;
        total.set(total.get() - self.bytes + bytes);
        self.bytes = bytes;
    }

    /// The holder holds so many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    /// The holder holds so many bytes less.
    pub(crate) fn remove(&mut self, bytes: usize) {
        self.set(self.bytes - bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes of capacity that a scratch list keeps between turns, at most.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Empties a scratch list for the next turn. Its memory is kept if it is small: most turns need little, and a turn
/// that needs much must not leave it allocated.
pub(crate) fn recycle<T>(mut list: Vec<T>) -> Vec<T> {
    if list.capacity() * size_of::<T>() > SCRATCH_BYTES {
        return Vec::new();
    }
    list.clear();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_the_charges_that_are_alive() {
        let usage = Usage::default();
        let (mut one, two) = (usage.charge(5), usage.charge(7));
        one.set(3);
        assert_eq!(usage.total(), 10);
        drop(two);
        assert_eq!(usage.total(), 3);
        drop(one);
        assert_eq!(usage.total(), 0);
    }

    #[test]
    fn small_scratch_lists_keep_their_memory_and_large_ones_do_not() {
        assert!(recycle(vec![1_u64; 100]).capacity() >= 100);
        assert!(recycle(vec![1_u64; 100]).is_empty());
        assert_eq!(recycle(vec![1_u64; 10_000]).capacity(), 0);
    }
}
