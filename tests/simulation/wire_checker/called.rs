//! What a provider is sent: calls, casts and cancels.

use callboard::protocol::{Cast, Invoke};

use crate::call_oracle::number;
use crate::journal::{hold, note};
use crate::peer_model::Phase;

use super::{Models, WireChecker};

impl WireChecker {
    pub(super) fn invoke(&mut self, it: &Invoke<'_>, models: &mut Models<'_>) {
        let engine_model = &*models.engine_model;
        let (peer, tick) = (&engine_model.peers[&self.token], engine_model.tick);
        let (worker, capacity) = (peer.worker, peer.capacity);
        let barred = self.barred_since(it.function.0);
        let is_over = match peer.phase {
            Phase::Over(since) => since,
            _ => u64::MAX,
        };
        // A worker that has ended gets no calls, also if it is withdrawn later.
        let dying = peer.dying.unwrap_or(u64::MAX);
        let board = &engine_model.namespaces[&peer.namespace];
        let number = models.oracle.invoked(
            (self.token, worker, tick, peer.clean),
            it.id,
            &it.function,
            &it.payload,
            (it.ext.caller, &it.ext.caller_name, &it.ext.headers),
            |token| engine_model.is_over(token),
            |from, to| {
                from <= dying
                    && board.provided(worker, &it.function, from.max(barred), to.min(is_over))
            },
        );
        let peer = models
            .engine_model
            .peers
            .get_mut(&self.token)
            .expect("it is written to");
        peer.invoked.insert(it.id, number);
        hold!(
            peer.invoked.len() <= capacity,
            "no provider runs more calls than it takes",
            "worker {worker} runs {:?}, and takes {capacity}",
            peer.invoked
        );
        let attempts = models.oracle.intents[number].attempts.iter();
        let made_at = attempts
            .map(|it| models.oracle.attempts[*it].revision)
            .min();
        self.assert_in_order(made_at.unwrap_or(0), models, "INVOKE");
        note!(
            "{:x} <- INVOKE {:x} call {number} {}",
            self.token,
            it.id,
            it.function
        );
    }

    pub(super) fn cast(&mut self, it: &Cast<'_>, models: &mut Models<'_>) {
        let peer = self.peer(models);
        let (worker, tick) = (peer.worker, models.engine_model.tick);
        let (visible, has_new_rights) = (peer.permit.visible(), peer.has_new_rights);
        let barred = self.barred_since(it.function.0);
        let board = &models.engine_model.namespaces[&peer.namespace];
        let intent = number(&it.payload).and_then(|it| models.oracle.intents.get(it));
        let is_late = peer
            .dying
            .is_some_and(|at| intent.and_then(|it| it.heard) > Some(at));
        hold!(
            !is_late && board.provided(worker, &it.function, barred, tick),
            "a removed provider is never called",
            "a cast to {} came to worker {worker}: {intent:?}, dying since {:?}",
            it.function,
            peer.dying
        );
        models.oracle.cast(
            self.token,
            &it.function.0.into(),
            &it.ext.event,
            &it.payload,
            |event, told| has_new_rights || visible.has(event) == told,
        );
        self.assert_in_order(0, models, "CAST");
    }

    pub(super) fn cancel(&mut self, id: u64, models: &mut Models<'_>) {
        let number = self.invoked_errand(id, models);
        hold!(
            number.is_some() && self.cancels.insert(id),
            "a provider is told once to cancel, and only what it was asked",
            "connection {:x}: CANCEL {id:x}",
            self.token
        );
        let intent = &models.oracle.intents[number.unwrap_or_default()];
        let attempts = (intent.attempts.iter()).map(|it| &models.oracle.attempts[*it]);
        let reason = |it: &crate::call_oracle::Attempt| {
            it.cancelled
                || it.over.is_some()
                || it.deadline <= models.now
                || models.engine_model.stopping
        };
        hold!(
            attempts.into_iter().any(reason),
            "a call is not cancelled for nothing",
            "connection {:x}: CANCEL {id:x} of {intent:?}",
            self.token
        );
        self.assert_in_order(0, models, "CANCEL");
    }

    /// The tick from which on it may have none of a function's calls and casts.
    fn barred_since(&self, function: &str) -> u64 {
        let of_function = self.barred.get(function).copied();
        of_function.unwrap_or(0).max(self.barred_all)
    }

    fn invoked_errand(&self, id: u64, models: &Models<'_>) -> Option<usize> {
        let is_it = |it: &crate::call_oracle::Invoked| it.id == id && it.token == self.token;
        let mut intents = models.oracle.intents.iter().rev();
        let found = intents.position(|intent| intent.invokes.iter().any(is_it))?;
        Some(models.oracle.intents.len() - 1 - found)
    }
}
