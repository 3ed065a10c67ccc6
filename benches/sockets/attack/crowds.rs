//! Attacks by connections: many that only watch, and such that come and go.

use callboard::protocol::Watch;

use super::ground::{BOARD, Ground, silent};
use super::lanes::Lane;
use super::link::{DEFAULT, all, hello};
use super::plan::{Joins, Script};
use super::user::User;

/// Functions of the board that the many watch.
const WATCHED: usize = 1_000;

pub(super) fn nothing(ground: &Ground) -> Vec<Lane> {
    ground.each(|_| Script::silent())
}

pub(super) fn watching(ground: &Ground) -> Vec<Lane> {
    let mut lanes = ground.board(WATCHED);
    lanes.extend(silent(ground.watchers()));
    lanes
}

pub(super) fn joins(ground: &Ground) -> Vec<Lane> {
    let mut lanes = ground.board(BOARD);
    let join = |_| {
        let again = || hello(User::Attacker, DEFAULT, all(), None);
        Lane::new(None, Joins::again(again))
    };
    lanes.extend((0..ground.n).map(join));
    lanes
}

pub(super) fn rooms(ground: &Ground) -> Vec<Lane> {
    let join = |number| {
        let mut times = 0;
        let again = move || {
            times += 1;
            let room = format!("room-{number}-{times}");
            hello(User::Attacker, &room, all(), None)
        };
        Lane::new(None, Joins::again(again))
    };
    (0..ground.n).map(join).collect()
}

pub(super) fn connects(ground: &Ground) -> Vec<Lane> {
    let join = |_| {
        let again = || hello(User::Attacker, DEFAULT, Watch::default(), None);
        Lane::new(None, Joins::welcome(again))
    };
    (0..ground.n).map(join).collect()
}
