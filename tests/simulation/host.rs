//! The shell around the pure engine: it reads and writes wires instead of sockets, in turns like the server's, and has
//! everything that goes in heard by the model and everything that comes out by a tap. It knows nothing of workers.

mod audit;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::{Config, ConnId, Engine, Stats, Time};
use callboard::limits::Limits;

use crate::board::Annals;
use crate::book::Book;
use crate::cover::Cover;
use crate::dice::Dice;
use crate::journal::hold;
use crate::network::{Far, Wire};
use crate::party::{Party, Phase};
use crate::principals::Principals;
use crate::registrar::Registrar;
use crate::tap::Tap;
use crate::turn;

use sockets::{Turn, budgets};

/// A connection as the shell has it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts about a socket.
struct Conn {
    id: ConnId,
    wire: u64,
    blocked_since: Option<u64>,
    /// Nothing more fits in this turn.
    is_full: bool,
    /// Nothing could be written, and nothing was since.
    stalled: bool,
    /// The engine did not want to read it, and has not said otherwise since.
    held_back: bool,
    /// The end was read.
    ended: bool,
}

/// What the host works with, beside itself.
pub(crate) struct Surroundings<'a> {
    pub wires: &'a mut BTreeMap<u64, Wire>,
    pub book: &'a mut Book,
    pub annals: &'a mut BTreeMap<u64, Annals>,
    pub covers: &'a mut BTreeMap<u64, Vec<(u64, Cover)>>,
    pub dice: &'a mut Dice,
    pub now: u64,
    /// Nothing goes wrong any more.
    pub calm: bool,
}

pub(crate) struct Host {
    pub engine: Engine,
    pub registrar: Registrar,
    boot: u64,
    conns: BTreeMap<u64, Conn>,
    taps: BTreeMap<u64, Tap>,
    free: Vec<u32>,
    keys: u32,
    generation: u32,
    /// Writing failed: told in the next turn.
    broken: Vec<u64>,
    revisions: u64,
    /// Told to stop, and did.
    stopped: bool,
    largest_step: usize,
}

impl Host {
    /// The engine begins, for the `boot`th time.
    pub(crate) fn boot(limits: &Limits, seed: [u8; 32], boot: u64, now: u64) -> Self {
        limits
            .check()
            .expect("limits that do not contradict each other");
        let config = Config {
            limits: limits.clone(),
            name: "simulated".to_owned(),
            seed,
        };
        Self {
            engine: Engine::new(config, Time(now)),
            registrar: Registrar::new(limits.clone(), boot << 40),
            boot,
            conns: BTreeMap::new(),
            taps: BTreeMap::new(),
            free: Vec::new(),
            keys: 0,
            generation: 0,
            broken: Vec::new(),
            revisions: 0,
            stopped: false,
            largest_step: 0,
        }
    }

    /// Names a connection among those of all boots.
    fn token(&self, id: ConnId) -> u64 {
        self.boot << 48 | id.token() as u64
    }

    /// As SIGTERM.
    pub(crate) fn shut_down(&mut self, now: u64) {
        self.registrar.stopping = true;
        self.engine.handle_shutdown(Time(now));
    }

    /// From now on, these are let in, with these rights.
    pub(crate) fn reform(&mut self, principals: &Principals, book: &mut Book, now: u64) {
        for (token, tap) in &mut self.taps {
            tap.reform(&self.registrar.parties[token].cover);
        }
        self.registrar.reform(principals, book, now);
        let credentials = principals.credentials();
        self.engine.handle_credentials(&credentials, Time(now));
    }

    /// The peer at the other end of a wire.
    pub(crate) fn party(&self, wire: &Wire) -> Option<&Party> {
        match wire.far {
            Far::Taken(token) => self.registrar.parties.get(&token),
            _ => None,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.engine.is_finished()
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self, around: &mut Surroundings<'_>) {
        // Deadlines are things that happen, too.
        self.registrar.tick += 1;
        let budgets = budgets(around);
        let mut turn = Turn::new(self, around);
        turn::run(&mut turn, budgets);
        let sealed = turn.sealed;
        let stats = self.engine.stats();
        hold!(
            stats.revisions - self.revisions == sealed,
            "a revision for each turn that changed something, and for no other",
            "{} revisions instead of {sealed}",
            stats.revisions - self.revisions
        );
        self.revisions = stats.revisions;
        self.note_stop(&stats, around);
        self.assert_ends_known(&stats);
        self.assert_within_limits(&stats);
        self.assert_resumed();
        // While too many abandoned calls are held, a provider that holds one gets no other.
        let crowds = self.registrar.limits.max_calls_total < 1000;
        if !self.engine.has_more() && !self.registrar.stopping && !crowds {
            around
                .book
                .assert_nobody_waits_in_vain(around.now, |attempt, errand| {
                    self.registrar.has_room_for(attempt, errand)
                });
        }
    }

    /// If the engine has stopped, everybody was told to go.
    fn note_stop(&mut self, stats: &Stats, around: &mut Surroundings<'_>) {
        let told = stats.closed.get("shutting_down").copied().unwrap_or(0);
        let refused = self
            .registrar
            .closed
            .get("shutting_down")
            .copied()
            .unwrap_or(0);
        if self.registrar.stopping && !self.stopped && told > refused {
            self.stopped = true;
            let tokens: Vec<u64> = self.registrar.parties.keys().copied().collect();
            for token in tokens {
                self.registrar.end(token, "shutting_down", around.book);
            }
        }
    }

    /// Ids of workers that a stranger might guess.
    pub(crate) fn roll(&self) -> Vec<u64> {
        let parties = self.registrar.parties.values();
        let live = parties.filter(|it| it.phase == Phase::Live);
        live.map(|it| it.worker).collect()
    }

    /// Ids of INVOKEs that ran on other connections than this one, and that it might guess.
    pub(crate) fn foreign_ids(&self, near: Option<u64>) -> Vec<u64> {
        let parties = &self.registrar.parties;
        let own = near.and_then(|token| parties.get(&token));
        let is_own = |id: &u64| own.is_some_and(|it| it.invoked.contains_key(id));
        let all = parties.values().flat_map(|it| it.invoked.keys().copied());
        let ids: BTreeSet<u64> = all.filter(|id| !is_own(id)).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }
}
