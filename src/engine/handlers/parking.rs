//! Parked calls: calls that wait until a provider has room, and the providers that take them. Each provider notes which
//! parked calls it could run, so no step walks over all of them.

use crate::engine::Engine;
use crate::engine::calls::call::{CallId, Place};
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::calls::parked_notes::ParkedNotes;
use crate::engine::calls::parking::ParkKey;
use crate::engine::calls::routing::{Load, Route};
use crate::engine::connection::Connection;
use crate::engine::interface::{ConnId, Time};
use crate::engine::work;

/// Parked calls that go out at once take this part of a turn's work at most, until others had their turn.
const SLICES: u64 = 20;

impl Engine {
    /// Parks a call until a provider has room.
    pub(super) fn park(&mut self, call_id: CallId) {
        let Some(namespace) = self.calls.get(call_id).map(|call| call.namespace) else {
            return;
        };
        self.note_waiting(call_id, ConnectionCalls::start_waiting);
        let Some(key) = self.calls.park(call_id) else {
            return;
        };
        // It is the first one there: offer it to the providers.
        let Some((_, providers, _)) = self.registry[namespace].providers(&key.function) else {
            return;
        };
        let able = providers
            .iter()
            .filter(|it| key.worker.is_none_or(|worker| worker == it.worker));
        let able: Vec<ConnId> = able.map(|provider| provider.conn).collect();
        for conn in able {
            self.offer_parked(conn, namespace, key.clone());
        }
    }

    /// Notes that a worker could run the calls parked under a key, if there are any.
    pub(super) fn offer_parked(&mut self, id: ConnId, namespace: usize, key: ParkKey) {
        let Some((_, ticket)) = self.calls.first_parked(namespace, &key) else {
            return;
        };
        let conn = self.connections.get_mut(id);
        let Some(conn) = conn.filter(|conn| conn.is_live()) else {
            return;
        };
        let notes = conn.calls_or_new(self.hash_keys).parked_mut();
        notes.add(ticket, key);
        if let Some(lists) = self.calls.parked_in(namespace) {
            notes.prune(lists);
        }
    }

    /// Runs parked calls on a worker while it has room: a slice of them. The rest has its turn behind others. Returns the
    /// work of it.
    #[inline] // With each answer, and mostly nothing is parked.
    pub(super) fn run_parked(&mut self, id: ConnId, now: Time) -> u64 {
        if self.calls_of(id).is_some_and(ConnectionCalls::has_parked) {
            self.run_some_parked(id, now)
        } else {
            0
        }
    }

    fn run_some_parked(&mut self, id: ConnId, now: Time) -> u64 {
        let mut work = 0;
        while self.calls_of(id).is_some_and(ConnectionCalls::has_parked) {
            self.judge(id, now);
            let has_room = self.load(id).is_some_and(Load::has_room);
            let conn = self.connections.get_mut(id);
            let Some(conn) = conn.filter(|_| has_room) else {
                break;
            };
            // If they are due, it has its turn later.
            if conn.is_parked_due() {
                break;
            }
            if work >= self.config.turn_work / SLICES {
                conn.set_parked_due();
                self.run_later(id);
                break;
            }
            let Some(session) = conn.session().filter(|it| !it.is_draining()) else {
                break;
            };
            let (namespace, worker) = (session.namespace(), session.worker());
            let notes = conn.calls_mut().map(ConnectionCalls::parked_mut);
            let Some((ticket, key)) = notes.and_then(ParkedNotes::pop) else {
                break;
            };
            work += work::LOOK.time;
            let roster = self.registry[namespace].roster();
            let provides = roster.get(worker);
            if provides.is_none_or(|it| it.get(&key.function).is_none()) {
                continue;
            }
            let Some((call_id, first)) = self.calls.first_parked(namespace, &key) else {
                continue;
            };
            // If other workers took the noted call, the next one there may have to wait behind another key's.
            if first == ticket && !self.judge_caller(call_id, now) {
                let target = self.provider_before(id, namespace, &key, now);
                // Judging the provider may have ended the call.
                if self.calls.first_parked(namespace, &key) == Some((call_id, first)) {
                    work += work::CALL.time + self.invoke_parked(call_id, target, now);
                }
            }
            self.offer_parked(id, namespace, key);
        }
        work
    }

    /// The provider that a parked call goes to when this one could take it: one of a lower tier, if it has room by now.
    fn provider_before(
        &mut self,
        id: ConnId,
        namespace: usize,
        key: &ParkKey,
        now: Time,
    ) -> ConnId {
        let session = self.connections.get(id).and_then(Connection::session);
        if session.is_none_or(|it| it.tier() == 0) {
            return id;
        }
        match self.route(namespace, &key.function, key.worker, now) {
            (Route::To(provider), _) => provider,
            _ => id,
        }
    }

    /// Judges the caller of a call. Returns whether it had to be: the call may have ended.
    fn judge_caller(&mut self, call_id: CallId, now: Time) -> bool {
        let call = self.calls.get(call_id);
        let caller = call.and_then(|call| call.caller.as_ref());
        let caller = caller.map(|caller| caller.conn);
        caller.is_some_and(|caller| self.judge(caller, now) > 0)
    }

    /// Runs a parked call on a worker. Returns the work of its bytes.
    fn invoke_parked(&mut self, call_id: CallId, provider: ConnId, now: Time) -> u64 {
        let Some(call) = self.calls.get(call_id) else {
            return 0;
        };
        let bytes = call.arguments.as_ref().map_or(0, |it| it.bytes());
        let conn = self.connections.get_mut(provider);
        if let Some(calls) = conn.and_then(Connection::calls_mut) {
            calls.parked_mut().note_served(call.user);
        }
        self.detach(call_id);
        self.invoke_retained(call_id, provider, now);
        work::of_bytes(bytes)
    }

    /// The notes of a worker's older connection pass to its newer one.
    pub(super) fn hand_over_parked(&mut self, older: ConnId, newer: ConnId, now: Time) {
        let conn = self.connections.get(newer);
        let Some(session) = conn.and_then(|conn| conn.session()) else {
            return;
        };
        let namespace = session.namespace();
        while let Some((_, key)) = self
            .connections
            .get_mut(older)
            .and_then(Connection::calls_mut)
            .and_then(|calls| calls.parked_mut().pop())
        {
            self.offer_parked(newer, namespace, key);
        }
        self.run_parked(newer, now);
    }

    /// Once half of the calls without a caller are gone, the providers that hold the rest may take calls again, parked
    /// ones first. Half, so that the walk over the connections is paid for by as many calls.
    pub(super) fn end_saturation(&mut self, now: Time) {
        let abandoned = self.calls.abandoned() as u64;
        if !self.calls.is_saturated() || abandoned > self.config.limits.max_calls_total / 2 {
            return;
        }
        self.calls.set_saturated(false);
        let mut work = 0;
        for id in self.connections.ids() {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            if !conn.calls().is_some_and(ConnectionCalls::has_parked) {
                continue;
            }
            // As many as fit into this turn, and the others in the next ones.
            if work < self.config.turn_work / SLICES {
                work += self.run_parked(id, now);
            } else {
                conn.set_parked_due();
                self.run_later(id);
            }
        }
        self.run.spend(work);
    }

    /// Tells the caller of a call, if it has one, that the call is parked, or that it is not any more.
    fn note_waiting(&mut self, call_id: CallId, note: fn(&mut ConnectionCalls)) {
        let caller = self
            .calls
            .get(call_id)
            .and_then(|call| call.caller.as_ref());
        let conn = caller.map(|caller| caller.conn);
        let conn = conn.and_then(|id| self.connections.get_mut(id));
        if let Some(calls) = conn.and_then(Connection::calls_mut) {
            note(calls);
        }
    }

    /// Removes a call from the list that it is in.
    pub(super) fn detach(&mut self, call_id: CallId) {
        match self.calls.get(call_id).map(|call| call.place) {
            None | Some(Place::Detached) => {}
            Some(Place::Parked) => {
                self.note_waiting(call_id, ConnectionCalls::stop_waiting);
                self.calls.unpark(call_id);
            }
            Some(Place::Running(provider)) => {
                let conn = self.connections.get_mut(provider);
                if let Some(calls) = conn.and_then(Connection::calls_mut) {
                    self.calls.stop_running(call_id, calls);
                }
            }
        }
    }
}
