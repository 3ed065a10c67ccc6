//! Attacks by steps of the board: registrations, bindings, deaths and takeovers of many entries at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::protocol::{BindingKey, Text, Unbind, Watch};

use super::ground::{EVENT, Frame, Ground, binding, names, register, silent, unregister};
use super::lanes::Lane;
use super::link::DEFAULT;
use super::plan::{Death, Script, Takeover};
use super::row::dying;

/// Functions that each connection registers at once.
pub(super) const REGISTERED: usize = 5_000;

/// Functions of one large step.
pub(super) const LARGE: usize = 10_000;

/// Functions of a session that is taken over.
pub(super) const TAKEN: usize = 1_000;

/// Functions that each connection binds at once.
const BOUND: usize = 1_000;

const HALF: Duration = Duration::from_millis(500);
const TENTH: Duration = Duration::from_millis(100);

/// The attackers' names come after those of the board.
fn come_and_go(number: usize, functions: usize, every: Duration) -> Script {
    let names = names(1_000 + number, functions);
    Script::paced(vec![register(&names), unregister(&names)], every)
}

pub(super) fn register_many(ground: &Ground) -> Vec<Lane> {
    ground.each(|number| come_and_go(number, REGISTERED, HALF))
}

/// One more worker, whose steps all the others hear of.
fn changer(ground: &Ground, every: Duration) -> Lane {
    Lane::new(Some(ground.worker()), come_and_go(0, LARGE, every))
}

pub(super) fn step(ground: &Ground) -> Vec<Lane> {
    let watchers = Ground::at_once(ground.n, |number| {
        // Another watch for each, and the same names in it.
        let own = format!("nobody::{number}");
        let watch = Watch {
            functions: Some(vec![Text("target::"), Text(&own)]),
            ..Watch::default()
        };
        ground.join(DEFAULT, watch)
    });
    let mut lanes = silent(watchers);
    lanes.push(changer(ground, HALF));
    lanes
}

pub(super) fn stalled(ground: &Ground) -> Vec<Lane> {
    let watchers = ground.watchers().into_iter();
    let mut lanes: Vec<Lane> = watchers
        .map(|link| Lane::new(Some(link), Script::silent().without_reading()))
        .collect();
    lanes.push(changer(ground, TENTH));
    lanes
}

pub(super) fn deaths(ground: &Ground) -> Vec<Lane> {
    let workers = ground.fill(ground.n, dying(ground.n)).into_iter();
    workers
        .map(|link| Lane::new(Some(link), Death::soon()))
        .collect()
}

pub(super) fn takeovers(ground: &Ground) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for worker in ground.fill(ground.n, TAKEN) {
        let session = Arc::new(Mutex::new(worker.session().to_vec()));
        lanes.push(Lane::new(Some(worker), Takeover::joined(session.clone())));
        lanes.push(Lane::new(None, Takeover::new(session)));
    }
    lanes
}

pub(super) fn bindings(ground: &Ground) -> Vec<Lane> {
    ground.each(|number| {
        let names = names(number, BOUND);
        let key = |name| BindingKey {
            event: Text(EVENT),
            function: Text(name),
            ..BindingKey::default()
        };
        let unbind = Unbind {
            id: 2,
            bindings: names.iter().map(|name| key(name)).collect(),
            ..Unbind::default()
        };
        let bind: Frame = binding(1, &names, false).into();
        Script::paced(vec![bind, unbind.to_frame().into()], Duration::ZERO)
    })
}
