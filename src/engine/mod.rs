//! The engine: a state machine without sockets and without a clock.
//!
//! In: a connection's bytes, its end, what could be written to it, the time. Out: what to write, whom
//! to read again, whom to close. The shell around it (the server, or a simulation) calls, turn by turn:
//!
//! 1. [`Engine::handle_open`], [`Engine::handle_bytes`], [`Engine::handle_eof`], [`Engine::handle_reset`],
//!    [`Engine::handle_writable`] for what happened;
//! 2. [`Engine::poll_expired`], then for each one read once more and [`Engine::handle_expired`];
//! 3. [`Engine::seal`]: this turn's changes become one revision, replies get their stamp;
//! 4. [`Engine::poll_reply`] and [`Engine::flush`] for each connection that is owed frames of its own, then
//!    [`Engine::poll_news`] and [`Engine::flush`] for each that follows the board;
//! 5. [`Engine::poll_close`] and [`Engine::poll_resume`];
//! 6. [`Engine::note_turn`], if it has a clock to tell how long all that took.

mod account;
mod admission;
mod audience;
mod board;
mod budget;
mod builtin;
mod call;
mod calling;
mod chance;
mod changelog;
mod connection;
mod credentials;
mod deadline;
mod delivery;
mod due;
mod ending;
mod entry;
mod events;
mod excess;
mod gate;
mod intake;
mod kept;
mod lately;
mod namespace;
mod outbox;
mod own;
mod part;
mod reform;
mod refusal;
mod registration;
mod rights;
mod roster;
mod routing;
mod session;
mod sight;
mod size;
mod snapshot;
mod stats;
mod throttle;
mod traffic;
mod turntime;
mod wheel;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;

use crate::limits::Limits;
use crate::protocol::Outcome;

use account::Account;
use admission::Door;
pub use builtin::GUARDED;
use call::{CallId, Calls};
use chance::{Chance, Keyed};
use connection::Connection;
pub use credentials::{Credentials, Principal, TokenHash, check_namespace};
use due::Due;
use gate::Gate;
use kept::kept;
use namespace::Namespace;
use outbox::Piece;
use own::Spare;
pub use rights::{Rights, Rules, Verb};
pub use size::Size;
use stats::LookedUp;
pub use stats::{Changes, Dropped, Stats};
use throttle::Throttle;
use turntime::TurnClock;
pub use turntime::{Percentiles, Turn};
use wheel::Wheel;

/// Names a connection for its lifetime: the shell's slab key, and a generation that makes a key used
/// again another name. `generation << 32 | key` is the poll token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The name of the connection at `key`, the `generation`-th that the shell opened.
    #[must_use]
    pub fn new(generation: u32, key: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(key))
    }

    /// The name that a poll token stands for.
    #[must_use]
    pub fn from_token(token: usize) -> Self {
        Self(token as u64)
    }

    /// As a poll token.
    #[must_use]
    pub fn token(self) -> usize {
        self.0 as usize
    }

    /// The shell's slab key.
    #[must_use]
    pub fn key(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// A point in time as the shell's clock has it: microseconds since the shell's start, never backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// This long after `self`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0 + wait.as_micros() as u64)
    }
}

/// Who is at the other end, for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A Unix-socket peer: process and user, where the kernel tells.
    Unix {
        /// Process id.
        pid: Option<u32>,
        /// User id.
        uid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix {
                pid: Some(pid),
                uid: Some(uid),
            } => write!(f, "unix(pid {pid} uid {uid})"),
            Self::Unix { .. } => f.write_str("unix"),
        }
    }
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The limits in force; [`Limits::check`] is the caller's to call.
    pub limits: Limits,
    /// The engine's name in WELCOME.
    pub name: String,
    /// Source of all chance: session keys, epochs, hash keys, jitter. From the system in production,
    /// chosen in a simulation, where it makes a run repeatable.
    pub seed: [u8; 32],
}

/// What became of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken.
    Bytes(usize),
    /// None could be taken now: the shell says [`Engine::handle_writable`] when it is possible again.
    Blocked,
    /// The connection is broken: the shell will say [`Engine::handle_reset`] in the next turn.
    Broken,
}

/// What the shell shall do about a connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// All that it is owed was written: close the sending half. Go on reading; the engine discards it.
    SendingHalf(ConnId),
    /// Drop the socket. The engine has forgotten the connection; its key may be used again.
    Socket(ConnId),
}

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    started: Time,
    chance: Chance,
    hash_keys: Keyed,
    /// By the shell's key.
    connections: Vec<Option<Box<Connection>>>,
    connected: usize,
    door: Door,
    gate: Gate,
    /// Bytes of all connections' unfinished frames; of their unfinished batches.
    partial: Account,
    batches: Account,
    namespaces: Slab<Namespace>,
    /// See [`Namespace::idle_order`].
    idle_order: u64,
    sessions: HashMap<[u8; 16], ConnId, Keyed>,
    next_worker: u64,
    wheel: Wheel<Timer>,
    calls: Calls,
    /// How many of them a caller waits for.
    waiting: usize,
    /// Too many of them are held for nobody: see [`Engine::relieve`].
    crowded: bool,
    /// How many of them wait for a provider.
    parked: usize,
    /// How many were parked since the start.
    tickets: u64,
    /// Bytes of arguments kept for another try.
    retained: usize,
    due: Due,
    /// Whose frames of this turn want a stamp.
    touched: Vec<ConnId>,
    /// Who has a rest to be handled in this turn, and in the next.
    rests: Vec<ConnId>,
    later_rests: Vec<ConnId>,
    /// What the frames of the connection that is being handled have cost: see [`intake`].
    work: Cell<u64>,
    /// Who changed a board in this turn.
    causers: Vec<ConnId>,
    /// Room for the audiences that a seal concerns.
    concerned: Vec<usize>,
    closes: VecDeque<Close>,
    resumes: VecDeque<ConnId>,
    shutdown: Shutdown,
    /// Somebody who may do so asked for the engine's end.
    drain_asked: bool,
    stats: Stats,
    /// Calls of a shell's `write`.
    writes: u64,
    /// Calls that ended with a result: what is counted most, so not by its name among [`Stats::endings`].
    results: u64,
    turn_clock: TurnClock,
    /// What it costs a walk to find out, if somebody asked in this turn.
    looked_up: Cell<Option<LookedUp>>,
    throttle: Throttle,
    /// Kept for their memory between flushes.
    pieces: Vec<Piece>,
    spare: Spare,
    /// The metadata of workers that have none.
    nothing: Rc<[u8]>,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Connection(ConnId),
    Call(CallId),
}

/// How far the engine's own end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shutdown {
    No,
    /// DRAIN was said; GOODBYE comes by then.
    Draining(Time),
    /// GOODBYE was said to all.
    Done,
}

impl Engine {
    /// An engine with an empty board.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        let mut chance = Chance::new(config.seed);
        let hash_keys = chance.hash_keys();
        Self {
            config,
            started: now,
            hash_keys,
            connections: Vec::new(),
            connected: 0,
            door: Door::new(hash_keys),
            gate: Gate::open(),
            partial: Account::default(),
            batches: Account::default(),
            namespaces: Slab::new(),
            idle_order: 0,
            sessions: HashMap::with_hasher(hash_keys),
            next_worker: 0,
            wheel: Wheel::new(now),
            calls: Calls::default(),
            waiting: 0,
            crowded: false,
            parked: 0,
            tickets: 0,
            retained: 0,
            due: Due::default(),
            touched: Vec::new(),
            rests: Vec::new(),
            later_rests: Vec::new(),
            work: Cell::new(0),
            causers: Vec::new(),
            concerned: Vec::new(),
            closes: VecDeque::new(),
            resumes: VecDeque::new(),
            shutdown: Shutdown::No,
            drain_asked: false,
            stats: Stats::default(),
            writes: 0,
            results: 0,
            turn_clock: TurnClock::new(now),
            looked_up: Cell::new(None),
            throttle: Throttle::default(),
            pieces: Vec::new(),
            spare: Spare::default(),
            nothing: Rc::new([]),
            chance,
        }
    }

    /// The end of a turn's input: what changed becomes one revision per namespace, replies get stamped.
    pub fn seal(&mut self, now: Time) {
        self.looked_up.set(None);
        self.handle_rests(now);
        self.relieve(now);
        self.bound_outbound(now);
        let idle = self.due.is_empty();
        let mut concerned = std::mem::take(&mut self.concerned);
        let mut causers_pay = false;
        for key in 0..self.namespaces.capacity() {
            let Some(namespace) = self.namespaces.get_mut(key) else {
                continue;
            };
            if idle {
                namespace.cool_down();
            }
            // A draining engine sends no changes: nobody's view shall empty because all leave.
            if !namespace.touched || self.shutdown != Shutdown::No {
                continue;
            }
            if namespace.seal(&mut concerned, &mut self.stats.changes) {
                causers_pay = true;
                self.stats.revisions += 1;
            }
            for audience in concerned.drain(..) {
                self.due.announce(&mut self.namespaces, key, audience);
            }
        }
        self.concerned = kept(concerned);
        let mut causers = std::mem::take(&mut self.causers);
        for id in causers.drain(..) {
            self.charge_step(id, causers_pay, now);
        }
        debug_assert!(self.causers.is_empty(), "charging charges nobody else");
        self.causers = kept(causers);
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(conn) = live(&mut self.connections, id) else {
                continue;
            };
            conn.touched = false;
            let namespace = conn.identity.as_ref().map(|identity| identity.namespace);
            let revision = namespace.map_or(0, |key| self.namespaces[key].revision());
            let receipts_only = conn.outbox.owes_receipts_only();
            conn.outbox.seal(revision, |id, out| {
                Outcome::encode_receipt(id, revision, out);
            });
            if receipts_only {
                self.due.receipt(conn);
            } else {
                self.due.reply(conn);
            }
            self.check_outbound(id);
        }
        debug_assert!(self.touched.is_empty(), "a seal makes no replies");
        self.touched = kept(touched);
    }

    /// The shell worked on a turn, its wait for events not included.
    pub fn note_turn(&mut self, turn: Turn) {
        self.turn_clock.note(turn, &self.stats, self.writes);
        self.looked_up.set(None);
    }

    /// Whether this connection may be read now. When it may again, [`Engine::poll_resume`] names it.
    #[must_use]
    pub fn wants_read(&self, conn: ConnId) -> bool {
        self.get(conn)
            .is_some_and(|conn| conn.is_leaving() || !conn.pause.any() && !conn.has_rest())
    }

    /// Whether [`Engine::poll_reply`], [`Engine::poll_news`], [`Engine::poll_resume`] or [`Engine::poll_close`] has more
    /// to say.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.due.is_empty()
            || !self.touched.is_empty()
            || !self.rests.is_empty()
            || !self.resumes.is_empty()
            || !self.closes.is_empty()
    }

    /// What to close next.
    pub fn poll_close(&mut self) -> Option<Close> {
        self.closes.pop_front()
    }

    /// A connection that may be read again ([`Engine::wants_read`] said no before).
    pub fn poll_resume(&mut self) -> Option<ConnId> {
        self.resumes.pop_front()
    }

    /// After [`Engine::handle_shutdown`]: every connection was told and is closed; the shell may end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shutdown == Shutdown::Done && self.connected == 0
    }

    fn get(&self, id: ConnId) -> Option<&Connection> {
        self.connections
            .get(id.key())?
            .as_deref()
            .filter(|conn| conn.id == id)
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        live(&mut self.connections, id)
    }
}

/// The connection of this name, if the engine still has it.
fn live(connections: &mut [Option<Box<Connection>>], id: ConnId) -> Option<&mut Connection> {
    connections
        .get_mut(id.key())?
        .as_deref_mut()
        .filter(|conn| conn.id == id)
}
