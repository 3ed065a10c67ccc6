//! A run: workers, strangers, wires and an engine under one clock and one source of chance. Things happen
//! and go wrong for a while; then everything calms down, and all must come to what was promised within a
//! bounded number of turns.

use std::collections::BTreeMap;
use std::time::Instant;

use callboard::worker::link::Identity;

use crate::application;
use crate::board::Annals;
use crate::book::Book;
use crate::cover::Cover;
use crate::dice::Dice;
use crate::host::{Host, Surroundings};
use crate::journal::{self, note, saw};
use crate::network::{Far, Wire};
use crate::principals::{NAMESPACES, Principals};
use crate::stranger::Stranger;
use crate::view::watches;
use crate::weather::Weather;
use crate::worker::{Scene, Stage, Worker};

pub(crate) struct World {
    pub weather: Weather,
    pub dice: Dice,
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
    pub book: Book,
    pub annals: BTreeMap<u64, Annals>,
    /// By wire: behind how many bytes of the engine's a view is by which cover.
    pub covers: BTreeMap<u64, Vec<(u64, Cover)>>,
    /// The principals that the engine admits; `None` admits every peer.
    pub principals: Option<Principals>,
    pub workers: Vec<Worker>,
    pub strangers: Vec<Stranger>,
    pub hired: usize,
    pub calm: bool,
}

/// Borrows the parts of a world that workers work with.
macro_rules! scene {
    ($world:expr) => {
        Scene {
            wires: &mut $world.wires,
            book: &mut $world.book,
            annals: &$world.annals,
            covers: &$world.covers,
            dice: &mut $world.dice,
            now: $world.now,
            start: $world.start,
            calm: $world.calm,
            engine_is_up: $world.host.is_some(),
            buffers: &$world.weather.buffers,
            slowness: &$world.weather.slowness,
            next_wire: &mut $world.next_wire,
        }
    };
}
pub(crate) use scene;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Dice::new(seed))
    }

    /// An even world: no choice depends on the length of a frame.
    pub(crate) fn even(seed: u64) -> Self {
        Self::with(seed, Dice::even(seed))
    }

    fn with(seed: u64, mut dice: Dice) -> Self {
        journal::begin(seed);
        let weather = Weather::new(&mut dice);
        note!("{weather:?}");
        let principals = weather.credentials.then(|| Principals::draw(&mut dice));
        let mut world = Self {
            weather,
            dice,
            now: 1_000_000,
            start: Instant::now(),
            host: None,
            boot_at: 0,
            frozen_until: 0,
            boots: 0,
            wires: BTreeMap::new(),
            next_wire: 0,
            book: Book::default(),
            annals: BTreeMap::new(),
            covers: BTreeMap::new(),
            principals,
            workers: Vec::new(),
            strangers: Vec::new(),
            hired: 0,
            calm: false,
        };
        world.boot();
        for _ in 0..world.weather.workers {
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
        let seed = self.dice.seed();
        self.host = Some(Host::boot(&self.weather.limits, seed, self.boots, self.now));
        self.reform();
    }

    /// The engine is told whom it lets in.
    pub(crate) fn reform(&mut self) {
        if let (Some(principals), Some(host)) = (&self.principals, &mut self.host) {
            note!("credentials: {principals:?}");
            host.reform(principals, &mut self.book, self.now);
        }
    }

    pub(crate) fn hire(&mut self) {
        let namespace = NAMESPACES[self.hired % self.weather.namespaces];
        // Some bear the same name.
        let name = format!("w{}", self.hired % 12);
        self.hired += 1;
        let (watch, cover) = self.dice.pick(&watches());
        let identity = Identity {
            name,
            namespace: namespace.to_owned(),
            watch,
            metadata: vec![self.dice.below(2) as u8; self.dice.below(2)],
            capacity: Some(1 + self.dice.below(4) as u64),
        };
        let mut scene = scene!(self);
        let mut worker = Worker::new(identity, cover, &mut scene);
        if self.weather.credentials {
            worker.present(Principals::token(namespace, scene.dice));
        }
        if !scene.dice.one_in(3) {
            application::register(&mut worker, &mut scene);
        }
        self.workers.push(worker);
    }

    /// Everything, from beginning to end.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.weather.turns {
            self.happen();
            self.turn();
            let pause = match self.dice.below(20) {
                0 => self.dice.between(0..1_000_000),
                1..=4 => 0,
                _ => self.dice.between(0..self.weather.pace * 1000),
            };
            self.now += pause;
        }
        self.calm_down();
        self.assert_right();
        self.probe_places();
        self.go_home();
    }

    /// What workers want, and what goes wrong.
    fn happen(&mut self) {
        let roll = self.host.as_ref().map_or_else(Vec::new, Host::roll);
        let mut scene = scene!(self);
        for _ in 0..scene.dice.below(5) {
            let at = scene.dice.below(self.workers.len());
            application::act(&mut self.workers[at], &roll, &mut scene);
        }
        for stranger in &mut self.strangers {
            if scene.dice.one_in(3) {
                let token = match scene.wires[&stranger.wire].far {
                    Far::Taken(token) => Some(token),
                    _ => None,
                };
                let foreign = self.host.as_ref().map(|it| it.foreign_ids(token));
                stranger.act(&foreign.unwrap_or_default(), &mut scene);
            }
        }
        if self.strangers.len() < self.weather.strangers
            && self.host.is_some()
            && self.dice.one_in(10)
        {
            let has_token = self.weather.credentials;
            let stranger = Stranger::come(&self.strangers, has_token, &mut scene!(self));
            self.strangers.push(stranger);
        }
        if self.dice.one_in(self.weather.calmness) {
            self.go_wrong();
        }
    }

    /// Each worker and stranger that has something to do has a turn.
    pub(crate) fn turn(&mut self) {
        journal::at(self.now);
        if self.host.is_none() && self.boot_at <= self.now {
            self.boot();
        }
        let mut scene = scene!(self);
        for worker in &mut self.workers {
            worker.turn(&mut scene);
        }
        self.strangers.retain_mut(|stranger| {
            stranger.turn(&mut scene);
            let stays = !stranger.is_over(&scene);
            if !stays {
                stranger.leave(&mut scene);
            }
            stays
        });
        self.replace();
        if let Some(host) = &mut self.host
            && self.frozen_until <= self.now
        {
            host.turn(&mut Surroundings {
                wires: &mut self.wires,
                book: &mut self.book,
                annals: &mut self.annals,
                covers: &mut self.covers,
                dice: &mut self.dice,
                now: self.now,
                calm: self.calm,
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
        self.covers
            .retain(|number, _| self.wires.contains_key(number));
    }

    /// Workers that are over are restarted.
    pub(crate) fn replace(&mut self) {
        for at in 0..self.workers.len() {
            if self.workers[at].stage == Stage::Over && (self.calm || self.dice.one_in(8)) {
                self.workers.swap_remove(at);
                self.hire();
                return;
            }
        }
    }
}
