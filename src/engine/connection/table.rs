//! The table of all connections, by the shell's slab keys. A look-up compares the generation, so the id of a connection
//! that is gone finds nothing.

use crate::engine::interface::ConnId;

use super::Connection;
use super::session::{Sender, Session};

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTable {
    slots: Vec<Option<Box<Connection>>>,
    len: usize,
}

impl ConnectionTable {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots
            .get(id.key())?
            .as_deref()
            .filter(|conn| conn.id() == id)
    }

    /// The session of the frame that is being handled.
    ///
    /// # Panics
    /// If the sender's connection was closed since its frame was dispatched. A handler that closes it returns at once.
    pub(crate) fn session(&self, from: Sender) -> &Session {
        self.get(from.conn)
            .and_then(Connection::session)
            .expect("the sender's connection is live")
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slots
            .get_mut(id.key())?
            .as_deref_mut()
            .filter(|conn| conn.id() == id)
    }

    /// Adds a connection.
    ///
    /// # Panics
    /// If its key is in use: the shell did not drain [`crate::engine::Engine::poll_close`] before it reused the key.
    pub(crate) fn insert(&mut self, conn: Connection) {
        let key = conn.id().key();
        if self.slots.len() <= key {
            self.slots.resize_with(key + 1, || None);
        }
        assert!(self.slots[key].is_none(), "slab key {key} is in use");
        self.slots[key] = Some(Box::new(conn));
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.key())?;
        let removed = slot.take_if(|conn| conn.id() == id)?;
        self.len -= 1;
        Some(removed)
    }

    /// All connections, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten().map(|conn| &**conn)
    }

    /// The ids of all connections, in the order of their keys.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.iter().map(Connection::id).collect()
    }
}

#[cfg(debug_assertions)]
impl ConnectionTable {
    /// Recounts the connections, and what each keeps beside its frames and bytes.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_books(&self) {
        let Self { slots, len } = self;
        assert_eq!(*len, slots.iter().flatten().count(), "connections");
        for (key, slot) in slots.iter().enumerate() {
            if let Some(conn) = slot {
                assert_eq!(conn.id().key(), key, "key of {:?}", conn.id());
                conn.check_books();
            }
        }
    }

    /// Checks that a list has each marked connection once, and no other that still exists.
    ///
    /// # Panics
    /// If it has not.
    pub(super) fn check_marks<'a>(
        &self,
        what: &str,
        listed: impl IntoIterator<Item = &'a ConnId>,
        is_marked: impl Fn(&Connection) -> bool,
    ) {
        let listed = listed.into_iter().copied();
        let mut listed: Vec<ConnId> = listed.filter(|id| self.get(*id).is_some()).collect();
        listed.sort_unstable();
        let marked = self.iter().filter(|conn| is_marked(conn));
        let mut marked: Vec<ConnId> = marked.map(Connection::id).collect();
        marked.sort_unstable();
        assert_eq!(listed, marked, "{what}");
    }
}
