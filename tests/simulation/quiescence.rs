//! The end of a run: nothing goes wrong any more, and everything must come to what was promised within a
//! bounded number of turns. Then everybody goes home, and nothing may be left.

use std::collections::BTreeSet;
use std::rc::Rc;

use callboard::engine::Verb;
use callboard::worker::Standing;

use crate::application;
use crate::call_oracle::Kind;
use crate::context::Context;
use crate::host::{Host, Surroundings};
use crate::journal::{self, hold, note};
use crate::network::{Far, Wire};
use crate::worker::{Stage, Tied, Worker};
use crate::world::{World, context};

/// Turns within which everything must have calmed down.
const TURNS_TO_QUIESCE: usize = 6_000;

impl World {
    /// Nothing goes wrong any more. All must be right again within a bounded number of turns.
    pub(crate) fn quiesce(&mut self) {
        note!("everything calms down");
        self.quiescent = true;
        self.frozen_until = 0;
        for stranger in &mut self.strangers {
            stranger.leave(&mut context!(self));
        }
        self.strangers.clear();
        if let Some(principals) = &mut self.principals {
            let had_tiers = principals.allow_all_tiers();
            if self.config.bursts {
                principals.let_in(&mut self.rng);
            }
            if had_tiers || self.config.bursts {
                self.reload();
            }
        }
        for worker in &mut self.workers {
            worker.stalled_until = 0;
        }
        for wire in self.wires.values_mut() {
            wire.up.capacity = 1 << 20;
            wire.down.capacity = 1 << 20;
            wire.delay = (0, 1);
        }
        // An engine that was told to stop ends; the next one comes.
        for turn in 0..TURNS_TO_QUIESCE {
            self.turn();
            let living = self
                .workers
                .iter()
                .all(|it| it.stage == Stage::Serving && it.is_live() && it.is_idle());
            let quiet = self
                .wires
                .values()
                .all(|it| it.up.under_way() + it.down.under_way() == 0);
            let stopping = self.host.as_ref().is_none_or(|it| it.engine_model.stopping);
            // No side takes a dead connection for a live one.
            let is_dead = |it: &Wire| it.is_cut || it.near_gone || it.far == Far::Gone;
            let dead = self.wires.values().any(is_dead);
            let is_busy = self.config.turn_work.is_some()
                && (self.is_busy() || self.host.as_ref().is_some_and(Host::has_leftovers));
            if living && quiet && !is_busy && !stopping && !dead && !self.may_retry() {
                note!("quiescent after {turn} turns");
                return;
            }
            self.skip();
        }
        hold!(
            false,
            "everything converges within a bounded number of turns",
            "{:?}",
            self.workers
                .iter()
                .map(|it| (
                    &it.name,
                    it.stage,
                    it.is_live(),
                    &it.orders,
                    &it.calls,
                    it.is_idle()
                ))
                .collect::<Vec<_>>()
        );
    }

    /// A worker has yet to register again, and will try later.
    fn may_retry(&self) -> bool {
        self.workers.iter().any(|worker| {
            let offers = worker.link.offers();
            offers.iter().any(|it| it.standing == Standing::Pending)
        })
    }

    /// The time goes on to where something happens.
    fn skip(&mut self) {
        let engine = self
            .host
            .as_ref()
            .and_then(|it| it.engine.next_deadline())
            .map(|it| it.0);
        let more = self.is_busy();
        let workers = self
            .workers
            .iter()
            .filter_map(|it| it.next(self.now, self.start));
        let wires = self
            .wires
            .values()
            .flat_map(|it| [it.up.next(self.now), it.down.next(self.now)]);
        let dialling = self.wires.values().filter_map(|it| match it.far {
            Far::Dialling(at) => Some(at),
            _ => None,
        });
        let boot = self.host.is_none().then_some(self.boot_at);
        let times = engine
            .into_iter()
            .chain(workers)
            .chain(wires.flatten())
            .chain(dialling)
            .chain(boot);
        let next = times.filter(|at| *at > self.now).min();
        self.now = if more {
            self.now + 1
        } else {
            next.unwrap_or(self.now + 1).min(self.now + 500_000)
        };
        journal::at(self.now);
    }

    /// Everybody has what they want, and everybody sees it.
    pub(crate) fn assert_right(&mut self) {
        let host = self.host.as_ref().expect("the engine is up");
        host.assert_at_rest();
        self.oracle.assert_all_ended();
        let context = context!(self);
        for worker in &mut self.workers {
            worker.assert_view(&context);
        }
        for worker in &self.workers {
            let connection = worker.link.connection().expect("it is live");
            let peer = worker.wire.and_then(|it| host.peer(&context.wires[&it]));
            let peer = peer.expect("it is connected");
            hold!(
                peer.is_ready,
                "who connects says READY once all is registered again",
                "{} never did",
                worker.name
            );
            let history = context.histories[&connection.epoch].borrow();
            let (revision, newest) = (worker.link.view().revision(), history.revision());
            let (_, filter) = worker.sees(&context);
            hold!(
                filter.is_nothing() || history.concerning(&filter, revision, newest) == 0,
                "everything converges",
                "{} stands at {revision}, the board at {newest}",
                worker.name
            );
            let board = host
                .engine_model
                .namespaces
                .values()
                .find(|it| it.epoch == Some(connection.epoch));
            let provided = board
                .map(|it| it.functions_of(connection.worker))
                .unwrap_or_default();
            let mut listed = Vec::new();
            let mut offered = Vec::new();
            for offer in worker.link.offers() {
                let name = offer.function.name().to_owned();
                match &offer.standing {
                    Standing::Listed => listed.push(name.clone()),
                    Standing::Refused(refusal) => hold!(
                        name.starts_with('x')
                            || &*refusal.code == "too_many_functions"
                            || &*refusal.code == "forbidden"
                                && !peer.permit.may(Verb::Register, &name),
                        "what was registered is registered again",
                        "{}: {name}: {refusal}",
                        worker.name
                    ),
                    Standing::Pending => panic!("{}: {name} was never answered", worker.name),
                }
                offered.push(name);
            }
            hold!(
                listed
                    .iter()
                    .map(|it| &**it)
                    .eq(provided.iter().map(|it| &**it)),
                "the board has what the workers provide",
                "{} provides {provided:?}, and has {listed:?}",
                worker.name
            );
            hold!(
                offered.iter().eq(worker.wanted.iter()),
                "a worker provides what was accepted of it",
                "{} offers {offered:?}, and was granted {:?}",
                worker.name,
                worker.wanted
            );
            let bound = board
                .map(|it| it.bindings_of(connection.worker))
                .unwrap_or_default();
            let bound = bound
                .iter()
                .map(|it| (it.0.to_string(), it.1.to_string(), it.2.to_string()));
            let may_lack = |tie: &&Tied| {
                let may = |name| peer.permit.may(Verb::Bind, name);
                !may(&tie.0) || !may(&tie.1)
            };
            let bound: BTreeSet<Tied> = bound.collect();
            let lacks = worker.bound.difference(&bound);
            hold!(
                bound.is_subset(&worker.bound) && lacks.clone().all(|tie| may_lack(&tie)),
                "the board has what the workers bind",
                "{} binds {:?}, and was granted {:?}",
                worker.name,
                bound,
                worker.bound
            );
        }
    }

    /// Every worker takes as many calls as on its first day, and no more.
    pub(crate) fn probe_places(&mut self) {
        if self.config.tight {
            return;
        }
        let mut probes: Vec<(u64, usize)> = Vec::new();
        for at in 0..self.workers.len() {
            let connection = self.workers[at]
                .link
                .connection()
                .expect("it is live")
                .clone();
            let host = self.host.as_ref().expect("the engine is up");
            let board = host
                .engine_model
                .namespaces
                .values()
                .find(|it| it.epoch == Some(connection.epoch));
            let wire = self.workers[at].wire.and_then(|it| self.wires.get(&it));
            let peer = wire.and_then(|it| host.peer(it)).expect("it is connected");
            let functions = board.map(|it| it.functions_of(connection.worker));
            let may_call = |name: &Rc<str>| peer.permit.may(Verb::Call, name);
            let Some(function) = functions.into_iter().flatten().find(may_call) else {
                continue;
            };
            let capacity = self.workers[at].capacity;
            for _ in 0..capacity {
                let options = (false, false, Some(connection.worker));
                let number =
                    self.oracle
                        .begin(Kind::Call, &function, 0, options, 60_000_000, self.now);
                application::call_now(&mut self.workers[at], number, &mut context!(self));
            }
            probes.push((connection.worker, self.oracle.intents.len()));
        }
        self.turn();
        for _ in 0..200 {
            if self.workers.iter().all(Worker::is_idle) {
                break;
            }
            self.skip();
            self.turn();
        }
        for (worker, behind) in probes {
            let intent = &self.oracle.intents[behind - 1];
            hold!(
                intent.ended && intent.runs + intent.answers.len() > 0,
                "no place is lost",
                "worker {worker} did not take as many calls as it said: {intent:?}"
            );
        }
    }

    /// Everybody says goodbye, and nothing is left.
    pub(crate) fn go_home(&mut self) {
        for worker in &mut self.workers {
            worker.leave(&mut context!(self));
        }
        for _ in 0..2_000 {
            let mut context = context!(self);
            for worker in &mut self.workers {
                worker.turn(&mut context);
            }
            let host = self.host.as_mut().expect("the engine is up");
            host.turn(&mut Surroundings {
                wires: &mut self.wires,
                oracle: &mut self.oracle,
                histories: &mut self.histories,
                filters: &mut self.filters,
                rng: &mut self.rng,
                now: self.now,
                quiescent: true,
                at_once: false,
            });
            if self.workers.iter().all(|it| it.stage == Stage::Over) && host.is_empty() {
                return host.assert_empty();
            }
            self.skip();
        }
        hold!(
            false,
            "everybody can leave",
            "{:?}",
            self.workers
                .iter()
                .map(|it| (&it.name, it.stage))
                .collect::<Vec<_>>()
        );
    }
}
