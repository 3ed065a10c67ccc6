//! Providers that die with calls in flight.

use callboard::address::Address;
use callboard::protocol::{CallOptions, Executed};

use crate::client::{serve, until};
use crate::peer::{Peer, nothing, patient};
use crate::process::Process;
use crate::reader::CallEnding;
use crate::talk::{failed, idempotent, plain, result, waiting};

const CALLERS: usize = 4;
const CALLS: usize = 250;

/// A process that provides `doomed::00000` and reads nothing.
fn doomed(at: &Address) -> Process {
    let process = Process::start(&format!("worker {at} doomed doomed:: 1"));
    assert_eq!(process.line(), "registered");
    process
}

#[test]
fn kill_9_with_a_thousand_calls_in_flight_fails_each_and_idempotent_ones_succeed_elsewhere() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut doomed = doomed(at);
    let mut callers: Vec<_> = (0..CALLERS)
        .map(|n| Peer::join(at, &format!("caller {n}"), &nothing()))
        .collect();
    for caller in &mut callers {
        for n in 0..CALLS {
            let again = n % 2 == 0;
            let payload = n.to_string();
            let options = if again { idempotent() } else { plain() };
            caller.call("doomed::00000", payload.as_bytes(), options);
        }
    }
    let in_flight = (CALLERS * CALLS) as u64;
    until("all calls are in flight", || {
        server.stats().unwrap().calls == in_flight
    });
    let mut survivor = Peer::join(at, "survivor", &nothing());
    survivor.register(&["doomed::00000"]).unwrap();

    doomed.kill();
    for asked in survivor.invoked(CALLERS * CALLS / 2) {
        let payload = [&asked.payload, asked.caller_name.as_bytes()].concat();
        survivor.answer(asked.id, &payload);
    }
    for (which, caller) in callers.iter_mut().enumerate() {
        for n in 0..CALLS {
            let ending = caller.outcome(1 + n as u64);
            if n % 2 == 0 {
                let name = format!("{n}caller {which}");
                assert_eq!(ending, result(name.as_bytes()));
            } else {
                assert_eq!(failed(&ending), ("provider_gone", Executed::Maybe));
                let CallEnding::Failure(failure) = ending else {
                    unreachable!()
                };
                assert!(failure.retryable);
            }
        }
    }
    let stats = server.stats().unwrap();
    assert_eq!((stats.calls, stats.retained_bytes), (0, 0));
    assert_eq!(stats.endings["result"], in_flight / 2);
    assert_eq!(stats.endings["provider_gone"], in_flight / 2);
    assert_eq!(survivor.invokes_until_now(), CALLERS * CALLS / 2);
}

#[test]
fn an_idempotent_call_that_waits_survives_the_last_provider() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut doomed = doomed(at);
    let mut caller = Peer::join(at, "caller", &nothing());
    let keeps = CallOptions {
        idempotent: true,
        ..waiting()
    };
    let patient = caller.call("doomed::00000", b"1", keeps);
    let brief = caller.call("doomed::00000", b"2", idempotent());
    let waits = caller.call("doomed::00000", b"3", waiting());
    until("all calls are in flight", || {
        server.stats().unwrap().calls == 3
    });
    doomed.kill();
    // No provider is left: calls that may not wait or may not run twice fail.
    for id in [brief, waits] {
        let ending = caller.outcome(id);
        assert_eq!(failed(&ending), ("provider_gone", Executed::Maybe));
    }
    assert!(caller.still_waits_for(patient));
    let mut heir = Peer::join(at, "heir", &nothing());
    heir.register(&["doomed::00000"]).unwrap();
    let asked = heir.next_invoke(0);
    assert_eq!(asked.payload, b"1");
    heir.answer(asked.id, b"done");
    assert_eq!(caller.outcome(patient), result(b"done"));
}

#[test]
fn a_caller_that_dies_has_its_calls_cancelled_and_holds_no_other_up() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join_with_capacity(at, "provider", &nothing(), 2);
    provider.register(&["f"]).unwrap();
    let mut dies = Peer::join(at, "dies", &nothing());
    let mut lives = Peer::join(at, "lives", &nothing());
    dies.call("f", b"1", plain());
    dies.call("f", b"2", plain());
    dies.call("f", b"3", waiting());
    let asked = provider.invoked(2);
    until("one waits", || server.stats().unwrap().parked == 1);
    let id = lives.call("f", b"4", waiting());
    until("two wait", || server.stats().unwrap().parked == 2);
    dies.reset();
    provider.read_until("CANCEL", |reader| reader.cancels().len() == 2);
    let ids: Vec<u64> = asked.iter().map(|it| it.id).collect();
    assert_eq!(provider.reader.cancels(), ids);
    // A cancelled call holds its place until it is answered.
    assert_eq!(provider.invokes_until_now(), 2);
    provider.answer(ids[0], b"nobody wants it");
    let next = provider.next_invoke(2);
    assert_eq!(next.payload, b"4");
    provider.answer(next.id, b"");
    assert_eq!(lives.outcome(id), result(b""));
}
