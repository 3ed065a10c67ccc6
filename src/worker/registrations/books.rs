//! The books of the registrations, compared with the open requests and with the view. In builds with debug assertions
//! only.

use super::{OperationKind, Registrations, Stage};
use crate::worker::requests::{Purpose, Requests};
use crate::worker::status::Standing;
use crate::worker::view::View;

impl Registrations {
    /// Compares the registrations with the open requests and with the marks of the view.
    ///
    /// # Panics
    /// If they differ, or if something that is wanted is neither registered, nor refused, nor about to be asked for.
    pub(in crate::worker) fn check_books(&self, requests: &Requests, view: &View) {
        let Self {
            wanted,
            bindings_accepted,
            refused_bindings,
            operations,
            ended: _,
            last_ticket,
            stage,
            to_restore,
            to_rebind,
            request_open,
            in_doubt,
            rights_changed_meanwhile: _,
            retry_at,
            retry_backoff: _,
        } = self;
        let mut open = 0;
        for (_, purpose) in requests.open() {
            match purpose {
                Purpose::Operation(ticket) => {
                    assert_eq!(*in_doubt, Some(*ticket), "the operation sent last");
                    open += 1;
                }
                Purpose::Restore(_) | Purpose::Rebind(_) => open += 1,
                Purpose::Ready | Purpose::Call(_) | Purpose::Cancelled | Purpose::Drain => {}
            }
        }
        assert_eq!(open, usize::from(*request_open), "open requests");
        assert!(in_doubt.is_none_or(|ticket| operations.contains_key(&ticket)));
        assert!(operations.keys().all(|ticket| ticket.0 <= *last_ticket));
        let accepted = |key| bindings_accepted.contains_key(key);
        assert!(
            refused_bindings.iter().all(accepted),
            "{refused_bindings:?}"
        );
        for name in view.own() {
            let is_asked = operations.values().any(|it| match &it.kind {
                OperationKind::Register(functions) => {
                    functions.iter().any(|it| it.shared_name() == name)
                }
                _ => false,
            });
            assert!(
                is_asked || wanted.contains_key(name),
                "{name} is not its own"
            );
        }
        if *stage == Stage::Down || *request_open {
            return;
        }
        let is_idle = to_restore.is_empty() && to_rebind.is_empty() && operations.is_empty();
        assert!(is_idle && *stage == Stage::Ready, "nothing is asked for");
        for (name, it) in wanted {
            match &it.standing {
                Standing::Listed => {}
                Standing::Pending => panic!("{name} is not asked for"),
                Standing::Refused(refusal) => {
                    assert!(!refusal.retryable || retry_at.is_some(), "{name}");
                }
            }
        }
    }
}
