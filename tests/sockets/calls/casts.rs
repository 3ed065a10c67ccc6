//! Casts: one provider gets each, and no result is ever reported. Also what a peer of casts and events
//! says and hears.

use callboard::protocol::{Bin, Cast, CastOptions, Message, Ping, Text};

use crate::client::{Client, serve, until};
use crate::peer::{Peer, nothing, patient};
use crate::talk::{dropped, plain, result};

/// A cast as its provider got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) function: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) caller_name: String,
    pub(crate) event: String,
    pub(crate) headers: Vec<u8>,
}

/// All casts that the engine has sent up to now. Anything else fails the test.
pub(crate) fn deliveries(client: &mut Client) -> Vec<Delivery> {
    client.send(&Ping::default().to_frame());
    let mut deliveries = Vec::new();
    loop {
        let frame = client.next();
        match frame.message() {
            Message::Pong(_) => return deliveries,
            Message::Cast(cast) => deliveries.push(Delivery {
                function: cast.function.to_string(),
                payload: cast.payload.to_vec(),
                caller_name: cast.ext.caller_name.to_string(),
                event: cast.ext.event.to_string(),
                headers: cast.ext.headers.to_vec(),
            }),
            other => panic!("neither a cast nor a PONG: {other:?}"),
        }
    }
}

fn cast(function: &str, payload: &[u8]) -> Vec<u8> {
    let cast = Cast {
        function: Text(function),
        payload: Bin(payload),
        // Whatever a caller says here, the engine knows better.
        ext: CastOptions {
            caller: 99,
            caller_name: Text("forged"),
            event: Text("forged"),
            headers: Bin(b"\x80"),
        },
    };
    cast.to_frame()
}

#[test]
fn a_cast_goes_to_one_provider_in_turn_and_is_never_answered() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut providers: Vec<_> = (0..2)
        .map(|_| {
            let mut provider = Client::join(at, "provider");
            provider.register(&["f"]).unwrap();
            provider
        })
        .collect();
    let mut caller = Client::join(at, "caller");
    for n in 0..6u8 {
        caller.send(&cast("f", &[n]));
    }
    assert_eq!(deliveries(&mut caller), [], "no answer");
    let mut payloads = Vec::new();
    for provider in &mut providers {
        let got = deliveries(provider);
        assert_eq!(got.len(), 3);
        for delivery in got {
            payloads.push(delivery.payload[0]);
            let expected = Delivery {
                function: "f".to_owned(),
                payload: delivery.payload.clone(),
                caller_name: "caller".to_owned(),
                event: String::new(),
                headers: b"\x80".to_vec(),
            };
            assert_eq!(delivery, expected);
        }
    }
    payloads.sort_unstable();
    assert_eq!(payloads, [0, 1, 2, 3, 4, 5]);
    let stats = server.stats().unwrap();
    assert_eq!((stats.casts, stats.calls), (6, 0));
    assert_eq!(dropped(&server), []);
}

#[test]
fn a_cast_that_no_provider_can_take_is_dropped_and_counted() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut caller = Client::join(at, "caller");
    caller.send(&cast("nobody::f", b""));
    caller.send(&cast("nobody::f", &vec![0; 1_048_577]));
    assert_eq!(deliveries(&mut caller), []);
    let mut reasons = vec![("cast_nobody", 1), ("cast_too_large", 1)];
    assert_eq!(dropped(&server), reasons);

    // A provider without room: its reader would panic over a cast.
    let mut full = Peer::join_with_capacity(at, "full", &nothing(), 1);
    full.register(&["full::f"]).unwrap();
    let mut other = Peer::join(at, "other", &nothing());
    let id = other.call("full::f", b"", plain());
    let asked = full.next_invoke(0);
    caller.send(&cast("full::f", b""));
    assert_eq!(deliveries(&mut caller), []);
    full.ping();
    full.answer(asked.id, b"");
    assert_eq!(other.outcome(id), result(b""));
    reasons.insert(0, ("cast_full", 1));
    until("it is counted", || dropped(&server) == reasons);
}
