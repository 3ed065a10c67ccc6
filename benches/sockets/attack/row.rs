//! A row of the table: an attack, how many attack, and the largest step that it makes atomically.

use super::ground::{BOARD, Ground, MAX_FUNCTIONS};
use super::lanes::Lane;
use super::{crowds, floods, hoards, steps};

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// How many attack, from the fewest to the most that make sense.
    pub(super) counts: &'static [usize],
    /// Functions of the largest step that is atomic.
    pub(super) step: fn(usize) -> usize,
    /// The credentials change meanwhile; without them there are none.
    pub(super) reloads: bool,
    /// What happens, once everything that it needs is there.
    pub(super) scene: fn(&Ground) -> Vec<Lane>,
}

/// The numbers that the most rows have.
const CROWD: &[usize] = &[1, 10, 100, 1_500];
const FEW: &[usize] = &[1, 4, 16];

const fn row(
    name: &'static str,
    what: &'static str,
    counts: &'static [usize],
    scene: fn(&Ground) -> Vec<Lane>,
) -> Row {
    Row {
        name,
        what,
        counts,
        step: |_| 0,
        reloads: false,
        scene,
    }
}

/// Functions of each worker when so many die.
pub(super) fn dying(n: usize) -> usize {
    MAX_FUNCTIONS.min(BOARD / n)
}

pub(super) static ROWS: &[Row] = &[
    row(
        "nothing",
        "N connections that only read: the control",
        &[1],
        crowds::nothing,
    ),
    row(
        "emit",
        "N connections each EMIT, once a second, an event that 60,000 functions are bound to",
        CROWD,
        floods::emit,
    ),
    Row {
        step: |_| steps::REGISTERED,
        ..row(
            "register",
            "N connections register 5,000 functions each at once, and withdraw them half a second later, again and \
             again",
            &[1, 10, 100, 200],
            steps::register_many,
        )
    },
    row(
        "deliver-all",
        "N connections EMIT 1,000 bytes to 100 `deliver_all` providers without pause",
        &[1, 10, 100],
        floods::deliver_all,
    ),
    row(
        "payload",
        "N connections each EMIT 1 MB to 300 readers, once a second",
        &[1, 4, 10],
        floods::payload,
    ),
    row(
        "ping",
        "N connections PING without pause",
        CROWD,
        floods::ping,
    ),
    row(
        "cast",
        "N connections CAST to a function that is not there, without pause",
        CROWD,
        floods::cast,
    ),
    row(
        "cancel",
        "N connections CANCEL calls that are not there, without pause",
        CROWD,
        floods::cancel,
    ),
    row(
        "failing",
        "N connections CALL a function that is not there, without pause",
        CROWD,
        floods::failing,
    ),
    row(
        "unknown",
        "N connections send requests of an unknown kind without pause",
        CROWD,
        floods::unknown,
    ),
    row(
        "parked",
        "N connections park 16,384 calls with `wait` each, for a day",
        FEW,
        hoards::parked,
    ),
    row(
        "watches",
        "N connections join, each with a watch of its own, and stay",
        CROWD,
        hoards::watches,
    ),
    row(
        "namespaces",
        "N connections join, each a namespace of its own, and stay",
        &[1, 10, 100],
        hoards::namespaces,
    ),
    Row {
        step: |_| hoards::LARGE,
        ..row(
            "boards",
            "N connections fill two namespaces with 16 MB each",
            &[1, 10, 62],
            hoards::boards,
        )
    },
    Row {
        step: dying,
        ..row(
            "deaths",
            "N workers with up to 65,536 functions, a million together, die at once",
            CROWD,
            steps::deaths,
        )
    },
    Row {
        reloads: true,
        ..row(
            "reload",
            "SIGHUP twice a second while N connections watch a board of 1,000 functions; each time, other rights \
             for all of them",
            &[1, 10, 100, 1_500, 10_000],
            crowds::watching,
        )
    },
    Row {
        step: |_| steps::LARGE,
        ..row(
            "step",
            "N connections with a watch each, while one worker registers and withdraws 10,000 functions twice a \
             second",
            &[1, 10, 100, 1_000],
            steps::step,
        )
    },
    Row {
        step: |_| steps::LARGE,
        ..row(
            "stalled",
            "N connections watch everything and read nothing, while one worker registers and withdraws 10,000 \
             functions ten times a second",
            CROWD,
            steps::stalled,
        )
    },
    row(
        "lists",
        "N connections list a board of 60,000 functions without pause",
        CROWD,
        floods::lists,
    ),
    Row {
        step: |_| steps::TAKEN,
        ..row(
            "takeovers",
            "N sessions with 1,000 functions each are taken over in a loop",
            &[1, 10, 100, 900],
            steps::takeovers,
        )
    },
    row(
        "cancels",
        "N connections CALL with `wait` and CANCEL it, without pause",
        CROWD,
        floods::cancels,
    ),
    row(
        "joins",
        "N connections join a board of a million functions in a loop",
        &[1, 10, 100],
        crowds::joins,
    ),
    row(
        "rooms",
        "N connections join a new namespace in a loop",
        &[1, 10, 100],
        crowds::rooms,
    ),
    row(
        "connects",
        "N connections connect, get WELCOME and close, in a loop",
        CROWD,
        crowds::connects,
    ),
    row(
        "bindings",
        "N connections bind and unbind 1,000 functions without pause",
        &[1, 10, 100, 200],
        steps::bindings,
    ),
    row(
        "retained",
        "N connections park calls with 16 MiB of arguments each, and then small ones, for a day",
        FEW,
        hoards::retained,
    ),
    row(
        "in-flight",
        "N connections make 16,384 calls each that are not answered for a day",
        FEW,
        hoards::in_flight,
    ),
    row(
        "partial",
        "N connections send a frame of 1 MB but for its last byte",
        &[1, 10, 100, 300],
        hoards::partial,
    ),
    row(
        "unread",
        "N connections list a board of 60,000 functions and read no answer",
        CROWD,
        floods::unread,
    ),
];
