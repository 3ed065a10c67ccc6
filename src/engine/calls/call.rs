//! A call in flight. Values; decides nothing.

use std::rc::Rc;

use crate::engine::interface::{ConnId, Time};
use crate::engine::registry::entry::Name;
use crate::engine::timer_wheel::TimerId;
use crate::engine::user_key::UserKey;
use crate::protocol::Executed;

/// Identifies a call for its lifetime: generation << 32 | slab key. It is the id of the INVOKE on the wire, so a late
/// answer to a finished call never ends another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallId(u64);

impl CallId {
    pub(super) fn new(generation: u32, key: usize) -> Self {
        Self(u64::from(generation) << 32 | key as u64)
    }

    pub(crate) fn from_wire(id: u64) -> Self {
        Self(id)
    }

    pub(crate) fn wire(self) -> u64 {
        self.0
    }

    pub(super) fn key(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// The arguments of a parked or idempotent call, kept to send them (again).
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) payload: Box<[u8]>,
    pub(crate) headers: Box<[u8]>,
}

impl Arguments {
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len() + self.headers.len()
    }
}

/// The caller of a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) conn: ConnId,
    /// The id of its CALL.
    pub(crate) request: u64,
    pub(crate) worker: u64,
    pub(crate) name: Rc<str>,
}

/// The terms that the caller set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) deadline: Time,
    /// Park the call until a provider has room.
    pub(crate) wait: bool,
    /// Another provider may try again.
    pub(crate) idempotent: bool,
    /// The only worker that may run it.
    pub(crate) worker: Option<u64>,
}

/// Where a call is. Each place but the first is a list of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no list.
    Detached,
    /// Parked until a provider has room.
    Parked,
    /// Run by the provider on this connection.
    Running(ConnId),
}

/// A call, from CALL until its provider has answered or is gone.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) namespace: usize,
    pub(crate) function: Name,
    /// The caller's.
    pub(crate) user: UserKey,
    /// `None` once the caller has its ending: then the call merely holds the provider's slot.
    pub(crate) caller: Option<Caller>,
    pub(crate) terms: Terms,
    pub(crate) arguments: Option<Box<Arguments>>,
    pub(crate) place: Place,
    /// An earlier provider died: the call may have been executed.
    pub(crate) tried: bool,
    /// The deadline passed while the provider holds it.
    pub(crate) overdue: bool,
    pub(crate) timer: Option<TimerId>,
    /// Sequence number of its parking: lower is earlier.
    pub(crate) ticket: u64,
    pub(super) previous: u32,
    pub(super) next: u32,
}

impl Call {
    /// Whether it may have been executed by now.
    pub(crate) fn executed(&self) -> Executed {
        match self.place {
            Place::Running(_) => Executed::Maybe,
            _ if self.tried => Executed::Maybe,
            _ => Executed::No,
        }
    }
}
