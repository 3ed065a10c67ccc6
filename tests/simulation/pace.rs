//! The pace of an engine whose turns do little work: that no turn goes beyond its bound, and that no user waits for longer
//! than its share of the engine allows. It is told what the engine did in which order, and as how much work that was
//! counted; what a step costs at least, it knows by itself. It knows nothing of frames.
//!
//! **The bound of a turn.** Nothing is begun behind the budget. A step that cannot be divided (a registry request, a
//! death) and would go beyond it is begun only if nothing was done before it in the turn. So a turn is at most its budget
//! and one step, and a step larger than the budget stands alone.
//!
//! **Shares.** Users take turns by deficit round-robin: in a round, each may use a quantum for each unit of its weight, and
//! overdraws by what it did in one turn at most. A user that comes waits for the round that is under way, and has its
//! turn in the next one in which its debt is paid: after `2 + debt / (quantum x weight)` rounds at most. In each of these,
//! another user does a quantum for each unit of its weight, and once what it overdraws. All of that together is the most
//! that others do while it waits. For the same reason, what two users did that wanted the engine all the time differs by
//! no more than three quanta and their debts, once divided by their weights.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::journal::{hold, saw};

/// Work that a user with a weight of one may do before the next one has its turn.
const QUANTUM: u64 = 1_000;
/// The least work of a frame, of an entry of it, of a read and of a new connection.
const FRAME: u64 = 4;
const ENTRY: u64 = 12;
const READ: u64 = 10;
const ACCEPT: u64 = 100;
/// A slice ends behind the delivery with which the turn is over. Before that, bindings of up to 64 functions may be
/// looked at, and a frame is written to one provider.
const BINDING: u64 = 8;
const DELIVERY: u64 = 200;
/// Bytes that are copied for one unit.
const BYTES_PER_UNIT: u64 = 125;
/// A write.
const WRITE: u64 = 40;

/// A user of the engine: a principal, or an address.
pub(crate) type User = Rc<str>;

/// A step as the engine counted it, and what it is at least.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    /// A frame, which has so many entries that are one step, or withdraws so many functions with its sender.
    Frame { entries: usize, withdrawn: usize },
    /// A slice of an event, with so many bindings and bytes.
    Slice { bindings: usize, bytes: usize },
    /// The end of a connection that was read to its end, or broke: `at_once`, or when it has its turn.
    Death { at_once: bool },
    /// The end of a connection that something else brought about.
    End,
    /// Parked calls went out.
    Parked,
    /// A judgement by new credentials, of which a turn may do some whatever else it does.
    Judgement,
}

/// What is known of a user since the engine last had nothing to do.
#[derive(Debug, Default)]
struct Share {
    weight: u64,
    /// The most that it did in a turn.
    most: u64,
    /// What it was charged without having had its turn: connections and deaths.
    aside: u64,
    /// How many of its connections died. Each time, its debt is forgiven.
    deaths: u64,
    /// What it did in this turn.
    now: u64,
    /// What others did since it waits.
    waited: u64,
    is_waiting: bool,
}

impl Share {
    /// The most that it may have overdrawn.
    fn debt(&self) -> u64 {
        self.most * (1 + self.deaths) + self.aside
    }
}

/// A connection that waits, and what others of its user did meanwhile.
#[derive(Debug, Default)]
struct Waiting {
    is_waiting: bool,
    waited: u64,
}

#[derive(Debug)]
pub(crate) struct Pace {
    pub budget: u64,
    /// Work of this turn.
    total: u64,
    /// Work before the step that is being done and those that it caused.
    begun: u64,
    /// Somebody had a turn.
    is_open: bool,
    /// Something was done.
    has_acted: bool,
    /// The part of it that nobody had a turn for: accepts and deaths.
    aside: u64,
    users: BTreeMap<User, Share>,
    conns: BTreeMap<u64, Waiting>,
    /// What each connection did in this turn.
    served: BTreeMap<u64, u64>,
    /// Pairs of users that both want the engine all the time, and by how much more, for its weight, the first used it.
    pairs: BTreeMap<(User, User), i64>,
}

impl Pace {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            total: 0,
            begun: 0,
            is_open: false,
            has_acted: false,
            aside: 0,
            users: BTreeMap::new(),
            conns: BTreeMap::new(),
            served: BTreeMap::new(),
            pairs: BTreeMap::new(),
        }
    }

    fn charge(&mut self, user: &User, token: u64, work: u64) {
        self.total += work;
        self.users.entry(user.clone()).or_default().now += work;
        *self.served.entry(token).or_default() += work;
    }

    /// A connection was accepted.
    pub(crate) fn accept(&mut self, user: &User) {
        self.users.entry(user.clone()).or_default().aside += ACCEPT;
        self.aside += ACCEPT;
        self.total += ACCEPT;
    }

    /// Telling something took this much work, which a user owes who caused it or asked for it.
    pub(crate) fn owe(&mut self, user: &User, work: u64) {
        self.users.entry(user.clone()).or_default().aside += work;
    }

    /// A connection is read, since the engine named it.
    pub(crate) fn read(&mut self, user: &User, token: u64) {
        self.assert_may_begin("a read");
        self.is_open = true;
        self.charge(user, token, READ);
        self.begun += READ;
    }

    /// So many bytes came of it.
    pub(crate) fn note_bytes(&mut self, user: &User, token: u64, bytes: usize) {
        self.charge(user, token, bytes as u64 / BYTES_PER_UNIT);
    }

    /// The engine did a step. `is_due`: a deadline or a reload brought it about, whatever was done before.
    pub(crate) fn step(&mut self, user: &User, token: u64, deed: Deed, work: u64, is_due: bool) {
        self.has_acted = true;
        let least = match deed {
            Deed::Frame { entries, .. } => FRAME + ENTRY * entries as u64,
            Deed::Slice { .. } => FRAME,
            Deed::Death { .. } | Deed::End | Deed::Parked | Deed::Judgement => 0,
        };
        hold!(
            work >= least,
            "work is counted",
            "{deed:?} of {user} was counted as {work}, and is {least} at least"
        );
        let is_begun = matches!(deed, Deed::End | Deed::Parked | Deed::Judgement);
        if !is_due && !is_begun && work > 0 {
            self.assert_may_begin("a step");
        }
        let is_indivisible = match deed {
            Deed::Frame { entries, withdrawn } => entries + withdrawn > 0,
            Deed::Death { .. } => work > 0,
            _ => false,
        };
        let known = match deed {
            Deed::Death { .. } => work,
            Deed::Frame { withdrawn, .. } => least + ENTRY * withdrawn as u64,
            _ => least,
        };
        if is_indivisible && !is_due {
            let fits = self.begun + known <= self.budget;
            // A step that has its turn is the first also behind the deaths of others that are told before.
            let has_turn = !matches!(deed, Deed::Death { at_once: true });
            let is_first = self.begun == 0 || has_turn && !self.is_open;
            self.is_open |= has_turn;
            hold!(
                fits || is_first,
                "a step that does not fit into a turn is the first of the next one",
                "{deed:?} of {user} was begun after {} of {}",
                self.begun,
                self.budget
            );
            if !fits {
                saw("a step that is larger than a turn stood alone");
            }
        }
        if let Deed::Slice { bindings, bytes } = deed {
            let unit = FRAME + BINDING * bindings as u64 + DELIVERY + bytes as u64 / BYTES_PER_UNIT;
            let left = self.budget.saturating_sub(self.begun);
            hold!(
                work <= left.min(self.budget) + unit,
                "a turn is its budget and one step",
                "{deed:?} of {user} was {work} with {left} left"
            );
        }
        match deed {
            Deed::Frame { .. } | Deed::Slice { .. } | Deed::Parked => {
                self.is_open = true;
                self.charge(user, token, work);
                self.begun += work;
            }
            Deed::Judgement => {
                self.total += work;
                self.aside += work;
            }
            Deed::Death { .. } | Deed::End => {
                self.total += work;
                self.aside += work;
                let share = self.users.entry(user.clone()).or_default();
                share.aside += work;
                self.served.entry(token).or_default();
                if matches!(deed, Deed::Death { .. }) {
                    share.deaths += 1;
                    self.begun += work;
                }
            }
        }
    }

    fn assert_may_begin(&self, what: &str) {
        hold!(
            self.begun < self.budget,
            "a turn is its budget and one step",
            "{what} was begun after {} of {}",
            self.begun,
            self.budget
        );
    }

    /// The turn's input is over. `waiting`: the connections that have something to be handled, and their users; `unread`:
    /// those of which the engine has handled all that it has read.
    pub(crate) fn seal(
        &mut self,
        waiting: &BTreeMap<u64, User>,
        unread: &BTreeSet<u64>,
        weight: impl Fn(&str) -> u64,
    ) {
        let total = std::mem::take(&mut self.total);
        let aside = std::mem::take(&mut self.aside);
        (self.begun, self.is_open) = (0, false);
        let has_acted = std::mem::take(&mut self.has_acted) || total > 0;
        let served = std::mem::take(&mut self.served);
        for (user, share) in &mut self.users {
            share.weight = weight(user).max(1);
            share.most = share.most.max(share.now);
        }
        for user in waiting.values() {
            let share = self.users.entry(user.clone()).or_default();
            share.weight = weight(user).max(1);
        }
        let waits = |token: &&u64| self.conns.get(*token).is_some_and(|it| it.is_waiting);
        let waited = waiting.keys().find(waits);
        hold!(
            waited.is_none() || has_acted,
            "no turn passes in which nothing is done while somebody waits",
            "{waited:x?}: {:?}",
            self.users
        );
        self.note_users(waiting, total - aside);
        self.note_connections(waiting, &served);
        // A user whose connections all had their turn may have wanted nothing more in this one.
        let competes = |token: &&u64| !(unread.contains(*token) && served.contains_key(*token));
        let rivals = waiting.iter().filter(|(token, _)| competes(token));
        self.note_pairs(&rivals.map(|(_, user)| user).collect());
        for share in self.users.values_mut() {
            share.now = 0;
        }
    }

    fn note_users(&mut self, waiting: &BTreeMap<u64, User>, total: u64) {
        for share in self.users.values_mut() {
            share.waited += if share.is_waiting && share.now == 0 {
                total
            } else {
                0
            };
            share.is_waiting = false;
        }
        for user in waiting.values() {
            self.users.entry(user.clone()).or_default().is_waiting = true;
        }
        for share in self.users.values_mut() {
            if share.now > 0 || !share.is_waiting {
                share.waited = 0;
            }
            if share.waited > 0 {
                saw("a user waited for others for a turn");
            }
        }
        for (user, share) in &self.users {
            if share.waited == 0 {
                continue;
            }
            let rounds = 2 + share.debt().div_ceil(QUANTUM * share.weight);
            let others = self.users.iter().filter(|(it, _)| *it != user);
            let most: u64 = others
                .map(|(_, it)| rounds * QUANTUM * it.weight.max(1) + it.debt())
                .sum();
            hold!(
                share.waited <= most,
                "no user is starved",
                "{user} waits while others did {} and may do {most}: {:?}",
                share.waited,
                self.users
            );
        }
    }

    /// The connections of a user take turns: each of the others has one, or two with a step that it postponed.
    fn note_connections(&mut self, waiting: &BTreeMap<u64, User>, served: &BTreeMap<u64, u64>) {
        self.conns.retain(|token, _| waiting.contains_key(token));
        for (token, user) in waiting {
            let share = &self.users[user];
            let conn = self.conns.entry(*token).or_default();
            if served.contains_key(token) {
                conn.waited = 0;
            } else if conn.is_waiting {
                conn.waited += share.now;
            }
            conn.is_waiting = true;
            let siblings = waiting.values().filter(|it| *it == user).count() as u64;
            let most = 2 * (siblings + 1) * (share.most + QUANTUM) + share.aside;
            hold!(
                conn.waited <= most,
                "no connection is starved by its siblings",
                "{token:x} of {user} waits while they did {} and may do {most}",
                conn.waited
            );
        }
    }

    fn note_pairs(&mut self, rivals: &BTreeSet<&User>) {
        let rivals: Vec<&User> = rivals.iter().copied().collect();
        let before = std::mem::take(&mut self.pairs);
        for (at, first) in rivals.iter().enumerate() {
            for second in &rivals[at + 1..] {
                let pair = ((*first).clone(), (*second).clone());
                let (one, other) = (&self.users[*first], &self.users[*second]);
                let ahead = before.get(&pair).map_or(0, |ahead| {
                    let part = |it: &Share| (it.now / it.weight).cast_signed();
                    ahead + part(one) - part(other)
                });
                let debt = |it: &Share| it.debt() / it.weight;
                let most = 3 * QUANTUM + debt(one) + debt(other);
                hold!(
                    ahead.unsigned_abs() <= most,
                    "users that want the engine all the time share it by their weights",
                    "{first} is ahead of {second} by {ahead}, and may be by {most}: {one:?} {other:?}"
                );
                if ahead.unsigned_abs() > 0 {
                    saw("two users wanted the engine all the time");
                }
                self.pairs.insert(pair, ahead);
            }
        }
    }

    /// The engine has nothing to do: nobody owes anything.
    pub(crate) fn rest(&mut self) {
        for share in self.users.values_mut() {
            (share.most, share.aside, share.deaths, share.waited) = (0, 0, 0, 0);
        }
        self.pairs.clear();
    }

    /// So many writes took so many bytes, `largest` with one of them, in a turn's first or second phase of writing.
    pub(crate) fn wrote(&self, writes: usize, bytes: usize, largest: usize) {
        let before = writes.saturating_sub(1) as u64 * WRITE;
        // Each write is rounded down.
        let work = before + (bytes - largest.min(bytes)) as u64 / BYTES_PER_UNIT;
        let work = work.saturating_sub(writes as u64);
        hold!(
            work == 0 || work < self.budget,
            "a turn is its budget and one step",
            "the last write was begun after {work} of {}",
            self.budget
        );
    }
}
