//! A call in flight, and the lists it stands in. A call is in exactly one list at a time: that of the
//! provider that runs it, or that of the calls parked for a function. So whoever ends, ends his own calls
//! only, at O(1) each. Decides nothing.

use std::rc::Rc;

use slab::Slab;

use crate::protocol::Executed;

use super::board::Name;
use super::wheel::TimerId;
use super::{ConnId, Time};

/// Names a call for its lifetime: generation << 32 | slab key. It is the id of the INVOKE on the wire, so a
/// late answer to a call that is over never ends another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallId(u64);

impl CallId {
    pub(super) fn from_wire(id: u64) -> Self {
        Self(id)
    }

    pub(super) fn wire(self) -> u64 {
        self.0
    }

    fn key(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// What a parked or idempotent call needs to be sent (again).
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) payload: Box<[u8]>,
    pub(super) headers: Box<[u8]>,
}

impl Arguments {
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.headers.len()
    }
}

/// Who called.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) conn: ConnId,
    /// The id of its request.
    pub(super) request: u64,
    pub(super) worker: u64,
    pub(super) name: Rc<str>,
}

/// What the caller asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    pub(super) deadline: Time,
    pub(super) wait: bool,
    pub(super) idempotent: bool,
    /// This provider, no other.
    pub(super) worker: Option<u64>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Made, and in no list yet.
    Nowhere,
    /// Waiting for a provider that has room.
    Parked,
    /// Run by the provider on this connection.
    Running(ConnId),
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) namespace: usize,
    pub(super) function: Name,
    /// `None` once the caller has its ending: then the provider merely holds the slot.
    pub(super) caller: Option<Caller>,
    pub(super) wishes: Wishes,
    pub(super) arguments: Option<Box<Arguments>>,
    pub(super) place: Place,
    /// A provider had it before and died: it may have run.
    pub(super) tried: bool,
    /// The deadline passed while the provider holds it.
    pub(super) overdue: bool,
    pub(super) timer: Option<TimerId>,
    /// When it was parked: the lower, the earlier.
    pub(super) ticket: u64,
    previous: u32,
    next: u32,
}

impl Call {
    /// Whether it may have run by now.
    pub(super) fn executed(&self) -> Executed {
        match self.place {
            Place::Running(_) => Executed::Maybe,
            _ if self.tried => Executed::Maybe,
            _ => Executed::No,
        }
    }
}

const NONE: u32 = u32::MAX;

/// Calls in the order in which they came.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallList {
    head: u32,
    tail: u32,
}

impl Default for CallList {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
        }
    }
}

impl CallList {
    pub(super) fn is_empty(self) -> bool {
        self.head == NONE
    }
}

/// All calls in flight.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slab: Slab<Call>,
    generation: u32,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn insert(
        &mut self,
        namespace: usize,
        function: Name,
        caller: Caller,
        wishes: Wishes,
    ) -> CallId {
        self.generation = self.generation.wrapping_add(1);
        let key = self.slab.vacant_key();
        let id = CallId(u64::from(self.generation) << 32 | key as u64);
        self.slab.insert(Call {
            id,
            namespace,
            function,
            caller: Some(caller),
            wishes,
            arguments: None,
            place: Place::Nowhere,
            tried: false,
            overdue: false,
            timer: None,
            ticket: 0,
            previous: NONE,
            next: NONE,
        });
        id
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slab.get_mut(id.key()).filter(|call| call.id == id)
    }

    /// When a parked call was parked.
    pub(super) fn ticket(&self, id: CallId) -> u64 {
        self.slab[id.key()].ticket
    }

    /// Every call.
    pub(super) fn all(&self) -> impl Iterator<Item = &Call> {
        self.slab.iter().map(|(_, call)| call)
    }

    /// Forgets a call that is in no list.
    pub(super) fn remove(&mut self, id: CallId) -> Call {
        self.slab.remove(id.key())
    }

    pub(super) fn first(&self, list: CallList) -> Option<CallId> {
        self.slab.get(list.head as usize).map(|call| call.id)
    }

    pub(super) fn push_back(&mut self, list: &mut CallList, id: CallId) {
        let key = id.key() as u32;
        let call = &mut self.slab[key as usize];
        (call.previous, call.next) = (list.tail, NONE);
        match self.slab.get_mut(list.tail as usize) {
            Some(tail) => tail.next = key,
            None => list.head = key,
        }
        list.tail = key;
    }

    pub(super) fn unlink(&mut self, list: &mut CallList, id: CallId) {
        let Call { previous, next, .. } = self.slab[id.key()];
        match self.slab.get_mut(previous as usize) {
            Some(call) => call.next = next,
            None => list.head = next,
        }
        match self.slab.get_mut(next as usize) {
            Some(call) => call.previous = previous,
            None => list.tail = previous,
        }
    }
}
