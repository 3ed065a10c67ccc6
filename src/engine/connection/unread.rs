//! Input of a connection that is not handled yet: an incomplete frame, and bytes deferred to a later turn. An idle
//! connection has none. Decodes nothing.

use crate::engine::interface::Time;
use crate::engine::memory::{Charge, Usage};
use crate::protocol::Inbox;

use super::progress::Progress;

/// Bytes that were received and not handled.
#[derive(Debug)]
pub(crate) struct Unread {
    /// An incomplete frame, or one that is handled in a later turn.
    inbox: Inbox,
    /// The frame in the inbox is whole.
    is_whole: bool,
    /// How far the first frame that is deferred was handled.
    progress: Option<Box<Progress>>,
    /// When the incomplete frame began.
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
            is_whole: false,
            progress: None,
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
        let is_incomplete = self.inbox.held() > 0 && !self.is_whole;
        is_incomplete.then(|| self.inbox.announced().unwrap_or(0))
    }

    pub(crate) fn has_deferred(&self) -> bool {
        self.is_whole || !self.deferred.is_empty()
    }

    /// Whether an event is being cast, in slices.
    pub(crate) fn is_emitting(&self) -> bool {
        matches!(self.progress.as_deref(), Some(Progress::Emission(_)))
    }

    /// Adds to the deferred bytes.
    pub(crate) fn defer(&mut self, bytes: &[u8]) {
        self.deferred.extend_from_slice(bytes);
        self.update_charge();
    }

    pub(crate) fn take_deferred(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.deferred)
    }

    /// The frame in the inbox, and how far it was handled before.
    pub(crate) fn take_inbox(&mut self) -> (Inbox, Option<Box<Progress>>) {
        self.is_whole = false;
        (std::mem::take(&mut self.inbox), self.progress.take())
    }

    /// Stores what is not handled: an incomplete frame, or a whole one if `is_whole`; the bytes after the last frame that
    /// was handled; and how far the next frame was handled.
    pub(crate) fn store(
        &mut self,
        (inbox, is_whole): (Inbox, bool),
        deferred: &[u8],
        progress: Option<Box<Progress>>,
    ) {
        self.inbox = inbox;
        self.is_whole = is_whole;
        self.progress = progress;
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
            inbox,
            is_whole,
            progress,
            since: _,
            deferred: _,
            charge,
        } = self;
        assert!(!is_whole || inbox.held() > 0, "a whole frame");
        assert!(progress.is_none() || self.has_deferred(), "frame in slices");
        assert_eq!(charge.bytes(), self.bytes(), "charge of unread bytes");
        charge.bytes()
    }
}
