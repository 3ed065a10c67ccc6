//! An engine whose descriptors run out, again and again: it lives on, serves whom it has, accepts the
//! others as soon as it can, and says so once each time.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::{Engine, PATIENT};
use crate::machine::require_descriptors;
use crate::peer::{Peer, all, nothing};

const RESIDENTS: usize = 300;
const NEWCOMERS: usize = 900;
/// Descriptors that are left for newcomers.
const ROOM: usize = 100;

#[test]
fn descriptors_that_run_out_again_and_again_cost_connected_peers_nothing() {
    require_descriptors((RESIDENTS + NEWCOMERS) as u64 + 200);
    let mut engine = Engine::start(5, PATIENT);
    let mut residents = Crowd::new(engine.socket_address());
    for _ in 0..RESIDENTS {
        residents.add(Sight::strict(&all()), None);
    }
    residents.read_until("the board", Member::is_synced);
    let mut worker = Peer::join(&engine.address(), "worker", &nothing());
    let before = engine.descriptors();
    allow(&engine, before as u64 + ROOM as u64);

    for round in 0..3 {
        let mut newcomers = Crowd::new(engine.socket_address());
        newcomers.filter = nothing();
        for _ in 0..NEWCOMERS {
            newcomers.add(Sight::strict(&nothing()), None);
        }
        engine.log_until("cannot accept connections");
        let welcome = |crowd: &Crowd| crowd.members.iter().filter(|it| it.is_welcome()).count();
        newcomers.watch_until("as many as there is room for", |newcomers| {
            welcome(newcomers) == ROOM
        });
        // Those who are there are served.
        let name = format!("round::{round}");
        let revision = worker.register(&[&name]).unwrap();
        residents.read_until("the change", |member| member.mine() >= revision);
        newcomers.turn(Duration::ZERO);
        assert_eq!(welcome(&newcomers), ROOM, "nobody went");
        // Each connection that was served makes room for another.
        let mut served = 0;
        newcomers.watch_until("everybody is served", |newcomers| {
            served += newcomers.dismiss();
            served == NEWCOMERS
        });
        let lines = engine.log_until("accepting connections again");
        let again = lines.iter().filter(|line| line.contains("cannot accept"));
        assert_eq!(again.count(), 0, "said more than once: {lines:?}");
    }
    for member in &residents.members {
        let view = &member.reader().expect("eyes").view;
        assert_eq!(view.functions.len(), 3);
    }
    crate::client::until("all descriptors are free again", || {
        engine.descriptors() == before
    });
}

/// From now on it may have so many descriptors; those that it has it keeps.
fn allow(engine: &Engine, descriptors: u64) {
    let process = Pid::from_raw(engine.id().try_into().expect("a process id"));
    let limit = Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    prlimit(process, Resource::Nofile, limit).expect("it is our child");
}
