//! The engine's lifecycle: when it started, and how far its shutdown has come. Times and flags; closes nothing.

use super::interface::Time;

/// The progress of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// DRAIN was sent; GOODBYE follows at this time at the latest.
    Draining(Time),
    /// GOODBYE was sent to all.
    Stopped,
}

/// Start and shutdown of an engine.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    started: Time,
    phase: Phase,
    /// `engine::drain` was called, and the shell has not taken notice.
    drain_requested: bool,
}

impl Lifecycle {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            started: now,
            phase: Phase::Running,
            drain_requested: false,
        }
    }

    pub(crate) fn started(&self) -> Time {
        self.started
    }

    /// Whether no shutdown has begun.
    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Until when a draining engine waits for its calls.
    pub(crate) fn grace_end(&self) -> Option<Time> {
        match self.phase {
            Phase::Draining(until) => Some(until),
            _ => None,
        }
    }

    /// Whether GOODBYE was sent to all.
    pub(crate) fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    pub(crate) fn start_draining(&mut self, until: Time) {
        self.phase = Phase::Draining(until);
    }

    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    pub(crate) fn request_drain(&mut self) {
        self.drain_requested = true;
    }

    /// Returns whether `engine::drain` was called since the last time.
    pub(crate) fn take_drain_request(&mut self) -> bool {
        std::mem::take(&mut self.drain_requested)
    }
}
