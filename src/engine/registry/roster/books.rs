//! The books of a roster: what it keeps beside the registrations, recounted and compared with the boards. In builds with
//! debug assertions only.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Registration, Roster, Totals, Worker};
use crate::engine::access::rights::Rules;
use crate::engine::registry::board::Board;
use crate::engine::registry::entry::Name;
use crate::engine::registry::visibility::ObserverRules;

impl Roster {
    /// Recounts what is kept beside the registrations, and compares them with the boards. Unless the namespace is
    /// touched, all of them are sealed.
    pub(in crate::engine::registry) fn check_books(
        &self,
        is_touched: bool,
        board: &Board,
        bindings: &Board,
    ) {
        let Self {
            workers,
            touched,
            gone,
            departed,
            totals,
            rules,
            charge,
        } = self;
        let is_sealed = touched.is_empty() && gone.is_empty() && departed.is_empty();
        assert!(is_touched || is_sealed, "a roster that is touched");
        let mut recounted = Totals::default();
        for entry in workers.values() {
            entry.check_books(rules);
            recounted.functions += entry.functions.len();
            recounted.bindings += entry.bindings.len();
            recounted.bytes += entry.bytes;
        }
        let mut listed = touched.clone();
        listed.retain(|id| workers.contains_key(id));
        listed.sort_unstable();
        let marked = workers.iter().filter(|(_, it)| it.touched);
        assert!(marked.map(|(id, _)| *id).eq(listed), "touched workers");
        let Totals {
            functions,
            bindings: bound,
            bytes,
        } = *totals;
        assert_eq!(functions, recounted.functions, "functions of all workers");
        assert_eq!(bound, recounted.bindings, "bindings of all workers");
        assert_eq!(bytes, recounted.bytes, "bytes of all workers");
        let held = recounted.memory(workers.len());
        assert_eq!(charge.bytes(), held, "charge of a roster");
        let registered = self.check_board(board, |worker| &worker.functions);
        assert_eq!(registered, functions, "providers of functions");
        let registered = self.check_board(bindings, |worker| &worker.bindings);
        assert_eq!(registered, bound, "workers of bindings");
    }

    /// Each provider on a board has a registration. Returns their number.
    fn check_board(
        &self,
        board: &Board,
        registrations: impl Fn(&Worker) -> &BTreeMap<Name, Registration>,
    ) -> usize {
        let providers = board.all_providers().map(|(slot, name, provider)| {
            let worker = self.workers.get(&provider.worker);
            let known = worker.and_then(|worker| registrations(worker).get(name));
            let known = known.map(|it| (it.slot, it.bytes));
            assert_eq!(known, Some((slot, provider.bytes())), "provider of {name}");
        });
        providers.count()
    }

    pub(in crate::engine::registry) fn charged(&self) -> usize {
        self.charge.bytes()
    }

    /// The rules of readers with partial rights.
    pub(crate) fn observer_rules(&self) -> &[Rc<Rules>] {
        self.rules.all()
    }
}

impl Worker {
    fn check_books(&self, rules: &ObserverRules) {
        let Self {
            name,
            metadata: _,
            functions,
            bindings,
            bytes,
            generation,
            listed,
            shown,
            touched,
            added,
            removed,
            visible,
        } = self;
        let all = || functions.values().chain(bindings.values());
        let sum: usize = all().map(|it| it.bytes).sum();
        assert_eq!(*bytes, sum, "bytes of {name}");
        assert!(all().all(|it| it.generation <= *generation), "{name}");
        if rules.counted(visible) {
            let sealed = rules.count(self.sealed_names(None));
            assert_eq!(*visible, sealed, "visible functions of {name}");
        }
        let mut unsealed = functions.iter().filter(|(_, it)| !it.sealed);
        if *touched {
            assert!(unsealed.all(|(name, _)| added.contains(name)), "{added:?}");
        } else {
            let is_sealed = added.is_empty() && removed.is_empty() && shown.is_none();
            assert!(is_sealed && unsealed.next().is_none(), "{name} is sealed");
            assert!(*listed && !self.is_empty(), "{name} is listed");
        }
    }
}
