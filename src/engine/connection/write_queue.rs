//! The write queue: the order in which connections are written to. Replies go first. Then take turns: audiences with
//! changes, member by member; acknowledgements of registrations; and continuations, of connections that have more to
//! get than one write took. Audiences with a large change wait behind a good many of all those, since it takes long to
//! encode one. An audience is one entry however many members it has. Never writes.

use std::collections::VecDeque;

use crate::engine::interface::ConnId;
use crate::engine::registry::Registry;
use crate::engine::registry::audience::Audience;
use crate::engine::registry::position::Stream;

use super::Connection;
use super::table::ConnectionTable;

/// An audience with members that have not been sent the last change.
#[derive(Debug)]
struct Broadcast {
    namespace: usize,
    audience: usize,
    /// Members to visit before other audiences have their turn.
    left: usize,
}

/// Connections of the other lanes before a large change is encoded, if there are as many. They take about as long.
const BEFORE_LARGE: usize = 128;

/// The lanes that take turns after the replies, so that a large board that is being read delays no change, and changes
/// delay no board.
#[derive(Debug, Clone, Copy, Default)]
enum Lane {
    #[default]
    Broadcasts,
    Acknowledgements,
    Continuations,
}

impl Lane {
    const COUNT: usize = 3;

    fn next(self) -> Self {
        match self {
            Self::Broadcasts => Self::Acknowledgements,
            Self::Acknowledgements => Self::Continuations,
            Self::Continuations => Self::Broadcasts,
        }
    }
}

/// The connections and audiences that wait to be written to.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    replies: VecDeque<ConnId>,
    acknowledgements: VecDeque<ConnId>,
    continuations: VecDeque<ConnId>,
    broadcasts: VecDeque<Broadcast>,
    /// Those of audiences with a large change.
    large: VecDeque<Broadcast>,
    lane: Lane,
    /// Connections of all lanes since the last one of an audience with a large change.
    since_large: usize,
}

impl WriteQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.acknowledgements.is_empty()
            && self.continuations.is_empty()
            && self.broadcasts.is_empty()
            && self.large.is_empty()
    }

    /// Connections with own frames.
    pub(crate) fn replies(&self) -> usize {
        self.replies.len()
    }

    /// Queues a connection with own frames, unless it is queued so already or is blocked.
    pub(crate) fn push_reply(&mut self, conn: &mut Connection) {
        if !conn.in_replies && conn.blocked_since().is_none() {
            conn.in_replies = true;
            self.replies.push_back(conn.id());
        }
    }

    /// Queues a connection whose own frames are acknowledgements of registrations only. Changes take turns with them
    /// and go first, so that a watcher learns of a registration no later than the worker that made it.
    pub(crate) fn push_acknowledgement(&mut self, conn: &mut Connection) {
        if !conn.in_acknowledgements && conn.blocked_since().is_none() {
            conn.in_acknowledgements = true;
            self.acknowledgements.push_back(conn.id());
        }
    }

    /// Queues a connection that has more to get than it was just sent.
    pub(crate) fn push_continuation(&mut self, conn: &mut Connection) {
        if !conn.in_continuations && conn.blocked_since().is_none() {
            conn.in_continuations = true;
            self.continuations.push_back(conn.id());
        }
    }

    /// Queues a connection in the lane of what it is owed.
    pub(crate) fn push(&mut self, conn: &mut Connection) {
        if conn.outbox().is_pending() {
            self.push_reply(conn);
        } else {
            self.push_continuation(conn);
        }
    }

    /// Queues all members of an audience for its last change.
    pub(crate) fn push_audience(
        &mut self,
        registry: &mut Registry,
        namespace: usize,
        audience: usize,
    ) {
        let Some(members) = registry[namespace].audience_mut(audience) else {
            return;
        };
        let left = members.members();
        if members.mark_unvisited() {
            self.broadcasts.push_back(Broadcast {
                namespace,
                audience,
                left,
            });
        }
    }

    /// The next connection with own frames that is not blocked.
    pub(crate) fn next_reply(&mut self, connections: &mut ConnectionTable) -> Option<ConnId> {
        while let Some(id) = self.replies.pop_front() {
            if let Some(conn) = connections.get_mut(id) {
                conn.in_replies = false;
                if conn.blocked_since().is_none() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// The next connection of the other lanes that is not blocked.
    pub(crate) fn next_news(
        &mut self,
        connections: &mut ConnectionTable,
        registry: &mut Registry,
    ) -> Option<ConnId> {
        let is_large_due = self.since_large >= BEFORE_LARGE;
        if is_large_due && let Some(next) = self.next_of_large(connections, registry) {
            return Some(next);
        }
        self.since_large += 1;
        for _ in 0..Lane::COUNT {
            let lane = self.lane;
            self.lane = lane.next();
            let next = match lane {
                Lane::Broadcasts => self.next_member(connections, registry),
                Lane::Acknowledgements => self.next_acknowledgement(connections),
                Lane::Continuations => self.next_continuation(connections),
            };
            if next.is_some() {
                return next;
            }
        }
        // The next round starts with broadcasts.
        self.lane = Lane::Broadcasts;
        self.next_of_large(connections, registry)
    }

    fn next_acknowledgement(&mut self, connections: &mut ConnectionTable) -> Option<ConnId> {
        while let Some(id) = self.acknowledgements.pop_front() {
            if let Some(conn) = connections.get_mut(id) {
                conn.in_acknowledgements = false;
                // It may have been sent with something else meanwhile.
                if conn.blocked_since().is_none() && conn.outbox().is_pending() {
                    return Some(id);
                }
            }
        }
        None
    }

    fn next_continuation(&mut self, connections: &mut ConnectionTable) -> Option<ConnId> {
        while let Some(id) = self.continuations.pop_front() {
            if let Some(conn) = connections.get_mut(id) {
                conn.in_continuations = false;
                if conn.blocked_since().is_none() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// The next member of an audience with changes.
    fn next_member(
        &mut self,
        connections: &ConnectionTable,
        registry: &mut Registry,
    ) -> Option<ConnId> {
        while let Some(broadcast) = self.broadcasts.pop_front() {
            let Some(audience) = broadcast.audience(registry) else {
                continue;
            };
            if audience.has_large_change() {
                self.large.push_back(broadcast);
                continue;
            }
            let next = broadcast.visit(audience, connections, &mut self.broadcasts);
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// The next member of an audience with a large change.
    fn next_of_large(
        &mut self,
        connections: &ConnectionTable,
        registry: &mut Registry,
    ) -> Option<ConnId> {
        while let Some(broadcast) = self.large.pop_front() {
            let Some(audience) = broadcast.audience(registry) else {
                continue;
            };
            let next = broadcast.visit(audience, connections, &mut self.large);
            if next.is_some() {
                self.since_large = 0;
                return next;
            }
        }
        None
    }
}

impl Broadcast {
    /// The audience. It may be gone; then another one with its key is visited once more than needed.
    fn audience<'a>(&self, registry: &'a mut Registry) -> Option<&'a mut Audience> {
        registry
            .get_mut(self.namespace)?
            .audience_mut(self.audience)
    }

    /// The next member that has to be written to for this broadcast, as far as it has its turn. While there are members
    /// to visit, the broadcast goes back into `queue`: behind the others if it had its turn.
    fn visit(
        mut self,
        audience: &mut Audience,
        connections: &ConnectionTable,
        queue: &mut VecDeque<Self>,
    ) -> Option<ConnId> {
        let mut next = None;
        while next.is_none()
            && self.left > 0
            && let Some(id) = audience.visit_next()
        {
            self.left -= 1;
            // A connection that is queued by itself, or blocked, gets the change that way.
            let due = connections.get(id).filter(|conn| {
                !conn.in_continuations
                    && conn.blocked_since().is_none()
                    && matches!(conn.outbox().stream(), Stream::Changes(it) if it.at < audience.last())
            });
            next = due.map(Connection::id);
        }
        if audience.unvisited() > 0 && self.left > 0 {
            queue.push_front(self);
        } else if audience.unvisited() > 0 {
            // There was another change meanwhile.
            self.left = audience.unvisited();
            queue.push_back(self);
        }
        next
    }
}

#[cfg(debug_assertions)]
impl WriteQueue {
    /// Compares the queue with the marks of the connections, and checks that everybody who is owed something is in it.
    ///
    /// # Panics
    /// If a connection or an audience is missing.
    pub(super) fn check_books(&self, connections: &ConnectionTable, registry: &Registry) {
        let Self {
            replies,
            acknowledgements,
            continuations,
            broadcasts,
            large,
            lane: _,
            since_large: _,
        } = self;
        connections.check_marks("replies", replies, |conn| conn.in_replies);
        let marked = |conn: &Connection| conn.in_acknowledgements;
        connections.check_marks("acknowledgements", acknowledgements, marked);
        let marked = |conn: &Connection| conn.in_continuations;
        connections.check_marks("continuations", continuations, marked);
        for (namespace, audience) in registry.unvisited_audiences() {
            let mut queued = broadcasts.iter().chain(large);
            let is_queued = queued.any(|it| (it.namespace, it.audience) == (namespace, audience));
            assert!(is_queued, "audience {audience} of namespace {namespace}");
        }
        for conn in connections.iter() {
            let is_blocked = conn.blocked_since().is_some();
            let is_queued = conn.in_replies || conn.in_continuations || conn.is_unsealed();
            if is_blocked || is_queued {
                continue;
            }
            let (id, outbox) = (conn.id(), conn.outbox());
            let place = conn.audience();
            let unvisited = place.is_some_and(|(namespace, (audience, place))| {
                let audience = registry[namespace].audience(audience);
                audience.is_unvisited(place)
                    && matches!(outbox.stream(), Stream::Changes(it) if it.at < audience.last())
            });
            let is_awaited = conn.in_acknowledgements || unvisited;
            assert!(is_awaited || !outbox.is_pending(), "{id:?} has frames");
            let last = place.map_or(0, |(namespace, (audience, _))| {
                registry[namespace].audience(audience).last()
            });
            let is_behind = match outbox.stream() {
                Stream::Idle => false,
                Stream::Resync(_) | Stream::Snapshot { .. } => true,
                Stream::Changes(it) => it.within.is_some() || !it.synced || it.at < last,
            };
            let is_served = unvisited || conn.is_leaving();
            assert!(is_served || !is_behind, "{id:?} is behind: {outbox:?}");
        }
    }
}
