//! A session that is taken over while calls are in flight: what the older connection ran and made ends there,
//! and the newcomer is called at once.

use callboard::protocol::Executed;

use crate::client::{serve, until};
use crate::peer::{Greeting, Peer, nothing, patient};
use crate::talk::{dropped, failed, idempotent, plain, result};

#[test]
fn what_the_older_connection_ran_ends_as_by_its_death_and_the_newcomer_is_called_at_once() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut older = Peer::join(at, "provider", &nothing());
    older.register(&["f"]).unwrap();
    let once = caller.call("f", b"once", plain());
    let again = caller.call("f", b"again", idempotent());
    let asked = older.invoked(2);

    let greeting = Greeting::new("provider", &nothing()).with_session_of(&older);
    let mut newer = Peer::greet(at, &greeting);
    assert!(newer.welcome().taken_over);
    let ending = caller.outcome(once);
    assert_eq!(failed(&ending), ("provider_gone", Executed::Maybe));
    // The functions have never left: before it has registered anything, it is asked.
    let id = caller.call("f", b"new", plain());
    let asked_again = newer.invoked(2);
    let payloads: Vec<_> = asked_again.iter().map(|it| &it.payload[..]).collect();
    assert_eq!(payloads, [&b"again"[..], b"new"]);
    // It answers what it was asked on the older connection: that answer is dropped.
    newer.answer(asked[0].id, b"of the older connection");
    newer.ping();
    assert!(caller.still_waits_for(id) && caller.still_waits_for(again));
    for (asked, payload) in asked_again.iter().zip([&b"again"[..], b"new"]) {
        newer.answer(asked.id, payload);
    }
    assert_eq!(caller.outcome(again), result(b"again"));
    assert_eq!(caller.outcome(id), result(b"new"));
    older.read_to_end();
    let (code, ..) = older.reader.goodbye.unwrap();
    assert_eq!(code, "session_taken_over");
    assert_eq!(dropped(&server), [("unknown_answer", 1)]);
}

#[test]
fn what_the_older_connection_called_is_cancelled() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let mut older = Peer::join(at, "caller", &nothing());
    older.call("f", b"", plain());
    let asked = provider.next_invoke(0);
    let greeting = Greeting::new("caller", &nothing()).with_session_of(&older);
    let mut newer = Peer::greet(at, &greeting);
    provider.read_until("CANCEL", |reader| reader.cancels() == [asked.id]);
    // The newcomer's ids are its own: the first one is free.
    let id = newer.call("f", b"", plain());
    let asked_by_newer = provider.next_invoke(1);
    provider.answer(asked.id, b"for nobody");
    provider.answer(asked_by_newer.id, b"for the newcomer");
    assert_eq!(newer.outcome(id), result(b"for the newcomer"));
    older.read_to_end();
    assert!(older.reader.call_endings.is_empty());
    until("nothing is in flight", || {
        server.stats().unwrap().calls == 0
    });
}
