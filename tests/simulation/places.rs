//! Free capacity for calls, as far as it is known from outside: from what was written and read, and from
//! which connections have been sent all that they are owed. Changes nothing.

use crate::book::{Attempt, Book, Errand};
use crate::party::{Party, Phase};
use crate::registrar::Registrar;

impl Registrar {
    /// Whether a worker could take one more call for certain, seen from outside.
    pub(crate) fn surely_has_room(&self, namespace: &str, worker: u64, book: &Book) -> bool {
        let is_it = |it: &&Party| it.worker == worker && it.holds && it.phase == Phase::Live;
        let Some(party) = self.parties.values().find(is_it) else {
            return false;
        };
        let board = &self.namespaces[namespace];
        let function = |name: &str| board.provided(worker, name, party.clean, u64::MAX);
        let unseen = book.may_be_at(function, party.clean);
        // With little room in its outbox it may be choked, whatever it runs.
        self.limits.max_outbound > 1 << 20 && party.invoked.len() + unseen < party.capacity
    }

    /// Whether a provider has room for this call, while neither is the call on its way to a provider nor its ending to
    /// its caller: they have been sent all that they are owed.
    pub(crate) fn has_room_for(&self, attempt: &Attempt, errand: &Errand) -> bool {
        let board = &self.namespaces[&*attempt.namespace];
        let able = |it: &&Party| {
            it.phase == Phase::Live
                && *it.namespace == *attempt.namespace
                && errand.pinned.is_none_or(|pinned| pinned == it.worker)
                && board.provided(it.worker, &errand.name, attempt.tick, u64::MAX)
        };
        let mut able = self.parties.values().filter(able);
        let provides = |it: &Party| {
            board
                .providers(&errand.name)
                .any(|worker| worker == it.worker)
        };
        let caller = self.parties.get(&attempt.token);
        caller.is_some_and(|it| it.clean == self.tick)
            && able.clone().all(|it| it.clean == self.tick)
            && able.any(|it| it.holds && it.invoked.len() < it.capacity && provides(it))
    }
}
