//! The table of all calls in flight. A call is in one list at most: that of the provider that runs it, or that of the
//! calls parked for a function. So each step of a call costs O(1), and the end of a connection costs as much as it has
//! calls. Keeps the counts that limits refer to; sends nothing and enforces nothing.

use slab::Slab;

use crate::engine::interface::ConnId;
use crate::engine::registry::entry::Name;
use crate::engine::rng::HashKeys;
use crate::engine::user_key::UserKey;

use super::call::{Arguments, Call, CallId, Caller, Place, Terms};
use super::connection_calls::ConnectionCalls;
use super::list::{CallList, NONE};
use super::parking::{ParkKey, ParkedLists};

/// All calls in flight, and where they are.
#[derive(Debug)]
pub(crate) struct CallTable {
    slab: Slab<Call>,
    generation: u32,
    /// Calls that a caller waits for. The others merely hold a provider's slot.
    waiting: usize,
    /// Parked calls.
    parked: usize,
    /// By namespace.
    parked_lists: Vec<ParkedLists>,
    /// Calls parked since the start.
    tickets: u64,
    /// Bytes of arguments kept for another try.
    retained: usize,
    /// Too many calls merely hold a slot: providers that hold some get no others.
    saturated: bool,
    keys: HashKeys,
}

impl CallTable {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Self {
            slab: Slab::new(),
            generation: 0,
            waiting: 0,
            parked: 0,
            parked_lists: Vec::new(),
            tickets: 0,
            retained: 0,
            saturated: false,
            keys,
        }
    }

    /// Calls in flight, those without a caller included.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Calls that a caller waits for.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Calls without a caller, which merely hold a provider's slot.
    pub(crate) fn abandoned(&self) -> usize {
        self.slab.len() - self.waiting
    }

    pub(crate) fn parked(&self) -> usize {
        self.parked
    }

    /// Bytes of arguments kept for another try.
    pub(crate) fn retained(&self) -> usize {
        self.retained
    }

    /// Whether too many calls merely hold a slot.
    pub(crate) fn is_saturated(&self) -> bool {
        self.saturated
    }

    /// Returns whether it was saturated before.
    pub(crate) fn set_saturated(&mut self, saturated: bool) -> bool {
        std::mem::replace(&mut self.saturated, saturated)
    }

    pub(crate) fn get(&self, id: CallId) -> Option<&Call> {
        self.slab.get(id.key()).filter(|call| call.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slab.get_mut(id.key()).filter(|call| call.id == id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.slab.iter().map(|(_, call)| call)
    }

    /// Adds a call that a caller waits for.
    pub(crate) fn insert(
        &mut self,
        namespace: usize,
        function: Name,
        (caller, user): (Caller, UserKey),
        terms: Terms,
    ) -> CallId {
        self.generation = self.generation.wrapping_add(1);
        let id = CallId::new(self.generation, self.slab.vacant_key());
        self.slab.insert(Call {
            id,
            namespace,
            function,
            user,
            caller: Some(caller),
            terms,
            arguments: None,
            place: Place::Detached,
            tried: false,
            overdue: false,
            timer: None,
            ticket: 0,
            previous: NONE,
            next: NONE,
        });
        self.waiting += 1;
        id
    }

    /// Removes a call that is in no list.
    pub(crate) fn remove(&mut self, id: CallId) -> Call {
        self.slab.remove(id.key())
    }

    /// The caller gets its ending, or is gone: nothing waits for the call any more.
    pub(crate) fn take_caller(&mut self, id: CallId) -> Option<Caller> {
        let caller = self.get_mut(id)?.caller.take()?;
        self.waiting -= 1;
        Some(caller)
    }

    // Arguments.

    /// Keeps the arguments of a call for another try. Returns its caller and the bytes they take.
    pub(crate) fn retain(&mut self, id: CallId, arguments: Arguments) -> Option<(ConnId, usize)> {
        let call = self.get_mut(id)?;
        let caller = call.caller.as_ref()?.conn;
        let bytes = arguments.bytes();
        call.arguments = Some(Box::new(arguments));
        self.retained += bytes;
        Some((caller, bytes))
    }

    /// Drops the arguments of a call. Returns its caller and the bytes they took.
    pub(crate) fn release(&mut self, id: CallId) -> Option<(Option<ConnId>, usize)> {
        let call = self.get_mut(id)?;
        let bytes = call.arguments.take()?.bytes();
        let caller = call.caller.as_ref().map(|caller| caller.conn);
        self.retained -= bytes;
        Some((caller, bytes))
    }

    // Lists.

    /// Adds a call to those that the worker on `provider` runs.
    pub(crate) fn run(&mut self, id: CallId, provider: ConnId, calls: &mut ConnectionCalls) {
        if let Some(call) = self.get_mut(id) {
            call.place = Place::Running(provider);
        }
        self.push_back(calls.start_running(), id);
    }

    /// Removes a call from those that its provider runs.
    pub(crate) fn stop_running(&mut self, id: CallId, calls: &mut ConnectionCalls) {
        let Some(call) = self.get_mut(id) else { return };
        call.place = Place::Detached;
        let is_overdue = std::mem::take(&mut call.overdue);
        let is_abandoned = call.caller.is_none();
        self.unlink(calls.stop_running(is_overdue, is_abandoned), id);
    }

    /// Parks a call. Returns its key if it is the first one there.
    pub(crate) fn park(&mut self, id: CallId) -> Option<ParkKey> {
        let ticket = self.tickets;
        let call = self.get_mut(id)?;
        call.place = Place::Parked;
        call.ticket = ticket;
        let (namespace, key) = (call.namespace, park_key(call));
        self.tickets += 1;
        self.parked += 1;
        if self.parked_lists.len() <= namespace {
            let keys = self.keys;
            self.parked_lists
                .resize_with(namespace + 1, || ParkedLists::new(keys));
        }
        let mut list = self.parked_lists[namespace].get(&key).unwrap_or_default();
        let is_first = list.is_empty();
        self.push_back(&mut list, id);
        self.parked_lists[namespace].set(&key, list);
        is_first.then_some(key)
    }

    /// Removes a call from the list it is parked in.
    pub(crate) fn unpark(&mut self, id: CallId) {
        let Some(call) = self.get_mut(id) else { return };
        call.place = Place::Detached;
        let (namespace, key) = (call.namespace, park_key(call));
        self.parked -= 1;
        let Some(mut list) = self.parked_in(namespace).and_then(|it| it.get(&key)) else {
            return;
        };
        self.unlink(&mut list, id);
        self.parked_lists[namespace].set(&key, list);
    }

    /// The lists of parked calls of a namespace, if a call was ever parked in it.
    pub(crate) fn parked_in(&self, namespace: usize) -> Option<&ParkedLists> {
        self.parked_lists.get(namespace)
    }

    /// The first call parked under a key, and its ticket.
    pub(crate) fn first_parked(&self, namespace: usize, key: &ParkKey) -> Option<(CallId, u64)> {
        let list = self.parked_in(namespace)?.get(key)?;
        let first = self.slab.get(list.head as usize)?;
        Some((first.id, first.ticket))
    }

    /// The first call that a worker runs.
    pub(crate) fn first_running(&self, calls: &ConnectionCalls) -> Option<CallId> {
        let first = self.slab.get(calls.running().head as usize)?;
        Some(first.id)
    }

    fn push_back(&mut self, list: &mut CallList, id: CallId) {
        let key = id.key() as u32;
        let call = &mut self.slab[key as usize];
        (call.previous, call.next) = (list.tail, NONE);
        match self.slab.get_mut(list.tail as usize) {
            Some(tail) => tail.next = key,
            None => list.head = key,
        }
        list.tail = key;
    }

    fn unlink(&mut self, list: &mut CallList, id: CallId) {
        let Call { previous, next, .. } = self.slab[id.key()];
        match self.slab.get_mut(previous as usize) {
            Some(call) => call.next = next,
            None => list.head = next,
        }
        match self.slab.get_mut(next as usize) {
            Some(call) => call.previous = previous,
            None => list.tail = previous,
        }
    }
}

/// The key that a call is parked under.
fn park_key(call: &Call) -> ParkKey {
    ParkKey {
        function: call.function.clone(),
        worker: call.terms.worker,
        user: call.user,
    }
}

#[cfg(debug_assertions)]
impl CallTable {
    /// Recounts what is kept beside the calls. `limit` is that of all calls.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_books(&self, limit: u64) {
        let Self {
            slab,
            generation: _,
            waiting,
            parked,
            parked_lists,
            tickets,
            retained,
            saturated,
            keys: _,
        } = self;
        let count = |is: fn(&Call) -> bool| self.iter().filter(|call| is(call)).count();
        assert_eq!(*waiting, count(|it| it.caller.is_some()), "waiting calls");
        assert_eq!(*parked, count(|it| it.place == Place::Parked), "parked");
        let arguments = self.iter().filter_map(|it| it.arguments.as_ref());
        let bytes: usize = arguments.map(|it| it.bytes()).sum();
        assert_eq!(*retained, bytes, "retained bytes");
        let abandoned = self.abandoned() as u64;
        if *saturated {
            assert!(abandoned > limit / 2, "saturated with {abandoned} calls");
        } else {
            assert!(
                abandoned < limit.max(1),
                "{abandoned} calls do not saturate"
            );
        }
        for (key, call) in slab {
            assert_eq!(call.id.key(), key, "key of {call:?}");
            let (waits, keeps) = (call.caller.is_some(), call.arguments.is_some());
            match call.place {
                Place::Parked => assert!(waits && keeps && !call.overdue, "{call:?}"),
                Place::Running(_) => {
                    assert!(!keeps || waits && call.terms.idempotent, "{call:?}");
                    assert!(!call.overdue || !waits, "{call:?}");
                }
                Place::Detached => panic!("in no list: {call:?}"),
            }
            assert!(!call.tried || call.terms.idempotent, "{call:?}");
        }
        let mut listed = 0;
        for (namespace, lists) in parked_lists.iter().enumerate() {
            for (key, list) in lists.all() {
                let calls = self.listed(list);
                assert!(!calls.is_empty(), "an empty list for {key:?}");
                assert!(calls.is_sorted_by(|a, b| a.ticket < b.ticket), "{calls:?}");
                for call in &calls {
                    let place = (call.place, call.namespace, park_key(call));
                    assert_eq!(place, (Place::Parked, namespace, key.clone()));
                    assert!(call.ticket < *tickets, "{call:?}");
                }
                listed += calls.len();
            }
        }
        assert_eq!(listed, *parked, "calls in lists of parked ones");
    }

    /// Recounts what a connection keeps beside its calls: those that it runs, and those that it `made`, by their
    /// requests. Returns the number of those that it runs.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_connection(
        &self,
        id: ConnId,
        calls: &ConnectionCalls,
        made: &[(u64, &Call)],
    ) -> usize {
        let running = self.listed(calls.running());
        calls.check_books(id, &running, made);
        running.len()
    }

    /// All keys with parked calls of a namespace.
    pub(crate) fn parked_keys(&self, namespace: usize) -> Vec<ParkKey> {
        let lists = self.parked_in(namespace).into_iter();
        lists
            .flat_map(ParkedLists::all)
            .map(|(key, _)| key)
            .collect()
    }

    /// The calls of a list, in order. Checks its links.
    fn listed(&self, list: CallList) -> Vec<&Call> {
        let (mut calls, mut previous, mut key) = (Vec::new(), NONE, list.head);
        while let Some(call) = self.slab.get(key as usize) {
            assert_eq!(call.previous, previous, "links of {call:?}");
            calls.push(call);
            (previous, key) = (key, call.next);
        }
        assert_eq!((key, list.tail), (NONE, previous), "the ends of a list");
        calls
    }
}
