//! HELLO in the model: admission by token, identity, and takeover of sessions.

use std::rc::Rc;

use callboard::protocol::Hello;

use super::EngineModel;
use crate::board::Namespace;
use crate::call_oracle::CallOracle;
use crate::coincidences::{Happening, happened};
use crate::filter::Filter;
use crate::journal::saw;
use crate::peer_model::{PeerModel, Phase};
use crate::principals::{Permit, namespace_of};

impl EngineModel {
    pub(super) fn hello(&mut self, token: u64, hello: &Hello<'_>, oracle: &mut CallOracle) {
        if !hello.versions.contains(&1) {
            return self.end(token, "unsupported_version", oracle);
        }
        let credential = hello.ext.token.map_or("", |token| token.0);
        let Some(permit) = self.permit(credential, hello.namespace.0) else {
            saw("somebody was not let in");
            return self.end(token, "unauthorized", oracle);
        };
        let asked = hello.ext.tier;
        let Some(tier) = self.tier(credential, asked) else {
            saw("somebody asked for too low a tier");
            return self.end(token, "unauthorized", oracle);
        };
        if self.stopping {
            return self.end(token, "shutting_down", oracle);
        }
        let namespace = match hello.namespace.0 {
            "" => "default",
            name => name,
        };
        let key = hello.ext.session.map(|key| key.to_vec());
        let holder = key.as_ref().and_then(|key| self.sessions.get(key)).copied();
        // Tokens count connections in their upper half; a late HELLO takes nothing over.
        let late = |holder: &u64| holder >> 32 > token >> 32;
        if holder.is_some_and(|it| late(&it)) {
            saw("a HELLO came behind that of the next connection");
        }
        let same = |it: &PeerModel| it.namespace == namespace && it.credential == credential;
        let holder = holder.filter(|it| same(&self.peers[it]) && !late(it));
        let worker = if let Some(holder) = holder {
            self.forget_sessions(holder);
            self.peers[&holder].worker
        } else {
            self.last_worker += 1;
            self.last_worker
        };
        let board = self
            .namespaces
            .entry(namespace.to_owned())
            .or_insert_with(Namespace::new);
        let revision = board.revision();
        let unconfirmed =
            holder.is_some() && board.take_over(worker, (&hello.name, hello.ext.metadata.0), tier);
        let most = self.limits.max_calls;
        let peer = self.peer(token);
        *peer = PeerModel {
            phase: Phase::Live,
            namespace: namespace.to_owned(),
            worker,
            name: hello.name.0.into(),
            metadata: hello.ext.metadata.0.into(),
            capacity: hello.ext.capacity.unwrap_or(1000).min(most) as usize,
            credential: credential.to_owned(),
            asked_tier: asked,
            tier,
            filter: Filter {
                visible: permit.visible(),
                ..Filter::of(hello.ext.watch.as_ref())
            },
            permit,
            taken_over: holder.is_some(),
            revision,
            resume: hello.ext.resume.as_ref().map(|it| (it.epoch, it.revision)),
            older_session: key.clone().filter(|_| holder.is_some()),
            holds: true,
            unconfirmed,
            heard: peer.heard,
            spoke: peer.spoke,
            unread: std::mem::take(&mut peer.unread),
            ending: peer.ending,
            dying: peer.dying,
            origin: peer.origin.clone(),
            ..PeerModel::new(peer.opened)
        };
        happened(Happening::Hello, Some(token));
        if let (Some(holder), Some(key)) = (holder, key) {
            saw("a session was taken over");
            happened(Happening::Takeover, Some(token));
            self.sessions.insert(key, token);
            self.end(holder, "session_taken_over", oracle);
        }
    }

    /// What a credential opens in a namespace, if anything.
    fn permit(&self, credential: &str, namespace: &str) -> Option<Rc<Permit>> {
        let Some(principals) = &self.principals else {
            return Some(Permit::everything().into());
        };
        let is_its = namespace.is_empty() || namespace == namespace_of(credential);
        principals.permit(credential).filter(|_| is_its).cloned()
    }

    /// The tier of a worker that asks for this one, or for none; none if that is too low.
    pub(super) fn tier(&self, credential: &str, asked: Option<u64>) -> Option<u64> {
        let lowest = self
            .principals
            .as_ref()
            .map_or(0, |it| it.lowest_tier(credential));
        Some(asked.unwrap_or(lowest)).filter(|tier| *tier >= lowest)
    }

    /// A session's key, as its WELCOME told it.
    pub(crate) fn learn(&mut self, token: u64, key: &[u8]) {
        let peer = self.peer(token);
        if peer.phase == Phase::Live && peer.holds {
            peer.session = Some(key.to_vec());
            self.sessions.insert(key.to_vec(), token);
        }
    }

    pub(super) fn forget_sessions(&mut self, token: u64) {
        let peer = self.peer(token);
        peer.holds = false;
        let keys = [peer.session.take(), peer.older_session.take()];
        for key in keys.into_iter().flatten() {
            if self.sessions.get(&key) == Some(&token) {
                self.sessions.remove(&key);
            }
        }
    }
}
