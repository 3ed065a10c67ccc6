//! The books of a link: what its parts keep beside each other, compared. In builds with debug assertions only.

use super::{DrainState, Link, LinkState};
use crate::worker::requests::Purpose;

impl Link {
    /// Compares the books. Call it whenever no method runs, for tests.
    ///
    /// # Panics
    /// If a book is wrong.
    pub fn check_books(&self) {
        let Self {
            identity: _,
            token: _,
            random: _,
            state,
            inbox: _,
            max_frame: _,
            keys,
            requests,
            registrations,
            calls,
            serving,
            draining,
            view,
            connection,
            notices: _,
            answers: _,
            end,
        } = self;
        calls.check_books(requests);
        registrations.check_books(requests, view);
        serving.check_books();
        view.check_books();
        let is_up = matches!(state, LinkState::Up(_));
        assert!(!is_up || connection.is_some(), "up without a connection");
        if matches!(state, LinkState::Closed) {
            assert_eq!(requests.open().count(), 0, "requests of no connection");
            assert_eq!(serving.in_flight(), 0, "calls of no connection");
            assert!(connection.is_none(), "a connection that is closed");
        }
        let is_asked = requests.open().any(|(_, it)| *it == Purpose::Drain);
        assert_eq!(*draining == DrainState::Purpose, is_asked, "DRAIN");
        assert!(end.is_none() || matches!(state, LinkState::Closed));
        let mut epochs: Vec<u64> = keys.iter().map(|(epoch, _)| *epoch).collect();
        epochs.sort_unstable();
        assert!(epochs.is_sorted_by(|a, b| a < b), "two keys of one epoch");
    }
}
