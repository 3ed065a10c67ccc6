//! The shell around the pure engine: it reads and writes wires instead of sockets, in turns like the server's, and has
//! everything that goes in heard by the model and everything that comes out by a checker. It knows nothing of workers.

mod audit;
mod due;
mod paced;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use callboard::engine::{Config, ConnId, Engine, Stats, Time};
use callboard::limits::Limits;

use crate::board::SharedHistory;
use crate::call_oracle::CallOracle;
use crate::coincidences::{self, Happening, happened};
use crate::engine_model::EngineModel;
use crate::filter::Filter;
use crate::journal::hold;
use crate::network::{Far, Wire};
use crate::pace::Pace;
use crate::peer_model::{PeerModel, Phase};
use crate::principals::Principals;
use crate::rng::Rng;
use crate::turn;
use crate::wire_checker::WireChecker;

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
    /// The engine has closed its sending half.
    half_closed: bool,
    /// When the engine last did not want to read it.
    unread_at: u64,
    /// Since when the engine has not wanted to read it.
    paused_since: Option<u64>,
    /// When one of its deadlines passed last.
    expired_at: u64,
    /// Since when it leaves.
    over_since: Option<u64>,
    /// The engine was told that something is to be read, and has not named it since.
    is_announced: bool,
    /// It was told in a turn before that the wire ends.
    knows_end: bool,
}

/// What the host works with, beside itself.
pub(crate) struct Surroundings<'a> {
    pub wires: &'a mut BTreeMap<u64, Wire>,
    pub oracle: &'a mut CallOracle,
    pub histories: &'a mut BTreeMap<u64, SharedHistory>,
    pub filters: &'a mut BTreeMap<u64, Vec<(u64, Filter)>>,
    pub rng: &'a mut Rng,
    pub now: u64,
    /// Nothing goes wrong any more.
    pub quiescent: bool,
    /// All that is there is read in this turn.
    pub at_once: bool,
}

pub(crate) struct Host {
    pub engine: Engine,
    pub engine_model: EngineModel,
    boot: u64,
    conns: BTreeMap<u64, Conn>,
    checkers: BTreeMap<u64, WireChecker>,
    free: Vec<u32>,
    keys: u32,
    generation: u32,
    /// Writing failed: told in the next turn.
    broken: Vec<u64>,
    revisions: u64,
    /// Told to stop, and did.
    stopped: bool,
    /// When a draining engine stops at the latest.
    grace_end: Option<u64>,
    /// They hold once all is read that is read in the next turn.
    pub late_principals: Option<Principals>,
    /// Leaving connections that all was written to in this turn.
    said_all: Vec<u64>,
    largest_step: usize,
    /// Where a turn does little work.
    pace: Option<Pace>,
    /// The connection that the engine is being told to have ended.
    ending: Option<u64>,
    /// Connections that were still to be judged by new credentials when the last turn ended.
    unjudged: usize,
    /// Turns in a row that left deadlines to the next one.
    overdue: u64,
}

impl Host {
    /// The engine begins, for the `boot`th time.
    pub(crate) fn boot(
        (limits, turn_work): (&Limits, Option<u64>),
        seed: [u8; 32],
        boot: u64,
        now: u64,
    ) -> Self {
        limits
            .check()
            .expect("limits that do not contradict each other");
        let config = Config {
            turn_work: turn_work.unwrap_or(u64::MAX),
            limits: limits.clone(),
            name: "simulated".to_owned(),
            seed,
        };
        let mut engine = Engine::new(config, Time(now));
        if turn_work.is_some() {
            paced::log_steps(&mut engine);
        }
        Self {
            engine,
            engine_model: EngineModel::new(limits.clone(), boot << 40),
            boot,
            conns: BTreeMap::new(),
            checkers: BTreeMap::new(),
            free: Vec::new(),
            keys: 0,
            generation: 0,
            broken: Vec::new(),
            revisions: 0,
            stopped: false,
            grace_end: None,
            late_principals: None,
            said_all: Vec::new(),
            largest_step: 0,
            pace: turn_work.map(Pace::new),
            ending: None,
            unjudged: 0,
            overdue: 0,
        }
    }

    /// Names a connection among those of all boots.
    fn token(&self, id: ConnId) -> u64 {
        self.boot << 48 | id.token() as u64
    }

    /// As SIGTERM.
    pub(crate) fn shut_down(&mut self, now: u64) {
        happened(Happening::Stop, None);
        self.engine_model.stopping = true;
        let grace = self.engine_model.limits.grace * 1000;
        self.grace_end.get_or_insert(now + grace);
        self.engine.handle_shutdown(Time(now));
    }

    /// From now on, these are let in, with these rights.
    pub(crate) fn reload(&mut self, principals: &Principals, oracle: &mut CallOracle, now: u64) {
        happened(Happening::Reload, None);
        self.late_principals = None;
        // Those whom the engine has sent off keep the rights that they had.
        let stats = self.engine.stats();
        self.note_stop(&stats, oracle);
        if self.pace.is_some() {
            self.engine_model.replace(principals);
            self.unjudged = usize::MAX;
        } else {
            for (token, checker) in &mut self.checkers {
                checker.reload(&self.engine_model.peers[token].filter);
            }
            self.engine_model.reload(principals, oracle, now);
        }
        let credentials = principals.credentials();
        self.engine.handle_credentials(&credentials, Time(now));
        self.catch_up(oracle, now, true);
    }

    /// The peer at the other end of a wire.
    pub(crate) fn peer(&self, wire: &Wire) -> Option<&PeerModel> {
        match wire.far {
            Far::Taken(token) => self.engine_model.peers.get(&token),
            _ => None,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.engine.is_finished()
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self, around: &mut Surroundings<'_>) {
        // Deadlines are things that happen, too.
        self.engine_model.tick += 1;
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
        self.note_stop(&stats, around.oracle);
        self.assert_ends_known(&stats);
        self.assert_within_limits(&stats);
        self.assert_resumed();
        self.assert_nothing_late(&stats, around);
        self.assert_paced(&stats, around.now);
        coincidences::end_turn();
        // While too many abandoned calls are held, a provider that holds one gets no other.
        let crowds = self.engine_model.limits.max_calls_total < 1000;
        if !self.is_busy(around.now) && !self.engine_model.stopping && !crowds {
            around
                .oracle
                .assert_no_call_waits_in_vain(around.now, |attempt, intent| {
                    self.engine_model.has_room_for(attempt, intent)
                });
        }
    }

    /// If the engine has stopped, everybody was told to go.
    fn note_stop(&mut self, stats: &Stats, oracle: &mut CallOracle) {
        let told = stats.closed.get("shutting_down").copied().unwrap_or(0);
        let refused = self
            .engine_model
            .closed
            .get("shutting_down")
            .copied()
            .unwrap_or(0);
        if self.engine_model.stopping && !self.stopped && told > refused {
            self.stopped = true;
            let tokens: Vec<u64> = self.engine_model.peers.keys().copied().collect();
            for token in tokens {
                self.engine_model.end(token, "shutting_down", oracle);
            }
        }
    }

    /// Ids of workers that a stranger might guess.
    pub(crate) fn worker_ids(&self) -> Vec<u64> {
        let peers = self.engine_model.peers.values();
        let live = peers.filter(|it| it.phase == Phase::Live);
        live.map(|it| it.worker).collect()
    }

    /// Ids of INVOKEs that ran on other connections than this one, and that it might guess.
    pub(crate) fn foreign_ids(&self, near: Option<u64>) -> Vec<u64> {
        let peers = &self.engine_model.peers;
        let own = near.and_then(|token| peers.get(&token));
        let is_own = |id: &u64| own.is_some_and(|it| it.invoked.contains_key(id));
        let all = peers.values().flat_map(|it| it.invoked.keys().copied());
        let ids: BTreeSet<u64> = all.filter(|id| !is_own(id)).collect();
        ids.into_iter().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }
}
