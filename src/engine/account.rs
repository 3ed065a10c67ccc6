//! An account: how much of something many hold together. Each holder says what it holds whenever that changes,
//! and gives all of it back when it goes. Bounds nothing by itself.

use std::cell::Cell;
use std::rc::Rc;

/// The sum over all holders.
#[derive(Debug, Clone, Default)]
pub(super) struct Account(Rc<Cell<usize>>);

impl Account {
    pub(super) fn total(&self) -> usize {
        self.0.get()
    }

    /// Somebody's part of it, nothing at first.
    pub(super) fn share(&self) -> Share {
        Share {
            account: self.clone(),
            held: 0,
        }
    }
}

/// What one holder has.
#[derive(Debug)]
pub(super) struct Share {
    account: Account,
    held: usize,
}

impl Share {
    /// So much is held now.
    pub(super) fn set(&mut self, held: usize) {
        let total = &self.account.0;
        total.set(total.get() - self.held + held);
        self.held = held;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_what_all_hold_and_those_who_go_give_back() {
        let account = Account::default();
        let (mut one, mut two) = (account.share(), account.share());
        one.set(5);
        two.set(7);
        one.set(3);
        assert_eq!(account.total(), 10);
        drop(two);
        assert_eq!(account.total(), 3);
        drop(one);
        assert_eq!(account.total(), 0);
    }
}
