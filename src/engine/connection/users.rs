//! Users: the parties among which a contended engine divides its time. A user is a principal, or without credentials
//! (and before HELLO) the origin of a connection. All connections of a user count as one.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;

use crate::engine::interface::Peer;
use crate::engine::rng::HashKeys;
use crate::engine::user_key::UserKey;

use super::identity::Identity;
use super::origin::Origin;
use super::pressure::Pressure;

#[derive(Debug)]
struct User {
    identity: Identity,
    /// Its part of a contended engine, compared with those of others.
    weight: u32,
    connections: usize,
}

/// The users that have connections.
#[derive(Debug)]
pub(crate) struct Users {
    all: Slab<User>,
    by_identity: HashMap<Identity, UserKey, HashKeys>,
    pressure: Pressure,
}

impl Users {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Self {
            all: Slab::new(),
            by_identity: HashMap::with_hasher(keys),
            pressure: Pressure::default(),
        }
    }

    /// The user of a connection that was not admitted as a principal. It has one connection more.
    pub(crate) fn join_origin(&mut self, peer: &Peer) -> UserKey {
        self.join(Identity::Origin(Origin::of(peer)), 1)
    }

    /// The user that is a principal. It has one connection more.
    pub(crate) fn join_principal(&mut self, name: &Rc<str>, weight: u32) -> UserKey {
        self.join(Identity::Principal(name.clone()), weight)
    }

    fn join(&mut self, identity: Identity, weight: u32) -> UserKey {
        let key = match self.by_identity.get(&identity) {
            Some(key) => *key,
            None => self.add(identity),
        };
        let user = &mut self.all[key.index()];
        user.connections += 1;
        user.weight = weight;
        key
    }

    fn add(&mut self, identity: Identity) -> UserKey {
        let key = UserKey::at(self.all.insert(User {
            identity: identity.clone(),
            weight: 1,
            connections: 0,
        }));
        self.by_identity.insert(identity, key);
        key
    }

    /// A connection of the user is gone, or belongs to another user now. Returns whether it was the last.
    pub(crate) fn leave(&mut self, key: UserKey) -> bool {
        let user = &mut self.all[key.index()];
        user.connections -= 1;
        let is_last = user.connections == 0;
        if is_last {
            let user = self.all.remove(key.index());
            self.by_identity.remove(&user.identity);
        }
        is_last
    }

    /// A user met a limit.
    pub(crate) fn count_limited(&mut self, key: UserKey, flag: &'static str) {
        if let Some(user) = self.all.get(key.index()) {
            self.pressure.count(&user.identity, flag);
        }
    }

    /// How often users met limits.
    pub(crate) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// The user's part, compared with those of others.
    pub(crate) fn weight(&self, key: UserKey) -> u32 {
        self.all.get(key.index()).map_or(1, |user| user.weight)
    }

    /// The credentials changed the weight of a principal.
    pub(crate) fn set_weight(&mut self, key: UserKey, weight: u32) {
        if let Some(user) = self.all.get_mut(key.index()) {
            user.weight = weight;
        }
    }
}

#[cfg(debug_assertions)]
impl Users {
    /// Recounts the connections of each user; `keys` are the users of all connections.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_books(&self, keys: impl Iterator<Item = UserKey>) {
        let Self {
            all,
            by_identity,
            pressure: _,
        } = self;
        let mut counts = vec![0; all.capacity()];
        for key in keys {
            counts[key.index()] += 1;
        }
        for (index, user) in all {
            assert_ne!(user.connections, 0, "{user:?}");
            assert_eq!(user.connections, counts[index], "{user:?}");
            let found = by_identity.get(&user.identity).map(|key| key.index());
            assert_eq!(found, Some(index), "{user:?}");
        }
        let counted: usize = counts.iter().sum();
        let known: usize = all.iter().map(|(_, user)| user.connections).sum();
        assert_eq!(counted, known, "connections of users that are gone");
        assert_eq!(by_identity.len(), all.len(), "users");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[test]
    fn connections_of_one_origin_or_one_principal_are_one_user_until_the_last_is_gone() {
        let mut users = Users::new(Rng::new([0; 32]).hash_keys());
        let one = users.join_origin(&tcp("10.0.0.1:1"));
        assert_eq!(users.join_origin(&tcp("10.0.0.1:2")), one);
        let other = users.join_origin(&tcp("10.0.0.2:1"));
        let principal = users.join_principal(&"p".into(), 3);
        assert_eq!(users.join_principal(&"p".into(), 3), principal);
        assert!(one != other && other != principal && one != principal);
        assert_eq!(
            [one, other, principal].map(|it| users.weight(it)),
            [1, 1, 3]
        );
        assert!(!users.leave(one));
        assert_eq!(users.join_origin(&tcp("10.0.0.1:3")), one);
        assert!(!users.leave(one) && users.leave(one));
        // Its place is free for the next one.
        assert_eq!(users.join_principal(&"q".into(), 1), one);
        assert_ne!(users.join_origin(&tcp("10.0.0.1:1")), one);
    }
}
