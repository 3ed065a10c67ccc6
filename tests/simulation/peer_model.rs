//! A connection as its peer and the protocol have it: its identity, what is owed to it, what it was asked to
//! run. Decides nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use callboard::protocol::Inbox;

use crate::board::Entry;
use crate::engine_model::Emission;
use crate::filter::Filter;
use crate::principals::Permit;

/// Whether a timer for then has fired: the engine's clock of deadlines ticks in milliseconds.
pub(crate) fn has_passed(at: u64, now: u64) -> bool {
    now / 1000 * 1000 >= at
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Greeting,
    Live,
    /// Since this tick: nothing that it says counts.
    Over(u64),
}

/// The answer that is owed for a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owed {
    /// Done. Functions that it does not provide from this tick on, if not registered again.
    Done {
        tick: u64,
        left: Vec<Rc<str>>,
    },
    Refused(&'static str),
    /// So many functions were found that are bound to an event.
    Matched(RangeInclusive<u64>),
    Builtin,
    Call(usize),
}

/// A registration of which further frames are awaited.
#[derive(Debug)]
pub(crate) struct Batch {
    pub id: u64,
    pub entries: Vec<(String, Entry)>,
    /// Why it will be refused.
    pub failure: Option<&'static str>,
}

/// A connection, as its peer and the protocol have it.
#[allow(clippy::struct_excessive_bools)] // Independent facts, each with its own reason.
#[derive(Debug)]
pub(crate) struct PeerModel {
    pub phase: Phase,
    /// There was no room for it: it is only told so.
    pub refused: bool,
    pub inbox: Inbox,
    /// Where turns do little work: what the engine has read and not handled.
    pub unread: Vec<u8>,
    /// The first frame of it is an event that is being cast.
    pub emission: Option<Emission>,
    /// It has ended, for this reason, and the engine is still to draw the consequences.
    pub ending: Option<&'static str>,
    /// Since when it gets no calls because of that.
    pub dying: Option<u64>,
    /// It has the rights of credentials that were replaced.
    pub is_unjudged: bool,
    /// Where it comes from, if that matters.
    pub origin: Rc<str>,
    pub opened: u64,
    /// When it was heard of last, as the heartbeat counts.
    pub heard: u64,
    /// When bytes came from it last.
    pub spoke: u64,
    /// When the frame began of which only a part has come, and the size that it announced.
    pub frame: Option<(u64, usize)>,
    /// When it was due to be asked whether it is there, since bytes came from it last.
    pub asked: Option<u64>,
    /// The same, if its timer fired early, for another reason.
    pub asked_early: Option<u64>,
    pub namespace: String,
    pub worker: u64,
    pub name: Rc<str>,
    pub metadata: Rc<[u8]>,
    pub capacity: usize,
    /// By which it was let in; empty where that takes none.
    pub credential: String,
    /// The tier that it asked for, and the one that it has.
    pub asked_tier: Option<u64>,
    pub tier: u64,
    pub permit: Rc<Permit>,
    /// Its rights have changed since it said HELLO.
    pub has_new_rights: bool,
    /// How often it is still to be told that it may register or bind something else.
    pub untold: usize,
    pub filter: Filter,
    pub taken_over: bool,
    /// Of its namespace, when its HELLO came.
    pub revision: u64,
    /// Where it wants to resume.
    pub resume: Option<(u64, u64)>,
    pub session: Option<Vec<u8>>,
    pub older_session: Option<Vec<u8>>,
    /// It still holds its session: no other connection took it over.
    pub holds: bool,
    pub unconfirmed: bool,
    pub draining: bool,
    /// It said READY.
    pub is_ready: bool,
    pub batch: Option<Batch>,
    /// By request: what is owed, and the revision that it must not overtake, once that is sealed.
    pub owed: BTreeMap<u64, (Owed, Option<u64>)>,
    /// INVOKEs that it was sent and did not answer, as far as the engine knows: the intents.
    pub invoked: BTreeMap<u64, usize>,
    /// All that was due to it was written then.
    pub clean: u64,
}

impl PeerModel {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            phase: Phase::Greeting,
            refused: false,
            inbox: Inbox::default(),
            unread: Vec::new(),
            emission: None,
            ending: None,
            dying: None,
            is_unjudged: false,
            origin: "".into(),
            opened: now,
            heard: now,
            spoke: now,
            frame: None,
            asked: None,
            asked_early: None,
            namespace: String::new(),
            worker: 0,
            name: "".into(),
            metadata: Rc::default(),
            capacity: 0,
            credential: String::new(),
            asked_tier: None,
            tier: 0,
            permit: Permit::everything().into(),
            has_new_rights: false,
            untold: 0,
            filter: Filter::default(),
            taken_over: false,
            revision: 0,
            resume: None,
            session: None,
            older_session: None,
            holds: false,
            unconfirmed: false,
            draining: false,
            is_ready: false,
            batch: None,
            owed: BTreeMap::new(),
            invoked: BTreeMap::new(),
            clean: 0,
        }
    }
    /// Bytes came from it.
    pub(crate) fn hear_of(&mut self, now: u64) {
        (self.heard, self.spoke) = (now, now);
        (self.asked, self.asked_early) = (None, None);
    }

    /// It was silent for `ping_after` and will be asked; if that comes late, its time to answer begins late.
    pub(crate) fn ask(&mut self, now: u64, ping_after: u64) {
        if self.phase == Phase::Live && has_passed(self.heard + ping_after, now) {
            self.asked.get_or_insert(now);
        }
        if self.phase == Phase::Live && self.heard + ping_after <= now {
            self.asked_early.get_or_insert(now);
        }
    }

    /// Its silence counts from then on.
    pub(crate) fn silent_since(&self, ping_after: u64) -> u64 {
        let asked = self.asked.unwrap_or(0);
        self.heard.max(asked.saturating_sub(ping_after))
    }

    /// Its silence counts from then on at the earliest.
    pub(crate) fn silent_since_early(&self, ping_after: u64) -> u64 {
        let asked = self.asked_early.unwrap_or(0);
        self.heard.max(asked.saturating_sub(ping_after))
    }
}
