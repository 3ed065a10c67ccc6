//! A board: the functions of a namespace and the providers of each. Bindings are on a second board, under keys that
//! begin with their event. A change marks its entry; sealing the turn compares marked entries with the last revision,
//! so an entry that was added and removed within one turn never shows. Knows no connection's state.

use std::collections::BTreeMap;
use std::rc::Rc;

use slab::Slab;

use crate::engine::ceiling::{FUNCTION, PLACE};
use crate::engine::interface::ConnId;
use crate::engine::memory::{Charge, Usage, recycle};
use crate::engine::rng::HashKeys;
use crate::protocol::{BindingKey, Text};

use super::binding_key::split_binding_key;
use super::change::{Change, ChangeKind, Section};
use super::entry::{EncodedDefinition, Name, encode_entry};
use super::lookup_cache::LookupCache;
use super::name_index::NameIndex;

/// A worker that provides a function, and the connection that its calls go to.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) worker: u64,
    pub(crate) conn: ConnId,
    /// Calls go to it only while no provider of a lower tier has room.
    pub(crate) tier: u64,
    /// Counts up from one registration of a provider to the next.
    seniority: u64,
    pub(super) definition: EncodedDefinition,
}

impl Provider {
    /// A provider that is not on a board yet.
    pub(super) fn new(
        (worker, conn): (u64, ConnId),
        tier: u64,
        definition: EncodedDefinition,
    ) -> Self {
        Self {
            worker,
            conn,
            tier,
            seniority: 0,
            definition,
        }
    }

    /// The order of providers: by tier, and those of one tier in the order in which they registered.
    fn place(&self) -> (u64, u64) {
        (self.tier, self.seniority)
    }
}

/// A function that is provided, or was when the last revision was sealed.
#[derive(Debug)]
struct Function {
    name: Name,
    /// By tier, and those of one tier in the order in which they registered. The first one's definition is shown.
    providers: Vec<Provider>,
    /// The entry that the last revision shows; `None` if it has none.
    sealed: Option<Rc<[u8]>>,
    touched: bool,
    /// The provider at which routing starts among equals.
    round_robin: usize,
}

/// The reason why a worker may not provide a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The first provider.
    pub(crate) owner: u64,
    /// The owner registered the function as exclusive (otherwise the newcomer does).
    pub(crate) owner_is_exclusive: bool,
}

/// The functions or the bindings of a namespace.
#[derive(Debug)]
pub(crate) struct Board {
    section: Section,
    functions: Slab<Function>,
    by_name: NameIndex,
    /// The same in order, for prefixes.
    ordered: BTreeMap<Name, usize>,
    cache: LookupCache,
    touched: Vec<usize>,
    shown: usize,
    /// The seniority of the newest provider.
    newest: u64,
    slots: usize,
    /// Bytes of the names.
    names: usize,
    /// Its bytes without the entries, among those of all boards.
    charge: Charge,
}

impl Board {
    pub(super) fn new(section: Section, keys: HashKeys, usage: &Usage) -> Self {
        Self {
            section,
            functions: Slab::new(),
            by_name: NameIndex::new(keys),
            cache: LookupCache::default(),
            ordered: BTreeMap::new(),
            touched: Vec::new(),
            shown: 0,
            newest: 0,
            slots: 0,
            names: 0,
            charge: usage.charge(0),
        }
    }

    fn update_charge(&mut self) {
        let bytes = self.slots * PLACE + self.functions.len() * FUNCTION + self.names;
        self.charge.set(bytes);
    }

    /// The section of the board's entries.
    pub(super) fn section(&self) -> Section {
        self.section
    }

    /// Entries as of the last revision.
    pub(crate) fn len(&self) -> usize {
        self.shown
    }

    /// The slot of a function that is on the board.
    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name)
    }

    /// Whether `worker` may provide the function at `slot` beside its other providers, `exclusive` or not.
    pub(crate) fn check(
        &self,
        slot: Option<usize>,
        worker: u64,
        exclusive: bool,
    ) -> Result<(), Conflict> {
        let Some(slot) = slot else {
            return Ok(());
        };
        let mut others = self.functions[slot]
            .providers
            .iter()
            .filter(|provider| provider.worker != worker);
        match others.next() {
            Some(owner) if owner.definition.exclusive || exclusive => Err(Conflict {
                owner: owner.worker,
                owner_is_exclusive: owner.definition.exclusive,
            }),
            _ => Ok(()),
        }
    }

    /// Adds a provider of `name`, which is at `slot` if it is on the board, or replaces its definition. Returns the
    /// function's slot, which does not change while the function has a provider.
    pub(super) fn provide(
        &mut self,
        (name, slot): (&Name, Option<usize>),
        mut provider: Provider,
    ) -> usize {
        let slot = if let Some(slot) = slot {
            slot
        } else {
            let slot = self.functions.insert(Function {
                name: name.clone(),
                providers: Vec::with_capacity(1),
                sealed: None,
                touched: false,
                round_robin: 0,
            });
            self.slots = self.slots.max(slot + 1);
            self.by_name.insert(name.clone(), slot);
            self.ordered.insert(name.clone(), slot);
            self.names += name.len();
            self.update_charge();
            slot
        };
        let providers = &mut self.functions[slot].providers;
        let known = providers.iter_mut().find(|it| it.worker == provider.worker);
        if let Some(known) = known {
            known.definition = provider.definition;
        } else {
            self.newest += 1;
            provider.seniority = self.newest;
            insert(providers, provider);
        }
        self.touch(slot);
        slot
    }

    /// `worker` no longer provides the function at `slot`.
    pub(super) fn withdraw(&mut self, slot: usize, worker: u64) {
        self.functions[slot]
            .providers
            .retain(|provider| provider.worker != worker);
        self.touch(slot);
    }

    /// Directs calls of the function at `slot` for a worker to this connection, by this tier.
    pub(super) fn redirect(&mut self, slot: usize, (worker, conn): (u64, ConnId), tier: u64) {
        let providers = &mut self.functions[slot].providers;
        let Some(index) = providers.iter().position(|it| it.worker == worker) else {
            return;
        };
        if providers[index].tier == tier {
            providers[index].conn = conn;
            return;
        }
        let provider = providers.remove(index);
        insert(
            providers,
            Provider {
                conn,
                tier,
                ..provider
            },
        );
        self.touch(slot);
    }

    /// A function's name, its providers, by tier and then in the order in which they registered, and its round-robin
    /// index. `None` if it has no provider.
    pub(crate) fn providers(&mut self, name: &str) -> Option<(&Name, &[Provider], &mut usize)> {
        let slot = self.slot_of(name)?;
        let function = &mut self.functions[slot];
        if function.providers.is_empty() {
            return None;
        }
        Some((
            &function.name,
            &function.providers,
            &mut function.round_robin,
        ))
    }

    fn slot_of(&mut self, name: &str) -> Option<usize> {
        if let Some((known, slot)) = self.cache.get(name)
            && let Some(function) = self.functions.get(slot)
            && Rc::ptr_eq(&function.name, known)
        {
            return Some(slot);
        }
        let (name, slot) = self.by_name.get_key_value(name)?;
        self.cache.insert(name, slot);
        Some(slot)
    }

    /// The stored name of the function at a slot, so that it need not be stored again.
    pub(super) fn name(&self, slot: usize) -> &Name {
        &self.functions[slot].name
    }

    fn touch(&mut self, slot: usize) {
        let function = &mut self.functions[slot];
        if !function.touched {
            function.touched = true;
            self.touched.push(slot);
        }
    }

    /// Collects the differences from the last revision, and makes the current state the last revision. Calls `on_slot`
    /// for each slot whose entry differs.
    pub(super) fn seal(&mut self, changes: &mut Vec<Change>, mut on_slot: impl FnMut(usize)) {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            let function = &mut self.functions[slot];
            function.touched = false;
            let now = function
                .providers
                .first()
                .map(|first| first.definition.bytes.clone());
            let before = std::mem::replace(&mut function.sealed, now.clone());
            let change = match (before, now) {
                (None, Some(entry)) => {
                    self.shown += 1;
                    Some((ChangeKind::Added, entry))
                }
                (Some(_), None) => {
                    self.shown -= 1;
                    Some((
                        ChangeKind::Removed,
                        encode_key(self.section, &function.name),
                    ))
                }
                (Some(before), Some(entry)) if before != entry => {
                    Some((ChangeKind::Updated, entry))
                }
                _ => None,
            };
            let name = function.name.clone();
            if function.providers.is_empty() {
                self.by_name.remove(&name, slot);
                self.ordered.remove(&name);
                self.functions.remove(slot);
                self.names -= name.len();
            }
            if let Some((kind, body)) = change {
                on_slot(slot);
                changes.push(Change {
                    section: self.section,
                    key: name,
                    worker: 0,
                    kind,
                    body,
                    visibility: None,
                });
            }
        }
        self.touched = recycle(touched);
        self.update_charge();
    }

    /// The number of slots that were ever in use.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The entry that the last revision shows in a slot.
    pub(super) fn entry(&self, slot: usize) -> Option<&Rc<[u8]>> {
        self.functions.get(slot)?.sealed.as_ref()
    }

    /// Current entries under a prefix, in order, sealed or not, after the key `after`, with their providers.
    pub(crate) fn current_under_after<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Name, &'a Rc<[u8]>, &'a [Provider])> {
        self.slots_under(prefix, after).filter_map(|(name, slot)| {
            let providers = &self.functions[slot].providers;
            let first = providers.first()?;
            Some((name, &first.definition.bytes, &**providers))
        })
    }

    /// The providers of a function; `None` if it is not on the board.
    pub(crate) fn providers_of(&self, name: &str) -> Option<&[Provider]> {
        self.by_name
            .get(name)
            .map(|slot| &*self.functions[slot].providers)
    }

    /// The entries that the last revision shows under a prefix, in order, after the key `after`.
    pub(super) fn sealed_under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Name, &'a Rc<[u8]>)> {
        self.slots_under(prefix, after)
            .filter_map(|(name, slot)| Some((name, self.functions[slot].sealed.as_ref()?)))
    }

    fn slots_under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Name, usize)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let begin = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        self.ordered
            .range::<str, _>((begin, Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, &slot)| (name, slot))
    }
}

#[cfg(debug_assertions)]
impl Board {
    /// Recounts what is kept beside the functions. Unless the namespace is touched, all of them are sealed.
    pub(super) fn check_books(&self, is_touched: bool) {
        let Self {
            section: _,
            functions,
            by_name,
            ordered,
            // Checked with each use.
            cache: _,
            touched,
            shown,
            newest,
            slots,
            names,
            charge,
        } = self;
        assert!(is_touched || touched.is_empty(), "a board that is touched");
        assert_eq!(by_name.len(), functions.len(), "functions by name");
        assert_eq!(ordered.len(), functions.len(), "functions in order");
        for (slot, function) in functions {
            let name = &function.name;
            assert!(slot < *slots, "slot of {name}");
            assert_eq!(by_name.get(name), Some(slot), "slot of {name}");
            assert_eq!(ordered.get(name), Some(&slot), "slot of {name}");
            let providers = &function.providers;
            assert!(
                providers.is_sorted_by_key(Provider::place),
                "tiers of {name}"
            );
            assert!(providers.iter().all(|it| it.seniority <= *newest));
            let first = providers.first();
            let first = first.map(|it| &it.definition.bytes);
            assert!(function.touched || first == function.sealed.as_ref() && first.is_some());
        }
        let mut listed = touched.clone();
        listed.sort_unstable();
        let marked = functions.iter().filter(|(_, it)| it.touched);
        assert!(marked.map(|(slot, _)| slot).eq(listed), "touched slots");
        let sealed = functions.iter().filter(|(_, it)| it.sealed.is_some());
        assert_eq!(*shown, sealed.count(), "entries shown");
        let sum: usize = functions.iter().map(|(_, it)| it.name.len()).sum();
        assert_eq!(*names, sum, "bytes of names");
        let held = slots * PLACE + functions.len() * FUNCTION + sum;
        assert_eq!(charge.bytes(), held, "charge of a board");
    }

    pub(super) fn charged(&self) -> usize {
        self.charge.bytes()
    }

    /// All providers of all functions, with the function's slot and name.
    pub(crate) fn all_providers(&self) -> impl Iterator<Item = (usize, &Name, &Provider)> {
        self.functions.iter().flat_map(|(slot, it)| {
            let providers = it.providers.iter();
            providers.map(move |provider| (slot, &it.name, provider))
        })
    }
}

#[cfg(debug_assertions)]
impl Provider {
    /// Bytes of its definition.
    pub(super) fn bytes(&self) -> usize {
        self.definition.bytes.len()
    }
}

/// Inserts a provider at its place.
fn insert(providers: &mut Vec<Provider>, provider: Provider) {
    let place = providers.partition_point(|it| it.place() < provider.place());
    providers.insert(place, provider);
}

/// The key of an entry, as it stands in a list of removals.
fn encode_key(section: Section, name: &str) -> Rc<[u8]> {
    match section {
        Section::Bindings => {
            let (event, function, id) = split_binding_key(name);
            encode_entry(&BindingKey {
                event: Text(event),
                function: Text(function),
                id: Text(id),
            })
        }
        _ => encode_entry(&Text(name)),
    }
}
