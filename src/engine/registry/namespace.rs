//! A namespace: a board of its own with its bindings, roster, change log, snapshot pages and audiences. Seals a turn's
//! changes into a revision. Knows no connection's state and sends nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use slab::Slab;

use crate::engine::access::rights::Rules;
use crate::engine::ceiling::NAMESPACE;
use crate::engine::interface::ConnId;
use crate::engine::memory::{Charge, recycle};
use crate::engine::rng::{HashKeys, Rng};
use crate::limits::Limits;

use super::audience::{Audience, LARGE};
use super::board::{Board, Provider};
use super::change::{Change, Changes, Section};
use super::changelog::ChangeLog;
use super::departures::{Departure, Departures, Farewell, NAMES_KEPT};
use super::encoded_change::EncodedChange;
use super::entry::{EncodedDefinition, Name};
use super::filter::WatchFilter;
use super::position::{PartPosition, Position};
use super::roster::Roster;
use super::snapshot::Pages;
use super::usage::RegistryUsage;

/// The namespace of connections that name none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// A worker as it registers: its id, its connection, its name, its metadata and its tier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registrant<'a> {
    pub(crate) worker: u64,
    pub(crate) conn: ConnId,
    pub(crate) name: &'a Name,
    pub(crate) metadata: &'a Rc<[u8]>,
    pub(crate) tier: u64,
}

impl Registrant<'_> {
    fn provider(&self, tier: u64, definition: &EncodedDefinition) -> Provider {
        Provider::new((self.worker, self.conn), tier, definition.clone())
    }
}

/// A connection's place in an audience: the audience's key, and the index among its members.
pub(crate) type AudiencePlace = (usize, usize);

/// One namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: Box<str>,
    /// Random for each incarnation of the namespace: revisions of different epochs can't be compared.
    epoch: u64,
    pub(super) board: Board,
    pub(super) bindings: Board,
    pub(super) roster: Roster,
    pub(super) log: ChangeLog,
    pub(super) departures: Departures,
    pub(super) pages: Pages,
    audiences: Slab<Audience>,
    by_filter: HashMap<Rc<WatchFilter>, usize, HashKeys>,
    /// Requested filters that rights restrict, shared by the connections that requested the same.
    requested: HashSet<Rc<WatchFilter>, HashKeys>,
    /// Something was touched since the last revision.
    touched: bool,
    /// Scratch list of a seal.
    changes: Vec<Change>,
    /// Audiences with cached frames, in the order in which they began to cache.
    caching: VecDeque<usize>,
    /// Bytes of the frames they cache, among those of all caches.
    cached: Charge,
    /// Its own bytes and those of its watches, among those of all boards.
    charge: Charge,
}

impl Namespace {
    pub(super) fn new(name: &str, limits: &Limits, rng: &mut Rng, usage: &RegistryUsage) -> Self {
        let epoch = rng.epoch();
        let board = Board::new(Section::Functions, rng.hash_keys(), &usage.boards);
        let bindings = Board::new(Section::Bindings, rng.hash_keys(), &usage.boards);
        let keys = rng.hash_keys();
        Self {
            name: name.into(),
            epoch,
            board,
            bindings,
            roster: Roster::new(&usage.boards),
            log: ChangeLog::new(limits.log_bytes as usize, keys, &usage.logs),
            departures: Departures::new(limits.max_departures, &usage.logs),
            pages: Pages::new(&usage.caches),
            audiences: Slab::new(),
            by_filter: HashMap::with_hasher(keys),
            requested: HashSet::with_hasher(keys),
            touched: false,
            changes: Vec::new(),
            caching: VecDeque::new(),
            cached: usage.caches.charge(0),
            charge: usage.boards.charge(NAMESPACE),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn revision(&self) -> u64 {
        self.log.revision()
    }

    /// The functions.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    pub(crate) fn bindings(&self) -> &Board {
        &self.bindings
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    pub(crate) fn departures(&self) -> &Departures {
        &self.departures
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    // Registrations.

    /// The stored name of a function, its providers and its round-robin index, for routing. `None` without providers.
    pub(crate) fn providers(&mut self, name: &str) -> Option<(&Name, &[Provider], &mut usize)> {
        self.board.providers(name)
    }

    /// Puts a function on the board, or replaces its definition. It is at `slot` if it is there.
    pub(crate) fn register(
        &mut self,
        by: Registrant<'_>,
        (name, slot): (&Name, Option<usize>),
        definition: &EncodedDefinition,
    ) {
        let provider = by.provider(by.tier, definition);
        let slot = self.board.provide((name, slot), provider);
        let (name, worker) = (self.board.name(slot), (by.name, by.metadata));
        self.roster
            .provide(by.worker, worker, name, slot, definition);
        self.touched = true;
    }

    /// Removes functions of a worker; skips those it does not provide.
    pub(crate) fn unregister<'a>(&mut self, worker: u64, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if let Some(slot) = self.roster.withdraw(worker, name) {
                self.board.withdraw(slot, worker);
                self.touched = true;
            }
        }
    }

    /// Adds a binding, or replaces its definition. It is at `slot` if it is there.
    pub(crate) fn bind(
        &mut self,
        by: Registrant<'_>,
        (key, slot): (&Name, Option<usize>),
        definition: &EncodedDefinition,
    ) {
        // Tiers are for calls.
        let provider = by.provider(0, definition);
        let slot = self.bindings.provide((key, slot), provider);
        let (key, worker) = (self.bindings.name(slot), (by.name, by.metadata));
        self.roster.bind(by.worker, worker, key, slot, definition);
        self.touched = true;
    }

    /// Removes bindings of a worker; skips those it did not make.
    pub(crate) fn unbind<'a>(&mut self, worker: u64, keys: impl Iterator<Item = &'a str>) {
        for key in keys {
            if let Some(slot) = self.roster.unbind(worker, key) {
                self.bindings.withdraw(slot, worker);
                self.touched = true;
            }
        }
    }

    /// Removes all functions and bindings of a worker, and notes how it left if it had any. Returns the number of
    /// functions.
    pub(crate) fn remove_worker(&mut self, worker: u64, how: Farewell) -> usize {
        if let Some(member) = self.roster.get(worker).filter(|it| it.registrations() > 0) {
            self.departures.push(Departure {
                number: 0,
                worker,
                name: member.name().clone(),
                how,
                functions: member.functions(),
                bindings: member.bindings(),
                first: member.names().take(NAMES_KEPT).cloned().collect(),
            });
        }
        let slots = self.roster.remove(worker);
        for &slot in &slots.functions {
            self.board.withdraw(slot, worker);
        }
        for &slot in &slots.bindings {
            self.bindings.withdraw(slot, worker);
        }
        self.touched |= !slots.functions.is_empty() || !slots.bindings.is_empty();
        slots.functions.len()
    }

    /// Moves a worker to another connection, which took its session over: calls go there, by the tier that it has now,
    /// and all registrations become unconfirmed. Returns whether there are any.
    pub(crate) fn take_over(&mut self, by: Registrant<'_>) -> bool {
        let is_unconfirmed = self.roster.take_over(by.worker, by.name, by.metadata);
        self.redirect(by);
        is_unconfirmed
    }

    /// Directs the calls of a worker's functions to this connection, by this tier.
    pub(crate) fn redirect(&mut self, to: Registrant<'_>) {
        for slot in self.roster.slots(to.worker) {
            self.board.redirect(slot, (to.worker, to.conn), to.tier);
        }
        self.touched = true;
    }

    /// Removes what a worker did not register again after its session was taken over. Returns how many functions and
    /// bindings that are.
    pub(crate) fn remove_unconfirmed(&mut self, worker: u64) -> usize {
        let (functions, bindings) = self.roster.unconfirmed(worker);
        self.unregister(worker, functions.iter().map(|name| &**name));
        self.unbind(worker, bindings.iter().map(|key| &**key));
        functions.len() + bindings.len()
    }

    /// Replaces the rules of readers with partial rights.
    pub(crate) fn set_observer_rules(&mut self, rules: Vec<Rc<Rules>>) {
        self.roster.set_observer_rules(rules);
    }

    // Revisions.

    /// Whether a registration changed since the last seal.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched
    }

    /// Seals the changes since the last revision as a new one, unless their net effect is empty. Adds the audiences it
    /// concerns to `concerned` and counts it in `counts`. Returns whether there is a new revision.
    pub(crate) fn seal(&mut self, concerned: &mut Vec<usize>, counts: &mut Changes) -> bool {
        if !std::mem::take(&mut self.touched) {
            return false;
        }
        let mut changes = std::mem::take(&mut self.changes);
        let pages = &mut self.pages;
        self.board.seal(&mut changes, |slot| pages.invalidate(slot));
        self.roster.seal(&mut changes);
        self.bindings.seal(&mut changes, |_| {});
        if changes.is_empty() {
            self.changes = changes;
            return false;
        }
        for change in &changes {
            counts.count(change.kind);
        }
        let revision = self.log.push(&mut changes);
        self.changes = recycle(changes);
        for (key, audience) in &mut self.audiences {
            let changes = self.log.newest_for(audience.filter(), LARGE);
            if changes > 0 {
                audience.mark_changed(revision, changes);
                concerned.push(key);
            }
        }
        true
    }

    // Audiences.

    pub(crate) fn audiences(&self) -> usize {
        self.audiences.len()
    }

    pub(crate) fn audience(&self, key: usize) -> &Audience {
        &self.audiences[key]
    }

    /// An audience, if it still exists.
    pub(crate) fn audience_mut(&mut self, key: usize) -> Option<&mut Audience> {
        self.audiences.get_mut(key)
    }

    /// Whether a connection with this filter can join without exceeding `limit` audiences.
    pub(crate) fn has_room_for(&self, filter: &WatchFilter, limit: u64) -> bool {
        self.by_filter.contains_key(filter) || (self.audiences.len() as u64) < limit
    }

    /// Adds a connection to the audience of its filter. Returns its place.
    pub(crate) fn join(&mut self, filter: WatchFilter, conn: ConnId) -> AudiencePlace {
        let key = if let Some(&key) = self.by_filter.get(&filter) {
            key
        } else {
            self.charge.add(filter.bytes());
            let filter = Rc::new(filter);
            let audience = Audience::new(filter.clone(), self.log.revision());
            let key = self.audiences.insert(audience);
            self.by_filter.insert(filter, key);
            key
        };
        (key, self.audiences[key].add(conn))
    }

    /// Removes a connection from its audience. Returns the member that moved to its place, which may have been skipped.
    pub(crate) fn leave(&mut self, (audience, place): AudiencePlace) -> Option<ConnId> {
        let moved = self.audiences[audience].remove(place);
        if self.audiences[audience].members() == 0 {
            let removed = self.audiences.remove(audience);
            self.cached.remove(removed.cached_bytes());
            self.charge.remove(removed.filter().bytes());
            self.by_filter.remove(removed.filter());
            self.caching.retain(|&caching| caching != audience);
        }
        moved
    }

    /// Stores the filter that a connection requested, for as long as rights restrict it.
    pub(crate) fn share_requested(&mut self, filter: WatchFilter) -> Rc<WatchFilter> {
        if let Some(shared) = self.requested.get(&filter) {
            return shared.clone();
        }
        self.charge.add(filter.bytes());
        let filter = Rc::new(filter);
        self.requested.insert(filter.clone());
        filter
    }

    /// Releases a connection's requested filter; the last connection removes it.
    pub(crate) fn release_requested(&mut self, filter: &Rc<WatchFilter>) {
        const OURS_AND_THIS: usize = 2;
        if Rc::strong_count(filter) == OURS_AND_THIS {
            self.requested.remove(filter);
            self.charge.remove(filter.bytes());
        }
    }

    // Encoded frames.

    /// The cached frames for a reader of an audience: those it is within, or those that start at its position.
    pub(super) fn cached(
        &self,
        audience: usize,
        position: &Position,
        within: Option<PartPosition>,
    ) -> Option<&EncodedChange> {
        let audience = &self.audiences[audience];
        match within {
            Some(within) => audience.encoded_within(position, within),
            None => audience.encoded_for(position),
        }
    }

    /// Caches an encoded change for the other readers of an audience. Returns whether older ones had to be evicted, to
    /// stay within `limit` bytes; the change itself is cached in any case.
    pub(super) fn cache(&mut self, audience: usize, encoded: EncodedChange, limit: u64) -> bool {
        self.change_cache(audience, |it| it.cache(encoded));
        if !self.caching.contains(&audience) {
            self.caching.push_back(audience);
        }
        let is_full = self.cached_bytes() as u64 > limit;
        while self.cached_bytes() as u64 > limit {
            match self.caching.pop_front() {
                Some(oldest) if oldest != audience => {
                    self.change_cache(oldest, Audience::evict_all);
                }
                Some(_) if self.caching.is_empty() => {
                    self.change_cache(audience, Audience::evict_older);
                    self.caching.push_back(audience);
                    break;
                }
                Some(_) => self.caching.push_back(audience),
                None => break,
            }
        }
        is_full
    }

    fn change_cache(&mut self, audience: usize, change: impl FnOnce(&mut Audience)) {
        let audience = &mut self.audiences[audience];
        let before = audience.cached_bytes();
        change(audience);
        let after = audience.cached_bytes();
        self.cached.set(self.cached.bytes() - before + after);
    }

    /// Evicts all cached frames. A reader that is within one has it encoded again.
    #[inline] // At each seal while nothing is to be written.
    pub(crate) fn evict_cached(&mut self) {
        if self.caching.is_empty() {
            return;
        }
        for audience in self.caching.drain(..) {
            self.audiences[audience].evict_all();
        }
        self.cached.set(0);
    }

    /// Bytes of cached frames.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached.bytes()
    }

    // Memory.

    /// Drops all cached frames and snapshot pages.
    pub(super) fn drop_caches(&mut self) {
        self.evict_cached();
        self.pages.clear();
    }
}

#[cfg(debug_assertions)]
impl Namespace {
    /// Recounts what is kept beside functions, workers, changes and audiences.
    pub(super) fn check_books(&self) {
        let Self {
            name,
            epoch: _,
            board,
            bindings,
            roster,
            log,
            departures,
            pages,
            audiences,
            by_filter,
            requested,
            touched,
            changes,
            caching,
            cached,
            charge,
        } = self;
        assert!(changes.is_empty(), "changes of no seal");
        board.check_books(*touched);
        bindings.check_books(*touched);
        roster.check_books(*touched, board, bindings);
        log.check_books();
        departures.check_books();
        pages.check_books();
        assert_eq!(by_filter.len(), audiences.len(), "audiences by filter");
        let mut bytes = 0;
        for (key, audience) in audiences {
            assert_eq!(by_filter.get(audience.filter()), Some(&key), "{key}");
            audience.check_books(log.revision());
            bytes += audience.cached_bytes();
            let times = caching.iter().filter(|&&caching| caching == key).count();
            let expected = usize::from(audience.has_cached());
            assert_eq!(times, expected, "audience {key} among those that cache");
        }
        assert!(caching.iter().all(|&key| audiences.contains(key)));
        assert_eq!(cached.bytes(), bytes, "bytes of cached frames");
        let watched = audiences.iter().map(|(_, it)| it.filter().bytes());
        let requested_bytes = requested.iter().map(|it| it.bytes());
        let held: usize = watched.chain(requested_bytes).sum();
        assert_eq!(charge.bytes(), NAMESPACE + held, "charge of {name}");
        assert!(requested.iter().all(|it| Rc::strong_count(it) > 1));
    }

    /// Bytes that are counted with those of all boards.
    pub(super) fn charged(&self) -> usize {
        let boards = self.board.charged() + self.bindings.charged();
        self.charge.bytes() + boards + self.roster.charged()
    }

    /// Number of connections that share a requested filter.
    pub(crate) fn requested_users(&self) -> usize {
        self.requested
            .iter()
            .map(|it| Rc::strong_count(it) - 1)
            .sum()
    }

    /// The stored copy of a requested filter.
    pub(crate) fn requested(&self, filter: &WatchFilter) -> Option<&Rc<WatchFilter>> {
        self.requested.get(filter)
    }

    /// The members of all audiences, with their places.
    pub(crate) fn members(&self) -> impl Iterator<Item = (AudiencePlace, ConnId)> {
        self.audiences.iter().flat_map(|(key, audience)| {
            let members = audience.all_members().iter().enumerate();
            members.map(move |(place, &member)| ((key, place), member))
        })
    }

    pub(super) fn unvisited_audiences(&self) -> impl Iterator<Item = usize> {
        let audiences = self.audiences.iter();
        audiences
            .filter(|(_, audience)| audience.unvisited() > 0)
            .map(|(key, _)| key)
    }
}
