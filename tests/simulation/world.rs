//! A run: workers, strangers, wires and an engine under one clock and one source of chance. Things happen
//! and go wrong for a while; then everything calms down, and all must come to what was promised within a
//! bounded number of turns.

use std::collections::BTreeMap;
use std::time::Instant;

use callboard::worker::link::Identity;

use crate::application;
use crate::board::SharedHistory;
use crate::call_oracle::CallOracle;
use crate::filter::Filter;
use crate::host::{Host, Surroundings};
use crate::journal::{self, note, saw};
use crate::network::{Far, Wire};
use crate::principals::{NAMESPACES, Principals};
use crate::rng::Rng;
use crate::run_config::RunConfig;
use crate::stranger::Stranger;
use crate::view::watches;
use crate::worker::{Context, Stage, Worker};

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
            engine_is_up: $world.host.is_some(),
            buffers: &$world.config.buffers,
            slowness: &$world.config.slowness,
            next_wire: &mut $world.next_wire,
        }
    };
}
pub(crate) use context;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed))
    }

    /// An even world: no choice depends on the length of a frame.
    pub(crate) fn even(seed: u64) -> Self {
        Self::with(seed, Rng::even(seed))
    }

    fn with(seed: u64, mut rng: Rng) -> Self {
        journal::begin(seed);
        let config = RunConfig::new(&mut rng);
        note!("{config:?}");
        let principals = config.credentials.then(|| Principals::draw(&mut rng));
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
        };
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
        self.host = Some(Host::boot(&self.config.limits, seed, self.boots, self.now));
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
        let (watch, filter) = self.rng.pick(&watches());
        let identity = Identity {
            name,
            namespace: namespace.to_owned(),
            watch,
            metadata: vec![self.rng.below(2) as u8; self.rng.below(2)],
            capacity: Some(1 + self.rng.below(4) as u64),
        };
        let mut context = context!(self);
        let mut worker = Worker::new(identity, filter, &mut context);
        if self.config.credentials {
            worker.present(Principals::token(namespace, context.rng));
        }
        if !context.rng.one_in(3) {
            application::register(&mut worker, &mut context);
        }
        self.workers.push(worker);
    }

    /// Everything, from beginning to end.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.config.turns {
            self.happen();
            self.turn();
            let pause = match self.rng.below(20) {
                0 => self.rng.between(0..1_000_000),
                1..=4 => 0,
                _ => self.rng.between(0..self.config.pace * 1000),
            };
            self.now += pause;
        }
        self.quiesce();
        self.assert_right();
        self.probe_places();
        self.go_home();
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
        }
        if self.rng.one_in(self.config.fault_interval) {
            self.go_wrong();
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
