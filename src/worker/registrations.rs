//! The functions and bindings that this worker wants, and their state at the engine: carries out the application's
//! operations, and registers again after a reconnect. Decides the next request; performs no I/O.
//!
//! At most one request is open at a time. So the state at the engine is known when the next request is made, and
//! only the request that a lost connection left unanswered is in doubt.

#[cfg(debug_assertions)]
mod books;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use super::backoff::Backoff;
use super::entry::{Binding, BindingName};
use super::error::{End, Refusal, RequestError};
use super::function::Function;
use super::notice::Notice;
use super::requests::{Purpose, Requests};
use super::status::{Offer, Registered, Standing};
use super::ticket::Ticket;
use super::view::View;
use crate::protocol::Code;

/// The pause before a refused function is registered again after a reconnect. It doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Bindings considered together for one request; as many as fit are sent.
const REBIND_MAX: usize = 1000;

/// An operation of the application that has not ended.
#[derive(Debug)]
struct Operation {
    kind: OperationKind,
    /// The application no longer waits for its end.
    abandoned: bool,
}

#[derive(Debug)]
enum OperationKind {
    Register(Vec<Arc<Function>>),
    Unregister(Vec<Arc<str>>),
    Bind(Vec<Binding>),
    Unbind(Vec<Binding>),
}

#[derive(Debug)]
struct Wanted {
    function: Arc<Function>,
    standing: Standing,
}

/// How far registration on the current connection has come.
#[derive(Debug, Default, PartialEq)]
enum Stage {
    /// There is no welcomed connection, or its engine is about to stop.
    #[default]
    Down,
    /// READY has not been sent.
    Restoring,
    /// READY was sent.
    Ready,
}

#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// Functions that the engine accepted, to be registered again after a reconnect.
    wanted: BTreeMap<Arc<str>, Wanted>,
    /// Bindings that the engine accepted.
    bindings_accepted: BTreeMap<Arc<BindingName>, Binding>,
    /// Those of them that it refused after a reconnect.
    refused_bindings: BTreeSet<Arc<BindingName>>,
    operations: BTreeMap<Ticket, Operation>,
    ended: HashMap<Ticket, Result<Registered, RequestError>>,
    last_ticket: u64,
    stage: Stage,
    /// Batches to register again, before any operation.
    to_restore: VecDeque<Vec<Arc<str>>>,
    /// Bindings to register again, after the functions and before any operation.
    to_rebind: VecDeque<Vec<Arc<BindingName>>>,
    /// A request is open.
    request_open: bool,
    /// The operation sent last, if it is unanswered. After a reconnect it may have taken effect.
    in_doubt: Option<Ticket>,
    /// Rights changed during that operation: its names may have left the board without it.
    rights_changed_meanwhile: bool,
    retry_at: Option<Instant>,
    retry_backoff: Option<Backoff>,
}

/// What registrations act on.
pub(super) struct Effects<'a> {
    pub(super) requests: &'a mut Requests,
    pub(super) view: &'a mut View,
    pub(super) notices: &'a mut Vec<Notice>,
}

impl Effects<'_> {
    fn not_restored(&mut self, name: Arc<str>, refusal: Refusal) {
        log::warn!("{name} could not be registered again: {refusal}");
        self.notices.push(Notice::NotRestored { name, refusal });
    }

    fn restored(&mut self, name: Arc<str>) {
        log::info!("{name} is registered again");
        self.notices.push(Notice::Restored { name });
    }
}

impl Wanted {
    fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::Refused(_))
    }

    /// The engine refuses a function that it accepted before.
    fn refuse(&mut self, refusal: Refusal, effects: &mut Effects<'_>) {
        let name = self.function.shared_name().clone();
        effects.view.set_own(&name, false);
        let standing = Standing::Refused(refusal.clone());
        if self.standing != standing {
            self.standing = standing;
            effects.not_restored(name, refusal);
        }
    }
}

impl Registrations {
    pub(super) fn register(
        &mut self,
        functions: Vec<Function>,
        mut effects: Effects<'_>,
    ) -> Ticket {
        // The last of several definitions of a name counts.
        let by_name: BTreeMap<Arc<str>, Arc<Function>> = functions
            .into_iter()
            .map(|function| (function.shared_name().clone(), Arc::new(function)))
            .collect();
        for name in by_name.keys() {
            effects.view.set_own(name, true);
        }
        self.operation(
            OperationKind::Register(by_name.into_values().collect()),
            &mut effects,
        )
    }

    pub(super) fn unregister(&mut self, names: Vec<Arc<str>>, mut effects: Effects<'_>) -> Ticket {
        self.operation(OperationKind::Unregister(names), &mut effects)
    }

    pub(super) fn bind(&mut self, bindings: Vec<Binding>, mut effects: Effects<'_>) -> Ticket {
        self.operation(OperationKind::Bind(bindings), &mut effects)
    }

    pub(super) fn unbind(&mut self, bindings: Vec<Binding>, mut effects: Effects<'_>) -> Ticket {
        self.operation(OperationKind::Unbind(bindings), &mut effects)
    }

    fn operation(&mut self, kind: OperationKind, effects: &mut Effects<'_>) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let abandoned = false;
        self.operations
            .insert(ticket, Operation { kind, abandoned });
        self.ask_next(effects);
        ticket
    }

    /// The application no longer waits for this operation. It is carried out nevertheless.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.ended.remove(&ticket);
        if let Some(operation) = self.operations.get_mut(&ticket) {
            operation.abandoned = true;
        }
    }

    /// The end of an operation, once it has ended; returned once.
    pub(super) fn take_end(&mut self, ticket: Ticket) -> Option<Result<Registered, RequestError>> {
        self.ended.remove(&ticket)
    }

    /// WELCOME arrived: registers again everything accepted before, in one batch, so that watchers see one
    /// revision.
    pub(super) fn restore(&mut self, mut effects: Effects<'_>) {
        self.stage = Stage::Restoring;
        self.retry_backoff = None;
        self.begin_again(&mut effects);
    }

    /// The rights changed: what the engine removed or refused may be allowed now, and what it accepted may be
    /// refused. Registers everything again; for entries that are still there this changes nothing.
    pub(super) fn rights_changed(&mut self, mut effects: Effects<'_>) {
        if self.stage != Stage::Down {
            self.rights_changed_meanwhile = self.in_doubt.is_some();
            self.begin_again(&mut effects);
        }
    }

    fn begin_again(&mut self, effects: &mut Effects<'_>) {
        // Functions that were being unregistered must not come back for a moment.
        let leaving = self.leaving();
        let staying = self.wanted.keys().filter(|name| !leaving.contains(name));
        self.to_restore = VecDeque::from([staying.cloned().collect()]);
        let bindings_accepted: Vec<Arc<BindingName>> =
            self.bindings_accepted.keys().cloned().collect();
        self.to_rebind = bindings_accepted
            .chunks(REBIND_MAX)
            .map(<[_]>::to_vec)
            .collect();
        self.ask_next(effects);
    }

    /// Functions that the operation in doubt unregisters, and may have unregistered.
    fn leaving(&self) -> &[Arc<str>] {
        match self
            .in_doubt
            .and_then(|ticket| self.operations.get(&ticket))
        {
            Some(Operation {
                kind: OperationKind::Unregister(names),
                ..
            }) if names.iter().all(|name| self.wanted.contains_key(name)) => names,
            _ => &[],
        }
    }

    /// Sends the next request, unless one is open.
    fn ask_next(&mut self, effects: &mut Effects<'_>) {
        while !self.request_open && self.stage != Stage::Down {
            if let Some(names) = self.to_restore.pop_front() {
                self.ask_again(names, effects);
            } else if let Some(keys) = self.to_rebind.pop_front() {
                self.bind_again(keys, effects);
            } else if self.stage == Stage::Restoring && self.in_doubt.is_none() {
                // READY means that everything is registered again: batches that one refusal took down were retried,
                // and so was the operation whose answer was lost.
                self.stage = Stage::Ready;
                effects.requests.ready(Purpose::Ready);
            } else if let Some((&ticket, _)) = self.operations.first_key_value() {
                self.send(ticket, effects);
            } else {
                self.in_doubt = None;
                if self.stage == Stage::Ready {
                    return;
                }
            }
        }
    }

    fn ask_again(&mut self, names: Vec<Arc<str>>, effects: &mut Effects<'_>) {
        let mut functions = Vec::with_capacity(names.len());
        let mut asked = Vec::with_capacity(names.len());
        for name in names {
            let Some(wanted) = self.wanted.get_mut(&name) else {
                continue;
            };
            if let Some(refusal) = effects.requests.entry_refusal(&wanted.function) {
                wanted.refuse(refusal, effects);
                continue;
            }
            functions.push(wanted.function.clone());
            asked.push(name);
        }
        if !functions.is_empty() {
            self.request_open = true;
            effects
                .requests
                .register(&functions, Purpose::Restore(asked));
        }
    }

    /// Sends as many of these bindings as fit, in their current form; the rest come next.
    fn bind_again(&mut self, mut keys: Vec<Arc<BindingName>>, effects: &mut Effects<'_>) {
        keys.retain(|key| self.bindings_accepted.contains_key(key));
        let bindings_accepted = keys
            .iter()
            .filter_map(|key| self.bindings_accepted.get(key));
        let mut bindings: Vec<Binding> = bindings_accepted.cloned().collect();
        if bindings.is_empty() {
            return;
        }
        let fitting = effects.requests.bindings_of_a_part(&bindings);
        bindings.truncate(fitting);
        let rest = keys.split_off(fitting);
        if !rest.is_empty() {
            self.to_rebind.push_front(rest);
        }
        self.request_open = true;
        effects.requests.bind(&bindings, Purpose::Rebind(keys));
    }

    /// Sends an operation, unless its end is known already.
    fn send(&mut self, ticket: Ticket, effects: &mut Effects<'_>) {
        let (wanted, requests) = (&self.wanted, &mut *effects.requests);
        let known = match &self.operations[&ticket].kind {
            OperationKind::Register(functions) => {
                let new = (functions.iter()).filter(|it| !wanted.contains_key(it.shared_name()));
                let count = wanted.len() + new.count();
                let too_large = functions.iter().find_map(|it| requests.entry_refusal(it));
                let refusal = too_large.or_else(|| requests.count_refusal(count));
                if refusal.is_none() {
                    requests.register(functions, Purpose::Operation(ticket));
                }
                refusal.map(Err)
            }
            OperationKind::Unregister(names) => {
                // The engine does not have the functions that it refused, and would refuse the batch because of
                // them.
                let refused = |name| wanted.get(name).is_some_and(Wanted::is_refused);
                let there = names.iter().filter(|name| !refused(*name)).cloned();
                let there: Vec<Arc<str>> = there.collect();
                if there.is_empty() && !names.is_empty() {
                    Some(Ok(effects.view.revision()))
                } else if let Some(refusal) = requests.names_refusal(&there) {
                    Some(Err(refusal))
                } else {
                    requests.unregister(&there, Purpose::Operation(ticket));
                    None
                }
            }
            OperationKind::Bind(bindings) => {
                let refusal = requests.bindings_refusal(bindings);
                if refusal.is_none() {
                    requests.bind(bindings, Purpose::Operation(ticket));
                }
                refusal.map(Err)
            }
            OperationKind::Unbind(bindings) => {
                let refusal = requests.bindings_refusal(bindings);
                if refusal.is_none() {
                    requests.unbind(bindings, Purpose::Operation(ticket));
                }
                refusal.map(Err)
            }
        };
        if let Some(end) = known {
            self.end_order(ticket, end, effects.view);
        } else {
            self.request_open = true;
            self.in_doubt = Some(ticket);
            self.rights_changed_meanwhile = false;
        }
    }

    /// The connection was lost: open requests are repeated over the next.
    pub(super) fn disconnected(&mut self) {
        self.stage = Stage::Down;
        self.request_open = false;
        self.to_restore.clear();
        self.to_rebind.clear();
        self.retry_at = None;
        for wanted in self.wanted.values_mut() {
            if wanted.standing == Standing::Listed {
                wanted.standing = Standing::Pending;
            }
        }
    }

    /// The engine answered a request.
    pub(super) fn answered(
        &mut self,
        asked: Purpose,
        answer: Result<u64, Refusal>,
        now: Instant,
        random: &mut impl Rng,
        mut effects: Effects<'_>,
    ) {
        self.request_open &= matches!(asked, Purpose::Ready | Purpose::Drain);
        match (asked, answer) {
            (Purpose::Ready, Err(refusal)) => log::warn!("READY was refused: {refusal}"),
            // The engine is about to stop. All of this is requested again from the next one.
            (_, Err(refusal)) if *refusal.code == *Code::Draining.as_str() => {
                self.stage = Stage::Down;
            }
            (Purpose::Operation(ticket), answer) => self.end_order(ticket, answer, effects.view),
            (Purpose::Ready, Ok(_))
            | (Purpose::Call(_) | Purpose::Cancelled | Purpose::Drain, _) => {}
            (Purpose::Rebind(keys), Ok(_)) => {
                for key in keys.iter().filter(|key| self.refused_bindings.remove(*key)) {
                    effects.restored(key.to_string().into());
                }
            }
            (Purpose::Rebind(keys), Err(refusal)) => {
                self.not_rebound(keys, &refusal, &mut effects);
            }
            (Purpose::Restore(names), Ok(_)) => {
                for name in names {
                    if let Some(wanted) = self.wanted.get_mut(&name) {
                        let was_refused = wanted.is_refused();
                        wanted.standing = Standing::Listed;
                        effects.view.set_own(&name, true);
                        if was_refused {
                            effects.restored(name);
                        }
                    }
                }
            }
            (Purpose::Restore(names), Err(refusal)) => {
                self.not_restored(names, &refusal, &mut effects);
                if refusal.retryable && self.retry_at.is_none() {
                    let backoff = self
                        .retry_backoff
                        .get_or_insert_with(|| Backoff::new(FIRST_RETRY, LAST_RETRY));
                    self.retry_at = Some(now + backoff.next_pause(random));
                }
            }
        }
        self.ask_next(&mut effects);
    }

    /// The engine refused a batch that it accepted before. Halves it until the offending function is found.
    fn not_restored(
        &mut self,
        mut names: Vec<Arc<str>>,
        refusal: &Refusal,
        effects: &mut Effects<'_>,
    ) {
        let whole = *refusal.code == *Code::TooManyWorkers.as_str();
        if names.len() > 1 && !whole {
            let half = names.split_off(names.len() / 2);
            self.to_restore.push_front(half);
            self.to_restore.push_front(names);
            return;
        }
        for name in names {
            if let Some(wanted) = self.wanted.get_mut(&name) {
                wanted.refuse(refusal.clone(), effects);
            }
        }
    }

    /// The engine refused bindings that it accepted before. Like functions, but retried only with the next
    /// connection or when the rights change.
    fn not_rebound(
        &mut self,
        mut keys: Vec<Arc<BindingName>>,
        refusal: &Refusal,
        effects: &mut Effects<'_>,
    ) {
        if keys.len() > 1 {
            let half = keys.split_off(keys.len() / 2);
            self.to_rebind.push_front(half);
            self.to_rebind.push_front(keys);
            return;
        }
        for key in keys {
            if self.bindings_accepted.contains_key(&key)
                && self.refused_bindings.insert(key.clone())
            {
                effects.not_restored(key.to_string().into(), refusal.clone());
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Retries refused functions if it is time.
    pub(super) fn retry(&mut self, now: Instant, mut effects: Effects<'_>) {
        if self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = None;
        // Not those being unregistered: the end of that operation would stay in doubt.
        let leaving = self.leaving();
        let refused = self.wanted.iter().filter(|(name, it)| {
            matches!(&it.standing, Standing::Refused(refusal) if refusal.retryable)
                && !leaving.contains(name)
        });
        let names = refused.map(|(name, _)| name.clone()).collect();
        self.to_restore.push_back(names);
        self.ask_next(&mut effects);
    }

    fn end_order(&mut self, ticket: Ticket, answer: Result<u64, Refusal>, view: &mut View) {
        self.in_doubt.take_if(|it| *it == ticket);
        let Some(operation) = self.operations.remove(&ticket) else {
            return;
        };
        let gone = |name| {
            self.wanted
                .get(name)
                .is_some_and(|it| it.standing != Standing::Listed)
        };
        let answer = match (&operation.kind, answer) {
            // UNREGISTER took effect over an earlier connection and only the answer was lost, or that engine died
            // and this one never had the functions.
            (OperationKind::Unregister(names), Err(refusal))
                if *refusal.code == *Code::NotRegistered.as_str() && names.iter().all(gone) =>
            {
                Ok(view.revision())
            }
            (_, answer) => answer,
        };
        match (operation.kind, answer.is_ok()) {
            (OperationKind::Register(functions), true) => {
                for function in functions {
                    view.set_own(function.shared_name(), true);
                    let standing = Standing::Listed;
                    let name = function.shared_name().clone();
                    self.wanted.insert(name, Wanted { function, standing });
                }
            }
            (OperationKind::Register(functions), false) => self.unmark(&functions, view),
            (OperationKind::Unregister(names), true) => {
                for name in names {
                    self.wanted.remove(&name);
                    view.set_own(&name, false);
                }
            }
            (OperationKind::Bind(bindings), true) => {
                for binding in bindings {
                    self.bindings_accepted.insert(binding.key.clone(), binding);
                }
            }
            (OperationKind::Unbind(bindings), true) => {
                for binding in bindings {
                    self.bindings_accepted.remove(&binding.key);
                    self.refused_bindings.remove(&binding.key);
                }
            }
            (OperationKind::Bind(_) | OperationKind::Unbind(_), false) => {}
            (OperationKind::Unregister(mut names), false) => {
                // If they were kept from being registered again, they are due now.
                let due =
                    |it: &Wanted| self.rights_changed_meanwhile || it.standing == Standing::Pending;
                names.retain(|name| self.wanted.get(name).is_some_and(due));
                self.to_restore.push_back(names);
            }
        }
        if !operation.abandoned {
            let end = answer.map(|revision| Registered { revision });
            self.ended
                .insert(ticket, end.map_err(RequestError::Refused));
        }
    }

    /// These functions were not registered: they are this worker's own only if they were before.
    fn unmark(&self, functions: &[Arc<Function>], view: &mut View) {
        for function in functions {
            let name = function.shared_name();
            view.set_own(name, self.wanted.contains_key(name));
        }
    }

    /// The worker has ended: ends all operations.
    pub(super) fn end(&mut self, end: &End, view: &mut View) {
        self.disconnected();
        self.in_doubt = None;
        for (ticket, operation) in std::mem::take(&mut self.operations) {
            if let OperationKind::Register(functions) = &operation.kind {
                self.unmark(functions, view);
            }
            if !operation.abandoned {
                self.ended
                    .insert(ticket, Err(RequestError::Ended(end.clone())));
            }
        }
    }

    /// The wanted functions by name, including those of operations in progress.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let mut offers: BTreeMap<&str, Offer> = BTreeMap::new();
        for (name, wanted) in &self.wanted {
            let (function, standing) = (wanted.function.clone(), wanted.standing.clone());
            offers.insert(name, Offer { function, standing });
        }
        for operation in self.operations.values() {
            if let OperationKind::Register(functions) = &operation.kind {
                for function in functions {
                    let offer = Offer {
                        function: function.clone(),
                        standing: Standing::Pending,
                    };
                    offers.entry(function.name()).or_insert(offer);
                }
            }
        }
        offers.into_values().collect()
    }
}
