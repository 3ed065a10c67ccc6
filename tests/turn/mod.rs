//! A turn of the event loop, for the tests that drive the pure engine. It mirrors `src/server/turn.rs`: the same phases
//! in the same order, with replies and news written within budgets of their own. A change of the order there is a
//! change here. The driver holds no connection and decides nothing: each test says what is read, what a write takes and
//! how large the budgets are. [`Engine::note_turn`] is left out, since there is no clock.
#![allow(dead_code, reason = "each user has its own part")]

use std::cell::Cell;

use callboard::engine::{Close, ConnId, Engine, Time, Written};

/// The most that one phase of writing may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Calls of `write`, refused ones included.
    pub(crate) writes: usize,
    pub(crate) bytes: usize,
}

/// The budgets of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budgets {
    pub(crate) replies: Budget,
    pub(crate) news: Budget,
}

/// The amount that one phase of writing used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) writes: usize,
    pub(crate) bytes: usize,
    /// The engine named no further connection. Otherwise the budget ended the phase.
    pub(crate) is_drained: bool,
}

/// An engine, and what a test has in place of sockets.
pub(crate) trait Sockets {
    fn engine(&mut self) -> &mut Engine;

    /// The time of the turn.
    fn now(&self) -> Time;

    /// Tells the engine which connections can be written to again, and which broke.
    fn handle_events(&mut self) {}

    /// Reads what has arrived, or tells the engine where something has.
    fn read_ready(&mut self) {}

    /// Reads a connection that the engine names, once.
    fn read_next(&mut self, _id: ConnId) {}

    /// Reads a connection whose deadline has passed once more.
    fn read_again(&mut self, id: ConnId);

    /// Has the engine look at a deadline again.
    fn handle_expired(&mut self, id: ConnId) {
        let now = self.now();
        self.engine().handle_expired(id, now);
    }

    /// The engine has sealed the turn.
    fn sealed(&mut self) {}

    /// Calls [`Engine::flush`] for a connection. Returns the result of the write, `None` if the engine offered nothing.
    fn write(&mut self, id: ConnId) -> Option<Written>;

    /// Both phases of writing are over.
    fn flushed(&mut self, _replies: Spent, _news: Spent) {}

    /// A worker asked the engine to drain. The server does what it does on SIGTERM.
    fn drain_asked(&mut self) {}

    fn close(&mut self, close: Close);

    /// A connection may be read again.
    fn resume(&mut self, _id: ConnId) {}

    /// Opens connections that wait to be accepted.
    fn accept(&mut self) {}

    /// Whether the engine's books are recounted after the seal and at the end of the turn.
    fn checks_books(&self) -> bool {
        true
    }
}

impl Budget {
    pub(crate) const ALL: Self = Self {
        writes: usize::MAX,
        bytes: usize::MAX,
    };

    /// This many writes of any size.
    pub(crate) fn writes(writes: usize) -> Self {
        Self {
            writes,
            ..Self::ALL
        }
    }
}

impl Budgets {
    /// The server's defaults.
    pub(crate) const SERVER: Self = Self {
        replies: Budget {
            writes: 4096,
            bytes: 16 * 1024 * 1024,
        },
        news: Budget {
            writes: 128,
            bytes: 1024 * 1024,
        },
    };

    /// All that is due is written.
    pub(crate) const ALL: Self = Self {
        replies: Budget::ALL,
        news: Budget::ALL,
    };

    /// This many writes of each.
    pub(crate) fn writes(replies: usize, news: usize) -> Self {
        Self {
            replies: Budget::writes(replies),
            news: Budget::writes(news),
        }
    }
}

/// A whole turn.
#[inline]
pub(crate) fn run(it: &mut impl Sockets, budgets: Budgets) {
    it.handle_events();
    it.read_ready();
    finish(it, budgets);
}

/// The turn behind the reads.
#[inline]
pub(crate) fn finish(it: &mut impl Sockets, budgets: Budgets) {
    let now = it.now();
    while let Some(id) = it.engine().poll_read(now) {
        it.read_next(id);
    }
    while let Some(id) = it.engine().poll_expired(now) {
        it.read_again(id);
        it.handle_expired(id);
    }
    it.engine().seal(now);
    check_books(it);
    it.sealed();
    flush(it, budgets);
}

/// The turn behind the seal.
#[inline]
pub(crate) fn flush(it: &mut impl Sockets, budgets: Budgets) {
    let replies = write_due(it, Engine::poll_reply, budgets.replies);
    let news = write_due(it, Engine::poll_news, budgets.news);
    it.flushed(replies, news);
    if it.engine().take_drain() {
        it.drain_asked();
    }
    while let Some(close) = it.engine().poll_close() {
        it.close(close);
    }
    while let Some(id) = it.engine().poll_resume() {
        it.resume(id);
    }
    check_books(it);
    it.accept();
}

/// Connections, calls and registrations that are recounted for each look at the books, on average.
#[cfg(debug_assertions)]
const RECOUNTED: usize = 16;

thread_local! {
    /// Looks at the books since they were recounted.
    static UNCHECKED: Cell<usize> = const { Cell::new(0) };
}

/// Recounts the engine's books: each time while it is small, else so often that a test takes not much longer for it.
#[cfg(debug_assertions)]
fn check_books(it: &mut impl Sockets) {
    if !it.checks_books() {
        return;
    }
    let now = it.now();
    let unchecked = UNCHECKED.get() + 1;
    if unchecked * RECOUNTED < it.engine().books() {
        return UNCHECKED.set(unchecked);
    }
    UNCHECKED.set(0);
    it.engine().check_books(now);
}

#[cfg(not(debug_assertions))]
fn check_books(_: &mut impl Sockets) {}

/// Writes to the connections that `next` names, within a budget.
#[inline]
fn write_due(
    it: &mut impl Sockets,
    next: impl Fn(&mut Engine) -> Option<ConnId>,
    budget: Budget,
) -> Spent {
    let mut spent = Spent::default();
    while spent.writes < budget.writes && spent.bytes < budget.bytes {
        let Some(id) = next(it.engine()) else {
            spent.is_drained = true;
            break;
        };
        if let Some(written) = it.write(id) {
            spent.writes += 1;
            if let Written::Bytes(taken) = written {
                spent.bytes += taken;
            }
        }
    }
    spent
}
