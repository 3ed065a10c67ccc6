//! Decides which address to dial next, and when: in order of preference, at once after a loss, then with growing
//! backoff, and never before the time an engine asked for. Has no clock and opens nothing.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::backoff::Backoff;
use super::error::{Attempt, End, Loss};
use crate::address::Address;
use crate::protocol::Code;

/// The longest first pause. It spreads the return of a thousand workers, and brings each back before its engine has
/// settled.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause, including jitter.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The longest attempt at an address behind which there is another one to try.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);

/// A connection that lasted this long resets the backoff.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// The next step of reconnecting.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DialStep {
    /// Dial this address.
    Try(usize),
    /// Wait until then.
    Wait(Instant),
    /// End the worker: no further attempt can succeed.
    Stop(End),
}

#[derive(Debug)]
struct Candidate {
    address: Address,
    /// The engine there asked not to be dialled before.
    not_before: Option<Instant>,
    /// Why the last attempt failed.
    last: Option<Loss>,
    /// It was dialled in this round.
    tried: bool,
}

#[derive(Debug)]
pub(super) struct DialSchedule {
    candidates: Vec<Candidate>,
    cursor: usize,
    round_at: Instant,
    backoff: Backoff,
    /// Give up after one round, which may last until then.
    single_round: Option<Instant>,
}

impl DialSchedule {
    pub(super) fn new(
        addresses: Vec<Address>,
        single_round: Option<Instant>,
        now: Instant,
    ) -> Self {
        let candidates = addresses.into_iter().map(|address| Candidate {
            address,
            not_before: None,
            last: None,
            tried: false,
        });
        Self {
            candidates: candidates.collect(),
            cursor: 0,
            round_at: now,
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
            single_round,
        }
    }

    pub(super) fn address(&self, index: usize) -> &Address {
        &self.candidates[index].address
    }

    /// The latest failed attempts, in order of preference.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let tried = self.candidates.iter().filter_map(|candidate| {
            let (address, loss) = (candidate.address.clone(), candidate.last.clone()?);
            Some(Attempt { address, loss })
        });
        tried.collect()
    }

    pub(super) fn next(&mut self, now: Instant, random: &mut impl Rng) -> DialStep {
        if now < self.round_at {
            return DialStep::Wait(self.round_at);
        }
        while let Some(candidate) = self.candidates.get_mut(self.cursor) {
            if candidate.not_before.is_none_or(|at| at <= now) {
                candidate.tried = true;
                return DialStep::Try(self.cursor);
            }
            self.cursor += 1;
        }
        if let Some(end) = self.end_of_round() {
            return DialStep::Stop(end);
        }
        // An engine that asked for a certain time is dialled at that time, not with the others.
        let asked = self
            .candidates
            .iter()
            .filter(|it| !it.tried)
            .filter_map(|it| it.not_before)
            .min();
        let any_tried = self.candidates.iter().any(|it| it.tried);
        let at = match asked {
            Some(at) if !any_tried => at,
            Some(at) => at.min(now + self.backoff.next_pause(random)),
            None => now + self.backoff.next_pause(random),
        };
        self.begin_round(at);
        DialStep::Wait(self.round_at)
    }

    /// By when an attempt that begins now must have its WELCOME, if the round has an end. The time left is shared with
    /// the addresses that come later; the last one gets all of it.
    pub(super) fn attempt_until(&self, index: usize, now: Instant) -> Option<Instant> {
        let until = self.single_round?;
        let attempts = self.candidates.len() - index;
        if attempts == 1 {
            return Some(until);
        }
        let share = until.saturating_duration_since(now) / attempts as u32;
        Some(now + share.min(LONGEST_ATTEMPT))
    }

    fn begin_round(&mut self, at: Instant) {
        self.round_at = at;
        self.cursor = 0;
        for candidate in &mut self.candidates {
            candidate.tried = false;
        }
    }

    /// All addresses of the round failed: whether that is final.
    fn end_of_round(&self) -> Option<End> {
        let mut last = None;
        for candidate in &self.candidates {
            match &candidate.last {
                Some(Loss::Goodbye {
                    refusal,
                    before_welcome: true,
                    ..
                }) if candidate.tried && !refusal.retryable => {
                    last = Some(End::Refused(refusal.clone()));
                }
                _ => return self.single_round.map(|_| End::Unconnected),
            }
        }
        last
    }

    /// An attempt failed, or its connection ended before the board was synced.
    pub(super) fn failed(&mut self, index: usize, loss: Loss, now: Instant) {
        self.note(index, loss, now);
        self.cursor = index + 1;
    }

    /// The board was synced: from now on the worker reconnects as long as it lives.
    pub(super) fn welcomed(&mut self) {
        self.single_round = None;
    }

    /// A connection was lost after `lasted`.
    pub(super) fn lost(
        &mut self,
        index: usize,
        loss: Loss,
        lasted: Duration,
        now: Instant,
        random: &mut impl Rng,
    ) {
        let moved = loss == Loss::Moved;
        self.note(index, loss, now);
        if lasted >= GOOD_AFTER || moved {
            self.backoff.reset();
        }
        let pause = if moved {
            Duration::ZERO
        } else if self.backoff.is_reset() {
            self.backoff
                .next_pause(random)
                .mul_f64(random.random_range(0.0..1.0))
        } else {
            self.backoff.next_pause(random)
        };
        self.begin_round(now + pause);
    }

    fn note(&mut self, index: usize, loss: Loss, now: Instant) {
        let candidate = &mut self.candidates[index];
        candidate.not_before = match &loss {
            Loss::Goodbye { retry_after, .. } => retry_after.map(|wait| now + wait),
            _ => None,
        };
        candidate.last = Some(loss);
    }
}

/// How this loss ends the worker for good, if it does.
pub(super) fn end_by(loss: &Loss) -> Option<End> {
    let Loss::Goodbye { refusal, .. } = loss else {
        return None;
    };
    match Code::parse(&refusal.code) {
        Some(Code::SessionTakenOver) => Some(End::TakenOver),
        Some(Code::Kicked) => Some(End::Kicked(refusal.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::requests::refusal;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn schedule(addresses: &str, single_round: bool, now: Instant) -> (DialSchedule, StdRng) {
        let addresses = Address::parse_list(addresses).unwrap();
        let single_round = single_round.then(|| now + Duration::from_secs(60));
        (
            DialSchedule::new(addresses, single_round, now),
            StdRng::from_seed([1; 32]),
        )
    }

    fn goodbye(code: Code, retry_after: Option<Duration>) -> Loss {
        Loss::Goodbye {
            refusal: refusal(code, ""),
            retry_after,
            before_welcome: true,
        }
    }

    fn wait(turn: &DialStep, now: Instant) -> Duration {
        match turn {
            DialStep::Wait(at) => *at - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_attempt_gets_its_share_of_the_only_round_and_the_last_one_what_is_left() {
        let now = Instant::now();
        let addresses = || Address::parse_list("a:1,b:1,c:1").unwrap();
        let second = Duration::from_secs(1);
        let schedule = DialSchedule::new(addresses(), Some(now + 6 * second), now);
        assert_eq!(schedule.attempt_until(0, now), Some(now + 2 * second));
        // The first one was refused at once: the others have more.
        assert_eq!(schedule.attempt_until(1, now), Some(now + 3 * second));
        assert_eq!(schedule.attempt_until(2, now), Some(now + 6 * second));
        let late = now + 7 * second;
        assert_eq!(schedule.attempt_until(1, late), Some(late));
        // However long a round may take, those that come later are tried soon.
        let mut patient = DialSchedule::new(addresses(), Some(now + 600 * second), now);
        assert_eq!(patient.attempt_until(0, now), Some(now + LONGEST_ATTEMPT));
        assert_eq!(patient.attempt_until(2, now), Some(now + 600 * second));
        patient.welcomed();
        assert_eq!(patient.attempt_until(2, now), None);
    }

    #[test]
    fn nobody_waits_for_an_engine_that_asked_for_a_later_time_than_the_pause() {
        let mut now = Instant::now();
        let minute = Duration::from_secs(60);
        let (mut schedule, mut random) = schedule("a:1,b:1", false, now);
        assert_eq!(schedule.next(now, &mut random), DialStep::Try(0));
        schedule.failed(0, goodbye(Code::ShuttingDown, Some(minute)), now);
        // `b` is tried again and again meanwhile.
        for _ in 0..3 {
            assert_eq!(schedule.next(now, &mut random), DialStep::Try(1));
            schedule.failed(1, Loss::NobodyListens, now);
            let pause = wait(&schedule.next(now, &mut random), now);
            assert!(pause < minute / 3, "{pause:?}");
            now += pause;
        }
    }

    #[test]
    fn addresses_are_tried_in_order_and_then_after_growing_pauses() {
        let mut now = Instant::now();
        let (mut schedule, mut random) = schedule("a:1,b:1", false, now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            for index in 0..2 {
                assert_eq!(schedule.next(now, &mut random), DialStep::Try(index));
                schedule.failed(index, Loss::NobodyListens, now);
            }
            let pause = wait(&schedule.next(now, &mut random), now);
            now += pause;
            pauses.push(pause);
        }
        assert!(pauses[0] <= FIRST_PAUSE && pauses[0] >= FIRST_PAUSE / 2);
        assert!(pauses[11] <= LAST_PAUSE && pauses[11] >= LAST_PAUSE / 2);
        assert!(
            pauses
                .windows(3)
                .all(|it| it[2] >= it[0] || it[2] >= LAST_PAUSE / 2)
        );
        assert_eq!(schedule.attempts().len(), 2);
    }

    #[test]
    fn a_lost_connection_is_sought_again_within_50_ms() {
        let now = Instant::now();
        let (mut schedule, mut random) = schedule("a:1", false, now);
        for seed in 0..100 {
            let mut jitter = StdRng::seed_from_u64(seed);
            schedule.lost(0, Loss::Closed, Duration::from_secs(60), now, &mut jitter);
            let at_the_latest = now + FIRST_PAUSE;
            assert_eq!(schedule.next(at_the_latest, &mut random), DialStep::Try(0));
        }
    }

    #[test]
    fn connections_that_do_not_last_are_sought_ever_more_slowly() {
        let now = Instant::now();
        let (mut schedule, mut random) = schedule("a:1", false, now);
        for _ in 0..10 {
            schedule.lost(0, Loss::Closed, Duration::from_millis(10), now, &mut random);
        }
        assert!(wait(&schedule.next(now, &mut random), now) >= LAST_PAUSE / 2);
    }

    #[test]
    fn a_connection_that_lasted_five_seconds_has_the_next_sought_at_once() {
        let now = Instant::now();
        for (lasted, is_good) in [(4999, false), (5000, true), (5001, true)] {
            let (mut schedule, mut random) = schedule("a:1", false, now);
            for _ in 0..10 {
                schedule.lost(0, Loss::Closed, Duration::ZERO, now, &mut random);
            }
            let lasted = Duration::from_millis(lasted);
            schedule.lost(0, Loss::Closed, lasted, now, &mut random);
            let at_once = schedule.next(now + FIRST_PAUSE, &mut random) == DialStep::Try(0);
            assert_eq!(at_once, is_good, "{lasted:?}");
        }
    }

    #[test]
    fn an_engine_that_names_a_time_is_not_tried_before_and_others_are_tried_meanwhile() {
        let now = Instant::now();
        let later = Duration::from_secs(3);
        let stopping = goodbye(Code::ShuttingDown, Some(later));
        let (mut alone, mut random) = schedule("a:1", false, now);
        alone.lost(
            0,
            stopping.clone(),
            Duration::from_secs(60),
            now,
            &mut random,
        );
        let after_pause = now + FIRST_PAUSE;
        let mut at = after_pause;
        for _ in 0..100 {
            match alone.next(at, &mut random) {
                DialStep::Wait(until) => at = until,
                DialStep::Try(_) => break,
                DialStep::Stop(end) => panic!("{end}"),
            }
        }
        assert_eq!(at, now + later);
        let (mut two, mut random) = schedule("a:1,b:1", false, now);
        two.lost(0, stopping, Duration::from_secs(60), now, &mut random);
        assert_eq!(two.next(after_pause, &mut random), DialStep::Try(1));
    }

    #[test]
    fn only_refusals_from_everywhere_that_waiting_does_not_change_are_final() {
        let now = Instant::now();
        let (mut first, mut random) = schedule("a:1,b:1", false, now);
        let refused = goodbye(Code::UnsupportedVersion, None);
        first.failed(0, refused.clone(), now);
        assert_eq!(first.next(now, &mut random), DialStep::Try(1));
        first.failed(1, Loss::NobodyListens, now);
        let next_round = now + wait(&first.next(now, &mut random), now);
        for index in 0..2 {
            assert_eq!(first.next(next_round, &mut random), DialStep::Try(index));
            first.failed(index, refused.clone(), next_round);
        }
        let end = End::Refused(refusal(Code::UnsupportedVersion, ""));
        assert_eq!(first.next(next_round, &mut random), DialStep::Stop(end));
        let (mut busy, mut random) = schedule("a:1", false, now);
        busy.next(now, &mut random);
        busy.failed(0, goodbye(Code::TooManyConnections, None), now);
        assert!(matches!(busy.next(now, &mut random), DialStep::Wait(_)));
    }

    #[test]
    fn one_round_is_enough_for_who_wants_one_only() {
        let now = Instant::now();
        let (mut schedule, mut random) = schedule("a:1,b:1", true, now);
        for index in 0..2 {
            assert_eq!(schedule.next(now, &mut random), DialStep::Try(index));
            schedule.failed(index, Loss::NobodyListens, now);
        }
        assert_eq!(
            schedule.next(now, &mut random),
            DialStep::Stop(End::Unconnected)
        );
    }
}
