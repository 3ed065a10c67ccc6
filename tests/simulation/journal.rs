//! What happened in the run under way: its last lines for a failure, a hash over all of it that tells two
//! runs apart, another over the frames that were written, and how often each thing of interest occurred. One for each
//! thread, since a run never leaves its own. It judges nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// So many of the last lines are shown with a failure, unless `CALLBOARD_LINES` says how many.
const LINES: usize = 100;

thread_local! {
    static JOURNAL: RefCell<Journal> = RefCell::default();
}

#[derive(Default)]
struct Journal {
    seed: u64,
    /// Microseconds.
    now: u64,
    lines: VecDeque<String>,
    /// So many of them are kept.
    most: usize,
    hash: u64,
    /// Over the frames that were written, as [`crate::digest`] takes them down.
    frames: u64,
    tally: Tally,
}

/// Where a hash begins.
const BEGINNING: u64 = 0xcbf2_9ce4_8422_2325;

/// How often each thing of interest occurred.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// A run begins.
pub(crate) fn begin(seed: u64) {
    let most = std::env::var("CALLBOARD_LINES").ok();
    JOURNAL.set(Journal {
        seed,
        most: most.map_or(LINES, |it| it.parse().expect("CALLBOARD_LINES is a number")),
        hash: BEGINNING,
        frames: BEGINNING,
        ..Journal::default()
    });
}

/// The time goes on.
pub(crate) fn at(now: u64) {
    JOURNAL.with_borrow_mut(|it| it.now = now);
}

/// Takes a line down.
pub(crate) fn take_down(line: &str) {
    absorb(line.as_bytes());
    JOURNAL.with_borrow_mut(|it| {
        let mut whole = format!("{:>9.3} ", it.now as f64 / 1e6);
        whole.push_str(line);
        it.lines.push_back(whole);
        if it.lines.len() > it.most {
            it.lines.pop_front();
        }
    });
}

/// Takes bytes into the hash.
pub(crate) fn absorb(bytes: &[u8]) {
    JOURNAL.with_borrow_mut(|it| it.hash = hashed(it.hash, bytes, it.now));
}

/// Takes bytes into the hash over the frames that were written.
pub(crate) fn absorb_frame(bytes: &[u8]) {
    JOURNAL.with_borrow_mut(|it| it.frames = hashed(it.frames, bytes, it.now));
}

fn hashed(hash: u64, bytes: &[u8], now: u64) -> u64 {
    let all = bytes.iter().copied().chain(now.to_le_bytes());
    all.fold(hash, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Counts something of interest.
pub(crate) fn saw(what: &'static str) {
    JOURNAL.with_borrow_mut(|it| *it.tally.entry(what).or_default() += 1);
}

/// The seed, and the virtual time.
pub(crate) fn moment() -> String {
    JOURNAL.with_borrow(|it| format!("seed {} at {:.6} s", it.seed, it.now as f64 / 1e6))
}

pub(crate) fn hash() -> u64 {
    JOURNAL.with_borrow(|it| it.hash)
}

/// The hash over the frames that were written.
pub(crate) fn frames() -> u64 {
    JOURNAL.with_borrow(|it| it.frames)
}

pub(crate) fn tally() -> Tally {
    JOURNAL.with_borrow(|it| it.tally.clone())
}

/// The last lines, for a failure.
pub(crate) fn tail() -> String {
    JOURNAL.with_borrow(|it| {
        it.lines.iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        })
    })
}

/// Takes a line down.
macro_rules! note {
    ($($line:tt)*) => { $crate::journal::take_down(&format!($($line)*)) };
}

/// A promise must hold, or the run ends with its name, the seed and the time.
macro_rules! hold {
    ($holds:expr, $promise:literal, $($what:tt)*) => {
        if !$holds {
            panic!("PROMISE BROKEN: {} ({}): {}",
                $promise, $crate::journal::moment(), format!($($what)*));
        }
    };
}

pub(crate) use {hold, note};
