//! Announced is callable, and gone is gone: calls at the very moment at which a function comes or leaves.

use callboard::protocol::{Executed, Text, Unregister};

use crate::client::serve;
use crate::peer::{Peer, all, nothing, patient, plain as definition, register_frame};
use crate::reader::{CallEnding, Event};
use crate::talk::{failed, plain, result};

#[test]
fn announced_is_callable_at_once_by_each_reader_of_the_change() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join(at, "provider", &nothing());
    let mut callers: Vec<_> = (0..4).map(|_| Peer::join(at, "caller", &all())).collect();
    for round in 0..25 {
        let name = format!("new::{round}");
        let id = provider.request();
        provider.send(&register_frame(id, false, vec![definition(&name)]));
        let mut calls = Vec::new();
        for caller in &mut callers {
            caller.read_until("the change", |reader| {
                reader.view.functions.contains_key(&name)
            });
            calls.push(caller.call(&name, name.as_bytes(), plain()));
        }
        for invocation in &provider.invoked(4 * (round + 1))[4 * round..] {
            assert_eq!(invocation.function, name);
            provider.answer(invocation.id, &invocation.payload);
        }
        for (caller, id) in callers.iter_mut().zip(calls) {
            assert_eq!(caller.outcome(id), result(name.as_bytes()));
        }
    }
}

#[test]
fn announced_by_a_snapshot_is_callable_at_once_too() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["old::f"]).unwrap();
    for round in 0..10 {
        let mut caller = Peer::join(at, "caller", &all());
        assert!(caller.has("old::f"));
        let id = caller.call("old::f", b"x", plain());
        let invocation = provider.next_invoke(round);
        provider.answer(invocation.id, b"y");
        assert_eq!(caller.outcome(id), result(b"y"));
    }
}

/// How a function leaves.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Unregister,
    Drain,
    Finish,
    Reset,
}

#[test]
fn a_call_that_races_the_removal_has_its_own_result_or_fails_and_never_hangs() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &all());
    let mut other_caller = Peer::join(at, "other caller", &nothing());
    let mut other = Peer::join(at, "other", &nothing());
    other.register(&["other::f"]).unwrap();
    let ways = [
        Leaving::Unregister,
        Leaving::Drain,
        Leaving::Finish,
        Leaving::Reset,
    ];
    for round in 0..80 {
        let leaving = ways[round % ways.len()];
        let name = format!("brief::{round}");
        let mut provider = Peer::join(at, "brief", &nothing());
        provider.register(&[&name]).unwrap();
        caller.read_until("the change", |reader| {
            reader.view.functions.contains_key(&name)
        });
        // Another caller's call is in flight all the time.
        let others = other_caller.call("other::f", b"", plain());

        let early = (round / ways.len()).is_multiple_of(2);
        let mut id = 0;
        if early {
            id = caller.call(&name, b"", plain());
        }
        let request = provider.request();
        match leaving {
            Leaving::Unregister => {
                let unregister = Unregister {
                    id: request,
                    names: vec![Text(&name)],
                    ..Unregister::default()
                };
                provider.send(&unregister.to_frame());
            }
            Leaving::Drain => provider.drain(),
            Leaving::Finish => provider.finish(),
            Leaving::Reset => {}
        }
        let mut provider = Some(provider);
        if let Leaving::Reset = leaving {
            provider.take().unwrap().reset();
        }
        if !early {
            id = caller.call(&name, b"", plain());
        }

        let others_invocation = other.next_invoke(round);
        other.answer(others_invocation.id, b"other");
        let mut was_invoked = false;
        // A provider that only unregisters still answers what it was asked before.
        if let (Leaving::Unregister | Leaving::Drain, Some(provider)) = (leaving, &mut provider) {
            // What it still has to run came before the engine's next word.
            provider.ping();
            let invocations: Vec<_> = provider.reader.invocations().cloned().collect();
            was_invoked = !invocations.is_empty();
            for invocation in invocations {
                provider.answer(invocation.id, name.as_bytes());
            }
        }
        match (caller.outcome(id), was_invoked) {
            (CallEnding::Result(payload), true) => assert_eq!(payload, name.as_bytes()),
            (ending, false) => match failed(&ending) {
                ("no_such_function", Executed::No) => {}
                ("provider_gone", Executed::Maybe) => {
                    assert!(matches!(leaving, Leaving::Finish | Leaving::Reset));
                }
                other => panic!("{leaving:?}: {other:?}"),
            },
            other => panic!("{leaving:?}: {other:?}"),
        }
        assert_eq!(other_caller.outcome(others), result(b"other"));
        caller.read_until("the removal", |reader| {
            !reader.view.functions.contains_key(&name)
        });
    }
    let ended = |event: &&Event| matches!(event, Event::CallEnded(..));
    assert_eq!(caller.reader.events.iter().filter(ended).count(), 80);
}
