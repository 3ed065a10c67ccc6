//! The run queue: the connections that have something for the engine to do, in the order in which it does that. Users
//! take turns by deficit round-robin (Shreedhar and Varghese, 1995): each round a user may use as much work as its
//! weight buys, and overdraws by one step at most, which it pays in the rounds that follow. The connections of one user
//! take turns among themselves. Never handles anything.

use std::collections::VecDeque;

use crate::engine::interface::ConnId;
use crate::engine::user_key::UserKey;
use crate::engine::work::QUANTUM;

#[cfg(debug_assertions)]
use super::step_log::StepLog;
#[cfg(debug_assertions)]
use super::table::ConnectionTable;
use super::users::Users;

/// The place of a user in the queue.
#[derive(Debug, Default)]
struct Share {
    /// Work that the user may still use in this round; below zero, what it overdrew.
    credit: i64,
    ready: VecDeque<ConnId>,
    /// It is in the ring.
    in_ring: bool,
    /// The period of the credit: see [`RunQueue::period`].
    period: u64,
}

/// The users that a turn served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Only(UserKey),
    Several,
}

/// Connections that have something to do.
#[derive(Debug)]
pub(crate) struct RunQueue {
    /// Work that a turn may do.
    budget: u64,
    /// By user.
    shares: Vec<Share>,
    /// Users with connections that are ready.
    ring: VecDeque<UserKey>,
    /// Work of this turn.
    spent: u64,
    /// Work of deadlines in this turn.
    expired: u64,
    /// Work of writing and encoding since the last seal, of replies or of news.
    told: u64,
    in_news: bool,
    /// Users that changed a board in this turn.
    changers: Vec<UserKey>,
    /// Those of the last turn that had a revision: they pay for what it is told.
    causers: Vec<UserKey>,
    /// Work of telling it so far.
    caused: u64,
    /// The users that had some of it.
    served: Option<Served>,
    /// A step that did not fit into the turn ended it.
    is_closed: bool,
    /// The connections of such steps. Each of the next turns begins with one of them.
    postponed: VecDeque<(UserKey, ConnId)>,
    /// This turn has begun.
    has_begun: bool,
    /// The connection that this turn began with, until it has done something: whatever was done before, its step fits.
    has_claim: Option<ConnId>,
    /// Number of turns at whose end no user waited. Debts from before are forgiven.
    period: u64,
    #[cfg(debug_assertions)]
    pub(crate) log: StepLog,
}

impl RunQueue {
    /// A queue for turns of this much work.
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            shares: Vec::new(),
            ring: VecDeque::new(),
            spent: 0,
            expired: 0,
            told: 0,
            in_news: false,
            changers: Vec::new(),
            causers: Vec::new(),
            caused: 0,
            served: None,
            is_closed: false,
            postponed: VecDeque::new(),
            has_begun: false,
            has_claim: None,
            period: 0,
            #[cfg(debug_assertions)]
            log: StepLog::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Work that the turn may still do.
    pub(crate) fn left(&self) -> u64 {
        if self.is_closed {
            return 0;
        }
        self.budget.saturating_sub(self.spent)
    }

    /// Whether a step of any size of this connection fits: no user was served in this turn yet, and no other step was
    /// postponed until it; or it is the step that was. That is done also if small things that nobody waits for, such as
    /// the deaths of others, came before it.
    pub(crate) fn is_fresh(&self, id: ConnId) -> bool {
        self.served.is_none() && self.postponed.is_empty() || self.has_claim == Some(id)
    }

    /// Whether another user than this one wants the engine in this turn.
    pub(crate) fn is_contended(&self, user: UserKey) -> bool {
        let mut waiting = self.ring.iter();
        self.served
            .is_some_and(|served| served != Served::Only(user))
            || waiting.any(|it| *it != user && !self.shares[it.index()].ready.is_empty())
    }

    /// Whether any connection waits.
    pub(crate) fn is_awaited(&self) -> bool {
        let mut users = self.ring.iter();
        users.any(|user| !self.shares[user.index()].ready.is_empty())
    }

    /// Adds a connection behind those of its user.
    pub(crate) fn push(&mut self, user: UserKey, id: ConnId) {
        let share = self.share(user);
        share.ready.push_back(id);
        if !std::mem::replace(&mut share.in_ring, true) {
            self.ring.push_back(user);
        }
    }

    /// Adds a connection whose next step does not fit into this turn. A later turn begins with it, unless its user has used
    /// up its round: then those who wait are served before.
    pub(crate) fn postpone(&mut self, user: UserKey, id: ConnId) {
        if self.share(user).credit > 0 {
            self.push_first(user, id);
        } else {
            self.push(user, id);
        }
    }

    /// Adds a connection that a turn begins with: this one if it has not begun, or the next one, if no other was added
    /// before. A turn that has begun is over.
    pub(crate) fn push_first(&mut self, user: UserKey, id: ConnId) {
        self.is_closed |= self.has_begun;
        self.push(user, id);
        self.postponed.push_back((user, id));
    }

    /// The next connection, if the turn has work left.
    pub(crate) fn pop(&mut self, users: &Users) -> Option<ConnId> {
        if self.left() == 0 {
            return None;
        }
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some((user, id)) = self.postponed.pop_front()
        {
            self.share(user).ready.retain(|it| *it != id);
            self.has_claim = Some(id);
            return Some(id);
        }
        loop {
            let user = *self.ring.front()?;
            let is_alone = self.ring.len() == 1;
            let share = self.share(user);
            if share.ready.is_empty() {
                // A debt is owed to those who wait.
                share.credit = if is_alone { 0 } else { share.credit.min(0) };
                share.in_ring = false;
                self.ring.pop_front();
                continue;
            }
            if share.credit > 0 {
                return self.pop_of(user);
            }
            let part = QUANTUM.cast_signed() * i64::from(users.weight(user));
            if is_alone {
                share.credit = part;
                return self.pop_of(user);
            }
            share.credit += part;
            self.ring.rotate_left(1);
        }
    }

    /// The next connection of a user.
    fn pop_of(&mut self, user: UserKey) -> Option<ConnId> {
        let id = self.share(user).ready.pop_front();
        self.has_claim = None;
        self.postponed.retain(|(_, it)| Some(*it) != id);
        id
    }

    /// A connection of the user had this much done.
    pub(crate) fn charge(&mut self, user: UserKey, work: u64) {
        if work == 0 {
            return;
        }
        self.spent += work;
        self.has_claim = None;
        self.served = match self.served {
            None => Some(Served::Only(user)),
            Some(Served::Only(only)) if only == user => self.served,
            Some(_) => Some(Served::Several),
        };
        self.owe(user, work);
    }

    /// A user is charged for work that was not done in its turn, and that keeps no large step from being the first.
    pub(crate) fn charge_aside(&mut self, user: UserKey, work: u64) {
        self.spent += work;
        self.owe(user, work);
    }

    /// The turn did work that no user is charged for.
    pub(crate) fn spend(&mut self, work: u64) {
        self.spent += work;
    }

    /// Deadlines have a budget of their own, since they pass while others use the turn: half a turn's.
    pub(crate) fn expire(&mut self, work: u64) {
        self.expired += work;
    }

    /// Whether the turn has room for another deadline.
    pub(crate) fn may_expire(&self) -> bool {
        self.expired < self.budget / 2
    }

    /// Takes work off the credit of a user.
    fn owe(&mut self, user: UserKey, work: u64) {
        let share = self.share(user);
        share.credit = share.credit.saturating_sub_unsigned(work);
    }

    /// The turn wrote or encoded something, which took this much work.
    pub(crate) fn tell(&mut self, work: u64) {
        self.told += work;
    }

    /// A user changed a board.
    pub(crate) fn note_changer(&mut self, user: UserKey) {
        if self.changers.last() != Some(&user) {
            self.changers.push(user);
        }
    }

    /// Telling a change took this much work, which those pay who caused it.
    pub(crate) fn tell_change(&mut self, work: u64) {
        self.tell(work);
        self.caused += work;
    }

    /// Telling a user what it asked for took this much work.
    pub(crate) fn tell_user(&mut self, user: UserKey, work: u64) {
        self.tell(work);
        self.owe_for_telling(user, work);
    }

    /// Splits the work of telling the changes so far among the users that caused them. Those of this turn are next, if it
    /// has a revision.
    pub(crate) fn settle_changes(&mut self, is_revision: bool) {
        if self.caused == 0 && self.changers.is_empty() && !is_revision {
            return;
        }
        let caused = std::mem::take(&mut self.caused);
        let causers = std::mem::take(&mut self.causers);
        let part = caused / causers.len().max(1) as u64;
        for user in &causers {
            self.owe_for_telling(*user, part);
        }
        self.causers = causers;
        if is_revision {
            std::mem::swap(&mut self.causers, &mut self.changers);
        }
        self.changers.clear();
    }

    fn owe_for_telling(&mut self, user: UserKey, work: u64) {
        #[cfg(debug_assertions)]
        self.log.push_debt(user.index(), work);
        self.owe(user, work);
    }

    /// What all are told has a budget of its own, behind that of replies.
    pub(crate) fn start_news(&mut self) {
        if !std::mem::replace(&mut self.in_news, true) {
            self.told = 0;
        }
    }

    /// Whether what all are told is being written, and no replies.
    pub(crate) fn is_in_news(&self) -> bool {
        self.in_news
    }

    /// Whether the turn has written and encoded as much as it may.
    pub(crate) fn has_told_enough(&self) -> bool {
        self.told >= self.budget
    }

    /// The next turn has its own budget.
    pub(crate) fn end_turn(&mut self) {
        (self.spent, self.expired, self.told) = (0, 0, 0);
        self.in_news = false;
        (self.served, self.has_claim) = (None, None);
        (self.is_closed, self.has_begun) = (false, false);
        if !self.is_awaited() {
            // No user waits, so none is owed anything.
            self.period += 1;
        }
    }

    /// The user has no connection any more; another may have its key.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.share(user).credit = 0;
        self.causers.retain(|it| *it != user);
        self.changers.retain(|it| *it != user);
    }

    fn share(&mut self, user: UserKey) -> &mut Share {
        if self.shares.len() <= user.index() {
            self.shares.resize_with(user.index() + 1, Share::default);
        }
        let share = &mut self.shares[user.index()];
        if share.period != self.period {
            (share.period, share.credit) = (self.period, 0);
        }
        share
    }
}

#[cfg(debug_assertions)]
impl RunQueue {
    /// Compares the queue with the marks of the connections.
    ///
    /// # Panics
    /// If a connection is missing, or is there twice.
    pub(crate) fn check_books(&self, connections: &ConnectionTable) {
        let Self {
            budget: _,
            shares,
            ring,
            spent: _,
            expired: _,
            told: _,
            in_news: _,
            changers: _,
            causers: _,
            caused: _,
            served: _,
            is_closed: _,
            postponed,
            has_begun: _,
            has_claim: _,
            period,
            log: _,
        } = self;
        let listed = shares.iter().flat_map(|share| &share.ready);
        connections.check_marks("connections to run", listed, |conn| conn.in_run);
        for (user, id) in postponed {
            let ready = &shares[user.index()].ready;
            assert!(ready.contains(id), "a postponed step waits");
        }
        for (index, share) in shares.iter().enumerate() {
            let entries = ring.iter().filter(|it| it.index() == index).count();
            assert_eq!(entries, usize::from(share.in_ring), "{share:?} in the ring");
            assert!(share.in_ring || share.ready.is_empty(), "{share:?} waits");
            assert!(share.period <= *period);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    const BUDGET: u64 = 10_000;

    fn user(index: u32) -> UserKey {
        UserKey::at(index as usize)
    }

    fn conn(user: u32, number: u32) -> ConnId {
        ConnId::new(user, number)
    }

    fn users() -> Users {
        Users::new(Rng::new([0; 32]).hash_keys())
    }

    /// Has each of these users use the engine all the time, with so many connections and steps of such a size. Returns
    /// the work of each after so many turns.
    fn compete(parties: &[(u32, u64)], turns: usize) -> Vec<u64> {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        for (index, (connections, _)) in parties.iter().enumerate() {
            for number in 0..*connections {
                queue.push(user(index as u32), conn(index as u32, number));
            }
        }
        let mut done = vec![0; parties.len()];
        for _ in 0..turns {
            while let Some(id) = queue.pop(&users) {
                let index = (id.token() >> 32) as u32;
                let work = parties[index as usize].1;
                done[index as usize] += work;
                queue.charge(user(index), work);
                queue.push(user(index), id);
            }
            queue.end_turn();
        }
        done
    }

    #[test]
    fn users_have_equal_parts_however_many_connections_and_however_large_steps_they_have() {
        let done = compete(&[(1, 10), (1000, 10), (1, 700), (3, 9000)], 10_000);
        let (least, most) = (done.iter().min().unwrap(), done.iter().max().unwrap());
        assert!(most - least <= 2 * (9000 + QUANTUM), "{done:?}");
    }

    #[test]
    fn connections_of_one_user_take_turns() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        (0..3).for_each(|number| queue.push(user(0), conn(0, number)));
        for round in 0..30 {
            let id = queue.pop(&users).unwrap();
            assert_eq!(id, conn(0, round % 3));
            queue.charge(user(0), 10);
            queue.push(user(0), id);
        }
    }

    #[test]
    fn a_user_who_comes_has_its_turn_before_one_who_overdrew_and_pays_nothing_for_the_past() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        queue.push(user(0), conn(0, 0));
        assert_eq!(queue.pop(&users), Some(conn(0, 0)));
        queue.charge(user(0), 500_000);
        // The turn is over; the user wants more.
        queue.push(user(0), conn(0, 0));
        queue.end_turn();
        queue.push(user(1), conn(1, 0));
        assert!(queue.is_contended(user(0)) && queue.is_awaited());
        assert_eq!(queue.pop(&users), Some(conn(1, 0)));
        queue.charge(user(1), 10);
        // It wants no more: the first one is alone, and waits for nothing.
        assert_eq!(queue.pop(&users), Some(conn(0, 0)));
        assert_eq!(queue.pop(&users), None);
        queue.end_turn();
        assert!(queue.is_empty());
        // No user waited: the debt is forgiven.
        for (index, expected) in [(0, 0), (1, 1)] {
            queue.push(user(index), conn(index, 0));
            queue.owe(user(1), 10);
            assert_eq!(queue.pop(&users), Some(conn(expected, 0)));
        }
    }

    #[test]
    fn a_step_that_does_not_fit_ends_the_turn_and_begins_the_next_one() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        for index in 0..3 {
            queue.push(user(index), conn(index, 0));
        }
        let first = queue.pop(&users).unwrap();
        assert!(queue.is_fresh(conn(0, 0)) && queue.left() == BUDGET);
        queue.charge(user(0), 10);
        assert_eq!(first, conn(0, 0));
        let second = queue.pop(&users).unwrap();
        queue.push_first(user(1), second);
        assert_eq!((queue.pop(&users), queue.left()), (None, 0));
        queue.end_turn();
        assert_eq!(queue.pop(&users), Some(second));
        queue.charge(user(1), 10 * BUDGET);
        assert_eq!(queue.pop(&users), None);
        queue.end_turn();
        assert_eq!(queue.pop(&users), Some(conn(2, 0)));
    }

    #[test]
    fn a_step_that_does_not_fit_is_first_in_a_later_turn_if_its_user_has_not_used_up_its_round() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        queue.push(user(0), conn(0, 0));
        queue.push(user(1), conn(1, 0));
        assert_eq!(queue.pop(&users), Some(conn(0, 0)));
        queue.charge(user(0), QUANTUM / 2);
        queue.postpone(user(0), conn(0, 0));
        assert_eq!(queue.pop(&users), None);
        queue.end_turn();
        // What is told and what dies comes before it, and changes nothing.
        queue.owe_for_telling(user(0), QUANTUM);
        queue.charge(user(2), 12);
        assert!(!queue.is_fresh(conn(2, 0)));
        assert_eq!(queue.pop(&users), Some(conn(0, 0)));
        assert!(queue.is_fresh(conn(0, 0)));
        queue.charge(user(0), 10);
        queue.postpone(user(0), conn(0, 0));
        assert_eq!(queue.pop(&users), Some(conn(1, 0)));
    }

    #[test]
    fn a_postponed_step_that_had_its_turn_begins_no_later_one() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        let (first, second) = (conn(0, 0), conn(1, 0));
        queue.push_first(user(0), first);
        queue.push_first(user(1), second);
        assert_eq!(queue.pop(&users), Some(first));
        assert_eq!(queue.pop(&users), Some(second), "in its round");
        queue.end_turn();
        assert_eq!(queue.pop(&users), None);
    }

    #[test]
    fn a_user_that_comes_owes_nothing_for_one_that_had_its_key() {
        let mut queue = RunQueue::new(BUDGET);
        queue.note_changer(user(0));
        queue.settle_changes(true);
        queue.owe(user(0), QUANTUM);
        queue.note_changer(user(0));
        queue.forget(user(0));
        assert_eq!(queue.share(user(0)).credit, 0);
        queue.tell_change(QUANTUM);
        queue.settle_changes(true);
        queue.tell_change(QUANTUM);
        queue.settle_changes(true);
        assert_eq!(queue.share(user(0)).credit, 0);
    }

    #[test]
    fn those_who_caused_a_change_pay_for_telling_it_each_its_part() {
        let (mut queue, users) = (RunQueue::new(BUDGET), users());
        queue.note_changer(user(0));
        queue.note_changer(user(1));
        queue.note_changer(user(1));
        queue.settle_changes(true);
        queue.end_turn();
        queue.start_news();
        queue.tell_change(40 * QUANTUM);
        queue.tell_user(user(2), QUANTUM);
        // A turn in which nothing changed, and which all three want something of.
        (0..3).for_each(|index| queue.push(user(index), conn(index, 0)));
        queue.note_changer(user(3));
        queue.settle_changes(false);
        queue.end_turn();
        assert_eq!(
            [0, 1, 2, 3].map(|it| queue.share(user(it)).credit.unsigned_abs() / QUANTUM),
            [20, 20, 1, 0]
        );
        assert_eq!(queue.pop(&users), Some(conn(2, 0)));
    }
}
