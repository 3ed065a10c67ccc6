//! A session: a worker as it said HELLO on a connection. Values and flags; the handlers decide about them.

use std::rc::Rc;

use crate::engine::access::grant::Grant;
use crate::engine::interface::{ConnId, Time};
use crate::engine::memory::{Charge, Usage};
use crate::engine::registry::entry::Name;
use crate::engine::registry::filter::WatchFilter;
use crate::engine::registry::namespace::{AudiencePlace, Registrant};

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// The secret that a worker presents to take its session over.
pub(crate) type SessionKey = [u8; 16];

/// A live connection and its worker, looked up once for the frame that is being handled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) conn: ConnId,
    pub(crate) namespace: usize,
    pub(crate) worker: u64,
}

/// The values that a session starts with.
#[derive(Debug)]
pub(crate) struct SessionStart {
    pub(crate) namespace: usize,
    /// When it began: before, if this connection took it over.
    pub(crate) since: Time,
    pub(crate) worker: u64,
    pub(crate) name: Name,
    pub(crate) metadata: Rc<[u8]>,
    pub(crate) key: SessionKey,
    pub(crate) grant: Rc<Grant>,
    /// Calls that it runs at once.
    pub(crate) capacity: u32,
    /// The tier that it asked for.
    pub(crate) tier: Option<u64>,
}

/// The rest of a session, which few have any of.
#[derive(Debug, Default)]
struct Uncommon {
    /// The key of the session that was taken over, valid until READY: if the WELCOME was lost, the worker has no other.
    older_key: Option<SessionKey>,
    /// The tier that it asked for.
    tier: Option<u64>,
    /// The filter it requested, if its rights restrict it.
    requested: Option<Rc<WatchFilter>>,
}

/// A worker on a connection, from HELLO on.
#[derive(Debug)]
pub(crate) struct Session {
    namespace: u32,
    /// When it began, in seconds.
    since: u32,
    worker: u64,
    name: Name,
    metadata: Rc<[u8]>,
    key: SessionKey,
    grant: Rc<Grant>,
    capacity: u32,
    uncommon: Option<Box<Uncommon>>,
    /// Its place in the audience of its filter; `None` if it watches nothing.
    audience: Option<(u32, u32)>,
    /// It took a session over and has not said READY.
    unconfirmed: bool,
    /// It said DRAIN.
    draining: bool,
    /// The bytes of its name and metadata, among those of all boards, for as long as there is the session.
    #[cfg_attr(not(debug_assertions), allow(dead_code))]
    charge: Charge,
}

impl Session {
    pub(crate) fn new(start: SessionStart, usage: &Usage) -> Self {
        let SessionStart {
            namespace,
            since,
            worker,
            name,
            metadata,
            key,
            grant,
            capacity,
            tier,
        } = start;
        let uncommon = tier.map(|_| {
            Box::new(Uncommon {
                tier,
                ..Uncommon::default()
            })
        });
        let bytes = name.len() + metadata.len();
        Self {
            namespace: namespace.try_into().expect("few namespaces"),
            since: (since.0 / SECOND).try_into().unwrap_or(u32::MAX),
            worker,
            name,
            metadata,
            key,
            grant,
            capacity,
            uncommon,
            audience: None,
            unconfirmed: false,
            draining: false,
            charge: usage.charge(bytes),
        }
    }

    /// Bytes of its name and metadata.
    #[cfg(debug_assertions)]
    pub(crate) fn check_charge(&self) -> usize {
        let bytes = self.name.len() + self.metadata.len();
        assert_eq!(self.charge.bytes(), bytes, "charge of a session");
        bytes
    }

    /// The key of its namespace in the registry.
    pub(crate) fn namespace(&self) -> usize {
        self.namespace as usize
    }

    /// When it began, over any connection, to the second.
    pub(crate) fn since(&self) -> Time {
        Time(u64::from(self.since) * SECOND)
    }

    pub(crate) fn worker(&self) -> u64 {
        self.worker
    }

    /// The worker's name.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.key
    }

    pub(crate) fn grant(&self) -> &Rc<Grant> {
        &self.grant
    }

    pub(crate) fn set_grant(&mut self, grant: Rc<Grant>) {
        self.grant = grant;
    }

    /// Calls that it runs at once.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// This session as the sender of a frame.
    pub(crate) fn sender(&self, conn: ConnId) -> Sender {
        Sender {
            conn,
            namespace: self.namespace(),
            worker: self.worker,
        }
    }

    /// The worker as it registers, on this connection.
    pub(crate) fn registrant(&self, conn: ConnId) -> Registrant<'_> {
        Registrant {
            worker: self.worker,
            conn,
            name: &self.name,
            metadata: &self.metadata,
            tier: self.tier(),
        }
    }

    // Tier.

    /// The tier that it asked for.
    pub(crate) fn asked_tier(&self) -> Option<u64> {
        self.uncommon.as_ref()?.tier
    }

    /// Its tier. What it asked for is not below that of its principal.
    pub(crate) fn tier(&self) -> u64 {
        self.asked_tier().unwrap_or(self.grant.tier)
    }

    // Takeover.

    /// It took over the session of this key. Its registrations, if it has any, await READY.
    pub(crate) fn set_taken_over(&mut self, older_key: SessionKey, unconfirmed: bool) {
        self.uncommon.get_or_insert_default().older_key = Some(older_key);
        self.unconfirmed = unconfirmed;
    }

    /// Returns the key of the session that was taken over, which is no longer valid.
    pub(crate) fn take_older_key(&mut self) -> Option<SessionKey> {
        let key = self.uncommon.as_mut()?.older_key.take();
        self.drop_uncommon();
        key
    }

    #[cfg(debug_assertions)]
    pub(super) fn older_key(&self) -> Option<SessionKey> {
        self.uncommon.as_ref()?.older_key
    }

    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.unconfirmed
    }

    /// Returns whether it was unconfirmed.
    pub(crate) fn confirm(&mut self) -> bool {
        std::mem::take(&mut self.unconfirmed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    pub(crate) fn set_draining(&mut self) {
        self.draining = true;
    }

    // Watch.

    pub(crate) fn audience(&self) -> Option<AudiencePlace> {
        let (audience, place) = self.audience?;
        Some((audience as usize, place as usize))
    }

    pub(crate) fn set_audience(&mut self, audience: Option<AudiencePlace>) {
        let short = |it: usize| it.try_into().expect("fewer than connections can be");
        self.audience = audience.map(|(audience, place)| (short(audience), short(place)));
    }

    /// The filter it requested, if its rights restrict it.
    pub(crate) fn requested(&self) -> Option<&Rc<WatchFilter>> {
        self.uncommon.as_ref()?.requested.as_ref()
    }

    pub(crate) fn set_requested(&mut self, filter: Rc<WatchFilter>) {
        self.uncommon.get_or_insert_default().requested = Some(filter);
    }

    pub(crate) fn take_requested(&mut self) -> Option<Rc<WatchFilter>> {
        let filter = self.uncommon.as_mut()?.requested.take();
        self.drop_uncommon();
        filter
    }

    /// Frees what few sessions have once this one has nothing of it.
    fn drop_uncommon(&mut self) {
        let is_empty = |it: &Uncommon| {
            let Uncommon {
                older_key,
                tier,
                requested,
            } = it;
            older_key.is_none() && tier.is_none() && requested.is_none()
        };
        self.uncommon.take_if(|it| is_empty(it));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        // What an allocator makes of 120 bytes and eight of its own is 128.
        assert!(size_of::<Session>() <= 120, "{}", size_of::<Session>());
    }
}
