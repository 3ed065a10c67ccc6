//! What one connection may have done for it in a second: the steps that it causes and the work that its requests make
//! are paid out of one budget, with a burst of one second's worth. Who has overdrawn it is neither read nor are the
//! frames handled that it sent already, until half of a burst is there again.

use crate::limits::Limits;

use super::{ConnId, Engine, Time, live};

/// A connection may be this far ahead, in microseconds: one second's worth.
const BURST: u64 = 1_000_000;

/// Units of work (see [`Engine::note_work`]) in a hundredth of a second.
const WORK_PER_PERCENT: u64 = 100_000;

/// See the top of this file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// When it will be even.
    even: Time,
}

impl Budget {
    pub(super) fn new(now: Time) -> Self {
        Self { even: now }
    }

    /// Takes `count` of what there may be `rate` of a second (0: any number). Whether it is overdrawn by that.
    fn spend(&mut self, count: u64, rate: u64, now: Time) -> bool {
        let Some(cost) = count.saturating_mul(1_000_000).checked_div(rate) else {
            return false;
        };
        self.even = Time(self.even.max(now).0.saturating_add(cost));
        self.even.0 - now.0 > BURST
    }

    /// When one that was overdrawn may be drawn on again.
    pub(super) fn restored(self) -> Time {
        Time(self.even.0.saturating_sub(BURST / 2))
    }
}

impl Engine {
    /// Notes who pays for this turn's revision step.
    pub(super) fn note_causer(&mut self, id: ConnId) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        if !std::mem::replace(&mut conn.caused, true) {
            self.causers.push(id);
        }
    }

    /// Takes one revision step out of a connection's budget. `pays` is false in a turn whose net effect was
    /// empty.
    pub(super) fn charge_step(&mut self, id: ConnId, pays: bool, now: Time) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        conn.caused = false;
        if pays {
            let rate = self.config.limits.changes_per_second;
            self.charge(id, 1, rate, Limits::FLAGS.changes_per_second, now);
        }
    }

    /// Takes the work that a connection's frames made out of its budget, whatever came of them: what is refused, and
    /// what is taken back in the same turn, keeps the others waiting for as long.
    pub(super) fn charge_work(&mut self, id: ConnId, work: u64, now: Time) {
        let share = self.config.limits.max_share;
        let rate = share.saturating_mul(WORK_PER_PERCENT);
        self.charge(id, work, rate, Limits::FLAGS.max_share, now);
    }

    fn charge(&mut self, id: ConnId, count: u64, rate: u64, flag: &'static str, now: Time) {
        let Some(conn) = live(&mut self.connections, id) else {
            return;
        };
        if conn.budget.spend(count, rate, now) {
            if !std::mem::replace(&mut conn.pause.budget, true) {
                self.stats.count_limited(flag);
            }
            self.arm(id, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_whatever_it_is_spent_on() {
        let start = Time(5_000_000);
        let mut budget = Budget::new(start);
        assert!((0..10).all(|_| !budget.spend(1, 10, start)));
        assert!(budget.spend(1, 1_000_000, start));
        assert_eq!(budget.restored(), Time(start.0 + 500_001));
        // What was not spent in time is not there later.
        let later = Time(60_000_000);
        assert!(!budget.spend(100_000, 100_000, later));
        assert!(budget.spend(1, 10, later));
    }

    #[test]
    fn without_a_rate_it_is_never_overdrawn() {
        let mut budget = Budget::new(Time(0));
        assert!(!budget.spend(u64::MAX, 0, Time(0)));
        assert!(budget.spend(u64::MAX, 1, Time(0)));
        assert!(budget.spend(u64::MAX, 1, Time(0)));
    }
}
