//! What other rights make of those who are in: some go, some lose what they have or wait for, some are shown
//! something else.

use std::rc::Rc;

use callboard::engine::Verb;

use super::Registrar;
use crate::book::Book;
use crate::journal::saw;
use crate::party::{Owed, Party, Phase};
use crate::principals::{Permit, Principals};

impl Registrar {
    /// Other rights hold from now on.
    pub(crate) fn reform(&mut self, principals: &Principals, book: &mut Book) {
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
                Some(permit) if permit != party.permit => self.change_permit(token, &permit, book),
                Some(_) => {}
            }
        }
    }

    /// What a party has and may no longer have leaves; what it waits for and may no longer have ends.
    fn change_permit(&mut self, token: u64, permit: &Rc<Permit>, book: &mut Book) {
        saw("the rights of a connection changed");
        let (tick, (_, worker, ..)) = (self.tick, self.names(token));
        let party = self.party(token);
        for (owed, _) in party.owed.values() {
            if let Owed::Call(index) = owed {
                let errand = &book.errands[book.attempts[*index].errand];
                book.attempts[*index].forbidden |= !permit.may(Verb::Call, &errand.name);
            }
        }
        if let Some(batch) = &mut party.batch {
            let mut names = batch.entries.iter().map(|(name, _)| name);
            if names.any(|name| !permit.may(Verb::Register, name)) {
                batch.failure = Some("forbidden");
                batch.entries.clear();
            }
        }
        party.cover.sight = permit.sight();
        party.is_reformed = true;
        party.permit = permit.clone();
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
        let lost = &mut self.party(token).lost;
        lost.0.extend(functions);
        lost.1.extend(bindings);
    }
}
