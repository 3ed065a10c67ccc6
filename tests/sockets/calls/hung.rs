//! Providers that do not answer: stopped ones and silent ones. They cost their own callers their deadline.

use callboard::protocol::{CallOptions, Executed};

use crate::client::{serve, until};
use crate::peer::{Peer, all, nothing, patient};
use crate::process::Process;
use crate::talk::{failed, hurried, plain, result, waiting};

#[test]
fn a_stopped_provider_gets_no_new_call_after_its_first_deadline_while_a_healthy_one_has_room() {
    const ROOM: usize = 8;
    let server = serve(patient());
    let at = &server.addresses()[0];
    let stopped = Process::start(&format!("provider {at} stopped f"));
    assert_eq!(stopped.line(), "registered");
    let mut caller = Peer::join(at, "caller", &all());
    assert_eq!(caller.call_out("f", b"", plain()), result(b"stopped"));

    let mut healthy = Peer::join_with_capacity(at, "healthy", &nothing(), ROOM as u64);
    healthy.register(&["f"]).unwrap();
    stopped.stop();
    // Until a call to the stopped one meets its deadline, both get some.
    let mut healthy_calls = 0;
    loop {
        let id = caller.call("f", b"", hurried());
        caller.ping();
        if healthy.invokes_until_now() == healthy_calls {
            let ending = caller.outcome(id);
            assert_eq!(failed(&ending), ("deadline_exceeded", Executed::Maybe));
            break;
        }
        let asked = healthy.next_invoke(healthy_calls);
        healthy_calls += 1;
        healthy.answer(asked.id, b"healthy");
        caller.outcome(id);
    }
    for _ in 0..50 {
        let id = caller.call("f", b"", plain());
        let asked = healthy.next_invoke(healthy_calls);
        healthy_calls += 1;
        healthy.answer(asked.id, b"healthy");
        assert_eq!(caller.outcome(id), result(b"healthy"));
    }
    // Only when the healthy one is full does the stopped one get calls.
    let held: Vec<u64> = (0..ROOM).map(|_| caller.call("f", b"", plain())).collect();
    let held_by = healthy.invoked(healthy_calls + ROOM);
    let overflow = caller.call("f", b"", plain());
    caller.ping();
    assert_eq!(healthy.invokes_until_now(), healthy_calls + ROOM);
    assert!(caller.still_waits_for(overflow));

    // Resumed, it answers what it owes; late answers are dropped.
    stopped.go_on();
    assert_eq!(caller.outcome(overflow), result(b"stopped"));
    for (id, asked) in held.into_iter().zip(&held_by[healthy_calls..]) {
        healthy.answer(asked.id, b"healthy");
        assert_eq!(caller.outcome(id), result(b"healthy"));
    }
    until("nothing is in flight", || {
        server.stats().unwrap().calls == 0
    });
    // Having answered, it is as good as anybody.
    let both = [
        caller.call("f", b"", plain()),
        caller.call("f", b"", plain()),
    ];
    let asked = healthy.next_invoke(healthy_calls + ROOM);
    healthy.answer(asked.id, b"healthy");
    let mut answers: Vec<_> = both.map(|id| caller.outcome(id)).into_iter().collect();
    answers.sort_by_key(|it| *it == result(b"stopped"));
    assert_eq!(answers, [result(b"healthy"), result(b"stopped")]);
}

#[test]
fn a_provider_that_never_answers_costs_its_callers_their_deadline_and_others_nothing() {
    const ROOM: usize = 4;
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut silent = Peer::join_with_capacity(at, "silent", &nothing(), ROOM as u64);
    silent.register(&["silent::f"]).unwrap();
    let mut other = Peer::join(at, "other", &nothing());
    other.register(&["other::f"]).unwrap();
    let mut victim = Peer::join(at, "victim", &nothing());
    let mut bystander = Peer::join(at, "bystander", &nothing());

    let calls: Vec<u64> = (0..ROOM)
        .map(|_| victim.call("silent::f", b"", hurried()))
        .collect();
    // No other call waits, not even the same caller's calls to others.
    for round in 0..20 {
        let id = bystander.call("other::f", b"", plain());
        let same = victim.call("other::f", b"", plain());
        for asked in &other.invoked(2 * round + 2)[2 * round..] {
            other.answer(asked.id, b"at once");
        }
        assert_eq!(bystander.outcome(id), result(b"at once"));
        assert_eq!(victim.outcome(same), result(b"at once"));
    }
    for id in calls {
        let ending = victim.outcome(id);
        assert_eq!(failed(&ending), ("deadline_exceeded", Executed::Maybe));
    }
    let asked = silent.invoked(ROOM);
    silent.read_until("CANCEL", |reader| reader.cancels().len() == ROOM);
    // It still has what it did not answer: there is no room for more.
    let ending = victim.call_out("silent::f", b"", plain());
    assert_eq!(failed(&ending), ("overloaded", Executed::No));
    let ending = victim.call_out(
        "silent::f",
        b"",
        CallOptions {
            wait: true,
            ..hurried()
        },
    );
    assert_eq!(failed(&ending), ("deadline_exceeded", Executed::No));
    let waits = victim.call("silent::f", b"at last", waiting());
    assert!(victim.still_waits_for(waits));
    silent.answer(asked[0].id, b"late");
    let asked = silent.next_invoke(ROOM);
    assert_eq!(asked.payload, b"at last");
    silent.answer(asked.id, b"in time");
    assert_eq!(victim.outcome(waits), result(b"in time"));
}
