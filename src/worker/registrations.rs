//! What this worker wants to provide and to bind, and how that stands with the engine: the application's operations
//! until they end, and after every reconnect the registration of all that was accepted before. It
//! decides what to ask next; it neither reads nor writes.
//!
//! One request is open at a time. So it is always known what the engine has when the next one is made,
//! and only the one that a lost connection left unanswered is in doubt.

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

/// The pause before what was refused after a reconnect is tried again; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Bindings that are looked at together when they are made again; what fits of them goes into one request.
const REBIND_MAX: usize = 1000;

/// Something that the application ordered and that has not ended.
#[derive(Debug)]
struct Operation {
    kind: OperationKind,
    /// Nobody waits for its end any more.
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

/// How far registering with the present connection's engine has come.
#[derive(Debug, Default, PartialEq)]
enum Stage {
    /// There is no connection that was welcomed, or its engine is about to stop.
    #[default]
    Down,
    /// READY is still to be said.
    Restoring,
    /// It was said.
    Ready,
}

#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// What the engine accepted, and may have to accept again.
    wanted: BTreeMap<Arc<str>, Wanted>,
    /// What it accepted of bindings.
    bindings_accepted: BTreeMap<Arc<BindingName>, Binding>,
    /// Of these, what it refused when they were made again.
    refused_bindings: BTreeSet<Arc<BindingName>>,
    operations: BTreeMap<Ticket, Operation>,
    ended: HashMap<Ticket, Result<Registered, RequestError>>,
    last_ticket: u64,
    stage: Stage,
    /// Batches to be registered again, before any operation.
    to_restore: VecDeque<Vec<Arc<str>>>,
    /// Bindings to be made again, after the functions and before any operation.
    to_rebind: VecDeque<Vec<Arc<BindingName>>>,
    /// A request is open.
    request_open: bool,
    /// The operation that was sent last and is unanswered. Over a reconnect: it may have had its effect.
    in_doubt: Option<Ticket>,
    /// Rights changed while it was: its names may have left the board without it.
    rights_changed_meanwhile: bool,
    retry_at: Option<Instant>,
    retry_backoff: Option<Backoff>,
}

/// What registering works with.
pub(super) struct Effects<'a> {
    pub(super) requests: &'a mut Requests,
    pub(super) view: &'a mut View,
    pub(super) notices: &'a mut Vec<Notice>,
}

impl Effects<'_> {
    fn not_restored(&mut self, name: Arc<str>, refusal: Refusal) {
        log::warn!("{name} is not on the board any more: {refusal}");
        self.notices.push(Notice::NotRestored { name, refusal });
    }

    fn restored(&mut self, name: Arc<str>) {
        log::info!("{name} is on the board again");
        self.notices.push(Notice::Restored { name });
    }
}

impl Wanted {
    fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::Refused(_))
    }

    /// The engine accepted it before, and refuses it now.
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
        // Of several definitions of one name the last one holds.
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

    /// Nobody waits for this operation's end any more. It is carried out nevertheless.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.ended.remove(&ticket);
        if let Some(operation) = self.operations.get_mut(&ticket) {
            operation.abandoned = true;
        }
    }

    /// How an operation ended, if it has; told once.
    pub(super) fn take_end(&mut self, ticket: Ticket) -> Option<Result<Registered, RequestError>> {
        self.ended.remove(&ticket)
    }

    /// WELCOME came: registers again what was accepted before, in one batch: one revision step for all
    /// who watch.
    pub(super) fn restore(&mut self, mut effects: Effects<'_>) {
        self.stage = Stage::Restoring;
        self.retry_backoff = None;
        self.begin_again(&mut effects);
    }

    /// What the engine took off the board for want of a right, and what it refused, may be had again now; what it
    /// has may not any more. All is registered again: of what is there already, that changes nothing.
    pub(super) fn rights_changed(&mut self, mut effects: Effects<'_>) {
        if self.stage != Stage::Down {
            self.rights_changed_meanwhile = self.in_doubt.is_some();
            self.begin_again(&mut effects);
        }
    }

    fn begin_again(&mut self, effects: &mut Effects<'_>) {
        // What was just being unregistered shall not come back for a moment.
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

    /// What the operation that is in doubt unregisters, and may have unregistered.
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

    /// Asks the next thing, unless something is open.
    fn ask_next(&mut self, effects: &mut Effects<'_>) {
        while !self.request_open && self.stage != Stage::Down {
            if let Some(names) = self.to_restore.pop_front() {
                self.ask_again(names, effects);
            } else if let Some(keys) = self.to_rebind.pop_front() {
                self.bind_again(keys, effects);
            } else if self.stage == Stage::Restoring && self.in_doubt.is_none() {
                // READY says that all is registered again: what one refusal took down with it has had its
                // second chance, and so has the operation whose answer was lost.
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

    /// As many of these as make a part, as they are bound now; the others are next.
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
                // The engine has not what it refused, and would refuse the batch for it.
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

    /// The connection ended: what was open is asked again over the next.
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

    /// A request of ours was answered.
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
            // The engine stops. All this is asked again of the next one.
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

    /// A batch that was registered before is refused. One of them is to blame; halve until it is found.
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

    /// Bindings that were accepted before are refused. As with functions; but they are tried again with
    /// the next connection, or when rights change, only.
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

    /// Tries again what was refused, if it is time.
    pub(super) fn retry(&mut self, now: Instant, mut effects: Effects<'_>) {
        if self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = None;
        // Not what is being unregistered: its end would be in doubt for good.
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
            // An earlier connection's UNREGISTER had its effect, and only its answer was lost. Or its engine
            // died, and this one never had them.
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
            (OperationKind::Register(functions), false) => {
                for function in functions {
                    let name = function.shared_name();
                    view.set_own(name, self.wanted.contains_key(name));
                }
            }
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

    /// The worker is over: so are its operations.
    pub(super) fn end(&mut self, end: &End) {
        self.disconnected();
        for (ticket, operation) in std::mem::take(&mut self.operations) {
            if !operation.abandoned {
                self.ended
                    .insert(ticket, Err(RequestError::Ended(end.clone())));
            }
        }
    }

    /// What is wanted, by name; operations that have not ended included.
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
