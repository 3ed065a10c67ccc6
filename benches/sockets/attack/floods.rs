//! Attacks by frames: the same ones without pause, or one at a time that means much work.

use std::time::Duration;

use callboard::protocol::{CallOptions, Cancel, Cast, Ping, Text};

use super::ground::{ABSENT, Frame, Ground, call, event, forever, many, names};
use super::lanes::Lane;
use super::plan::Script;

const SECOND: Duration = Duration::from_secs(1);

/// Functions that are bound to one event.
const BOUND: usize = 60_000;

/// Functions of a board that is listed.
const LISTED: usize = 60_000;

/// As many rows as a list may have.
const LIST: &[u8] = b"\x81\xa5limit\xcd\x27\x10";

fn flood(ground: &Ground, bytes: &Frame) -> Vec<Lane> {
    ground.each(|_| Script::flood(bytes.clone()))
}

fn emit_each_second(ground: &Ground, payload: usize) -> Vec<Lane> {
    let frame: Frame = event(payload).into();
    ground.each(|_| Script::paced(vec![frame.clone()], SECOND))
}

pub(super) fn emit(ground: &Ground) -> Vec<Lane> {
    let mut lanes = ground.board(BOUND);
    lanes.push(ground.bind(&names(0, BOUND), false));
    lanes.extend(emit_each_second(ground, 0));
    lanes
}

/// Workers that all provide one function, which is bound with `deliver_all`.
fn providers(ground: &Ground, number: usize) -> Vec<Lane> {
    let name = names(0, 1);
    let mut lanes = Vec::new();
    for _ in 0..number {
        let mut worker = ground.worker();
        worker.register(&name, 10 * SECOND).expect("there is room");
        lanes.push(Lane::new(Some(worker), Script::silent()));
    }
    lanes.push(ground.bind(&name, true));
    lanes
}

pub(super) fn deliver_all(ground: &Ground) -> Vec<Lane> {
    let mut lanes = providers(ground, 100);
    lanes.extend(flood(ground, &many(&event(1_000))));
    lanes
}

pub(super) fn payload(ground: &Ground) -> Vec<Lane> {
    let mut lanes = providers(ground, 300);
    lanes.extend(emit_each_second(ground, 1_000_000));
    lanes
}

pub(super) fn ping(ground: &Ground) -> Vec<Lane> {
    flood(ground, &many(&Ping::default().to_frame()))
}

pub(super) fn cast(ground: &Ground) -> Vec<Lane> {
    let cast = Cast {
        function: Text(ABSENT),
        ..Cast::default()
    };
    flood(ground, &many(&cast.to_frame()))
}

pub(super) fn cancel(ground: &Ground) -> Vec<Lane> {
    let cancel = Cancel {
        id: 1,
        ..Cancel::default()
    };
    flood(ground, &many(&cancel.to_frame()))
}

pub(super) fn failing(ground: &Ground) -> Vec<Lane> {
    flood(ground, &many(&call(1, ABSENT, b"", CallOptions::default())))
}

pub(super) fn unknown(ground: &Ground) -> Vec<Lane> {
    flood(ground, &many(b"\x00\x00\x00\x03\x92\x32\x01"))
}

pub(super) fn cancels(ground: &Ground) -> Vec<Lane> {
    let mut bytes = Vec::new();
    for id in 1..=500 {
        bytes.extend(call(id, ABSENT, b"", forever()));
        let cancel = Cancel {
            id,
            ..Cancel::default()
        };
        cancel.encode(&mut bytes);
    }
    flood(ground, &bytes.into())
}

fn list() -> Frame {
    many(&call(
        1,
        "engine::functions::list",
        LIST,
        CallOptions::default(),
    ))
}

pub(super) fn lists(ground: &Ground) -> Vec<Lane> {
    let mut lanes = ground.board(LISTED);
    lanes.extend(flood(ground, &list()));
    lanes
}

pub(super) fn unread(ground: &Ground) -> Vec<Lane> {
    let mut lanes = ground.board(LISTED);
    lanes.extend(ground.each(|_| Script::flood(list()).without_reading()));
    lanes
}
