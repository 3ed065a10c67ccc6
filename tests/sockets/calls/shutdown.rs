//! An engine that is told to stop: calls in flight may end, new ones are not taken, and then all are told.

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::Executed;
use callboard::server::{Server, ServerConfig};

use crate::client::serve;
use crate::peer::{Peer, all, nothing, patient};
use crate::talk::{failed, plain, result, waiting};

#[test]
fn a_shutdown_lets_calls_in_flight_end_within_the_grace() {
    let server = serve(Limits {
        grace: 600_000,
        ..patient()
    });
    let at = &server.addresses()[0].clone();
    let mut caller = Peer::join(at, "caller", &all());
    let mut provider = Peer::join_with_capacity(at, "provider", &nothing(), 2);
    let revision = provider.register(&["f"]).unwrap();
    let first = caller.call("f", b"1", plain());
    let second = caller.call("f", b"2", plain());
    let parked = caller.call("f", b"3", waiting());
    let asked = provider.invoked(2);
    caller.catch_up(revision);
    assert!(caller.still_waits_for(parked));

    server.shutdown();
    caller.read_until("DRAIN", |reader| reader.drain.is_some());
    provider.read_until("DRAIN", |reader| reader.drain.is_some());
    let ending = caller.outcome(parked);
    assert_eq!(failed(&ending), ("draining", Executed::No));
    let ending = caller.call_out("f", b"4", plain());
    assert_eq!(failed(&ending), ("draining", Executed::No));
    let refused = provider.register(&["g"]).unwrap_err();
    assert_eq!(refused.0, "draining");

    provider.answer(asked[0].id, b"one");
    assert_eq!(caller.outcome(first), result(b"one"));
    assert!(caller.still_waits_for(second));
    provider.answer(asked[1].id, b"two");
    assert_eq!(caller.outcome(second), result(b"two"));
    for peer in [&mut caller, &mut provider] {
        peer.read_until("GOODBYE", |reader| reader.goodbye.is_some());
        let (code, _, retry) = peer.reader.goodbye.clone().unwrap();
        assert_eq!(code, "shutting_down");
        assert!(retry.is_some());
    }
    // No view was emptied.
    assert!(caller.has("f"));
    drop((caller, provider));
    server.join().unwrap();
}

#[test]
fn what_has_not_ended_when_the_grace_is_over_ends_with_draining() {
    let server = serve(Limits {
        grace: 50,
        ..patient()
    });
    let at = &server.addresses()[0].clone();
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let id = caller.call("f", b"", plain());
    let asked = provider.next_invoke(0);
    server.shutdown();
    let ending = caller.outcome(id);
    assert_eq!(failed(&ending), ("draining", Executed::Maybe));
    caller.read_until("GOODBYE", |reader| reader.goodbye.is_some());
    provider.read_until("GOODBYE", |reader| reader.goodbye.is_some());
    assert_eq!(provider.reader.cancels(), [asked.id]);
    drop((caller, provider));
    server.join().unwrap();
}

#[test]
fn a_worker_that_drains_leaves_at_once_and_finishes_what_it_has() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &all());
    let mut leaves = Peer::join(at, "leaves", &nothing());
    let mut stays = Peer::join(at, "stays", &nothing());
    leaves.register(&["f", "only::here"]).unwrap();
    let running = caller.call("f", b"1", plain());
    let asked = leaves.next_invoke(0);
    stays.register(&["f"]).unwrap();
    leaves.drain();
    caller.read_until("the change", |reader| {
        !reader.view.functions.is_empty() && !reader.view.functions.contains_key("only::here")
    });
    assert_eq!(caller.names(), ["f"]);
    for round in 0..10 {
        let id = caller.call("f", b"2", plain());
        let asked = stays.next_invoke(round);
        stays.answer(asked.id, b"stays");
        assert_eq!(caller.outcome(id), result(b"stays"));
    }
    let ending = caller.call_out("only::here", b"", plain());
    assert_eq!(failed(&ending), ("no_such_function", Executed::No));
    let waits = caller.call("only::here", b"", waiting());
    assert!(caller.still_waits_for(waits));
    assert_eq!(leaves.invokes_until_now(), 1);
    leaves.answer(asked.id, b"leaves");
    assert_eq!(caller.outcome(running), result(b"leaves"));
    assert!(leaves.register(&["f"]).is_err());
    stays.register(&["only::here"]).unwrap();
    let asked = stays.next_invoke(10);
    stays.answer(asked.id, b"heir");
    assert_eq!(caller.outcome(waits), result(b"heir"));
}

#[test]
fn a_rolling_restart_fails_no_call_that_may_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = Address::Unix(directory.path().join("board.sock"));
    let config = ServerConfig {
        listen: vec![path],
        limits: patient(),
        ..ServerConfig::default()
    };
    let server = Server::spawn(config).unwrap();
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &all());
    let mut calls = Vec::new();
    let mut older = Peer::join(at, "provider", &nothing());
    older.register(&["f"]).unwrap();
    for round in 0..20u8 {
        let mut call_some = || {
            for n in 0..8 {
                let payload = [round, n];
                calls.push((caller.call("f", &payload, waiting()), payload));
            }
        };
        let mut newer = Peer::join(at, "provider", &nothing());
        call_some();
        // Now there are two for a moment, now there is none.
        if round.is_multiple_of(2) {
            newer.register(&["f"]).unwrap();
            older.drain();
        } else {
            older.drain();
            older.ping();
            call_some();
            newer.register(&["f"]).unwrap();
        }
        call_some();
        older.ping();
        let left: Vec<_> = older.reader.invocations().cloned().collect();
        for asked in left {
            older.answer(asked.id, &asked.payload);
        }
        older.finish();
        older.read_to_end();
        older = newer;
    }
    caller.ping();
    older.ping();
    let left: Vec<_> = older.reader.invocations().cloned().collect();
    for asked in left {
        older.answer(asked.id, &asked.payload);
    }
    assert_eq!(calls.len(), 20 * 8 * 5 / 2);
    for (id, payload) in calls {
        assert_eq!(caller.outcome(id), result(&payload));
    }
}
