//! The registry: all namespaces, each a board with its revisions and the frames that tell them. Knows no connection's
//! state.

pub(crate) mod audience;
pub(crate) mod binding_key;
pub(crate) mod board;
pub(crate) mod change;
pub(crate) mod changelog;
pub(crate) mod departures;
pub(crate) mod encoded_change;
pub(crate) mod entry;
pub(crate) mod feed;
pub(crate) mod filter;
mod frame_builder;
mod lookup_cache;
mod name_index;
pub(crate) mod namespace;
pub(crate) mod position;
pub(crate) mod roster;
pub(crate) mod snapshot;
pub(crate) mod usage;
pub(crate) mod visibility;

use std::ops::{Index, IndexMut};

use slab::Slab;

use crate::limits::Limits;

use super::memory::recycle;
use super::rng::Rng;
use namespace::{DEFAULT_NAMESPACE, Namespace};
use usage::RegistryUsage;

/// A namespace and its use.
#[derive(Debug)]
struct Slot {
    namespace: Namespace,
    /// Connections that said HELLO to it.
    connections: usize,
    /// Set when the last connection leaves, in increasing order: the lowest has been idle for longest.
    idle_since: u64,
}

/// All namespaces, by key. A namespace without connections keeps its log and its epoch, so that a lone worker can
/// resume, until the limit needs its place.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    namespaces: Slab<Slot>,
    /// Counts the times that a namespace became idle.
    idled: u64,
    /// Scratch list of a seal: the audiences that a revision concerns.
    concerned: Vec<usize>,
    /// Bytes of all namespaces.
    usage: RegistryUsage,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.namespaces.len()
    }

    /// The key of the namespace called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let mut all = self.namespaces.iter();
        all.find(|(_, it)| it.namespace.name() == name)
            .map(|(key, _)| key)
    }

    /// Adds a namespace, in place of the one that has been idle for longest if `most` are there already. `None` if all of
    /// them are in use. The place of `default` is kept for it, so that it can always be joined.
    pub(crate) fn add(
        &mut self,
        name: &str,
        most: u64,
        limits: &Limits,
        rng: &mut Rng,
    ) -> Option<usize> {
        let is_default = |it: &Slot| it.namespace.name() == DEFAULT_NAMESPACE;
        let others = self.namespaces.iter().filter(|(_, it)| !is_default(it));
        if name != DEFAULT_NAMESPACE && others.clone().count() as u64 + 1 >= most {
            let idle = others.filter(|(_, it)| it.connections == 0);
            let (longest_idle, _) = idle.min_by_key(|(_, it)| it.idle_since)?;
            self.namespaces.remove(longest_idle);
        }
        Some(self.namespaces.insert(Slot {
            namespace: Namespace::new(name, limits, rng, &self.usage),
            connections: 0,
            idle_since: 0,
        }))
    }

    /// Whether this is the namespace that can always be joined.
    pub(crate) fn is_default(&self, key: usize) -> bool {
        self.namespaces[key].namespace.name() == DEFAULT_NAMESPACE
    }

    /// The namespaces that have connections, without `default`.
    pub(crate) fn in_use(&self) -> usize {
        let used = self
            .namespaces
            .iter()
            .filter(|(key, it)| it.connections > 0 && !self.is_default(*key));
        used.count()
    }

    /// A connection said HELLO to the namespace.
    pub(crate) fn connect(&mut self, key: usize) {
        self.namespaces[key].connections += 1;
    }

    /// A connection of the namespace is gone.
    pub(crate) fn disconnect(&mut self, key: usize) {
        let slot = &mut self.namespaces[key];
        slot.connections -= 1;
        if slot.connections == 0 {
            self.idled += 1;
            slot.idle_since = self.idled;
        }
    }

    /// Takes the scratch list of audiences that a revision concerns.
    pub(crate) fn take_concerned(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.concerned)
    }

    /// Gives the list back for the next turn.
    pub(crate) fn recycle_concerned(&mut self, list: Vec<usize>) {
        self.concerned = recycle(list);
    }

    // Memory.

    /// Bytes of all namespaces.
    pub(crate) fn usage(&self) -> &RegistryUsage {
        &self.usage
    }

    /// Drops all cached frames and snapshot pages. Returns whether there were any.
    pub(crate) fn drop_caches(&mut self) -> bool {
        let has_any = self.usage.caches.total() > 0;
        if has_any {
            self.iter_mut().for_each(Namespace::drop_caches);
        }
        has_any
    }

    /// Removes the namespaces that have no connections, but for `default`, and trims the logs of the others, each by the
    /// same part, until `excess` bytes are free or all logs together hold `kept`. Each log keeps `least` steps. Half of the
    /// departures are forgotten with them. Returns
    /// whether anything was freed.
    pub(crate) fn trim_logs(&mut self, excess: usize, kept: usize, least: usize) -> bool {
        let before = self.usage.total();
        self.namespaces
            .retain(|_, it| it.connections > 0 || it.namespace.name() == DEFAULT_NAMESPACE);
        let left = excess.saturating_sub(before - self.usage.total());
        let logs = self.usage.logs.total();
        let after = logs.saturating_sub(left).max(kept);
        if left > 0 && after < logs {
            for namespace in self.iter_mut() {
                let part = namespace.log.bytes() as u128 * after as u128 / logs as u128;
                namespace.log.trim(part as usize, least);
                namespace.departures.halve();
            }
        }
        self.usage.total() < before
    }

    /// One more than the highest key.
    pub(crate) fn keys_end(&self) -> usize {
        self.namespaces.capacity()
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut Namespace> {
        self.namespaces.get_mut(key).map(|it| &mut it.namespace)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.iter().map(|(_, it)| &it.namespace)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Namespace> {
        self.namespaces.iter_mut().map(|(_, it)| &mut it.namespace)
    }
}

#[cfg(debug_assertions)]
impl Registry {
    /// Recounts each namespace, and its connections, which are given by their namespaces' keys and the bytes of their
    /// sessions.
    ///
    /// # Panics
    /// If a count is wrong.
    pub(crate) fn check_books(&self, connections: impl Iterator<Item = (usize, usize)>) {
        let Self {
            namespaces,
            idled,
            concerned,
            usage,
        } = self;
        assert!(concerned.is_empty(), "audiences of no seal");
        let mut recounted = vec![0; namespaces.capacity()];
        let mut boards = 0;
        for (key, bytes) in connections {
            recounted[key] += 1;
            boards += bytes;
        }
        let (mut logs, mut caches) = (0, 0);
        for (key, slot) in namespaces {
            let Slot {
                namespace,
                connections,
                idle_since,
            } = slot;
            assert_eq!(*connections, recounted[key], "connections of {key}");
            assert!(*connections > 0 || idle_since <= idled);
            namespace.check_books();
            boards += namespace.charged();
            logs += namespace.log.bytes() + namespace.departures.bytes();
            caches += namespace.cached_bytes() + namespace.pages.bytes();
        }
        assert_eq!(usage.boards.total(), boards, "bytes of boards");
        assert_eq!(usage.logs.total(), logs, "bytes of logs");
        assert_eq!(usage.caches.total(), caches, "bytes of caches");
    }

    /// All namespaces with their keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Namespace)> {
        self.namespaces.iter().map(|(key, it)| (key, &it.namespace))
    }

    /// The keys of namespaces and audiences with members that have not been visited.
    pub(crate) fn unvisited_audiences(&self) -> impl Iterator<Item = (usize, usize)> {
        self.entries().flat_map(|(key, namespace)| {
            let audiences = namespace.unvisited_audiences();
            audiences.map(move |audience| (key, audience))
        })
    }
}

impl Index<usize> for Registry {
    type Output = Namespace;

    fn index(&self, key: usize) -> &Namespace {
        &self.namespaces[key].namespace
    }
}

impl IndexMut<usize> for Registry {
    fn index_mut(&mut self, key: usize) -> &mut Namespace {
        &mut self.namespaces[key].namespace
    }
}
