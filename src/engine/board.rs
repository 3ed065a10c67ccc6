//! A board: which functions there are, and which workers provide each. Bindings live on a board of their
//! own, under keys that begin with their event. Plain maps; a change is noted
//! when it happens and weighed against the last revision when the turn is sealed, so that what was
//! added and removed within one turn never shows.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use slab::Slab;

use crate::protocol::{BindingKey, Text};

use super::ConnId;
use super::chance::Keyed;
use super::changelog::Item;
use super::entry::encoded;
use super::kept::kept;
use super::lately::Lately;
use super::part::{Op, Section};

/// A name, shared by all who mention it.
pub(super) type Name = Rc<str>;

/// A function's definition, encoded as it stands in frames.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) encoded: Rc<[u8]>,
    pub(super) exclusive: bool,
}

/// A worker that provides a function, and the connection that calls to it go to.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) worker: u64,
    pub(super) conn: ConnId,
    definition: Definition,
}

/// A function that is provided, or was when the last revision was sealed.
#[derive(Debug)]
struct Function {
    name: Name,
    /// In the order in which they came. The first one's definition is shown.
    providers: Vec<Provider>,
    /// What the last revision shows; `None` if it does not have the function.
    sealed: Option<Rc<[u8]>>,
    touched: bool,
    /// Whose turn it is among equals.
    turn: usize,
}

/// Why a worker may not provide a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The longest-standing provider.
    pub(super) owner: u64,
    /// The owner insists on being alone (otherwise the newcomer does).
    pub(super) owner_insists: bool,
}

/// The functions or the bindings of a namespace.
#[derive(Debug)]
pub(super) struct Board {
    section: Section,
    functions: Slab<Function>,
    by_name: HashMap<Name, usize, Keyed>,
    /// The same, in order: for prefixes.
    ordered: BTreeMap<Name, usize>,
    lately: Lately,
    touched: Vec<usize>,
    shown: usize,
    slots: usize,
}

impl Board {
    pub(super) fn new(section: Section, keys: Keyed) -> Self {
        Self {
            section,
            functions: Slab::new(),
            by_name: HashMap::with_hasher(keys),
            lately: Lately::default(),
            ordered: BTreeMap::new(),
            touched: Vec::new(),
            shown: 0,
            slots: 0,
        }
    }

    /// The section that this board is.
    pub(super) fn section(&self) -> Section {
        self.section
    }

    /// Entries as of the last revision.
    pub(super) fn len(&self) -> usize {
        self.shown
    }

    /// Whether `worker` may provide `name` beside those who do, `exclusive` or not.
    pub(super) fn check(&self, name: &str, worker: u64, exclusive: bool) -> Result<(), Conflict> {
        let Some(&slot) = self.by_name.get(name) else {
            return Ok(());
        };
        let mut others = self.functions[slot]
            .providers
            .iter()
            .filter(|provider| provider.worker != worker);
        match others.next() {
            Some(owner) if owner.definition.exclusive || exclusive => Err(Conflict {
                owner: owner.worker,
                owner_insists: owner.definition.exclusive,
            }),
            _ => Ok(()),
        }
    }

    /// Makes `worker` a provider of `name`, or gives its definition anew. Returns the function's slot,
    /// which stays its own for as long as anybody provides it.
    pub(super) fn provide(
        &mut self,
        name: &Name,
        (worker, conn): (u64, ConnId),
        definition: Definition,
    ) -> usize {
        let slot = if let Some(&slot) = self.by_name.get(name) {
            slot
        } else {
            let slot = self.functions.insert(Function {
                name: name.clone(),
                providers: Vec::with_capacity(1),
                sealed: None,
                touched: false,
                turn: 0,
            });
            self.slots = self.slots.max(slot + 1);
            self.by_name.insert(name.clone(), slot);
            self.ordered.insert(name.clone(), slot);
            slot
        };
        let providers = &mut self.functions[slot].providers;
        match providers
            .iter_mut()
            .find(|provider| provider.worker == worker)
        {
            Some(provider) => provider.definition = definition,
            None => providers.push(Provider {
                worker,
                conn,
                definition,
            }),
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

    /// Calls to the function at `slot` that go to `worker` go to this connection from now on.
    pub(super) fn redirect(&mut self, slot: usize, worker: u64, conn: ConnId) {
        let providers = self.functions[slot].providers.iter_mut();
        for provider in providers.filter(|provider| provider.worker == worker) {
            provider.conn = conn;
        }
    }

    /// A function's name and its providers, in the order in which they came, and whose turn it is among
    /// equals. `None` if nobody provides it.
    pub(super) fn providers(&mut self, name: &str) -> Option<(&Name, &[Provider], &mut usize)> {
        let slot = self.slot_of(name)?;
        let function = &mut self.functions[slot];
        if function.providers.is_empty() {
            return None;
        }
        Some((&function.name, &function.providers, &mut function.turn))
    }

    fn slot_of(&mut self, name: &str) -> Option<usize> {
        if let Some((known, slot)) = self.lately.find(name)
            && let Some(function) = self.functions.get(slot)
            && Rc::ptr_eq(&function.name, known)
        {
            return Some(slot);
        }
        let (name, &slot) = self.by_name.get_key_value(name)?;
        self.lately.note(name, slot);
        Some(slot)
    }

    /// The name under which a function is already known, so that it need not be stored again.
    pub(super) fn known_name(&self, name: &str) -> Option<Name> {
        self.by_name
            .get_key_value(name)
            .map(|(name, _)| name.clone())
    }

    fn touch(&mut self, slot: usize) {
        let function = &mut self.functions[slot];
        if !function.touched {
            function.touched = true;
            self.touched.push(slot);
        }
    }

    /// What differs from the last revision, which then is the state of now. Calls `on_slot` for each slot
    /// whose entry differs.
    pub(super) fn seal(&mut self, items: &mut Vec<Item>, mut on_slot: impl FnMut(usize)) {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            let function = &mut self.functions[slot];
            function.touched = false;
            let now = function
                .providers
                .first()
                .map(|first| first.definition.encoded.clone());
            let before = std::mem::replace(&mut function.sealed, now.clone());
            let change = match (before, now) {
                (None, Some(entry)) => {
                    self.shown += 1;
                    Some((Op::Added, entry))
                }
                (Some(_), None) => {
                    self.shown -= 1;
                    Some((Op::Removed, encoded_key(self.section, &function.name)))
                }
                (Some(before), Some(entry)) if before != entry => Some((Op::Updated, entry)),
                _ => None,
            };
            let name = function.name.clone();
            if function.providers.is_empty() {
                self.by_name.remove(&name);
                self.ordered.remove(&name);
                self.functions.remove(slot);
            }
            if let Some((op, body)) = change {
                on_slot(slot);
                items.push(Item {
                    section: self.section,
                    key: name,
                    worker: 0,
                    op,
                    body,
                    sight: None,
                });
            }
        }
        self.touched = kept(touched);
    }

    /// One more than the highest slot that was ever in use.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The entry that the last revision shows in a slot.
    pub(super) fn entry(&self, slot: usize) -> Option<&Rc<[u8]>> {
        self.functions.get(slot)?.sealed.as_ref()
    }

    /// What is provided now under a prefix, in order: key and shown entry, sealed or not.
    pub(super) fn now_under<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a Name, &'a Rc<[u8]>)> {
        self.now_under_after(prefix, None)
            .map(|(name, entry, _)| (name, entry))
    }

    /// As [`Board::now_under`], from `after` (not included) on, with the providers.
    pub(super) fn now_under_after<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Name, &'a Rc<[u8]>, &'a [Provider])> {
        self.slots_under(prefix, after).filter_map(|(name, slot)| {
            let providers = &self.functions[slot].providers;
            let first = providers.first()?;
            Some((name, &first.definition.encoded, &**providers))
        })
    }

    /// The providers of a function; `None` if it is not known.
    pub(super) fn providers_of(&self, name: &str) -> Option<&[Provider]> {
        self.by_name
            .get(name)
            .map(|&slot| &*self.functions[slot].providers)
    }

    /// The entries that the last revision shows under a prefix, in order, from `after` (not included) on.
    pub(super) fn under<'a>(
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

/// What names an entry, as it stands in a list of removals.
fn encoded_key(section: Section, name: &str) -> Rc<[u8]> {
    match section {
        Section::Bindings => {
            let (event, function, id) = split_binding_key(name);
            encoded(&BindingKey {
                event: Text(event),
                function: Text(function),
                id: Text(id),
            })
        }
        _ => encoded(&Text(name)),
    }
}

/// The key of a binding on its board. Names have no NUL, so an event's bindings lie together, and prefixes
/// of the event's name are prefixes of the key.
pub(super) fn binding_key(event: &str, function: &str, id: &str) -> String {
    format!("{event}\0{function}\0{id}")
}

/// Event, function and id out of a binding's key.
pub(super) fn split_binding_key(key: &str) -> (&str, &str, &str) {
    let mut parts = key.splitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}
