//! What goes wrong: wires that are cut, readers that stall, workers and engines that crash, stop, stand still.
//! It happens to a world, and checks nothing.

use crate::context::Context;
use crate::journal::{note, saw};
use crate::network::Far;
use crate::worker::Stage;
use crate::world::{World, context};

impl World {
    pub(crate) fn go_wrong(&mut self) {
        let at = self.rng.below(self.workers.len());
        match self.rng.below(32) {
            0..=11 => self.cut(at),
            12..=16 => {
                let long = self.rng.pick(&[50_000, 400_000, 3_000_000, 20_000_000]);
                self.workers[at].stalled_until = self.now + self.rng.between(0..long);
                note!(
                    "{} stalls until {}",
                    self.workers[at].name,
                    self.workers[at].stalled_until
                );
            }
            17..=19 => {
                let mut context = context!(self);
                self.workers[at].crash(&mut context);
                if self.rng.one_in(2) {
                    // Its host went with it: the engine gets no FIN.
                    self.lose_all_under_way(at);
                }
            }
            20..=22 if self.workers[at].stage == Stage::Serving => {
                self.workers[at].drain();
            }
            23 if self.workers[at].stage == Stage::Serving => {
                self.workers[at].leave(&mut context!(self));
            }
            24..=25 => {
                let long = self.rng.pick(&[30_000, 300_000, 20_000_000]);
                self.frozen_until = self.now + self.rng.between(0..long);
                note!("the engine stands still until {}", self.frozen_until);
                saw("the engine stood still");
            }
            26..=27 if self.config.restarts && self.rng.one_in(2) => self.crash_engine(),
            28 if self.config.restarts && self.rng.one_in(2) => {
                if let Some(host) = &mut self.host {
                    note!("the engine is told to stop");
                    saw("the engine was told to stop");
                    host.shut_down(self.now);
                }
            }
            29 if !self.strangers.is_empty() => {
                let at = self.rng.below(self.strangers.len());
                let mut stranger = self.strangers.swap_remove(at);
                stranger.leave(&mut context!(self));
            }
            30..=31 => {
                let stopping = self
                    .host
                    .as_ref()
                    .is_some_and(|it| it.engine_model.stopping);
                if let Some(principals) = self.principals.as_mut().filter(|_| !stopping) {
                    principals.redraw(&mut self.rng);
                    self.reload();
                }
            }
            _ => {}
        }
    }

    /// A worker's connection is cut, at any byte; neither, one or both sides are told, sooner or later.
    fn cut(&mut self, at: usize) {
        let Some(wire) = self.workers[at].wire.and_then(|it| self.wires.get_mut(&it)) else {
            return;
        };
        let rng = &mut self.rng;
        let mut told = || match rng.below(4) {
            0 => Some(self.now),
            1 => Some(self.now + rng.between(0..2_000_000)),
            2 => Some(self.now + rng.between(0..50_000)),
            _ => None,
        };
        let (up, down) = (told(), told());
        let kept = [&wire.up, &wire.down].map(|pipe| self.rng.some_of(pipe.under_way()));
        wire.up.cut(kept[0], up);
        wire.down.cut(kept[1], down);
        wire.is_cut = true;
        note!(
            "the wire of {} is cut; the engine is told at {up:?}, the worker at {down:?}",
            self.workers[at].name
        );
    }

    fn lose_all_under_way(&mut self, at: usize) {
        let name = self.workers[at].name.clone();
        for wire in self
            .wires
            .values_mut()
            .filter(|it| it.near_gone && !it.is_cut)
        {
            let keep = self.rng.some_of(wire.up.under_way());
            wire.up.cut(keep, None);
            wire.is_cut = true;
        }
        note!("the host of {name} is gone");
    }

    /// The engine's process ends, and all that it knew.
    pub(crate) fn crash_engine(&mut self) {
        let Some(host) = self.host.take() else {
            return;
        };
        note!("the engine is gone");
        self.oracle.engine_gone(host.engine_model.tick);
        self.boot_at = self.now + self.rng.pick(&[0, 100_000, 2_000_000]);
        self.frozen_until = 0;
        for wire in self.wires.values_mut().filter(|it| it.far != Far::Gone) {
            wire.far = Far::Gone;
            let keep = self.rng.some_of(wire.down.under_way());
            let told = (!self.rng.one_in(4)).then(|| self.now + self.rng.between(0..100_000));
            wire.down.cut(keep, told);
            wire.up.cut(0, None);
        }
    }
}
