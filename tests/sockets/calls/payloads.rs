//! Payloads pass as they are, both ways, of any size up to the limit and at any reader's pace; beyond the
//! limit the call fails and nothing else does.

use std::io::Write;
use std::sync::mpsc::channel;
use std::thread;

use callboard::protocol::Executed;

use crate::client::serve;
use crate::peer::{Peer, nothing, patient};
use crate::talk::{answer_frame, failed, plain, result, waiting};

const MIB: usize = 1024 * 1024;

/// Bytes that tell where they stand, and from whom they are.
fn bytes(len: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn reversed(mut payload: Vec<u8>) -> Vec<u8> {
    payload.reverse();
    payload
}

#[test]
fn payloads_pass_byte_for_byte_both_ways() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    for (round, len) in [0, 1, 255, 256, 65_535, 65_536, MIB - 1, MIB]
        .into_iter()
        .enumerate()
    {
        let id = caller.call("f", &bytes(len, round), plain());
        let asked = provider.next_invoke(round);
        assert!(
            asked.payload == bytes(len, round),
            "{len} bytes to the provider"
        );
        provider.answer(asked.id, &reversed(asked.payload));
        let ending = caller.outcome(id);
        assert!(
            ending == result(&reversed(bytes(len, round))),
            "{len} bytes back"
        );
    }
}

#[test]
fn payloads_pass_byte_for_byte_when_both_ends_read_slowly() {
    const CALLS: usize = 12;
    let server = serve(patient());
    let at = &server.addresses()[0];
    // Small buffers and no reader: bytes that do not fit stay in the engine, and more waits.
    let mut caller = Peer::join_narrow(at, "caller", &nothing());
    let mut provider = Peer::join_narrow(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let mut quick = Peer::join(at, "quick", &nothing());
    let mut other = Peer::join(at, "other", &nothing());
    other.register(&["other::f"]).unwrap();
    let len = |n: usize| if n.is_multiple_of(3) { 64 * 1024 } else { MIB };
    let ids: Vec<u64> = (0..CALLS)
        .map(|n| caller.call("f", &bytes(len(n), n), waiting()))
        .collect();
    // Meanwhile others are served as ever.
    let id = quick.call("other::f", b"", plain());
    let asked = other.next_invoke(0);
    other.answer(asked.id, b"at once");
    assert_eq!(quick.outcome(id), result(b"at once"));

    // The engine does not read a connection that does not read: the test must not wait for its answers
    // before it reads on.
    let mut socket = provider.socket.try_clone().unwrap();
    let (answers, due) = channel::<Vec<u8>>();
    let writer = thread::spawn(move || due.iter().try_for_each(|frame| socket.write_all(&frame)));
    for n in 0..CALLS {
        let asked = provider.next_invoke(n);
        assert!(asked.payload == bytes(len(n), n), "call {n}");
        let answer = answer_frame(asked.id, &reversed(asked.payload));
        answers.send(answer).unwrap();
    }
    drop(answers);
    for (n, id) in ids.into_iter().enumerate() {
        let ending = caller.outcome(id);
        assert!(ending == result(&reversed(bytes(len(n), n))), "call {n}");
    }
    writer.join().unwrap().unwrap();
    assert_eq!(server.stats().unwrap().retained_bytes, 0);
}

#[test]
fn a_payload_over_the_limit_fails_that_call_alone() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Peer::join(at, "caller", &nothing());
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let before = caller.call("f", b"before", plain());
    let ending = caller.call_out("f", &bytes(MIB + 1, 0), plain());
    assert_eq!(failed(&ending), ("payload_too_large", Executed::No));
    assert_eq!(provider.invokes_until_now(), 1);

    let large = caller.call("f", b"large", plain());
    let asked = provider.invoked(2);
    provider.answer(asked[1].id, &bytes(MIB + 1, 1));
    let ending = caller.outcome(large);
    assert_eq!(failed(&ending), ("payload_too_large", Executed::Maybe));
    // Both connections live on, and so does the call before; the provider has its place again.
    provider.answer(asked[0].id, b"after all");
    assert_eq!(caller.outcome(before), result(b"after all"));
    assert_eq!(server.stats().unwrap().calls, 0);
}
