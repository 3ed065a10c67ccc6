//! Which provider gets a call: load follows capacity, equals take turns, none gets more than its capacity.

use callboard::protocol::{CallOptions, Executed};

use crate::client::{serve, until};
use crate::peer::{Peer, nothing, patient};
use crate::talk::{failed, plain, result, waiting};

#[test]
fn load_follows_capacity_and_no_provider_gets_more_than_it_takes() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let capacities = [10, 20, 70];
    let mut providers: Vec<_> = capacities
        .iter()
        .map(|&capacity| {
            let mut provider = Peer::join_with_capacity(at, "provider", &nothing(), capacity);
            provider.register(&["f"]).unwrap();
            provider
        })
        .collect();
    let mut caller = Peer::join(at, "caller", &nothing());
    // Half full: in proportion, give or take the one call that does not divide.
    for _ in 0..50 {
        caller.call("f", b"", plain());
    }
    caller.ping();
    for (provider, capacity) in providers.iter_mut().zip(capacities) {
        let share = provider.invokes_until_now() as u64;
        assert!(share.abs_diff(capacity / 2) <= 1, "{share} of {capacity}");
    }
    for _ in 50..100 {
        caller.call("f", b"", plain());
    }
    caller.ping();
    for (provider, capacity) in providers.iter_mut().zip(capacities) {
        assert_eq!(provider.invokes_until_now() as u64, capacity);
    }
    let ending = caller.call_out("f", b"", plain());
    assert_eq!(failed(&ending), ("overloaded", Executed::No));
    // The provider that has answered gets the next.
    let waits = caller.call("f", b"last", waiting());
    assert!(caller.still_waits_for(waits));
    let asked = providers[1].next_invoke(0);
    providers[1].answer(asked.id, b"first");
    let asked = providers[1].next_invoke(20);
    assert_eq!(asked.payload, b"last");
    providers[1].answer(asked.id, b"second");
    assert_eq!(caller.outcome(waits), result(b"second"));
}

#[test]
fn equals_take_turns() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut providers: Vec<_> = (0..3)
        .map(|_| {
            let mut provider = Peer::join(at, "provider", &nothing());
            provider.register(&["f"]).unwrap();
            provider
        })
        .collect();
    let mut caller = Peer::join(at, "caller", &nothing());
    for round in 0..8 {
        // One at a time: no provider has any load, so only the rotation decides.
        let mut had_turn = [false; 3];
        for _ in 0..3 {
            let id = caller.call("f", b"", plain());
            caller.ping();
            let which = (0..3).find(|&which| {
                let before = round + usize::from(had_turn[which]);
                providers[which].invokes_until_now() > before
            });
            let which = which.expect("somebody was asked");
            assert!(!had_turn[which], "it was another one's turn");
            had_turn[which] = true;
            let asked = providers[which].next_invoke(round);
            providers[which].answer(asked.id, b"");
            assert_eq!(caller.outcome(id), result(b""));
        }
    }
    // All at once: a third each.
    for _ in 0..90 {
        caller.call("f", b"", plain());
    }
    caller.ping();
    for provider in &mut providers {
        assert_eq!(provider.invokes_until_now(), 8 + 30);
    }
}

#[test]
fn a_call_to_one_worker_goes_to_that_worker_or_to_none() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut providers: Vec<_> = (0..2)
        .map(|_| {
            let mut provider = Peer::join_with_capacity(at, "provider", &nothing(), 3);
            provider.register(&["f"]).unwrap();
            provider
        })
        .collect();
    let mut caller = Peer::join(at, "caller", &nothing());
    let to = |worker| CallOptions {
        worker: Some(worker),
        ..plain()
    };
    let (this, other) = (providers[1].welcome().worker, providers[0].welcome().worker);
    for n in 0..3u8 {
        caller.call("f", &[n], to(this));
    }
    let asked = providers[1].invoked(3);
    let payloads: Vec<_> = asked.iter().map(|it| it.payload[0]).collect();
    assert_eq!(payloads, [0, 1, 2], "calls of one caller keep their order");
    let ending = caller.call_out("f", b"", to(this));
    assert_eq!(failed(&ending), ("overloaded", Executed::No));
    let ending = caller.call_out("f", b"", to(this + other + 1));
    assert_eq!(failed(&ending), ("no_such_function", Executed::No));
    assert_eq!(providers[0].invokes_until_now(), 0);
    until("three are in flight", || server.stats().unwrap().calls == 3);
}
