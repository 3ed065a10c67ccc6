//! Listens to what the engine writes to one connection, before the network has its way with it, and holds it
//! against the protocol and the model: the chain of revisions, what a filter shows, the order of replies and
//! changes, one answer for each request, calls to those who provide. It keeps no view; the worker at the
//! other end does.

mod called;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use callboard::protocol::{
    Changes, Failure, HEADER_LEN, Inbox, Message, Outcome, Sections, Welcome,
};

use crate::board::SharedHistory;
use crate::call_oracle::{CallOracle, Ending};
use crate::coincidences::{Happening, happened};
use crate::digest::{self, Side};
use crate::engine_model::EngineModel;
use crate::filter::Filter;
use crate::journal::{hold, note, saw};
use crate::peer_model::{Owed, PeerModel};

/// What a frame of the engine is held against.
pub(crate) struct Models<'a> {
    pub engine_model: &'a mut EngineModel,
    pub oracle: &'a mut CallOracle,
    pub histories: &'a mut BTreeMap<u64, SharedHistory>,
    pub now: u64,
}

#[allow(clippy::struct_excessive_bools)] // Independent facts, each with its own reason.
#[derive(Debug, Default)]
pub(crate) struct WireChecker {
    token: u64,
    inbox: Inbox,
    welcomed: bool,
    goodbye: bool,
    drained: bool,
    /// By which the view at the other end is made.
    filter: Filter,
    /// A frame was begun when the rights changed: it is by those that held until then.
    begun: Option<Filter>,
    /// Bytes of all frames.
    heard: u64,
    /// Behind so many bytes, the view is by another filter.
    pub filters: Vec<(u64, Filter)>,
    /// Where the reader stands.
    mine: u64,
    /// SYNCED came, and no RESYNC since.
    synced: bool,
    staging: bool,
    /// The step of which parts came.
    parts: Option<(u64, u64)>,
    /// The function may not be called unless registered again after this tick.
    barred: BTreeMap<Rc<str>, u64>,
    barred_all: u64,
    cancels: BTreeSet<u64>,
    /// When it was asked last whether it is there.
    pub pinged_at: u64,
}

impl WireChecker {
    pub(crate) fn new(token: u64) -> Self {
        Self {
            token,
            ..Self::default()
        }
    }

    /// The engine wrote these bytes.
    pub(crate) fn hear(&mut self, mut bytes: &[u8], models: &mut Models<'_>) {
        let mut inbox = std::mem::take(&mut self.inbox);
        loop {
            match inbox.next(&mut bytes, 1 << 24) {
                Ok(Some(frame)) => {
                    hold!(
                        !self.goodbye,
                        "GOODBYE is the last frame",
                        "connection {:x} was sent a frame behind it",
                        self.token
                    );
                    self.heard += (HEADER_LEN + frame.len()) as u64;
                    match Message::decode(frame) {
                        Ok(message) => {
                            digest::take_down(Side::Engine, self.token, frame, &message);
                            self.take(&message, models);
                        }
                        Err(error) => panic!("the engine wrote what cannot be read: {error}"),
                    }
                }
                Ok(None) => break,
                Err(error) => panic!("the engine wrote no frame: {error}"),
            }
        }
        self.inbox = inbox;
    }

    /// Other rights than `before` hold for what is not begun yet.
    pub(crate) fn reload(&mut self, before: &Filter) {
        if self.inbox.held() > 0 {
            self.begun.get_or_insert_with(|| before.clone());
        }
    }

    /// A frame of the view comes, made by this filter. If no RESYNC came with another one, this watch shows the same
    /// by both: what comes is covered before and after.
    fn follow(&mut self, filter: &Filter, sections: Option<&Sections<'_>>) {
        if *filter != self.filter {
            if let Some(sections) = sections {
                self.filter.assert_has(sections);
            }
            self.filter = filter.clone();
        }
    }

    /// Nothing that is due to it waits for a snapshot to end.
    pub(crate) fn has_all(&self) -> bool {
        self.welcomed && (self.synced || self.filter.is_nothing())
    }

    /// What it is shown of the board, if anything, and whether it has it all.
    pub(crate) fn shown(&self) -> Option<(&Filter, bool)> {
        (self.welcomed && !self.filter.is_nothing()).then_some((&self.filter, self.synced))
    }

    fn peer<'a>(&self, models: &'a Models<'_>) -> &'a PeerModel {
        &models.engine_model.peers[&self.token]
    }

    fn take(&mut self, message: &Message<'_>, models: &mut Models<'_>) {
        let begins = matches!(message, Message::Welcome(_) | Message::Goodbye(_));
        hold!(
            self.welcomed || begins,
            "WELCOME is the first frame",
            "connection {:x}: {}",
            self.token,
            message.kind_name()
        );
        let begun = self.begun.take();
        let filter = begun.as_ref().unwrap_or(&self.peer(models).filter).clone();
        match message {
            Message::Resync(_) | Message::Synced(_) => self.follow(&filter, None),
            Message::Snapshot(it) => self.follow(&filter, Some(&it.sections)),
            Message::Changes(it) => self.follow(&filter, Some(&it.sections)),
            _ => {}
        }
        match message {
            Message::Welcome(it) => self.welcome(it, models),
            Message::Goodbye(it) => {
                note!("{:x} <- GOODBYE {}", self.token, it.code);
                self.goodbye = true;
            }
            Message::Resync(it) => {
                self.assert_watches();
                saw(match it.reason.0 {
                    "joined" => "a snapshot for who joined",
                    "foreign_epoch" => "a snapshot after the engine's restart",
                    "log_trimmed" => "a snapshot because the log was trimmed",
                    "rights_changed" => "a snapshot because the rights changed",
                    "other_watch" => "a snapshot because the rights had changed meanwhile",
                    _ => "a snapshot for another reason",
                });
                (self.mine, self.staging, self.synced) = (it.revision, true, false);
                self.parts = None;
            }
            Message::Snapshot(it) => {
                hold!(
                    self.staging,
                    "a snapshot is announced",
                    "connection {:x}",
                    self.token
                );
                self.filter.assert_has(&it.sections);
            }
            Message::Changes(it) => self.changes(it, models),
            Message::Synced(it) => {
                self.assert_watches();
                let peer = self.peer(models);
                hold!(
                    !self.synced
                        && self.parts.is_none()
                        && it.revision >= self.mine.max(peer.revision),
                    "SYNCED ends a snapshot or a resume, once",
                    "connection {:x} at {}: SYNCED {}",
                    self.token,
                    self.mine,
                    it.revision
                );
                self.assert_has_all(it.revision, models, "SYNCED");
                (self.mine, self.synced, self.staging) = (it.revision, true, false);
                // A view that is replaced is shown until the next one is complete.
                self.filters.push((self.heard, self.filter.clone()));
            }
            Message::Ping(callboard::protocol::Ping { revision, .. })
            | Message::Pong(callboard::protocol::Pong { revision, .. }) => {
                if matches!(message, Message::Ping(_)) {
                    self.pinged_at = models.now;
                    happened(Happening::Ping, Some(self.token));
                }
                if self.synced && *revision > self.mine {
                    self.assert_has_all(*revision, models, "a bookmark");
                    self.mine = *revision;
                }
            }
            Message::Drain(_) => self.drained = true,
            Message::Rights(_) => self.rights(models),
            Message::Invoke(it) => self.invoke(it, models),
            Message::Cast(it) => self.cast(it, models),
            Message::Cancel(it) => self.cancel(it.id, models),
            Message::Outcome(it) => self.outcome(it, models),
            Message::Failure(it) => self.failure(it, models),
            other => panic!("not the engine's to send: {other:?}"),
        }
    }

    fn welcome(&mut self, it: &Welcome<'_>, models: &mut Models<'_>) {
        hold!(
            !self.welcomed,
            "WELCOME comes once",
            "connection {:x}",
            self.token
        );
        self.welcomed = true;
        let peer = self.peer(models);
        let resumes = peer.resume.filter(|_| it.ext.resumed);
        note!(
            "{:x} <- WELCOME worker {} {} in {}{}{}",
            self.token,
            it.worker,
            peer.name,
            peer.namespace,
            if it.ext.taken_over {
                ", takes over"
            } else {
                ""
            },
            if it.ext.resumed { ", resumes" } else { "" },
        );
        hold!(
            (it.worker, it.ext.taken_over, it.revision)
                == (peer.worker, peer.taken_over, peer.revision),
            "a session is taken over by who has its key",
            "connection {:x}: worker {}, taken over {}, revision {}; expected {}, {}, {}",
            self.token,
            it.worker,
            it.ext.taken_over,
            it.revision,
            peer.worker,
            peer.taken_over,
            peer.revision
        );
        self.filter = peer.filter.clone();
        self.filters.push((self.heard, self.filter.clone()));
        let peer = self.peer(models);
        let namespace = peer.namespace.clone();
        let board = models
            .engine_model
            .namespaces
            .get_mut(&namespace)
            .expect("it has a board");
        let known = *board.epoch.get_or_insert(it.epoch);
        hold!(
            known == it.epoch,
            "one epoch for each board",
            "{known} and {}",
            it.epoch
        );
        let shared = models
            .histories
            .entry(it.epoch)
            .or_insert_with(|| board.history.clone());
        hold!(
            Rc::ptr_eq(shared, &board.history),
            "one epoch for each board",
            "{namespace} has the epoch of another"
        );
        if it.ext.resumed {
            saw("a view was resumed");
            let (epoch, revision) = resumes.expect("only who asks is resumed");
            hold!(
                epoch == it.epoch && revision <= it.revision,
                "a view is resumed from where it stands",
                "epoch {epoch} revision {revision}, the board is {} at {}",
                it.epoch,
                it.revision
            );
            self.mine = revision;
        }
        models.engine_model.learn(self.token, &it.session);
    }

    fn assert_watches(&self) {
        hold!(
            !self.filter.is_nothing(),
            "nothing comes that a watch does not cover",
            "connection {:x} watches nothing",
            self.token
        );
    }

    /// Nothing that the filter shows is missing up to a revision.
    fn assert_has_all(&self, revision: u64, models: &Models<'_>, what: &str) {
        let namespace = &self.peer(models).namespace;
        let history = models.engine_model.namespaces[namespace].history.borrow();
        hold!(
            revision <= history.revision() && self.parts.is_none(),
            "no revision before its seal",
            "{what} {revision} at {}",
            history.revision()
        );
        let missing = history.concerning(&self.filter, self.mine, revision);
        hold!(
            missing == 0
                || models
                    .engine_model
                    .leaves_with_old_rights(self.peer(models)),
            "nothing overtakes the changes before it",
            "connection {:x} is told of {what} at {revision} and stands at {}: {missing} steps are missing",
            self.token,
            self.mine
        );
    }

    /// A frame for this connection alone, of the turn that made `revision` or a later one.
    fn assert_in_order(&self, revision: u64, models: &Models<'_>, what: &str) {
        if !self.filter.is_nothing() {
            hold!(
                self.synced,
                "nothing overtakes the changes before it",
                "connection {:x} is sent {what} before SYNCED",
                self.token
            );
            self.assert_has_all(revision, models, what);
        }
    }

    fn changes(&mut self, it: &Changes<'_>, models: &mut Models<'_>) {
        self.assert_watches();
        self.filter.assert_has(&it.sections);
        hold!(
            it.from <= self.mine && self.mine < it.to && it.from < it.to,
            "the chain of revisions never breaks",
            "connection {:x} at {} is sent a change from {} to {}",
            self.token,
            self.mine,
            it.from,
            it.to
        );
        hold!(
            self.parts.is_none_or(|parts| parts == (it.from, it.to)),
            "the parts of a step come together",
            "connection {:x}: {:?}, then ({}, {})",
            self.token,
            self.parts,
            it.from,
            it.to
        );
        let namespace = &self.peer(models).namespace;
        let history = models.engine_model.namespaces[namespace].history.borrow();
        hold!(
            it.to <= history.revision(),
            "no revision before its seal",
            "a change to {} at {}",
            it.to,
            history.revision()
        );
        if it.more {
            self.parts = Some((it.from, it.to));
            return;
        }
        if self.parts.take().is_some() {
            saw("a step came in parts");
            if !self.filter.visible.has_all() {
                saw("a step came in parts to a reader who sees a part");
            }
        }
        if history.concerning(&self.filter, self.mine, it.to) > 1 {
            saw("several revisions came folded");
        }
        self.mine = it.to;
    }

    fn rights(&self, models: &mut Models<'_>) {
        self.assert_in_order(0, models, "RIGHTS");
        let peer = models.engine_model.peers.get_mut(&self.token);
        let untold = &mut peer.expect("it is written to").untold;
        hold!(
            *untold > 0,
            "who may register something else is told so once",
            "connection {:x}",
            self.token
        );
        *untold -= 1;
    }

    /// The answer owed for a request that is answered now.
    fn settle(&mut self, request: u64, models: &mut Models<'_>, what: &str) -> Owed {
        let peer = models
            .engine_model
            .peers
            .get_mut(&self.token)
            .expect("it is written to");
        let owed = peer.owed.remove(&request);
        hold!(
            owed.is_some(),
            "every request is answered exactly once",
            "connection {:x}, request {request}: {what} is owed to nobody",
            self.token
        );
        let (owed, stamp) = owed.expect("checked");
        hold!(
            stamp.is_some(),
            "no answer before the seal of its turn",
            "connection {:x}, request {request}: {what}",
            self.token
        );
        self.assert_in_order(stamp.unwrap_or(0), models, what);
        if let Owed::Done { tick, left } = &owed {
            for name in left {
                if name.is_empty() {
                    self.barred_all = *tick;
                } else {
                    self.barred.insert(name.clone(), *tick);
                }
            }
        }
        owed
    }

    fn outcome(&mut self, it: &Outcome<'_>, models: &mut Models<'_>) {
        let stamp = self
            .peer(models)
            .owed
            .get(&it.id)
            .and_then(|(_, stamp)| *stamp);
        match self.settle(it.id, models, "RESULT") {
            Owed::Done { .. } => hold!(
                it.ext.revision == stamp,
                "a registration's RESULT names its revision",
                "connection {:x}: {:?} instead of {stamp:?}",
                self.token,
                it.ext.revision
            ),
            Owed::Matched(matched) => hold!(
                it.ext.matched.is_some_and(|it| matched.contains(&it)),
                "an event finds what is bound to it",
                "{:?} matched instead of {matched:?}",
                it.ext.matched
            ),
            Owed::Builtin => saw("the engine's own function was called"),
            Owed::Call(index) => {
                let ending = Ending::Result(it.payload.to_vec());
                self.told(index, &ending, models);
            }
            owed @ Owed::Refused(_) => panic!("a RESULT where {owed:?} is owed"),
        }
    }

    fn failure(&mut self, it: &Failure<'_>, models: &mut Models<'_>) {
        match self.settle(it.id, models, "FAILURE") {
            Owed::Refused(code) => hold!(
                it.code.0 == code,
                "a refusal names its reason",
                "{} instead of {code}",
                it.code
            ),
            Owed::Call(index) => self.told(index, &Ending::of(it), models),
            Owed::Builtin if it.code.0 == "overloaded" => {
                saw("a caller did not read its answers");
            }
            owed => panic!(
                "PROMISE BROKEN: a good request succeeds ({}): {it:?} where {owed:?} is owed",
                crate::journal::moment()
            ),
        }
    }

    fn told(&self, index: usize, ending: &Ending, models: &mut Models<'_>) {
        let engine_model = &*models.engine_model;
        let number = models.oracle.attempts[index].intent;
        note!("{:x} <- call {number} ends: {}", self.token, ending.brief());
        let left_since = |tick| engine_model.last_left >= tick;
        let stopping = engine_model.stopping;
        models.oracle.told(
            index,
            ending,
            (engine_model.tick, models.now),
            stopping,
            left_since,
        );
    }
}
