//! The books of a connection: its parts and flags, compared with its phase. In builds with debug assertions only.

use super::{Connection, Phase};
use crate::engine::registry::position::Stream;

impl Connection {
    /// Compares the parts and flags with the phase.
    pub(super) fn check_books(&self) {
        let Self {
            id,
            sequence: _,
            peer: _,
            // The users count it.
            user: _,
            phase,
            is_refused: _,
            unread,
            eof_deferred,
            // Input and output check the bytes of these.
            outbox,
            batch,
            calls,
            phase_since: _,
            last_heard: _,
            blocked_since: _,
            stalled: _,
            pinged: _,
            pause: _,
            budget: _,
            // The queues check these marks.
            in_run,
            readable: _,
            parked_due: _,
            in_replies: _,
            in_acknowledgements: _,
            in_continuations: _,
            unsealed: _,
            changed_board: _,
            // The engine checks the timer.
            timer: _,
            timer_at: _,
        } = self;
        match phase {
            Phase::Greeting => {
                assert!(calls.is_none() && batch.is_none(), "{id:?} without HELLO");
                assert_eq!(*outbox.stream(), Stream::Idle, "{id:?} without HELLO");
            }
            Phase::Live(session) => {
                let capacity = calls.as_ref().map(|calls| calls.capacity());
                assert!(capacity.is_none_or(|it| it == session.capacity()));
                let is_idle = *outbox.stream() == Stream::Idle;
                assert_eq!(session.audience().is_none(), is_idle, "watch of {id:?}");
            }
            Phase::Leaving(_) => {
                assert!(batch.is_none() && unread.is_none(), "{id:?} leaves");
                let calls = calls.as_ref();
                assert!(calls.is_none_or(|it| it.made() == 0 && it.load(false).in_flight == 0));
            }
        }
        assert!(*in_run || !self.is_runnable(), "{id:?} has something to do");
        assert!(!eof_deferred || self.is_leaving() || *in_run || self.has_deferred());
    }

    pub(super) fn is_unsealed(&self) -> bool {
        self.unsealed
    }

    pub(super) fn has_changed_board(&self) -> bool {
        self.changed_board
    }

    /// Bytes charged for what is not handled, and for a batch.
    pub(super) fn input_charges(&self) -> (usize, usize) {
        let unread = self.unread.as_ref().map_or(0, |it| it.check_books());
        let batch = self.batch.as_ref().map_or(0, |it| it.check_books());
        (unread, batch)
    }

    pub(super) fn output_charge(&self) -> usize {
        self.outbox.check_books()
    }
}
