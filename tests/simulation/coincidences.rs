//! Kinds of events, and which of them met: within one turn of the engine, and at one connection within one turn. A pair
//! that never met is a coincidence that nothing here proves anything about. It judges no run, only all of them
//! together.

use std::cell::RefCell;
use std::collections::BTreeMap;

use callboard::protocol::Message;

/// Declares the kinds with a list of them.
macro_rules! happenings {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// A kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Happening {
            $($(#[$what])* $name,)*
        }

        impl Happening {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

happenings! {
    /// A connection is accepted.
    Connect,
    /// One is turned away: too many are open.
    Refusal,
    Hello,
    /// A HELLO takes a session over.
    Takeover,
    Ready,
    /// READY did not come in time.
    Unready,
    Register,
    Unregister,
    Bind,
    Unbind,
    Call,
    Cast,
    Emit,
    Answer,
    Cancel,
    /// That of a call passes.
    Deadline,
    /// A worker drains.
    Drain,
    Kick,
    /// Other credentials hold.
    Reload,
    /// They end a connection.
    Revocation,
    /// A peer that breaks the protocol or is unknown is sent away.
    Expulsion,
    /// A deadline of a connection ends it.
    Expiry,
    /// The engine asks for a sign of life.
    Ping,
    /// A peer takes no more bytes.
    Block,
    /// It takes some again.
    Unblock,
    /// The engine stops reading a connection.
    Pause,
    /// It reads it again.
    Resume,
    Goodbye,
    EndOfStream,
    Reset,
    /// The engine is told to stop.
    Stop,
}

impl Happening {
    /// What a message of a worker is.
    pub(crate) fn said(message: &Message<'_>) -> Option<Self> {
        Some(match message {
            Message::Ready(_) => Self::Ready,
            Message::Register(_) => Self::Register,
            Message::Unregister(_) => Self::Unregister,
            Message::Bind(_) => Self::Bind,
            Message::Unbind(_) => Self::Unbind,
            Message::Call(_) => Self::Call,
            Message::Cast(_) => Self::Cast,
            Message::Emit(_) => Self::Emit,
            Message::Cancel(_) => Self::Cancel,
            Message::Drain(_) => Self::Drain,
            _ => return None,
        })
    }

    /// What ends a connection with this code.
    pub(crate) fn ended(code: &str, was_live: bool) -> Option<Self> {
        Some(match code {
            "bye" => Self::Goodbye,
            "eof" => Self::EndOfStream,
            "reset" => Self::Reset,
            "kicked" => Self::Kick,
            "too_many_connections" => Self::Refusal,
            "unauthorized" if was_live => Self::Revocation,
            "silent" | "too_slow" | "frame_timeout" | "hello_timeout" => Self::Expiry,
            "session_taken_over" | "shutting_down" => return None,
            _ => Self::Expulsion,
        })
    }
}

const KINDS: usize = Happening::ALL.len();

/// How often two kinds met, by their places; the diagonal: two of a kind.
pub(crate) type Met = [[u32; KINDS]; KINDS];

#[derive(Default)]
struct Turn {
    count: [u32; KINDS],
    /// By connection: a bit for each kind.
    at: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct Coincidences {
    turn: Turn,
    in_a_turn: Met,
    at_a_connection: Met,
}

thread_local! {
    static SEEN: RefCell<Coincidences> = RefCell::default();
}

/// Something happened, at a connection or to all.
pub(crate) fn happened(what: Happening, token: Option<u64>) {
    SEEN.with_borrow_mut(|it| {
        it.turn.count[what as usize] += 1;
        if let Some(token) = token {
            *it.turn.at.entry(token).or_default() |= 1 << what as usize;
        }
    });
}

/// A turn of the engine is over: all that happened in it met.
pub(crate) fn end_turn() {
    SEEN.with_borrow_mut(|it| {
        let turn = std::mem::take(&mut it.turn);
        let present = (0..KINDS).filter(|at| turn.count[*at] > 0);
        let present: Vec<usize> = present.collect();
        for (rank, &a) in present.iter().enumerate() {
            it.in_a_turn[a][a] += u32::from(turn.count[a] > 1);
            for &b in &present[rank + 1..] {
                it.in_a_turn[a][b] += 1;
            }
        }
        for bits in turn.at.values() {
            let present: Vec<usize> = (0..KINDS).filter(|at| bits >> at & 1 == 1).collect();
            for (rank, &a) in present.iter().enumerate() {
                for &b in &present[rank + 1..] {
                    it.at_a_connection[a][b] += 1;
                }
            }
        }
    });
}

/// Begins to count anew what meets in the runs of this thread.
pub(crate) fn reset() {
    SEEN.take();
}

/// Pairs that cannot meet within one turn.
const NEVER: &[(Happening, Happening, &str)] = &[
    (
        Happening::Refusal,
        Happening::Stop,
        "an engine that stops turns everybody away for that",
    ),
    (
        Happening::Hello,
        Happening::Stop,
        "an engine that stops lets nobody in",
    ),
    (
        Happening::Takeover,
        Happening::Stop,
        "an engine that stops lets nobody in",
    ),
];

/// Pairs that meet too seldom to be asked for. An engine that stops makes no revision that a connection could pay for;
/// so it stops to read those only that do not read their answers.
const SELDOM: &[(Happening, Happening)] = &[(Happening::Pause, Happening::Stop)];

/// What a connection does.
pub(crate) const DEEDS: &[Happening] = &[
    Happening::Ready,
    Happening::Register,
    Happening::Unregister,
    Happening::Bind,
    Happening::Unbind,
    Happening::Call,
    Happening::Cast,
    Happening::Emit,
    Happening::Answer,
    Happening::Cancel,
    Happening::Drain,
];

/// What the library asks for only when the last one is answered.
const CHANGES: &[Happening] = &[
    Happening::Register,
    Happening::Unregister,
    Happening::Bind,
    Happening::Unbind,
];

/// What ends it behind that: new credentials come before all that is read in a turn, and a deadline is looked at only
/// where nothing was.
const ENDS: &[Happening] = &[
    Happening::Kick,
    Happening::Expulsion,
    Happening::Goodbye,
    Happening::EndOfStream,
    Happening::Reset,
];

/// Whether two kinds must meet at one connection within one turn.
fn must_meet_at_one(a: Happening, b: Happening) -> bool {
    let is = |list: &[Happening], it| list.contains(&it);
    let are_changes = is(CHANGES, a) && is(CHANGES, b);
    is(DEEDS, a) && is(DEEDS, b) && a != b && !are_changes || is(DEEDS, a) && is(ENDS, b)
}

/// The pairs that must have met and have not.
fn unmet(met: &Met, must: impl Fn(Happening, Happening) -> bool) -> Vec<String> {
    let pairs = (0..KINDS).flat_map(|a| (a..KINDS).map(move |b| (a, b)));
    let unmet = pairs.filter(|&(a, b)| met[a][b] == 0);
    let kinds = unmet.map(|(a, b)| (Happening::ALL[a], Happening::ALL[b]));
    let missing = kinds.filter(|(a, b)| must(*a, *b));
    missing.map(|(a, b)| format!("{a:?} and {b:?}")).collect()
}

/// The pairs that must meet and have not, in the runs of this thread.
pub(crate) fn missing() -> Vec<String> {
    let can = |a, b| !NEVER.iter().any(|it| (it.0, it.1) == (a, b)) && !SELDOM.contains(&(a, b));
    SEEN.with_borrow(|seen| {
        let mut missing = unmet(&seen.in_a_turn, can);
        let at_one = unmet(&seen.at_a_connection, must_meet_at_one);
        missing.extend(at_one.iter().map(|it| format!("{it} at a connection")));
        missing
    })
}

/// No pair met that cannot.
pub(crate) fn assert_none_met_that_cannot() {
    SEEN.with_borrow(|seen| {
        for &(a, b, why) in NEVER {
            let times = seen.in_a_turn[a as usize][b as usize];
            assert_eq!(times, 0, "{a:?} and {b:?} met, although {why}");
        }
    });
}
