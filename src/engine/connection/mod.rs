//! Connections: the state of each, and of the queues they stand in. Decides nothing; the handlers do.

pub(crate) mod admission;
pub(crate) mod batch;
#[cfg(debug_assertions)]
mod books;
pub(crate) mod identity;
pub(crate) mod input;
pub(crate) mod origin;
pub(crate) mod outbox;
pub(crate) mod output;
pub(crate) mod pressure;
pub(crate) mod progress;
pub(crate) mod run_queue;
pub(crate) mod send_buffer;
pub(crate) mod session;
pub(crate) mod sessions;
#[cfg(debug_assertions)]
pub(crate) mod step_log;
pub(crate) mod table;
pub(crate) mod unread;
pub(crate) mod users;
pub(crate) mod write_queue;

use super::calls::connection_calls::ConnectionCalls;
use super::interface::{ConnId, Peer, Time};
use super::rate_limiter::RateLimiter;
use super::registry::namespace::AudiencePlace;
use super::registry::position::Stream;
use super::rng::HashKeys;
use super::timer_wheel::TimerId;
use super::user_key::UserKey;
use batch::Batch;
use outbox::Outbox;
use session::Session;
use unread::Unread;

/// How far a connection has come.
#[derive(Debug)]
enum Phase {
    /// HELLO is expected.
    Greeting,
    /// In service.
    Live(Box<Session>),
    /// Closing: what it is owed is still written, what it sends is discarded.
    Leaving(Leaving),
}

/// A connection that is being closed.
#[derive(Debug)]
struct Leaving {
    /// The session that it had. It keeps its place in the namespace until the connection is removed.
    session: Option<Box<Session>>,
    /// Bytes discarded.
    discarded: u32,
    /// The peer closed its sending half.
    eof: bool,
    /// Ours is closed.
    half_closed: bool,
}

/// Reasons why a connection is not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Its replies pile up.
    pub(crate) outbound: bool,
    /// It overdrew its budget of changes and work.
    pub(crate) budget: bool,
}

impl Pause {
    pub(crate) fn any(self) -> bool {
        self.outbound || self.budget
    }
}

/// What a connection that is being closed needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseStep {
    /// Nothing: frames wait to be written, or the peer's end is awaited.
    Wait,
    /// The sending half is to be shut down.
    HalfClose,
    /// The connection is to be removed.
    Remove,
}

/// The state of one connection.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent flags, most of them for the queues it is in.
pub(crate) struct Connection {
    id: ConnId,
    sequence: u64,
    peer: Peer,
    user: UserKey,
    phase: Phase,
    is_refused: bool,
    unread: Option<Box<Unread>>,
    /// The peer closed its sending half after what is deferred.
    eof_deferred: bool,
    outbox: Outbox,
    batch: Option<Box<Batch>>,
    calls: Option<Box<ConnectionCalls>>,
    /// When the phase began.
    phase_since: Time,
    /// When a byte last came in, or was written after none could be.
    last_heard: Time,
    blocked_since: Option<Time>,
    /// A write was blocked, and none succeeded since: the next success is a sign of life.
    stalled: bool,
    /// A PING was sent in this silence.
    pinged: bool,
    pause: Pause,
    budget: RateLimiter,
    /// In the run queue.
    pub(super) in_run: bool,
    /// Bytes, or its end, wait in its socket.
    readable: bool,
    /// It has room for parked calls that it has not been sent yet.
    parked_due: bool,
    /// In the write queue's lane of replies, of acknowledgements, of continuations.
    pub(super) in_replies: bool,
    pub(super) in_acknowledgements: bool,
    pub(super) in_continuations: bool,
    /// Own frames wait for the seal.
    unsealed: bool,
    /// It changed the board in this turn.
    changed_board: bool,
    timer: Option<TimerId>,
    /// When the timer fires.
    timer_at: Time,
}

impl Connection {
    /// A connection that has sent nothing yet. `sequence` is its number since the start. A refused one only gets its
    /// GOODBYE.
    pub(crate) fn new(
        id: ConnId,
        sequence: u64,
        (peer, user): (Peer, UserKey),
        is_refused: bool,
        now: Time,
    ) -> Self {
        Self {
            id,
            sequence,
            peer,
            user,
            phase: Phase::Greeting,
            is_refused,
            unread: None,
            eof_deferred: false,
            outbox: Outbox::new(),
            batch: None,
            calls: None,
            phase_since: now,
            last_heard: now,
            blocked_since: None,
            stalled: false,
            pinged: false,
            pause: Pause::default(),
            budget: RateLimiter::default(),
            in_run: false,
            readable: false,
            parked_due: false,
            in_replies: false,
            in_acknowledgements: false,
            in_continuations: false,
            unsealed: false,
            changed_board: false,
            timer: None,
            timer_at: now,
        }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    /// Sequence number of this connection. A worker's reconnect attempts have increasing numbers.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The user that pays for it.
    pub(crate) fn user(&self) -> UserKey {
        self.user
    }

    /// It belongs to another user from now on. Returns the one before.
    pub(crate) fn set_user(&mut self, user: UserKey) -> UserKey {
        std::mem::replace(&mut self.user, user)
    }

    /// Whether it was over a limit of connections when it was accepted.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    // Phase.

    pub(crate) fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
    }

    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving(_))
    }

    /// When the phase began.
    pub(crate) fn phase_since(&self) -> Time {
        self.phase_since
    }

    /// The session of a live connection.
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Live(session) => Some(session),
            _ => None,
        }
    }

    /// The session of a connection that is live, or was until it began to close.
    pub(crate) fn last_session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Greeting => None,
            Phase::Live(session) => Some(session),
            Phase::Leaving(leaving) => leaving.session.as_deref(),
        }
    }

    pub(crate) fn last_session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Greeting => None,
            Phase::Live(session) => Some(session),
            Phase::Leaving(leaving) => leaving.session.as_deref_mut(),
        }
    }

    /// Takes the last session out, when the connection is removed.
    pub(crate) fn into_last_session(self) -> Option<Box<Session>> {
        match self.phase {
            Phase::Greeting => None,
            Phase::Live(session) => Some(session),
            Phase::Leaving(leaving) => leaving.session,
        }
    }

    /// HELLO was accepted.
    pub(crate) fn start_session(&mut self, session: Session, stream: Stream, now: Time) {
        self.phase = Phase::Live(Box::new(session));
        self.phase_since = now;
        self.outbox.set_stream(stream);
    }

    /// Begins to close. What was received and not handled is dropped.
    pub(crate) fn start_leaving(&mut self, now: Time) {
        let session = match std::mem::replace(&mut self.phase, Phase::Greeting) {
            Phase::Live(session) => Some(session),
            Phase::Greeting => None,
            Phase::Leaving(leaving) => leaving.session,
        };
        self.phase = Phase::Leaving(Leaving {
            session,
            discarded: 0,
            eof: self.eof_deferred,
            half_closed: false,
        });
        self.phase_since = now;
        self.batch = None;
        self.unread = None;
    }

    /// Discards bytes that a leaving connection sent. Returns how many it has sent; `None` if it is not leaving.
    pub(crate) fn discard(&mut self, bytes: usize) -> Option<u32> {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return None;
        };
        leaving.discarded = leaving.discarded.saturating_add(bytes as u32);
        Some(leaving.discarded)
    }

    /// The peer of a leaving connection closed its sending half. Returns what is to be done.
    pub(crate) fn leaving_eof(&mut self) -> Option<CloseStep> {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return None;
        };
        leaving.eof = true;
        Some(if leaving.half_closed || !self.outbox.is_pending() {
            CloseStep::Remove
        } else {
            CloseStep::Wait
        })
    }

    /// What a leaving connection needs once everything that it is owed was written.
    pub(crate) fn next_close_step(&mut self) -> CloseStep {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return CloseStep::Wait;
        };
        if self.outbox.is_pending() {
            CloseStep::Wait
        } else if leaving.eof {
            CloseStep::Remove
        } else if !std::mem::replace(&mut leaving.half_closed, true) {
            CloseStep::HalfClose
        } else {
            CloseStep::Wait
        }
    }

    // Input.

    /// A byte came in.
    pub(crate) fn note_heard(&mut self, now: Time) {
        self.last_heard = now;
        self.pinged = false;
    }

    /// When the peer last gave a sign of life.
    pub(crate) fn last_heard(&self) -> Time {
        self.last_heard
    }

    /// Its silence counts from `now`, without a word of it.
    pub(crate) fn excuse_silence(&mut self, now: Time) {
        self.last_heard = now;
    }

    pub(crate) fn is_pinged(&self) -> bool {
        self.pinged
    }

    /// A PING is sent. The silence began at `earliest` at the earliest.
    pub(crate) fn note_ping(&mut self, earliest: Time) {
        self.pinged = true;
        self.last_heard = self.last_heard.max(earliest);
    }

    pub(crate) fn unread(&self) -> Option<&Unread> {
        self.unread.as_deref()
    }

    pub(crate) fn unread_mut(&mut self) -> Option<&mut Unread> {
        self.unread.as_deref_mut()
    }

    pub(crate) fn take_unread(&mut self) -> Option<Box<Unread>> {
        self.unread.take()
    }

    pub(crate) fn set_unread(&mut self, unread: Box<Unread>) {
        self.unread = Some(unread);
    }

    /// Bytes, or its end, wait in its socket.
    pub(crate) fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Whether its socket is to be read. It will be.
    pub(crate) fn take_readable(&mut self) -> bool {
        std::mem::take(&mut self.readable)
    }

    /// Whether it has something to do.
    pub(crate) fn is_runnable(&self) -> bool {
        self.readable || self.has_leftovers()
    }

    /// Whether it left something for later that it may do.
    pub(crate) fn has_leftovers(&self) -> bool {
        let may_go_on = self.has_deferred() && !self.pause.budget;
        may_go_on || (self.is_dying() || self.parked_due) && !self.is_leaving()
    }

    /// Parked calls are to be run on it in its next turn.
    pub(crate) fn set_parked_due(&mut self) {
        self.parked_due = true;
    }

    pub(crate) fn is_parked_due(&self) -> bool {
        self.parked_due
    }

    /// They are being run.
    pub(crate) fn clear_parked_due(&mut self) {
        self.parked_due = false;
    }

    /// Whether it has ended, and what it has is still to be withdrawn.
    pub(crate) fn is_dying(&self) -> bool {
        self.eof_deferred && !self.has_deferred()
    }

    /// It is in the run queue from now on. Returns whether it was before.
    pub(crate) fn mark_run(&mut self) -> bool {
        std::mem::replace(&mut self.in_run, true)
    }

    /// The run queue named it.
    pub(crate) fn clear_run(&mut self) {
        self.in_run = false;
    }

    /// Whether bytes are deferred to a later turn.
    pub(crate) fn has_deferred(&self) -> bool {
        self.unread.as_ref().is_some_and(|it| it.has_deferred())
    }

    /// The peer closed its sending half after what is deferred.
    pub(crate) fn defer_eof(&mut self) {
        self.eof_deferred = true;
    }

    pub(crate) fn is_eof_deferred(&self) -> bool {
        self.eof_deferred
    }

    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.batch.as_deref()
    }

    pub(crate) fn batch_mut(&mut self) -> Option<&mut Batch> {
        self.batch.as_deref_mut()
    }

    pub(crate) fn take_batch(&mut self) -> Option<Box<Batch>> {
        self.batch.take()
    }

    pub(crate) fn set_batch(&mut self, batch: Box<Batch>) {
        self.batch = Some(batch);
    }

    pub(crate) fn pause(&self) -> Pause {
        self.pause
    }

    pub(crate) fn pause_mut(&mut self) -> &mut Pause {
        &mut self.pause
    }

    pub(crate) fn budget(&self) -> RateLimiter {
        self.budget
    }

    pub(crate) fn budget_mut(&mut self) -> &mut RateLimiter {
        &mut self.budget
    }

    /// It changed the board. Returns whether it did before in this turn.
    fn mark_changed_board(&mut self) -> bool {
        std::mem::replace(&mut self.changed_board, true)
    }

    /// A new turn begins.
    pub(crate) fn clear_changed_board(&mut self) {
        self.changed_board = false;
    }

    // Output.

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Own frames wait for the seal. Returns whether some did before.
    fn mark_unsealed(&mut self) -> bool {
        std::mem::replace(&mut self.unsealed, true)
    }

    /// Its own frames are sealed.
    pub(crate) fn clear_unsealed(&mut self) {
        self.unsealed = false;
    }

    /// Since when nothing can be written.
    pub(crate) fn blocked_since(&self) -> Option<Time> {
        self.blocked_since
    }

    /// The socket took nothing, now or ever again.
    pub(crate) fn note_blocked(&mut self, now: Time) {
        self.blocked_since = Some(now);
        self.stalled = true;
    }

    /// The socket can take bytes again. Returns whether it could not before.
    pub(crate) fn unblock(&mut self) -> bool {
        self.blocked_since.take().is_some()
    }

    /// The socket took bytes: a sign of life, if it took none before.
    pub(crate) fn note_written(&mut self, now: Time) {
        if std::mem::take(&mut self.stalled) {
            self.last_heard = now;
        }
    }

    /// The place in its audience, if it watches anything.
    pub(crate) fn audience(&self) -> Option<(usize, AudiencePlace)> {
        let session = self.last_session()?;
        Some((session.namespace(), session.audience()?))
    }

    // Calls.

    pub(crate) fn calls(&self) -> Option<&ConnectionCalls> {
        self.calls.as_deref()
    }

    pub(crate) fn calls_mut(&mut self) -> Option<&mut ConnectionCalls> {
        self.calls.as_deref_mut()
    }

    /// Its calls, created if there are none.
    pub(crate) fn calls_or_new(&mut self, keys: HashKeys) -> &mut ConnectionCalls {
        let capacity = self.session().map_or(0, Session::capacity);
        self.calls
            .get_or_insert_with(|| Box::new(ConnectionCalls::new(capacity, keys)))
    }

    // Timer.

    /// Its timer, and when that fires.
    pub(crate) fn timer(&self) -> Option<(TimerId, Time)> {
        self.timer.map(|timer| (timer, self.timer_at))
    }

    pub(crate) fn set_timer(&mut self, timer: TimerId, at: Time) {
        self.timer = Some(timer);
        self.timer_at = at;
    }

    pub(crate) fn clear_timer(&mut self) {
        self.timer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // Connections are the most numerous objects of an engine. Rare state is boxed.
        assert!(
            size_of::<Connection>() <= 216,
            "{}",
            size_of::<Connection>()
        );
    }
}
