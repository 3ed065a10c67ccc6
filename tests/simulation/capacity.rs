//! Free capacity for calls, as far as it is known from outside: from what was written and read, and from
//! which connections have been sent all that they are owed. Changes nothing.

use crate::call_oracle::{Attempt, CallOracle, Intent};
use crate::engine_model::EngineModel;
use crate::peer_model::{PeerModel, Phase};

impl EngineModel {
    /// Whether a worker could take one more call for certain, seen from outside.
    pub(crate) fn surely_has_room(
        &self,
        namespace: &str,
        worker: u64,
        oracle: &CallOracle,
    ) -> bool {
        let is_it = |it: &&PeerModel| {
            it.worker == worker && it.holds && it.phase == Phase::Live && it.ending.is_none()
        };
        let Some(peer) = self.peers.values().find(is_it) else {
            return false;
        };
        let board = &self.namespaces[namespace];
        let function = |name: &str| board.provided(worker, name, peer.clean, u64::MAX);
        let unseen = oracle.may_be_at(function, peer.clean);
        // With little room in its outbox it may be choked, whatever it runs.
        self.limits.max_outbound > 1 << 20 && peer.invoked.len() + unseen < peer.capacity
    }

    /// The connections that a call may have gone to since it was made.
    fn able<'a>(
        &'a self,
        attempt: &'a Attempt,
        intent: &'a Intent,
    ) -> impl Iterator<Item = &'a PeerModel> + Clone {
        let board = &self.namespaces[&*attempt.namespace];
        self.peers.values().filter(move |it| {
            it.phase == Phase::Live
                && *it.namespace == *attempt.namespace
                && intent.pinned.is_none_or(|pinned| pinned == it.worker)
                && board.provided(it.worker, &intent.name, attempt.tick, u64::MAX)
        })
    }

    /// Whether no provider can have this call: those that it may have gone to have been sent all that they are owed.
    pub(crate) fn is_nowhere(&self, attempt: &Attempt, intent: &Intent) -> bool {
        let mut able = self.able(attempt, intent);
        able.all(|it| it.clean == self.tick && !it.invoked.values().any(|it| *it == attempt.intent))
    }

    /// Whether a provider has room for this call, while neither is the call on its way to a provider nor its ending to
    /// its caller: they have been sent all that they are owed.
    pub(crate) fn has_room_for(&self, attempt: &Attempt, intent: &Intent) -> bool {
        let board = &self.namespaces[&*attempt.namespace];
        let mut able = self.able(attempt, intent);
        let provides = |it: &PeerModel| {
            board
                .providers(&intent.name)
                .any(|worker| worker == it.worker)
        };
        let caller = self.peers.get(&attempt.token);
        caller.is_some_and(|it| it.clean == self.tick)
            && able.clone().all(|it| it.clean == self.tick)
            && able.any(|it| {
                it.holds && it.ending.is_none() && it.invoked.len() < it.capacity && provides(it)
            })
    }
}
