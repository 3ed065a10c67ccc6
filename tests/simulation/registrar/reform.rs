//! What other rights make of those who are in: some go, some lose what they have or wait for, some are shown
//! something else.

use std::rc::Rc;

use callboard::engine::Verb;

use super::Registrar;
use crate::book::{Book, Forbidden};
use crate::journal::saw;
use crate::party::{Owed, Party, Phase};
use crate::principals::{Permit, Principals};

impl Registrar {
    /// Other rights hold from now on.
    pub(crate) fn reform(&mut self, principals: &Principals, book: &mut Book, now: u64) {
        self.tick += 1;
        self.principals = Some(principals.clone());
        let live = |(token, party): (&u64, &Party)| (party.phase == Phase::Live).then_some(*token);
        for token in self.parties.iter().filter_map(live).collect::<Vec<_>>() {
            let party = &self.parties[&token];
            match principals.permit(&party.credential).cloned() {
                None => {
                    saw("somebody's token was revoked");
                    self.end(token, "unauthorized", book);
                }
                Some(permit) if permit != party.permit => {
                    self.forbid_calls(token, &permit, book, now);
                    self.change_permit(token, &permit);
                }
                Some(_) => {}
            }
        }
    }

    /// Whether a connection is closing with outdated rights: frames still written to it follow
    /// those, and the model does not keep them. No view is resumed from there.
    pub(crate) fn leaves_with_old_rights(&self, party: &Party) -> bool {
        let principals = self.principals.as_ref();
        matches!(party.phase, Phase::Over(_))
            && principals.is_some_and(|it| it.permit(&party.credential) != Some(&party.permit))
    }

    /// Calls that wait and may no longer be made end.
    fn forbid_calls(&self, token: u64, permit: &Permit, book: &mut Book, now: u64) {
        let party = &self.parties[&token];
        let board = &self.namespaces[&party.namespace];
        for (owed, _) in party.owed.values() {
            let Owed::Call(index) = owed else { continue };
            let attempt = &mut book.attempts[*index];
            let name = &book.errands[attempt.errand].name;
            if permit.may(Verb::Call, name) {
                continue;
            }
            // No provider can have been given it, and nothing else has ended it.
            let waits = attempt.nobody
                && !board.was_provided(name, attempt.tick)
                && !attempt.cancelled
                && !attempt.may_be_refused
                && now < attempt.deadline
                && book.errands[attempt.errand].wait;
            attempt.forbidden = if waits {
                Forbidden::Certainly
            } else {
                Forbidden::Perhaps
            };
        }
    }

    /// What a party has and may no longer have leaves.
    fn change_permit(&mut self, token: u64, permit: &Rc<Permit>) {
        saw("the rights of a connection changed");
        let (tick, (_, worker, ..)) = (self.tick, self.names(token));
        let party = self.party(token);
        if let Some(batch) = &mut party.batch {
            let mut names = batch.entries.iter().map(|(name, _)| name);
            if names.any(|name| !permit.may(Verb::Register, name)) {
                batch.failure = Some("forbidden");
                batch.entries.clear();
            }
        }
        party.cover.sight = permit.sight();
        party.is_reformed = true;
        let before = std::mem::replace(&mut party.permit, permit.clone());
        if !before.has_the_same(Verb::Register, permit) || !before.has_the_same(Verb::Bind, permit)
        {
            party.untold += 1;
        }
        if !party.holds {
            return;
        }
        let board = self.board(token);
        let functions = board.functions_beyond(worker, |name| permit.may(Verb::Register, name));
        for function in &functions {
            board.withdraw(worker, function, tick);
        }
        let bindings = board.bindings_beyond(worker, |name| permit.may(Verb::Bind, name));
        for key in &bindings {
            board.unbind(worker, key);
        }
        if !functions.is_empty() || !bindings.is_empty() {
            saw("what somebody may no longer have left the board");
        }
    }
}
