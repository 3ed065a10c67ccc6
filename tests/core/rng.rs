//! Random choices from a seed, for tests that try unforeseen cases, and the seeds that they run.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};

use crate::watchdog;

pub(crate) struct Rng(StdRng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of those in `list` that `want` likes.
    pub(crate) fn pick<T>(&mut self, list: &[T], want: impl Fn(&T) -> bool) -> Option<usize> {
        let liked: Vec<usize> = (0..list.len()).filter(|&at| want(&list[at])).collect();
        (!liked.is_empty()).then(|| liked[self.below(liked.len())])
    }
}

/// These seeds for a test. One that hangs ends the run, and is named.
pub(crate) fn watched(
    test: &'static str,
    seeds: impl Iterator<Item = u64>,
) -> impl Iterator<Item = u64> {
    watchdog::over("core", test, seeds)
}

/// The seeds to run: a fixed few, or those that CALLBOARD_SEEDS names (`FROM..TO`).
pub(crate) fn seeds(few: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("CALLBOARD_SEEDS") else {
        return few;
    };
    let (from, to) = text.split_once("..").expect("CALLBOARD_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}
