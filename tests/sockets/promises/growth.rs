//! Room to grow: what a newer peer says beyond this version is skipped or answered with a type, never dropped
//! in silence and never a reason to close.

use rmpv::Value;

use crate::client::{framed, serve};
use crate::peer::{Peer, all, patient};
use crate::reader::Reader;

/// A frame of these elements.
fn frame(elements: Vec<Value>) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, &Value::Array(elements)).unwrap();
    framed(&body)
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    let own = |(key, value): (&str, Value)| (Value::from(key), value);
    Value::Map(entries.into_iter().map(own).collect())
}

/// Things that no version knows yet.
fn newer() -> Value {
    map(vec![
        (
            "newer",
            Value::Array(vec![1.into(), Value::Nil, Value::F64(0.5)]),
        ),
        ("deeper", map(vec![("on", map(vec![("and", "on".into())]))])),
    ])
}

/// The elements, an extensions map with an unknown key, and elements behind it.
fn grown(mut elements: Vec<Value>) -> Vec<u8> {
    elements.extend([newer(), Value::from("behind"), Value::Nil, newer()]);
    frame(elements)
}

fn definition(name: &str) -> Value {
    map(vec![("name", name.into()), ("newer", newer())])
}

#[test]
fn frames_with_further_elements_and_unknown_keys_are_read() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut watcher = Peer::join(at, "watcher", &all());
    let mut peer = Peer::connect(at, Reader::new(all()));
    let watch = map(vec![
        ("functions", Value::Array(vec!["".into()])),
        ("newer_section", Value::Array(vec!["x".into()])),
    ]);
    let hello = vec![
        64.into(),
        Value::Array(vec![1.into(), 9.into()]),
        "newer".into(),
        "default".into(),
        map(vec![
            ("newer", newer()),
            ("watch", watch),
            ("newest", 7.into()),
        ]),
        "behind".into(),
        newer(),
    ];
    peer.send(&frame(hello));
    peer.sync();
    let batch = |id: u64, names: &[&str]| {
        let functions = names.iter().map(|name| definition(name)).collect();
        grown(vec![
            1.into(),
            id.into(),
            false.into(),
            Value::Array(functions),
        ])
    };
    peer.send(&batch(1, &["f::a", "f::b"]));
    assert_eq!(peer.ending(1), Ok(1));
    peer.send(&grown(vec![
        2.into(),
        2.into(),
        Value::Array(vec!["f::a".into()]),
    ]));
    assert_eq!(peer.ending(2), Ok(2));
    peer.send(&grown(vec![3.into(), 3.into()]));
    assert_eq!(peer.ending(3), Ok(2));
    peer.send(&grown(vec![67.into(), 2.into()]));
    peer.read_until("PONG", |reader| reader.pongs == 1);
    peer.send(&grown(vec![68.into(), 2.into()]));
    watcher.catch_up(2);
    assert_eq!(watcher.names(), ["f::b"]);
    peer.send(&grown(vec![66.into(), "bye".into(), "".into()]));
    peer.read_to_end();
    assert_eq!(peer.reader.goodbye, None, "a farewell is not answered");
}

#[test]
fn unknown_requests_are_answered_and_other_unknown_kinds_ignored() {
    let server = serve(patient());
    let mut peer = Peer::join(&server.addresses()[0], "newer", &all());
    let known = |kind: u64| {
        callboard::protocol::Message::KINDS
            .iter()
            .any(|it| it.1 == kind)
    };
    let requests: Vec<u64> = (0..64).filter(|&kind| !known(kind)).collect();
    assert!(requests.contains(&63));
    for &kind in &requests {
        let id = kind + 1000;
        peer.send(&grown(vec![kind.into(), id.into(), "what".into()]));
        let (code, message) = peer.ending(id).unwrap_err();
        assert_eq!(code, "unsupported", "kind {kind}");
        assert!(message.contains(&kind.to_string()), "{message}");
    }
    for kind in (64..128)
        .filter(|&kind| !known(kind))
        .chain([1000, u64::MAX])
    {
        peer.send(&grown(vec![kind.into(), "what".into()]));
        peer.send(&frame(vec![kind.into(), 5.into()]));
    }
    // All that was said is read by now, and nothing was answered to it.
    peer.ping();
    assert_eq!(peer.reader.endings.len(), requests.len());
    assert_eq!(peer.register(&["still::served"]), Ok(1));
}
