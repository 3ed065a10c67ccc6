//! Input of a connection that is not handled yet: an incomplete frame, and bytes deferred to a later turn. An idle
//! connection has none. Decodes nothing.

use crate::engine::interface::Time;
use crate::engine::memory::{Charge, Usage};
use crate::protocol::Inbox;

/// Bytes that were received and not handled.
#[derive(Debug)]
pub(crate) struct Unread {
    /// An incomplete frame.
    inbox: Inbox,
    /// When that began.
    since: Time,
    /// Bytes that are handled in a later turn.
    deferred: Vec<u8>,
    /// Its bytes, among those of all connections.
    charge: Charge,
}

impl Unread {
    pub(crate) fn new(now: Time, usage: &Usage) -> Self {
        Self {
            inbox: Inbox::default(),
            since: now,
            deferred: Vec::new(),
            charge: usage.charge(0),
        }
    }

    /// Bytes of both parts.
    pub(crate) fn bytes(&self) -> usize {
        self.inbox.held() + self.deferred.len()
    }

    /// When the incomplete frame began.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// The time for the incomplete frame starts over.
    pub(crate) fn restart(&mut self, now: Time) {
        self.since = now;
    }

    /// The size that an incomplete frame announced (0 until its header is complete); `None` without one.
    pub(crate) fn announced(&self) -> Option<usize> {
        (self.inbox.held() > 0).then(|| self.inbox.announced().unwrap_or(0))
    }

    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Adds to the deferred bytes.
    pub(crate) fn defer(&mut self, bytes: &[u8]) {
        self.deferred.extend_from_slice(bytes);
        self.update_charge();
    }

    pub(crate) fn take_deferred(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.deferred)
    }

    pub(crate) fn take_inbox(&mut self) -> Inbox {
        std::mem::take(&mut self.inbox)
    }

    /// Stores what a read left: an incomplete frame, and the bytes after the last frame that was handled.
    pub(crate) fn store(&mut self, inbox: Inbox, deferred: &[u8]) {
        self.inbox = inbox;
        if !deferred.is_empty() {
            self.deferred = deferred.to_vec();
        }
        self.update_charge();
    }

    fn update_charge(&mut self) {
        let bytes = self.bytes();
        self.charge.set(bytes);
    }
}

#[cfg(debug_assertions)]
impl Unread {
    /// Compares the charge with what is held. Returns it.
    pub(super) fn check_books(&self) -> usize {
        let Self {
            inbox: _,
            since: _,
            deferred: _,
            charge,
        } = self;
        assert_eq!(charge.bytes(), self.bytes(), "charge of unread bytes");
        charge.bytes()
    }
}
