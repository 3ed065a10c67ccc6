//! The ceiling of an engine's memory: what one thing of a kind takes, by estimate, and how `--max-memory` is divided. What
//! passes (replies, incomplete frames, batches, arguments, calls) has pools with limits of their own, and the ceiling
//! lowers these. What is left is for what stays: boards, logs, caches, connections. Counts nothing.

use crate::limits::Limits;

// The estimates were measured, as `docs/SIZING.md` tells.

/// A connection, with its session, without the texts of its HELLO.
pub(crate) const CONNECTION: usize = 750;
/// A call, without its arguments.
pub(crate) const CALL: usize = 320;
/// A namespace without anything in it.
pub(crate) const NAMESPACE: usize = 5_000;
/// A place for a function or a binding on a board, from its first use until the namespace goes.
pub(crate) const PLACE: usize = 120;
/// A function or a binding on a board, once however many workers provide it, without its name.
pub(crate) const FUNCTION: usize = 100;
/// A function of a worker, or a binding that it made, without its entry.
pub(crate) const REGISTRATION: usize = 140;
/// A worker that registers something.
pub(crate) const WORKER: usize = 450;
/// A different watch, without its prefixes.
pub(crate) const WATCH: usize = 500;
/// A prefix of a watch, without its text.
pub(crate) const PREFIX: usize = 32;

/// The parts of the ceiling; an integer division each.
const POOL_PART: u64 = 16;
/// Within a turn, the outboxes may hold twice their limit.
const OUTBOUND_TIMES: u64 = 2;
/// All users together have twice what one has.
const USERS_TIMES: u64 = 2;
/// Calls that a caller waits for, as many that providers merely hold, and the names of those that are parked.
const CALLS_TIMES: u64 = 2 * USERS_TIMES;

/// What may stay, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceiling {
    /// All that stays.
    pub(crate) standing: u64,
    /// From here on the boards may not grow. An eighth is left for workers that connect.
    pub(crate) near: u64,
    /// All logs may keep this much, however little memory there is: a reader that keeps up is told changes and no
    /// snapshot.
    pub(crate) logs: u64,
}

impl Ceiling {
    /// Lowers the limits of the pools to their part of `max_memory`, if there is one, and leaves the rest to what stays.
    pub(crate) fn divide(limits: &mut Limits) -> Self {
        if limits.max_memory == 0 {
            return Self::of(u64::MAX);
        }
        let part = limits.max_memory / POOL_PART;
        let lower = |limit: &mut u64, part: u64| *limit = part.min(*limit);
        lower(&mut limits.max_outbound_total, part);
        lower(&mut limits.max_partial, part);
        lower(&mut limits.max_batches, part);
        lower(&mut limits.max_retained, part / USERS_TIMES);
        let calls = part / CALLS_TIMES / CALL as u64;
        lower(&mut limits.max_calls_total, calls);
        lower(&mut limits.max_parked, calls);
        let pools = OUTBOUND_TIMES * limits.max_outbound_total
            + limits.max_partial
            + limits.max_batches
            + USERS_TIMES * limits.max_retained
            + CALLS_TIMES * CALL as u64 * limits.max_calls_total;
        Self::of(limits.max_memory - pools)
    }

    fn of(standing: u64) -> Self {
        Self {
            standing,
            near: standing - standing / 8,
            logs: standing / 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn divided(max_memory: u64) -> (Limits, Ceiling) {
        let mut limits = Limits {
            max_memory,
            ..Limits::default()
        };
        let ceiling = Ceiling::divide(&mut limits);
        (limits, ceiling)
    }

    #[test]
    fn without_a_ceiling_no_limit_is_lowered() {
        let (limits, ceiling) = divided(0);
        assert_eq!((limits, ceiling.standing), (Limits::default(), u64::MAX));
    }

    #[test]
    fn pools_and_what_stays_are_the_ceiling_and_more_than_half_is_for_what_stays() {
        for mib in [32, 64, 512, 4096, 65_536] {
            let (limits, ceiling) = divided(mib * MIB);
            let stays = ceiling.standing;
            assert!(stays >= mib * MIB * 5 / 8, "{stays} of {mib} MiB");
            let passes = 2 * limits.max_outbound_total
                + limits.max_partial
                + limits.max_batches
                + 2 * limits.max_retained
                + 4 * limits.max_calls_total * CALL as u64;
            assert_eq!(stays + passes, mib * MIB);
            assert_eq!(limits.check(), Ok(()));
        }
    }

    #[test]
    fn a_large_ceiling_lowers_nothing() {
        let (limits, _) = divided(65_536 * MIB);
        let default = Limits {
            max_memory: 65_536 * MIB,
            ..Limits::default()
        };
        assert_eq!(limits, default);
    }
}
