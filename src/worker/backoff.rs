//! Pauses between attempts: each is twice as long as the one before, up to a longest, and jittered. Waits for nothing
//! itself.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The pauses of one series of attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Begins with the first pause again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Whether the next pause is the first of its series.
    pub(super) fn is_reset(&self) -> bool {
        self.next == self.first
    }

    /// The next pause, jittered down to half of it.
    pub(super) fn next_pause(&mut self, random: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(random.random_range(0.5..1.0))
    }
}
