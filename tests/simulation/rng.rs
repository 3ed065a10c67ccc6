//! Chance from a seed, and the seeds that a test runs. All chance of a run comes from one of these; there is
//! no other.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};

/// In an even world a write is split behind one of so many first bytes.
const EDGE: usize = 8;

#[derive(Debug)]
pub(crate) struct Rng {
    rng: StdRng,
    /// No choice depends on the length of a frame.
    is_even: bool,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            is_even: false,
        }
    }

    /// The same for an even world, in which no choice depends on the length of a frame.
    pub(crate) fn even(seed: u64) -> Self {
        Self {
            is_even: true,
            ..Self::new(seed)
        }
    }

    pub(crate) fn is_even(&self) -> bool {
        self.is_even
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n as u64) as usize
    }

    /// The size of a piece of `n` bytes that are written.
    pub(crate) fn part_of(&mut self, n: usize) -> usize {
        1 + self.below(if self.is_even { n.min(EDGE) } else { n })
    }

    /// How many of `n` bytes under way arrive.
    pub(crate) fn some_of(&mut self, n: usize) -> usize {
        if self.is_even {
            self.below(2) * n
        } else {
            self.below(n + 1)
        }
    }

    /// One of these numbers of bytes.
    pub(crate) fn bytes(&mut self, list: &[usize]) -> usize {
        let bytes = self.pick(list);
        if self.is_even { usize::MAX } else { bytes }
    }

    pub(crate) fn between(&mut self, range: Range<u64>) -> u64 {
        range.start + self.rng.next_u64() % (range.end - range.start)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// What seeds another source of chance.
    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }
}

/// The seeds to run: a fixed few; those that `CALLBOARD_SEEDS` names (`FROM..TO`); or new ones for as long
/// as `CALLBOARD_SIMULATE` says (`90s`, `5m`, `2h`), from that `FROM` on if there is one.
pub(crate) struct Seeds {
    range: Range<u64>,
    /// Behind those of the range.
    more: &'static [u64],
    until: Option<Instant>,
    fixed: bool,
}

impl Seeds {
    pub(crate) fn chosen(few: Range<u64>, more: &'static [u64]) -> Self {
        let named = std::env::var("CALLBOARD_SEEDS")
            .ok()
            .map(|text| parse_range(&text));
        let long = std::env::var("CALLBOARD_SIMULATE").ok();
        let until = long
            .as_deref()
            .map(|text| Instant::now() + parse_time(text));
        let fixed = named.is_none() && until.is_none();
        let range = match (named, until) {
            (Some(named), None) => named,
            (Some(named), Some(_)) => named.start..u64::MAX,
            (None, Some(_)) => fresh()..u64::MAX,
            (None, None) => few,
        };
        if until.is_some() {
            println!("seeds from {} on", range.start);
        }
        Self {
            range,
            more: if fixed { more } else { &[] },
            until,
            fixed,
        }
    }

    /// They are the test's own.
    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        self.range.next().or_else(|| {
            let (first, rest) = self.more.split_first()?;
            self.more = rest;
            Some(*first)
        })
    }
}

/// A seed that was hardly ever the first.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64 * 1000)
}

fn parse_range(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").expect("CALLBOARD_SEEDS is FROM..TO");
    let number = |text: &str| text.parse().expect("CALLBOARD_SEEDS is FROM..TO");
    let to = if to.is_empty() { u64::MAX } else { number(to) };
    number(from)..to
}

fn parse_time(text: &str) -> Duration {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => panic!("CALLBOARD_SIMULATE is a time such as 90s, 5m or 2h"),
    };
    let number: u64 = text[..text.len() - 1]
        .parse()
        .expect("CALLBOARD_SIMULATE begins with a number");
    Duration::from_secs(number * unit)
}
