//! A connection as the engine sees it: how far it has come, who speaks on it, what it is owed, and which
//! clocks run. Holds state; what happens to it is decided by the engine's handlers.

use std::rc::Rc;

use crate::protocol::{Definition, Inbox};

use super::account::{Account, Share};
use super::audience::Cover;
use super::board::{Definition as Encoded, Name};
use super::budget::Budget;
use super::entry::encoded;
use super::gate::Grant;
use super::outbox::Outbox;
use super::refusal::Refusal;
use super::traffic::Traffic;
use super::wheel::TimerId;
use super::{ConnId, Peer, Time};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// HELLO is awaited.
    Greeting,
    /// In service.
    Live,
    /// It is over: what it is owed is still written, what it sends is discarded.
    Leaving {
        /// The peer closed its sending half.
        heard_eof: bool,
        /// Ours is closed.
        half_closed: bool,
        /// Bytes discarded.
        discarded: u32,
    },
}

/// Why a connection is not read for the time being.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pause {
    /// Its replies pile up.
    pub(super) outbound: bool,
    /// It overdrew its budget.
    pub(super) budget: bool,
}

impl Pause {
    pub(super) fn any(self) -> bool {
        self.outbound || self.budget
    }
}

/// A REGISTER batch of which further frames are awaited.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: u64,
    /// When it was begun.
    pub(super) since: Time,
    pub(super) entries: Vec<(Name, Encoded)>,
    /// Bytes of the entries, encoded.
    pub(super) bytes: usize,
    /// What is wrong with it already; said with the last frame.
    pub(super) failure: Option<Refusal>,
    /// What it holds of what all batches hold.
    held: Share,
}

/// What an entry of a batch takes up beside its bytes, in round figures.
const ENTRY_OVERHEAD: usize = 100;

impl Batch {
    pub(super) fn new(id: u64, now: Time, all: &Account) -> Self {
        Self {
            id,
            since: now,
            entries: Vec::new(),
            bytes: 0,
            failure: None,
            held: all.share(),
        }
    }

    /// It will fail: nothing of it is needed any more.
    pub(super) fn fail(&mut self, failure: Refusal) {
        self.entries = Vec::new();
        self.bytes = 0;
        self.failure = Some(failure);
        self.note_held();
    }

    /// It has grown.
    pub(super) fn note_held(&mut self) {
        let entries = self.entries.len() * ENTRY_OVERHEAD;
        self.held.set(self.bytes + entries);
    }
}

/// What was read and not handled. An idle connection has none.
#[derive(Debug)]
pub(super) struct Unread {
    /// An unfinished frame.
    pub(super) inbox: Inbox,
    /// When that began.
    pub(super) since: Time,
    /// What is to be handled in a later turn: see [`super::intake`].
    pub(super) rest: Vec<u8>,
    /// What both hold of what all hold.
    held: Share,
}

impl Unread {
    pub(super) fn new(now: Time, all: &Account) -> Self {
        Self {
            inbox: Inbox::default(),
            since: now,
            rest: Vec::new(),
            held: all.share(),
        }
    }

    /// Its bytes.
    fn bytes(&self) -> usize {
        self.inbox.held() + self.rest.len()
    }

    /// It has changed.
    pub(super) fn note_held(&mut self) {
        let bytes = self.bytes();
        self.held.set(bytes);
    }
}

/// Who speaks on a connection, from HELLO on.
#[derive(Debug)]
pub(super) struct Identity {
    /// Index of the namespace.
    pub(super) namespace: usize,
    pub(super) worker: u64,
    pub(super) name: Name,
    pub(super) metadata: Rc<[u8]>,
    pub(super) session: [u8; 16],
    /// The key of the session that was taken over: good until READY, for if our WELCOME was lost, the
    /// worker has no other.
    pub(super) older_session: Option<Box<[u8; 16]>>,
    /// What it may do.
    pub(super) grant: Rc<Grant>,
    /// What it wants to see, if its rights leave it only a part of that.
    pub(super) wanted: Option<Rc<Cover>>,
    /// What it watches: the audience, and the place among its members.
    pub(super) audience: Option<(usize, usize)>,
    /// It took a session over and has not said READY.
    pub(super) unconfirmed: bool,
    /// Calls that it takes at once.
    pub(super) capacity: u32,
    /// It said DRAIN.
    pub(super) draining: bool,
}

/// See the top of this file.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent flags, one each for a queue it may be in.
pub(super) struct Connection {
    pub(super) id: ConnId,
    /// The how manieth connection it is: a worker's attempts arrive in their order.
    pub(super) order: u64,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    /// There was no room for it: it is only told so.
    pub(super) refused: bool,
    pub(super) identity: Option<Box<Identity>>,
    pub(super) unread: Option<Box<Unread>>,
    /// The peer closed its sending half behind what is unread.
    pub(super) rest_is_last: bool,
    pub(super) outbox: Outbox,
    pub(super) batch: Option<Box<Batch>>,
    pub(super) traffic: Option<Box<Traffic>>,
    /// When the phase began.
    pub(super) since: Time,
    /// When a byte last came in, or was taken after none could be.
    pub(super) heard: Time,
    /// Nothing can be written since.
    pub(super) blocked_since: Option<Time>,
    /// Nothing could be written, and nothing was since: progress will be a sign of life.
    pub(super) stalled: bool,
    /// A PING was sent in this silence.
    pub(super) pinged: bool,
    pub(super) pause: Pause,
    pub(super) budget: Budget,
    /// In the queue of those that are owed frames of their own; of those that wait for receipts; of the others: see
    /// [`super::due`].
    pub(super) queued_reply: bool,
    pub(super) queued_receipt: bool,
    pub(super) queued: bool,
    /// Own frames wait for the seal.
    pub(super) touched: bool,
    /// It changed the board in this turn.
    pub(super) caused: bool,
    pub(super) timer: Option<TimerId>,
    /// When that fires.
    pub(super) timer_at: Time,
}

impl Connection {
    /// A connection that has said nothing yet.
    pub(super) fn new(id: ConnId, order: u64, peer: Peer, now: Time) -> Self {
        Self {
            id,
            order,
            peer,
            phase: Phase::Greeting,
            refused: false,
            identity: None,
            unread: None,
            rest_is_last: false,
            outbox: Outbox::new(),
            batch: None,
            traffic: None,
            since: now,
            heard: now,
            blocked_since: None,
            stalled: false,
            pinged: false,
            pause: Pause::default(),
            budget: Budget::new(now),
            queued_reply: false,
            queued_receipt: false,
            queued: false,
            touched: false,
            caused: false,
            timer: None,
            timer_at: now,
        }
    }

    /// Bytes of what is not handled yet.
    pub(super) fn unhandled(&self) -> usize {
        self.unread.as_ref().map_or(0, |unread| unread.bytes())
    }

    /// Whether frames wait to be handled in a later turn.
    pub(super) fn has_rest(&self) -> bool {
        let unread = self.unread.as_ref();
        unread.is_some_and(|unread| !unread.rest.is_empty())
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }
}

/// A definition in the engine's own encoding: known keys only.
pub(super) fn encode_definition(definition: &Definition<'_>) -> Encoded {
    Encoded {
        encoded: encoded(definition),
        exclusive: definition.exclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // Ten thousand of them are what an engine holds most of. What is rare is in a box.
        assert!(
            size_of::<Connection>() <= 216,
            "{}",
            size_of::<Connection>()
        );
        assert!(size_of::<Identity>() <= 120, "{}", size_of::<Identity>());
    }
}
