//! Quotas: the part of a pool that one user may have. A pool is as large as two of its limits. The limit is what one user
//! gets of it; once more than that is in use, each gets at most half of what the others have left. So no user can take
//! all, however many connections it has. (dbus-broker divides its resources among users in this way, too.)

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::connection::Connection;
use crate::engine::connection::session::Session;
use crate::engine::interface::ConnId;
use crate::engine::refusal::Refusal;
use crate::engine::registry::filter::WatchFilter;
use crate::engine::work;
use crate::limits::Limits;
use crate::protocol::Code;

/// A pool of something that calls hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    /// What one user gets of it.
    pub(super) limit: u64,
    /// What is in use.
    pub(super) used: usize,
    /// The part that a connection uses.
    pub(super) of: fn(&ConnectionCalls) -> usize,
}

impl Engine {
    /// Whether the user of a connection may have so much more of a pool. While less than the limit is in use it may, so
    /// its connections are only counted when the pool is short.
    pub(super) fn has_quota(&self, id: ConnId, pool: Pool, more: usize) -> bool {
        let (used, more) = (pool.used as u64, more as u64);
        if used + more <= pool.limit {
            return true;
        }
        let own = self.siblings(id).filter_map(Connection::calls);
        let own: usize = own.map(pool.of).sum();
        has_part(pool.limit, used, own as u64, more)
    }

    /// The connections of the user of a connection. Walks over all.
    pub(super) fn siblings(&self, id: ConnId) -> impl Iterator<Item = &Connection> {
        let walked = self.connections.len() as u64;
        self.input.add_common(walked / work::CONNECTIONS_PER_UNIT);
        let user = self.connections.get(id).map(Connection::user);
        let all = self.connections.iter();
        all.filter(move |conn| Some(conn.user()) == user)
    }

    /// Checks that a connection may watch through this filter: that its namespace has such an audience, or that the
    /// connection's user may have one more.
    pub(super) fn check_audience(
        &self,
        id: ConnId,
        key: usize,
        filter: &WatchFilter,
    ) -> Result<(), Refusal> {
        let (namespace, limit) = (&self.registry[key], self.config.limits.max_audiences);
        if namespace.has_room_for(filter, limit) {
            return Ok(());
        }
        let places = self.siblings(id).filter_map(Connection::audience);
        let here = places.filter(|(namespace, _)| *namespace == key);
        let own: BTreeSet<usize> = here.map(|(_, (audience, _))| audience).collect();
        if has_part(limit, namespace.audiences() as u64, own.len() as u64, 1) {
            return Ok(());
        }
        Err(too_many_audiences(limit))
    }

    /// Whether the user of a connection may have one more namespace than the limit says, since others have those.
    pub(super) fn has_namespace_quota(&self, id: ConnId) -> bool {
        let sessions = self.siblings(id).filter_map(Connection::last_session);
        let own: BTreeSet<usize> = sessions.map(Session::namespace).collect();
        let own = own.iter().filter(|key| !self.registry.is_default(**key));
        // The place of `default` is kept.
        let limit = self.config.limits.max_namespaces.saturating_sub(1);
        let used = self.registry.in_use() as u64;
        has_part(limit, used, own.count() as u64, 1)
    }

    /// Calls that wait for a provider.
    pub(super) fn parked_pool(&self) -> Pool {
        Pool {
            limit: self.config.limits.max_parked,
            used: self.calls.parked(),
            of: ConnectionCalls::waiting,
        }
    }

    /// Calls whose callers wait.
    pub(super) fn calls_pool(&self) -> Pool {
        Pool {
            limit: self.config.limits.max_calls_total,
            used: self.calls.waiting(),
            of: ConnectionCalls::made,
        }
    }

    /// Bytes of arguments that are kept.
    pub(super) fn retained_pool(&self) -> Pool {
        Pool {
            limit: self.config.limits.max_retained,
            used: self.calls.retained(),
            of: ConnectionCalls::retained,
        }
    }
}

/// Whether a user that has `own` of what is `used` of a pool may have so much more.
pub(super) fn has_part(limit: u64, used: u64, own: u64, more: u64) -> bool {
    let others = used.saturating_sub(own);
    let left = limit.saturating_mul(2).saturating_sub(others);
    2 * (own + more) <= left
}

/// The refusal of a watch that nobody else of the namespace has.
pub(super) fn too_many_audiences(limit: u64) -> Refusal {
    let message = format!("the namespace has {limit} different watches");
    let flag = Limits::FLAGS.max_audiences;
    Refusal::over(flag, Code::TooManyAudiences, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_alone_gets_the_limit_and_no_number_of_users_empties_the_pool() {
        const LIMIT: u64 = 1000;
        let mut used = 0;
        let mut parts = Vec::new();
        for _ in 0..8 {
            let mut own = 0;
            while has_part(LIMIT, used + own, own, 1) {
                own += 1;
            }
            used += own;
            parts.push(own);
        }
        assert_eq!(parts, [1000, 500, 250, 125, 62, 31, 16, 8]);
    }
}
