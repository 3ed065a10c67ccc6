//! Session keys, and the connections that hold the sessions. Compares connections, never names; decides no takeover.

use std::collections::HashMap;
use std::rc::Rc;

use crate::engine::interface::ConnId;
use crate::engine::rng::HashKeys;

use super::session::SessionKey;
#[cfg(debug_assertions)]
use super::table::ConnectionTable;

/// All valid session keys.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_key: HashMap<SessionKey, ConnId, HashKeys>,
    last_worker: u64,
    /// Shared by all workers without metadata.
    no_metadata: Rc<[u8]>,
}

impl Sessions {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Self {
            by_key: HashMap::with_hasher(keys),
            last_worker: 0,
            no_metadata: Rc::new([]),
        }
    }

    /// An id for a new worker.
    pub(crate) fn next_worker(&mut self) -> u64 {
        self.last_worker += 1;
        self.last_worker
    }

    /// A worker's metadata, shared if it is empty.
    pub(crate) fn metadata(&self, bytes: &[u8]) -> Rc<[u8]> {
        match bytes {
            [] => self.no_metadata.clone(),
            bytes => bytes.into(),
        }
    }

    /// The connection that holds the session of this key.
    pub(crate) fn holder(&self, key: &SessionKey) -> Option<ConnId> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn insert(&mut self, key: SessionKey, holder: ConnId) {
        self.by_key.insert(key, holder);
    }

    /// A key is no longer valid.
    pub(crate) fn remove(&mut self, key: &SessionKey) {
        self.by_key.remove(key);
    }

    /// A key is no longer valid if `holder` has it: another connection may have it by now. Returns whether it was.
    pub(crate) fn remove_held(&mut self, key: &SessionKey, holder: ConnId) -> bool {
        self.by_key.get(key) == Some(&holder) && self.by_key.remove(key).is_some()
    }
}

#[cfg(debug_assertions)]
impl Sessions {
    /// Compares the keys with the sessions of live connections.
    ///
    /// # Panics
    /// If a live session's key is missing, or a key has no live session.
    pub(crate) fn check_books(&self, connections: &ConnectionTable) {
        let Self {
            by_key,
            last_worker,
            no_metadata: _,
        } = self;
        let mut held = 0;
        let mut workers = Vec::new();
        for conn in connections.iter() {
            let Some(session) = conn.session() else {
                continue;
            };
            let older = session.older_key();
            for key in [Some(session.key()), older].into_iter().flatten() {
                assert_eq!(by_key.get(&key), Some(&conn.id()), "a key's holder");
                held += 1;
            }
            workers.push(session.worker());
        }
        assert_eq!(by_key.len(), held, "session keys");
        workers.sort_unstable();
        assert!(
            workers.is_sorted_by(|a, b| a < b),
            "a worker with two connections"
        );
        assert!(workers.last().is_none_or(|last| last <= last_worker));
    }
}
