//! A namespace: a board of its own with all that belongs to it. Where a turn's changes become a revision.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::ConnId;
use super::audience::{Audience, Cover, Encoded};
use super::board::Board;
use super::call::CallList;
use super::chance::{Chance, Keyed};
use super::changelog::{ChangeLog, Item};
use super::kept::kept;
use super::part::{Op, Section};
use super::roster::Roster;
use super::snapshot::Pages;
use super::stats::Changes;
use super::traffic::Park;
use crate::limits::Limits;

use slab::Slab;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: Box<str>,
    /// New with each incarnation: revisions of different epochs can't be compared.
    pub(super) epoch: u64,
    pub(super) board: Board,
    pub(super) bindings: Board,
    pub(super) roster: Roster,
    pub(super) log: ChangeLog,
    pub(super) pages: Pages,
    /// Calls that wait for a provider, by what would do.
    pub(super) parked: HashMap<Park, CallList, Keyed>,
    pub(super) audiences: Slab<Audience>,
    by_cover: HashMap<Rc<Cover>, usize, Keyed>,
    /// Watches of which rights leave only a part, shared by those who want the same.
    wanted: HashSet<Rc<Cover>, Keyed>,
    /// Connections that said HELLO to it.
    pub(super) connections: usize,
    /// Counts up with each namespace that becomes idle: the lowest is idle longest.
    pub(super) idle_order: u64,
    /// Something was touched since the last revision.
    pub(super) touched: bool,
    /// Room for what a seal finds.
    items: Vec<Item>,
    /// Audiences that keep encoded frames, those that began to first.
    warm: VecDeque<usize>,
    /// Bytes of the frames that they keep.
    encoded_bytes: usize,
}

impl Namespace {
    pub(super) fn new(name: &str, limits: &Limits, chance: &mut Chance) -> Self {
        let epoch = chance.epoch();
        let board = Board::new(Section::Functions, chance.hash_keys());
        let bindings = Board::new(Section::Bindings, chance.hash_keys());
        let keys = chance.hash_keys();
        Self {
            name: name.into(),
            epoch,
            board,
            bindings,
            roster: Roster::default(),
            log: ChangeLog::new(limits.log_bytes as usize, keys),
            pages: Pages::default(),
            parked: HashMap::with_hasher(keys),
            audiences: Slab::new(),
            by_cover: HashMap::with_hasher(keys),
            wanted: HashSet::with_hasher(keys),
            connections: 0,
            idle_order: 0,
            touched: false,
            items: Vec::new(),
            warm: VecDeque::new(),
            encoded_bytes: 0,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.log.revision()
    }

    /// Whether a watch like this can be joined without going over `limit` audiences.
    pub(super) fn has_audience(&self, cover: &Cover, limit: u64) -> bool {
        self.by_cover.contains_key(cover) || (self.audiences.len() as u64) < limit
    }

    /// Adds a connection to the audience of its watch. Returns the audience and the place in it.
    pub(super) fn join(&mut self, cover: Cover, conn: ConnId) -> (usize, usize) {
        let key = if let Some(&key) = self.by_cover.get(&cover) {
            key
        } else {
            let cover = Rc::new(cover);
            let key = self
                .audiences
                .insert(Audience::new(cover.clone(), self.log.revision()));
            self.by_cover.insert(cover, key);
            key
        };
        (key, self.audiences[key].add(conn))
    }

    /// A watch that is kept because rights leave only a part of it.
    pub(super) fn want(&mut self, cover: Cover) -> Rc<Cover> {
        if let Some(known) = self.wanted.get(&cover) {
            return known.clone();
        }
        let cover = Rc::new(cover);
        self.wanted.insert(cover.clone());
        cover
    }

    /// Forgets a watch with the last one who wants it.
    pub(super) fn unwant(&mut self, cover: &Rc<Cover>) {
        const OURS_AND_THIS: usize = 2;
        if Rc::strong_count(cover) == OURS_AND_THIS {
            self.wanted.remove(cover);
        }
    }

    /// Takes a connection out of its audience. Returns who has its place now, and may have been passed over.
    pub(super) fn part(&mut self, (audience, place): (usize, usize)) -> Option<ConnId> {
        let moved = self.audiences[audience].remove(place);
        if self.audiences[audience].members.is_empty() {
            let gone = self.audiences.remove(audience);
            self.encoded_bytes -= gone.encoded_bytes();
            self.by_cover.remove(&gone.cover);
            self.warm.retain(|&warm| warm != audience);
        }
        moved
    }

    /// Withdraws all that a worker provides and binds. Returns how many functions that were.
    pub(super) fn remove_worker(&mut self, worker: u64) -> usize {
        let estate = self.roster.remove(worker);
        for &slot in &estate.functions {
            self.board.withdraw(slot, worker);
        }
        for &slot in &estate.bindings {
            self.bindings.withdraw(slot, worker);
        }
        self.touched |= !estate.functions.is_empty() || !estate.bindings.is_empty();
        estate.functions.len()
    }

    /// Calls that go to a worker go to this connection from now on.
    pub(super) fn redirect(&mut self, worker: u64, conn: ConnId) {
        for slot in self.roster.slots(worker) {
            self.board.redirect(slot, worker, conn);
        }
    }

    /// Withdraws some of what a worker provides; what it does not provide is passed over.
    pub(super) fn withdraw<'a>(&mut self, worker: u64, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if let Some(slot) = self.roster.withdraw(worker, name) {
                self.board.withdraw(slot, worker);
                self.touched = true;
            }
        }
    }

    /// Unties some of what a worker bound; what it did not bind is passed over.
    pub(super) fn unbind<'a>(&mut self, worker: u64, keys: impl Iterator<Item = &'a str>) {
        for key in keys {
            if let Some(slot) = self.roster.unbind(worker, key) {
                self.bindings.withdraw(slot, worker);
                self.touched = true;
            }
        }
    }

    /// Withdraws what a worker did not register again after its session was taken over.
    pub(super) fn withdraw_unconfirmed(&mut self, worker: u64) -> usize {
        let (functions, bindings) = self.roster.unconfirmed(worker);
        self.withdraw(worker, functions.iter().map(|name| &**name));
        self.unbind(worker, bindings.iter().map(|key| &**key));
        functions.len() + bindings.len()
    }

    /// Makes one revision of all that changed since the last, if the net effect is not empty. Adds the
    /// audiences that are to hear of it to `concerned` and what changed to `changes`; returns whether there
    /// is a new revision.
    pub(super) fn seal(&mut self, concerned: &mut Vec<usize>, changes: &mut Changes) -> bool {
        if !std::mem::take(&mut self.touched) {
            return false;
        }
        let mut items = std::mem::take(&mut self.items);
        let pages = &mut self.pages;
        self.board.seal(&mut items, |slot| pages.forget(slot));
        self.roster.seal(&mut items);
        self.bindings.seal(&mut items, |_| {});
        if items.is_empty() {
            self.items = items;
            return false;
        }
        for item in &items {
            *match item.op {
                Op::Added => &mut changes.added,
                Op::Removed => &mut changes.removed,
                Op::Updated => &mut changes.updated,
            } += 1;
        }
        let revision = self.log.push(&mut items);
        self.items = kept(items);
        for (key, audience) in &mut self.audiences {
            if self.log.newest_concerns(&audience.cover) {
                audience.concern(revision);
                concerned.push(key);
            }
        }
        true
    }

    /// Has an audience keep frames for its other readers. Returns whether others had to be forgotten, for there
    /// is room for `limit` bytes; those that are needed just now are kept in any case.
    pub(super) fn keep(&mut self, audience: usize, encoded: Encoded, limit: u64) -> bool {
        self.account_for(audience, |it| it.keep(encoded));
        if !self.warm.contains(&audience) {
            self.warm.push_back(audience);
        }
        let full = self.encoded_bytes as u64 > limit;
        while self.encoded_bytes as u64 > limit {
            match self.warm.pop_front() {
                Some(oldest) if oldest != audience => {
                    self.account_for(oldest, Audience::forget_encoded);
                }
                Some(_) if self.warm.is_empty() => {
                    self.account_for(audience, Audience::forget_older);
                    self.warm.push_back(audience);
                    break;
                }
                Some(_) => self.warm.push_back(audience),
                None => break,
            }
        }
        full
    }

    fn account_for(&mut self, audience: usize, change: impl FnOnce(&mut Audience)) {
        let it = &mut self.audiences[audience];
        self.encoded_bytes -= it.encoded_bytes();
        change(it);
        self.encoded_bytes += it.encoded_bytes();
    }

    /// Gives the memory of encoded frames back: nobody is in the middle of reading them.
    pub(super) fn cool_down(&mut self) {
        for audience in self.warm.drain(..) {
            self.audiences[audience].forget_encoded();
        }
        self.encoded_bytes = 0;
    }

    /// Bytes of encoded frames kept.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }
}
