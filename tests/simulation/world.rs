//! A run: workers, strangers, wires and an engine under one clock and one source of chance. Things happen
//! and go wrong for a while; then everything calms down, and all must come to what was promised within a
//! bounded number of turns.

use std::collections::BTreeMap;
use std::time::Instant;

use callboard::worker::link::Identity;

use crate::application;
use crate::board::SharedHistory;
use crate::call_oracle::CallOracle;
use crate::context::Context;
use crate::filter::Filter;
use crate::host::{Host, Surroundings};
use crate::journal::{self, note, saw};
use crate::network::{Far, Wire};
use crate::principals::{NAMESPACES, Permit, Principals};
use crate::rng::Rng;
use crate::run_config::RunConfig;
use crate::stranger::Stranger;
use crate::view::watches;
use crate::worker::{Stage, Worker};

pub(crate) struct World {
    pub config: RunConfig,
    pub rng: Rng,
    pub now: u64,
    pub start: Instant,
    pub host: Option<Host>,
    /// When the engine comes back, if it is down.
    pub boot_at: u64,
    /// The engine stands still until then.
    pub frozen_until: u64,
    pub boots: u64,
    pub wires: BTreeMap<u64, Wire>,
    pub next_wire: u64,
    pub oracle: CallOracle,
    pub histories: BTreeMap<u64, SharedHistory>,
    /// By wire: behind how many bytes of the engine's a view is by which filter.
    pub filters: BTreeMap<u64, Vec<(u64, Filter)>>,
    /// The principals that the engine admits; `None` admits every peer.
    pub principals: Option<Principals>,
    pub workers: Vec<Worker>,
    pub strangers: Vec<Stranger>,
    pub hired: usize,
    pub quiescent: bool,
    /// All that is there is read and written in this turn.
    pub at_once: bool,
    /// Workers that come back get nothing through behind their HELLO.
    pub mutes: bool,
    /// By which the worker of a burst is chosen, if it is always the same.
    pub focus: Option<usize>,
    /// Wires that take nothing from the engine for a while, and what they took before.
    pub squeezed: Vec<(u64, usize)>,
    /// The same for those that take nothing from their worker.
    pub muted: Vec<(u64, usize)>,
}

/// Borrows the parts of a world that workers work with.
macro_rules! context {
    ($world:expr) => {
        Context {
            wires: &mut $world.wires,
            oracle: &mut $world.oracle,
            histories: &$world.histories,
            filters: &$world.filters,
            rng: &mut $world.rng,
            now: $world.now,
            start: $world.start,
            quiescent: $world.quiescent,
            at_once: $world.at_once,
            large: $world.config.large,
            floods: $world.config.floods,
            engine_is_up: $world.host.is_some(),
            engine_stops: $world
                .host
                .as_ref()
                .is_some_and(|it| it.engine_model.stopping),
            buffers: &$world.config.buffers,
            slowness: &$world.config.slowness,
            next_wire: &mut $world.next_wire,
        }
    };
}
pub(crate) use context;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed), RunConfig::new)
    }

    /// A world in which several events are drawn into one turn, again and again.
    pub(crate) fn of_bursts(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed), RunConfig::of_bursts)
    }

    /// An even world: no choice depends on the length of a frame.
    pub(crate) fn even(seed: u64) -> Self {
        Self::with(seed, Rng::even(seed), RunConfig::new)
    }

    /// A world with names of the greatest length, large entries, and metadata that change, shown to all in part.
    pub(crate) fn of_large(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed), RunConfig::of_large)
    }

    /// A world in which a turn does little work, and much is left for later.
    pub(crate) fn of_paced(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed), RunConfig::of_paced)
    }

    fn with(seed: u64, mut rng: Rng, config: fn(&mut Rng) -> RunConfig) -> Self {
        journal::begin(seed);
        let config = config(&mut rng);
        note!("{config:?}");
        let permits = if config.large {
            Permit::draw_observer
        } else {
            Permit::draw
        };
        let mut principals = config
            .credentials
            .then(|| Principals::draw(permits, &mut rng));
        if let Some(principals) = &mut principals {
            principals.differ = config.turn_work.is_some();
        }
        let mut world = Self {
            config,
            rng,
            now: 1_000_000,
            start: Instant::now(),
            host: None,
            boot_at: 0,
            frozen_until: 0,
            boots: 0,
            wires: BTreeMap::new(),
            next_wire: 0,
            oracle: CallOracle::default(),
            histories: BTreeMap::new(),
            filters: BTreeMap::new(),
            principals,
            workers: Vec::new(),
            strangers: Vec::new(),
            hired: 0,
            quiescent: false,
            at_once: false,
            mutes: false,
            focus: None,
            squeezed: Vec::new(),
            muted: Vec::new(),
        };
        world.oracle.in_slices = world.config.turn_work.is_some();
        world.boot();
        for _ in 0..world.config.workers {
            world.hire();
        }
        world
    }

    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        if self.boots > 1 {
            saw("the engine was restarted");
        }
        note!("the engine begins, {}", self.boots);
        let seed = self.rng.seed();
        self.host = Some(Host::boot(
            (&self.config.limits, self.config.turn_work),
            seed,
            self.boots,
            self.now,
        ));
        self.reload();
    }

    /// The engine is told whom it lets in.
    pub(crate) fn reload(&mut self) {
        if let (Some(principals), Some(host)) = (&self.principals, &mut self.host) {
            note!("credentials: {principals:?}");
            host.reload(principals, &mut self.oracle, self.now);
        }
    }

    pub(crate) fn hire(&mut self) {
        let namespace = NAMESPACES[self.hired % self.config.namespaces];
        // Some bear the same name.
        let name = format!("w{}", self.hired % 12);
        self.hired += 1;
        let mut watches = watches();
        if self.config.large {
            // So few that they share their audiences.
            watches.truncate(3);
        }
        let (watch, filter) = self.rng.pick(&watches);
        let identity = Identity {
            name,
            namespace: namespace.to_owned(),
            watch,
            metadata: self.metadata(),
            capacity: Some(1 + self.rng.below(4) as u64),
            tier: self.rng.pick(&[None, None, Some(0), Some(1), Some(2)]),
        };
        let mut context = context!(self);
        let mut worker = Worker::new(identity, filter, &mut context);
        if self.config.credentials {
            let drawn = Principals::token(namespace, context.rng);
            // In bursts, there is always one who may send others away.
            let is_first = self.config.bursts && self.hired == 1;
            worker.present(if is_first {
                format!("first@{namespace}")
            } else {
                drawn
            });
        }
        if !context.rng.one_in(3) {
            application::register(&mut worker, &mut context);
        }
        self.workers.push(worker);
    }

    /// A worker's.
    pub(crate) fn metadata(&mut self) -> Vec<u8> {
        let byte = self.rng.below(2) as u8;
        let bytes = if self.config.large {
            self.rng.pick(&[0, 100, 4_096])
        } else {
            self.rng.below(2)
        };
        vec![byte; bytes]
    }

    /// Everything, from beginning to end.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.config.turns {
            self.at_once = false;
            self.happen();
            if self.config.bursts {
                self.boot_at = self.boot_at.min(self.now);
                if self.is_running() && !self.rng.one_in(3) {
                    self.burst();
                }
            }
            self.turn();
            if self.config.turn_work.is_some() && self.is_busy() {
                // The next wait returns at once.
                self.now += self.rng.between(0..2_000);
                continue;
            }
            let pause = match self.rng.below(20) {
                0 => self.rng.between(0..1_000_000),
                1..=4 => 0,
                _ => self.rng.between(0..self.config.pace * 1000),
            };
            self.now += pause;
        }
        self.at_once = false;
        self.quiesce();
        self.assert_right();
        self.probe_places();
        self.go_home();
    }

    /// The engine has something left to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.host.as_ref().is_some_and(|it| it.is_busy(self.now))
    }

    /// What workers want, and what goes wrong.
    fn happen(&mut self) {
        let worker_ids = self.host.as_ref().map_or_else(Vec::new, Host::worker_ids);
        let mut context = context!(self);
        for _ in 0..context.rng.below(5) {
            let at = context.rng.below(self.workers.len());
            application::act(&mut self.workers[at], &worker_ids, &mut context);
        }
        for stranger in &mut self.strangers {
            if context.rng.one_in(3) {
                let token = match context.wires[&stranger.wire].far {
                    Far::Taken(token) => Some(token),
                    _ => None,
                };
                let foreign = self.host.as_ref().map(|it| it.foreign_ids(token));
                stranger.act(&foreign.unwrap_or_default(), &mut context);
            }
        }
        if self.strangers.len() < self.config.strangers
            && self.host.is_some()
            && self.rng.one_in(10)
        {
            let has_token = self.config.credentials;
            let stranger = Stranger::come(&self.strangers, has_token, &mut context!(self));
            self.strangers.push(stranger);
        } else if self.config.large && self.host.is_some() && self.rng.one_in(4) {
            self.take_a_strangers_place();
        }
        if self.config.turn_work.is_some() {
            self.emit_much();
        }
        if self.rng.one_in(self.config.fault_interval) {
            self.go_wrong();
        }
        if self.config.large && self.is_running() && self.rng.one_in(10) {
            // Somebody goes in the same turn, of whom readers with old and new rights are to be told.
            self.at_once = self.rng.one_in(2);
            if self.at_once {
                self.end(Worker::go);
            }
            self.redraw_rights();
        }
    }

    /// Events that many hear, which meet what is bound and who leaves meanwhile.
    fn emit_much(&mut self) {
        let at = self.rng.below(self.workers.len());
        if self.workers[at].stage == Stage::Serving && self.rng.one_in(2) {
            let mut context = context!(self);
            let worker = &mut self.workers[at];
            match context.rng.below(4) {
                0 => application::bind(worker, &mut context),
                1 => application::unbind(worker, &mut context),
                _ => application::emit_long(worker, &mut context),
            }
        }
        let emitting = self.host.as_ref().and_then(Host::emitting);
        if let Some(wire) = emitting.and_then(|wire| self.wires.get_mut(&wire))
            && self.rng.one_in(8)
        {
            note!("the emitter breaks off");
            wire.up.cut(0, Some(self.now));
            wire.down.cut(0, Some(self.now));
            wire.is_cut = true;
        }
    }

    /// Each worker and stranger that has something to do has a turn.
    pub(crate) fn turn(&mut self) {
        journal::at(self.now);
        if self.host.is_none() && self.boot_at <= self.now {
            self.boot();
        }
        let mut context = context!(self);
        for worker in &mut self.workers {
            worker.turn(&mut context);
        }
        self.strangers.retain_mut(|stranger| {
            stranger.turn(&mut context);
            let stays = !stranger.is_over(&context);
            if !stays {
                stranger.leave(&mut context);
            }
            stays
        });
        self.replace();
        if let Some(host) = &mut self.host
            && self.frozen_until <= self.now
        {
            host.turn(&mut Surroundings {
                wires: &mut self.wires,
                oracle: &mut self.oracle,
                histories: &mut self.histories,
                filters: &mut self.filters,
                rng: &mut self.rng,
                now: self.now,
                quiescent: self.quiescent,
                at_once: self.at_once,
            });
            if host.is_finished() {
                note!("the engine has ended");
                self.crash_engine();
            }
        }
        let used = |number: &u64, wire: &mut Wire| {
            let near = self.workers.iter().any(|it| it.wire == Some(*number));
            let strange = self.strangers.iter().any(|it| it.wire == *number);
            near || strange || wire.far != Far::Gone
        };
        self.wires.retain(|number, wire| used(number, wire));
        self.filters
            .retain(|number, _| self.wires.contains_key(number));
    }

    /// Workers that are over are restarted.
    pub(crate) fn replace(&mut self) {
        for at in 0..self.workers.len() {
            if self.workers[at].stage == Stage::Over && (self.quiescent || self.rng.one_in(8)) {
                self.workers.swap_remove(at);
                self.hire();
                return;
            }
        }
    }
}
