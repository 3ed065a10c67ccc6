//! What other rights make of those who are in: some go, some lose what they have or wait for, some are shown
//! something else.

use std::rc::Rc;

use callboard::engine::Verb;

use super::EngineModel;
use crate::call_oracle::{CallOracle, Forbidden};
use crate::journal::saw;
use crate::peer_model::{Owed, PeerModel, Phase};
use crate::principals::{Permit, Principals};

impl EngineModel {
    /// Other rights hold from now on.
    pub(crate) fn reload(&mut self, principals: &Principals, oracle: &mut CallOracle, now: u64) {
        self.replace(principals);
        let live =
            |(token, peer): (&u64, &PeerModel)| (peer.phase == Phase::Live).then_some(*token);
        for token in self.peers.iter().filter_map(live).collect::<Vec<_>>() {
            self.judge(token, oracle, now);
        }
    }

    /// Who says HELLO from now on has other rights; those who are in have them once they are judged.
    pub(crate) fn replace(&mut self, principals: &Principals) {
        self.tick += 1;
        self.principals = Some(principals.clone());
        for peer in self.peers.values_mut() {
            peer.is_unjudged = peer.phase == Phase::Live;
        }
    }

    /// A connection has its present rights from now on.
    pub(crate) fn judge(&mut self, token: u64, oracle: &mut CallOracle, now: u64) {
        let Some(principals) = &self.principals else {
            return;
        };
        let peer = &self.peers[&token];
        let (credential, before) = (peer.credential.clone(), peer.permit.clone());
        let (tier, holds, worker) = (peer.tier, peer.holds, peer.worker);
        let permit = principals.permit(&credential).cloned();
        match (permit, self.tier(&credential, peer.asked_tier)) {
            (None, _) => {
                saw("somebody's token was revoked");
                self.end(token, "unauthorized", oracle);
            }
            (_, None) => {
                saw("somebody's tier became too low");
                self.end(token, "unauthorized", oracle);
            }
            (Some(permit), Some(newer)) => {
                if permit != before {
                    self.forbid_calls(token, &permit, oracle, now);
                    self.change_permit(token, &permit);
                }
                self.peer(token).tier = newer;
                if newer != tier && holds {
                    self.board(token).set_tier(worker, newer);
                }
            }
        }
        self.peer(token).is_unjudged = false;
        self.note_bindings(oracle);
    }

    /// Whether a connection is still to be judged.
    pub(crate) fn is_unjudged(&self, token: u64) -> bool {
        let peer = &self.peers[&token];
        peer.is_unjudged && peer.phase == Phase::Live
    }

    /// How many are.
    pub(crate) fn unjudged(&self) -> usize {
        let tokens = self.peers.keys();
        tokens.filter(|token| self.is_unjudged(**token)).count()
    }

    /// Whether a connection is closing with outdated rights: frames still written to it follow
    /// those, and the model does not keep them. No view is resumed from there.
    pub(crate) fn leaves_with_old_rights(&self, peer: &PeerModel) -> bool {
        let principals = self.principals.as_ref();
        matches!(peer.phase, Phase::Over(_))
            && principals.is_some_and(|it| it.permit(&peer.credential) != Some(&peer.permit))
    }

    /// Calls that wait and may no longer be made end.
    fn forbid_calls(&self, token: u64, permit: &Permit, oracle: &mut CallOracle, now: u64) {
        let peer = &self.peers[&token];
        let board = &self.namespaces[&peer.namespace];
        for (owed, _) in peer.owed.values() {
            let Owed::Call(index) = owed else { continue };
            let attempt = &mut oracle.attempts[*index];
            let name = &oracle.intents[attempt.intent].name;
            if permit.may(Verb::Call, name) {
                continue;
            }
            // No provider can have been given it, and nothing else has ended it: a drain would have.
            let waits = attempt.nobody
                && !self.stopping
                && !board.was_provided(name, attempt.tick)
                && !attempt.cancelled
                && !attempt.may_be_refused
                && now < attempt.deadline
                && oracle.intents[attempt.intent].wait;
            attempt.forbidden = if waits {
                Forbidden::Certainly
            } else {
                Forbidden::Perhaps
            };
        }
    }

    /// What a peer has and may no longer have leaves.
    fn change_permit(&mut self, token: u64, permit: &Rc<Permit>) {
        saw("the rights of a connection changed");
        let (tick, (_, worker, ..)) = (self.tick, self.names(token));
        let peer = self.peer(token);
        if let Some(batch) = &mut peer.batch {
            let mut names = batch.entries.iter().map(|(name, _)| name);
            if names.any(|name| !permit.may(Verb::Register, name)) {
                batch.failure = Some("forbidden");
                batch.entries.clear();
            }
        }
        peer.filter.visible = permit.visible();
        peer.has_new_rights = true;
        let before = std::mem::replace(&mut peer.permit, permit.clone());
        if !before.has_the_same(Verb::Register, permit) || !before.has_the_same(Verb::Bind, permit)
        {
            peer.untold += 1;
        }
        if !peer.holds {
            return;
        }
        self.note_unbound(token);
        let board = self.board(token);
        let functions = board.functions_beyond(worker, |name| permit.may(Verb::Register, name));
        for function in &functions {
            board.withdraw(worker, function, tick);
        }
        let bindings = board.bindings_beyond(worker, |name| permit.may(Verb::Bind, name));
        for key in &bindings {
            board.unbind(worker, key);
        }
        if !functions.is_empty() || !bindings.is_empty() {
            saw("what somebody may no longer have left the board");
        }
    }
}
