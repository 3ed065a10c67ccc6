//! Only the provider that was invoked may answer, and only once: any other answer is dropped.

use callboard::protocol::{Bin, Call, CallOptions, Executed, Failure, FailureOptions, Text};

use crate::client::{serve, until};
use crate::peer::{Peer, nothing, patient};
use crate::reader::{CallEnding, CallFailure};
use crate::talk::{dropped, failed, hurried, plain, result};

#[test]
fn a_forged_foreign_doubled_or_late_result_never_reaches_a_caller() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    let mut forger = Peer::join(at, "forger", &nothing());
    provider.register(&["real::f"]).unwrap();
    forger.register(&["real::f", "forged::f"]).unwrap();
    let worker = Some(provider.welcome().worker);
    let at_provider = || CallOptions { worker, ..plain() };
    let (mut foreign, mut unknown) = (0, 0);

    // Forged and foreign: the right id from others, wrong ids from anybody.
    let id = caller.call("real::f", b"1", at_provider());
    let asked = provider.next_invoke(0);
    let wrong = [id, 0, 1, u64::MAX, asked.id + 1, asked.id ^ (1 << 32)];
    for guess in [asked.id].into_iter().chain(wrong) {
        forger.answer(guess, b"forged");
        forger.answer_failure(&Failure {
            id: guess,
            code: Text("forged"),
            ..Failure::default()
        });
        let count = if guess == asked.id {
            &mut foreign
        } else {
            &mut unknown
        };
        *count += 2;
    }
    for guess in [0, u64::MAX, asked.id + (1 << 32), asked.id + 1] {
        provider.answer(guess, b"forged");
        unknown += 1;
    }
    // Not even the caller may answer its own call, and no other connection may cancel it.
    caller.answer(asked.id, b"forged");
    forger.cancel(id);
    forger.cancel(asked.id);
    foreign += 1;
    forger.ping();
    provider.ping();
    assert!(caller.still_waits_for(id));
    assert!(provider.reader.cancels().is_empty());
    provider.answer(asked.id, b"real");
    assert_eq!(caller.outcome(id), result(b"real"));

    // Doubled: while the next call stands in the same place.
    let next = caller.call("real::f", b"2", at_provider());
    let asked_next = provider.next_invoke(1);
    provider.answer(asked.id, b"doubled");
    unknown += 1;
    provider.ping();
    assert!(caller.still_waits_for(next));

    // Late: the caller has cancelled.
    caller.cancel(next);
    assert_eq!(
        failed(&caller.outcome(next)),
        ("cancelled", Executed::Maybe)
    );
    provider.read_until("CANCEL", |reader| reader.cancels() == [asked_next.id]);
    provider.answer(asked_next.id, b"late");
    // Late: the deadline has passed.
    let hasty = caller.call(
        "real::f",
        b"3",
        CallOptions {
            worker,
            ..hurried()
        },
    );
    let asked_hastily = provider.next_invoke(2);
    let ending = caller.outcome(hasty);
    assert_eq!(failed(&ending), ("deadline_exceeded", Executed::Maybe));
    provider.read_until("CANCEL", |reader| reader.cancels().len() == 2);
    let last = caller.call("real::f", b"4", at_provider());
    let asked_last = provider.next_invoke(3);
    provider.answer(asked_hastily.id, b"late");
    provider.answer(asked_hastily.id, b"late and doubled");
    unknown += 1;
    provider.ping();
    assert!(caller.still_waits_for(last));
    provider.answer(asked_last.id, b"in time");
    assert_eq!(caller.outcome(last), result(b"in time"));
    // Each was counted for what it was.
    let reasons = [
        ("foreign_answer", foreign),
        ("late_answer", 2),
        ("late_cancel", 2),
        ("unknown_answer", unknown),
    ];
    assert_eq!(dropped(&server), reasons);
    assert_eq!(server.stats().unwrap().calls, 0);
    assert_eq!(caller.reader.call_endings.len(), 4);
}

#[test]
fn an_answer_from_before_a_reconnect_never_ends_another_call() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut first = Peer::join(at, "provider", &nothing());
    first.register(&["f"]).unwrap();
    let lost = caller.call("f", b"", plain());
    let asked = first.next_invoke(0);
    first.reset();
    let ending = caller.outcome(lost);
    assert_eq!(failed(&ending), ("provider_gone", Executed::Maybe));
    let mut second = Peer::join(at, "provider", &nothing());
    second.register(&["f"]).unwrap();
    let id = caller.call("f", b"", plain());
    let asked_again = second.next_invoke(0);
    assert_ne!(asked.id, asked_again.id);
    second.answer(asked.id, b"of the call before");
    second.ping();
    assert!(caller.still_waits_for(id));
    second.answer(asked_again.id, b"of this call");
    assert_eq!(caller.outcome(id), result(b"of this call"));
}

#[test]
fn a_function_s_own_failure_reaches_its_caller_as_it_is() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["shop::buy"]).unwrap();
    let headers = Bin(b"\x81\xa1a\xa1b");
    let options = CallOptions {
        headers,
        timeout_ms: Some(60_000),
        ..plain()
    };
    let id = caller.call("shop::buy", b"one", options);
    let asked = provider.next_invoke(0);
    assert_eq!(asked.headers, &*headers);
    assert_eq!(asked.payload, b"one");
    assert!(asked.timeout_ms <= 60_000 && asked.timeout_ms > 0);
    let from = (asked.caller, &*asked.caller_name);
    assert_eq!(from, (caller.welcome().worker, "caller"));
    // Its words are its own, even if they are the engine's too.
    provider.answer_failure(&Failure {
        id: asked.id,
        code: Text("no_such_function"),
        message: Text("sold out"),
        retryable: false,
        executed: Executed::Maybe,
        ext: FailureOptions {
            from_function: false,
            details: Bin(b"\xc0"),
        },
    });
    let ending = CallEnding::Failure(CallFailure {
        code: "no_such_function".to_owned(),
        message: "sold out".to_owned(),
        executed: Executed::Maybe,
        retryable: false,
        from_function: true,
        details: b"\xc0".to_vec(),
    });
    assert_eq!(caller.outcome(id), ending);
}

#[test]
fn a_call_id_in_flight_is_not_used_twice() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let id = caller.call("f", b"", plain());
    let asked = provider.next_invoke(0);
    let again = Call {
        id,
        function: Text("f"),
        ..Call::default()
    };
    caller.send(&again.to_frame());
    caller.read_to_end();
    let (code, message, _) = caller.reader.goodbye.clone().unwrap();
    assert_eq!(code, "protocol_error");
    assert!(message.contains(&id.to_string()), "{message}");
    provider.read_until("CANCEL", |reader| reader.cancels() == [asked.id]);
    provider.answer(asked.id, b"");
    provider.ping();
    until("the call is over", || server.stats().unwrap().calls == 0);
}
