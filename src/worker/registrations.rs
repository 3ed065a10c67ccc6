//! What this worker wants to provide, and how that stands with the engine: the application's orders
//! until they end, and after every reconnect the registration of all that was accepted before. It
//! decides what to ask next; it neither reads nor writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::requests::{Asked, Requests, Ticket};
use super::view::View;
use super::{End, Function, Notice, Offer, Refusal, Registered, RequestError, Standing};
use crate::protocol::Code;

/// The pause before what was refused after a reconnect is tried again; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Something that the application ordered and that has not ended.
#[derive(Debug)]
struct Order {
    what: What,
    /// It was sent over an earlier connection: perhaps it had its effect already.
    sent: bool,
    /// Nobody waits for its end any more.
    abandoned: bool,
}

#[derive(Debug)]
enum What {
    Register(Vec<Arc<Function>>),
    Unregister(Vec<Arc<str>>),
}

#[derive(Debug)]
struct Wanted {
    function: Arc<Function>,
    standing: Standing,
}

#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// What the engine accepted, and may have to accept again.
    wanted: BTreeMap<Arc<str>, Wanted>,
    orders: BTreeMap<Ticket, Order>,
    ended: HashMap<Ticket, Result<Registered, RequestError>>,
    last_ticket: u64,
    /// There is a connection that was welcomed.
    up: bool,
    /// Requests that must end before READY.
    awaited: BTreeSet<u64>,
    ready_sent: bool,
    retry_at: Option<Instant>,
    retry_pause: Option<Duration>,
}

impl Wanted {
    fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::Refused(_))
    }

    /// The engine accepted it before, and refuses it now.
    fn refuse(&mut self, refusal: Refusal, view: &mut View, notices: &mut Vec<Notice>) {
        let name = self.function.shared_name().clone();
        view.set_own(&name, false);
        let standing = Standing::Refused(refusal.clone());
        if self.standing != standing {
            self.standing = standing;
            notices.push(Notice::NotRestored { name, refusal });
        }
    }
}

impl Registrations {
    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    pub(super) fn register(
        &mut self,
        functions: Vec<Function>,
        requests: &mut Requests,
        view: &mut View,
    ) -> Ticket {
        // Of several definitions of one name the last one holds.
        let by_name: BTreeMap<Arc<str>, Arc<Function>> = functions
            .into_iter()
            .map(|function| (function.shared_name().clone(), Arc::new(function)))
            .collect();
        for name in by_name.keys() {
            view.set_own(name, true);
        }
        self.order(
            What::Register(by_name.into_values().collect()),
            requests,
            view,
        )
    }

    pub(super) fn unregister(
        &mut self,
        names: Vec<Arc<str>>,
        requests: &mut Requests,
        view: &mut View,
    ) -> Ticket {
        self.order(What::Unregister(names), requests, view)
    }

    fn order(&mut self, what: What, requests: &mut Requests, view: &mut View) -> Ticket {
        let ticket = self.ticket();
        let order = Order {
            what,
            sent: false,
            abandoned: false,
        };
        self.orders.insert(ticket, order);
        if self.up {
            self.send(ticket, requests, view);
        }
        ticket
    }

    /// Sends an order, unless its end is known already. Returns the request's id.
    fn send(&mut self, ticket: Ticket, requests: &mut Requests, view: &mut View) -> Option<u64> {
        let order = self.orders.get_mut(&ticket)?;
        let wanted = &self.wanted;
        let known = match &order.what {
            What::Register(functions) => {
                let new = functions
                    .iter()
                    .filter(|it| !wanted.contains_key(it.shared_name()));
                let count = wanted.len() + new.count();
                let too_large = functions.iter().find_map(|it| requests.entry_refusal(it));
                too_large.or_else(|| requests.count_refusal(count)).map(Err)
            }
            What::Unregister(names) => {
                let refused = |name| wanted.get(name).is_some_and(Wanted::is_refused);
                let all_refused = !names.is_empty() && names.iter().all(refused);
                let too_many = requests.names_refusal(names).map(Err);
                too_many.or_else(|| all_refused.then(|| Ok(view.revision())))
            }
        };
        if let Some(end) = known {
            self.end_order(ticket, end, view);
            return None;
        }
        order.sent = true;
        Some(match &order.what {
            What::Register(functions) => requests.register(functions, Asked::Order(ticket)),
            What::Unregister(names) => {
                // The engine has not what it refused, and would refuse the batch for it.
                let there = names.iter();
                let there = there.filter(|&name| !wanted.get(name).is_some_and(Wanted::is_refused));
                let there: Vec<Arc<str>> = there.cloned().collect();
                requests.unregister(&there, Asked::Order(ticket))
            }
        })
    }

    /// Nobody waits for this order's end any more. It is carried out nevertheless.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.ended.remove(&ticket);
        if let Some(order) = self.orders.get_mut(&ticket) {
            order.abandoned = true;
        }
    }

    /// How an order ended, if it has; told once.
    pub(super) fn take_end(&mut self, ticket: Ticket) -> Option<Result<Registered, RequestError>> {
        self.ended.remove(&ticket)
    }

    /// WELCOME came: registers again what was accepted before, then what was ordered meanwhile.
    pub(super) fn restore(
        &mut self,
        requests: &mut Requests,
        view: &mut View,
        notices: &mut Vec<Notice>,
    ) {
        self.up = true;
        self.ready_sent = false;
        self.retry_at = None;
        self.retry_pause = None;
        let names = self.wanted.keys().cloned().collect();
        self.ask_again(names, requests, view, notices);
        for ticket in self.orders.keys().copied().collect::<Vec<_>>() {
            let id = self.send(ticket, requests, view);
            self.awaited.extend(id);
        }
        self.maybe_ready(requests);
    }

    /// Registers wanted functions again, in one batch: one revision step for all who watch.
    fn ask_again(
        &mut self,
        names: Vec<Arc<str>>,
        requests: &mut Requests,
        view: &mut View,
        notices: &mut Vec<Notice>,
    ) {
        // What is about to be unregistered shall not come back.
        let leaving: BTreeSet<&Arc<str>> = (self.orders.values())
            .filter_map(|order| match &order.what {
                What::Unregister(names) if order.sent => Some(names),
                _ => None,
            })
            .flatten()
            .collect();
        let mut functions = Vec::with_capacity(names.len());
        let mut asked = Vec::with_capacity(names.len());
        for name in names {
            let Some(wanted) = self.wanted.get_mut(&name) else {
                continue;
            };
            if leaving.contains(&name) {
                continue;
            }
            if let Some(refusal) = requests.entry_refusal(&wanted.function) {
                wanted.refuse(refusal, view, notices);
                continue;
            }
            functions.push(wanted.function.clone());
            asked.push(name);
        }
        if !functions.is_empty() {
            let id = requests.register(&functions, Asked::Restore(asked));
            if !self.ready_sent {
                self.awaited.insert(id);
            }
        }
    }

    /// READY says that all is registered again, so it waits until that is known: what one refusal took
    /// down with it must have had its second chance.
    fn maybe_ready(&mut self, requests: &mut Requests) {
        if self.up && !self.ready_sent && self.awaited.is_empty() {
            self.ready_sent = true;
            requests.ready();
        }
    }

    /// The connection ended: what was open is asked again over the next.
    pub(super) fn disconnected(&mut self) {
        self.up = false;
        self.awaited.clear();
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
        (id, asked): (u64, Asked),
        answer: Result<u64, Refusal>,
        now: Instant,
        random: &mut impl Rng,
        (requests, view, notices): (&mut Requests, &mut View, &mut Vec<Notice>),
    ) {
        self.awaited.remove(&id);
        match (asked, answer) {
            // The engine stops. All this is asked again of the next one.
            (Asked::Order(_) | Asked::Restore(_), Err(refusal))
                if *refusal.code == *Code::Draining.as_str() => {}
            (Asked::Ready, Ok(_)) => {}
            (Asked::Ready, Err(refusal)) => log::warn!("READY was refused: {refusal}"),
            (Asked::Order(ticket), answer) => {
                let unlisted = self.end_order(ticket, answer, view);
                self.ask_again(unlisted, requests, view, notices);
            }
            (Asked::Restore(names), Ok(_)) => {
                for name in names {
                    if let Some(wanted) = self.wanted.get_mut(&name) {
                        wanted.standing = Standing::Listed;
                        view.set_own(&name, true);
                    }
                }
            }
            (Asked::Restore(names), Err(refusal)) => {
                self.not_restored(names, &refusal, (requests, view, notices));
                if refusal.retryable && self.retry_at.is_none() {
                    let pause = self.retry_pause;
                    let pause = pause.map_or(FIRST_RETRY, |pause| (pause * 2).min(LAST_RETRY));
                    self.retry_pause = Some(pause);
                    self.retry_at = Some(now + pause.mul_f64(random.random_range(0.5..1.0)));
                }
            }
        }
        self.maybe_ready(requests);
    }

    /// A batch that was registered before is refused. One of them is to blame; halve until it is found.
    fn not_restored(
        &mut self,
        mut names: Vec<Arc<str>>,
        refusal: &Refusal,
        (requests, view, notices): (&mut Requests, &mut View, &mut Vec<Notice>),
    ) {
        let whole = *refusal.code == *Code::TooManyWorkers.as_str();
        if names.len() > 1 && !whole {
            let half = names.split_off(names.len() / 2);
            self.ask_again(names, requests, view, notices);
            self.ask_again(half, requests, view, notices);
            return;
        }
        for name in names {
            if let Some(wanted) = self.wanted.get_mut(&name) {
                wanted.refuse(refusal.clone(), view, notices);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries again what was refused, if it is time.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        requests: &mut Requests,
        view: &mut View,
        notices: &mut Vec<Notice>,
    ) {
        if self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = None;
        let refused = self.wanted.iter().filter(
            |(_, it)| matches!(&it.standing, Standing::Refused(refusal) if refusal.retryable),
        );
        let names = refused.map(|(name, _)| name.clone()).collect();
        self.ask_again(names, requests, view, notices);
    }

    /// Returns wanted functions that the engine has not, because the order that failed kept them from
    /// being registered again.
    fn end_order(
        &mut self,
        ticket: Ticket,
        answer: Result<u64, Refusal>,
        view: &mut View,
    ) -> Vec<Arc<str>> {
        let mut unlisted = Vec::new();
        let Some(order) = self.orders.remove(&ticket) else {
            return unlisted;
        };
        let answer = match (&order.what, answer) {
            // An earlier connection's UNREGISTER had its effect, and only its answer was lost.
            (What::Unregister(names), Err(refusal))
                if *refusal.code == *Code::NotRegistered.as_str()
                    && names.iter().all(|name| self.wanted.contains_key(name)) =>
            {
                Ok(view.revision())
            }
            (_, answer) => answer,
        };
        match (order.what, answer.is_ok()) {
            (What::Register(functions), true) => {
                for function in functions {
                    view.set_own(function.shared_name(), true);
                    let standing = Standing::Listed;
                    let name = function.shared_name().clone();
                    self.wanted.insert(name, Wanted { function, standing });
                }
            }
            (What::Register(functions), false) => {
                for function in functions {
                    let name = function.shared_name();
                    view.set_own(name, self.wanted.contains_key(name));
                }
            }
            (What::Unregister(names), true) => {
                for name in names {
                    self.wanted.remove(&name);
                    view.set_own(&name, false);
                }
            }
            (What::Unregister(mut names), false) => {
                let pending = |it: &Wanted| it.standing == Standing::Pending;
                names.retain(|name| self.wanted.get(name).is_some_and(pending));
                unlisted = names;
            }
        }
        if !order.abandoned {
            let end = answer.map(|revision| Registered { revision });
            self.ended
                .insert(ticket, end.map_err(RequestError::Refused));
        }
        unlisted
    }

    /// The worker is over: so are its orders.
    pub(super) fn end(&mut self, end: &End) {
        self.disconnected();
        for (ticket, order) in std::mem::take(&mut self.orders) {
            if !order.abandoned {
                self.ended
                    .insert(ticket, Err(RequestError::Ended(end.clone())));
            }
        }
    }

    /// What is wanted, by name; orders that have not ended included.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let mut offers: BTreeMap<&str, Offer> = BTreeMap::new();
        for (name, wanted) in &self.wanted {
            let (function, standing) = (wanted.function.clone(), wanted.standing.clone());
            offers.insert(name, Offer { function, standing });
        }
        for order in self.orders.values() {
            if let What::Register(functions) = &order.what {
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
