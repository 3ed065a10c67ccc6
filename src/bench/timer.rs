//! Wakes a turn with microsecond precision: the timeout of a poll is rounded up to milliseconds.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::error::BenchError;

/// A timer that a poll can wait for.
#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new() -> Result<Self, BenchError> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        timerfd_create(TimerfdClockId::Monotonic, flags)
            .map(Self)
            .map_err(|error| BenchError::System(error.into()))
    }

    /// Sets the moment to wake at, and cancels an earlier one.
    pub(super) fn set(&self, at: Instant) -> Result<(), BenchError> {
        let left = at.saturating_duration_since(Instant::now());
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let wait = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: left.as_secs().cast_signed(),
                // Zero would disarm the timer.
                tv_nsec: i64::from(left.subsec_nanos()).max(1),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &wait)
            .map(|_| ())
            .map_err(|error| BenchError::System(error.into()))
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};

    use super::*;

    #[test]
    fn a_poll_wakes_at_the_moment_each_time_anew() {
        let timer = Timer::new().unwrap();
        let mut poll = Poll::new().unwrap();
        let fd = timer.as_raw_fd();
        let mut source = SourceFd(&fd);
        let registry = poll.registry();
        registry
            .register(&mut source, Token(0), Interest::READABLE)
            .unwrap();
        let mut events = Events::with_capacity(8);
        // Also for a moment in the past, and although the timer is never read.
        for wait in [
            Duration::from_micros(300),
            Duration::ZERO,
            Duration::from_millis(2),
        ] {
            let at = Instant::now() + wait;
            timer.set(at).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(30)))
                .unwrap();
            assert!(!events.is_empty() && Instant::now() >= at);
        }
    }
}
