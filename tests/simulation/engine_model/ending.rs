//! How a connection is over for the engine, and what ends with it.

use crate::call_oracle::{CallOracle, Invoked};
use crate::coincidences::{Happening, happened};
use crate::journal::saw;
use crate::peer_model::{Owed, PeerModel, Phase};

use super::EngineModel;

impl EngineModel {
    pub(super) fn kick(&mut self, by: u64, worker: Option<u64>, oracle: &mut CallOracle) {
        let namespace = &self.peers[&by].namespace;
        let is_it = |(token, it): &(&u64, &PeerModel)| {
            it.phase == Phase::Live
                && it.namespace == *namespace
                && Some(it.worker) == worker
                && **token != by
        };
        let found = self.peers.iter().find(is_it).map(|(token, _)| *token);
        if let Some(token) = found {
            saw("a worker was kicked");
            self.end(token, "kicked", oracle);
        }
    }

    /// A connection is over for the engine.
    pub(crate) fn end(&mut self, token: u64, code: &str, oracle: &mut CallOracle) {
        self.tick += 1;
        let tick = self.tick;
        let peer = self.peer(token);
        if matches!(peer.phase, Phase::Over(_)) {
            return;
        }
        let was_live = peer.phase == Phase::Live;
        self.drop_unread(token);
        let peer = self.peer(token);
        peer.phase = Phase::Over(tick);
        peer.batch = None;
        self.last_left = tick;
        let peer = self.peer(token);
        let (worker, holds) = (peer.worker, peer.holds);
        for (owed, _) in peer.owed.values() {
            if let Owed::Call(index) = owed {
                oracle.close(*index, tick, false);
            }
        }
        // A call that may run again can be at the next provider before its end is seen.
        for (id, intent) in &peer.invoked {
            oracle.unsee(*intent, token, *id);
        }
        *self.closed.entry(code.to_owned()).or_default() += 1;
        if let Some(happening) = Happening::ended(code, was_live) {
            happened(happening, Some(token));
        }
        if was_live && holds {
            self.forget_sessions(token);
            self.note_unbound(token);
            self.board(token).remove(worker, tick);
        }
        self.end_running(token, oracle);
    }

    /// What a connection that is over ran, and no other provider may run, ends.
    fn end_running(&self, token: u64, oracle: &mut CallOracle) {
        let peer = &self.peers[&token];
        for (id, intent) in &peer.invoked {
            let board = &self.namespaces[&peer.namespace];
            let intent = &oracle.intents[*intent];
            let mut others = board.providers(&intent.name);
            let is_able = |worker| intent.pinned.is_none_or(|pinned| pinned == worker);
            let may_run_again = intent.idempotent && (intent.wait || others.any(is_able));
            let is_it = |it: &&Invoked| it.token == token && it.id == *id;
            let attempt = intent.invokes.iter().find(is_it).and_then(|it| it.attempt);
            if let Some(attempt) = attempt.filter(|_| !may_run_again) {
                let due = &mut oracle.attempts[attempt].due;
                due.get_or_insert("its provider went");
            }
        }
    }
}
