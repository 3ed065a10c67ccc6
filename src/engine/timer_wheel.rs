//! A hierarchical timer wheel: insertion and removal cost O(1) however many timers there are. Call deadlines need
//! that, since nearly all of them are removed before they fire. A tick is a millisecond. Never fires early; knows no
//! clock.

use std::num::NonZeroU32;

use slab::Slab;

use super::interface::Time;

const LEVELS: usize = 6;
/// Slots per level: 64, one bit each in a word.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;
/// The pseudo-level of timers that have expired.
const DUE: u8 = u8::MAX;

/// Identifies a timer that has neither fired nor been removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerId(NonZeroU32);

impl TimerId {
    fn new(key: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    fn key(self) -> u32 {
        self.0.get() - 1
    }
}

#[derive(Debug)]
struct Node<T> {
    /// The tick at which it fires, in 48 bits: a node takes 32 bytes instead of 40, and each connection and each call
    /// has one.
    tick_low: u32,
    tick_high: u16,
    level: u8,
    slot: u8,
    previous: u32,
    next: u32,
    what: T,
}

impl<T> Node<T> {
    fn tick(&self) -> u64 {
        u64::from(self.tick_high) << 32 | u64::from(self.tick_low)
    }
}

/// The last tick that 48 bits can hold: nine thousand years.
const LAST_TICK: u64 = (1 << 48) - 1;

/// A set of timers that each carry a `T`.
#[derive(Debug)]
pub(crate) struct TimerWheel<T> {
    nodes: Slab<Node<T>>,
    /// All ticks up to this one have been looked at.
    elapsed: u64,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    due: u32,
}

impl<T> TimerWheel<T> {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            nodes: Slab::new(),
            elapsed: now.0 / 1000,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            due: NONE,
        }
    }

    /// Arms a timer that fires at the first millisecond that is not before `at`.
    pub(crate) fn insert(&mut self, at: Time, what: T) -> TimerId {
        let tick = at.0.div_ceil(1000).min(LAST_TICK);
        let node = Node {
            tick_low: tick as u32,
            tick_high: (tick >> 32) as u16,
            level: DUE,
            slot: 0,
            previous: NONE,
            next: NONE,
            what,
        };
        let key = self.nodes.insert(node) as u32;
        self.link(key);
        TimerId::new(key)
    }

    /// Disarms a timer.
    pub(crate) fn remove(&mut self, timer: TimerId) -> T {
        self.unlink(timer.key());
        self.nodes.remove(timer.key() as usize).what
    }

    /// Removes and returns the next expired timer.
    pub(crate) fn expire(&mut self, now: Time) -> Option<T> {
        let target = now.0 / 1000;
        loop {
            if self.due != NONE {
                return Some(self.remove(TimerId::new(self.due)));
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= target => {
                    self.elapsed = self.elapsed.max(tick);
                    self.cascade(level, slot);
                }
                _ => {
                    self.elapsed = self.elapsed.max(target);
                    return None;
                }
            }
        }
    }

    /// When to call [`TimerWheel::expire`] next: at the earliest timer, or before it.
    pub(crate) fn next(&self) -> Option<Time> {
        if self.due != NONE {
            return Some(Time(self.elapsed * 1000));
        }
        self.next_slot().map(|(_, _, tick)| Time(tick * 1000))
    }

    /// The earliest occupied slot and the tick at which it begins. A lower level is always earlier.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS).find_map(|level| {
            let occupied = self.occupied[level];
            if occupied == 0 {
                return None;
            }
            let shift = BITS * level as u32;
            let current = (self.elapsed >> shift) as usize % SLOTS;
            let ahead = occupied.rotate_right(current as u32).trailing_zeros() as usize;
            let slot = (current + ahead) % SLOTS;
            let begin = ((self.elapsed >> shift) + ahead as u64) << shift;
            Some((level, slot, begin))
        })
    }

    /// Relinks the timers of a slot that has been reached.
    fn cascade(&mut self, level: usize, slot: usize) {
        while self.heads[level][slot] != NONE {
            let key = self.heads[level][slot];
            self.unlink(key);
            self.link(key);
        }
    }

    fn link(&mut self, key: u32) {
        let tick = self.nodes[key as usize].tick();
        let head = if tick <= self.elapsed {
            self.nodes[key as usize].level = DUE;
            &mut self.due
        } else {
            // The highest bit in which the tick differs from now gives the level. A timer beyond the last level
            // (two years) waits there and is relinked in time.
            let farthest = self.elapsed | ((1 << (BITS * LEVELS as u32)) - 1);
            let tick = tick.min(farthest);
            let differing = (self.elapsed ^ tick) | (SLOTS as u64 - 1);
            let level = (differing.ilog2() / BITS) as usize;
            let slot = (tick >> (BITS * level as u32)) as usize % SLOTS;
            let node = &mut self.nodes[key as usize];
            node.level = level as u8;
            node.slot = slot as u8;
            self.occupied[level] |= 1 << slot;
            &mut self.heads[level][slot]
        };
        let next = std::mem::replace(head, key);
        let node = &mut self.nodes[key as usize];
        node.previous = NONE;
        node.next = next;
        if next != NONE {
            self.nodes[next as usize].previous = key;
        }
    }

    fn unlink(&mut self, key: u32) {
        let Node {
            level,
            slot,
            previous,
            next,
            ..
        } = self.nodes[key as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else if level == DUE {
            self.due = next;
        } else {
            let (level, slot) = (usize::from(level), usize::from(slot));
            self.heads[level][slot] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }
}

#[cfg(debug_assertions)]
impl<T> TimerWheel<T> {
    /// Number of timers that are armed.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The time at which a timer fires, and what it carries. `None` if it is not armed.
    pub(crate) fn get(&self, timer: TimerId) -> Option<(Time, &T)> {
        let node = self.nodes.get(timer.key() as usize)?;
        Some((Time(node.tick() * 1000), &node.what))
    }

    /// Walks all lists.
    ///
    /// # Panics
    /// If a timer is in the wrong list, or in none.
    pub(crate) fn check_books(&self) {
        let Self {
            nodes,
            elapsed,
            heads,
            occupied,
            due,
        } = self;
        let mut linked = 0;
        let mut walk = |head: u32, place: Option<(usize, usize)>| {
            let (mut previous, mut key) = (NONE, head);
            while let Some(node) = nodes.get(key as usize) {
                assert_eq!(node.previous, previous, "links of a timer");
                match place {
                    Some((level, slot)) => {
                        let at = (usize::from(node.level), usize::from(node.slot));
                        assert_eq!(at, (level, slot), "a timer's slot");
                        assert!(node.tick() > *elapsed, "a timer that is due");
                    }
                    None => assert!(node.level == DUE && node.tick() <= *elapsed),
                }
                linked += 1;
                (previous, key) = (key, node.next);
            }
            assert_eq!(key, NONE, "the end of a list of timers");
        };
        walk(*due, None);
        for (level, (heads, occupied)) in heads.iter().zip(occupied).enumerate() {
            for (slot, &head) in heads.iter().enumerate() {
                walk(head, Some((level, slot)));
                assert_eq!(occupied >> slot & 1 == 1, head != NONE, "occupied");
            }
        }
        assert_eq!(linked, nodes.len(), "timers in lists");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn timers_fire_in_time_and_never_early_like_a_sorted_set() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut now = Time(rng.next_u64() % 10_000_000_000);
            let mut wheel = TimerWheel::new(now);
            let mut model = BTreeSet::new();
            let mut armed: Vec<(u64, u64, TimerId)> = Vec::new();
            for name in 0..300 {
                let reach = 1 << (rng.next_u64() % 38);
                let at = Time(now.0 + rng.next_u64() % reach);
                let tick = at.0.div_ceil(1000);
                armed.push((tick, name, wheel.insert(at, name)));
                model.insert((tick, name));
                if rng.next_u64() % 3 == 0 {
                    let index = rng.next_u64() as usize % armed.len();
                    let (tick, name, timer) = armed.swap_remove(index);
                    assert_eq!(wheel.remove(timer), name);
                    model.remove(&(tick, name));
                }
                if rng.next_u64() % 4 == 0 {
                    if let Some(next) = wheel.next() {
                        let first = model.first().expect("the wheel is empty as well").0;
                        assert!(next.0 / 1000 <= first.max(now.0 / 1000), "seed {seed}");
                    } else {
                        assert!(model.is_empty(), "seed {seed}");
                    }
                    now.0 += rng.next_u64() % (1 << (rng.next_u64() % 36));
                    let mut fired = BTreeSet::new();
                    while let Some(name) = wheel.expire(now) {
                        fired.insert(name);
                    }
                    let due: BTreeSet<u64> = model
                        .iter()
                        .filter(|&&(tick, _)| tick <= now.0 / 1000)
                        .map(|&(_, name)| name)
                        .collect();
                    assert_eq!(fired, due, "seed {seed}");
                    model.retain(|(_, name)| !fired.contains(name));
                    armed.retain(|(_, name, _)| !fired.contains(name));
                }
            }
        }
    }

    #[test]
    fn a_timer_is_small() {
        // The engine's timers carry an id and its kind: 16 bytes.
        assert_eq!(size_of::<Node<(bool, u64)>>(), 32);
    }
}
