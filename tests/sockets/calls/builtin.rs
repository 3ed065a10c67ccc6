//! The engine's own functions, called as any other: what they list, page by page, and what they count.

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{Bin, Bind, BindingEntry, CallOptions, Definition, Executed, Text};
use rmpv::Value;
use serde_json::{Value as Json, json};

use crate::client::{Client, serve};
use crate::peer::{Peer, all, nothing, numbered, patient};
use crate::reader::CallEnding;
use crate::talk::{failed, plain, result};

/// What one of the engine's functions gives.
fn ask(peer: &mut Peer, function: &str, arguments: &Json) -> Value {
    let payload = rmp_serde::to_vec_named(arguments).unwrap();
    match peer.call_out(function, &payload, plain()) {
        CallEnding::Result(payload) => {
            let mut rest = &payload[..];
            let value = rmpv::decode::read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
            value
        }
        CallEnding::Failure(failure) => panic!("{function}: {failure:?}"),
    }
}

/// The rows of all pages, at most `limit` a page, and how many pages there were.
fn walk(peer: &mut Peer, function: &str, prefix: &str, limit: usize) -> (Vec<Value>, usize) {
    let mut arguments = json!({"prefix": prefix, "limit": limit});
    let (mut rows, mut pages) = (Vec::new(), 0);
    loop {
        let page = ask(peer, function, &arguments);
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= limit);
        rows.extend(entries.iter().cloned());
        pages += 1;
        match page["next"].as_str() {
            Some(next) => arguments["after"] = next.into(),
            None => return (rows, pages),
        }
    }
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect()
}

fn bind(at: &Address, name: &str, events: &[String]) -> Client {
    let mut client = Client::join(at, name);
    let bindings = events.iter().map(|event| BindingEntry {
        event: Text(event),
        function: Text("f"),
        ..BindingEntry::default()
    });
    let id = client.new_id();
    let bind = Bind {
        id,
        bindings: bindings.collect(),
        ..Bind::default()
    };
    client.send(&bind.to_frame());
    client.answer(id).unwrap();
    client
}

#[test]
fn functions_are_listed_page_by_page_with_their_providers() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut first = Peer::join_with_capacity(at, "first", &nothing(), 7);
    let mut second = Peer::join(at, "second", &nothing());
    let listed = numbered("page::", 25);
    first.register(&listed).unwrap();
    second.register(&["page::00003", "zebra"]).unwrap();
    let mut client = Peer::join(at, "client", &all());
    let here = CallOptions {
        worker: Some(first.welcome().worker),
        ..plain()
    };
    let running = client.call("page::00003", b"", here);
    let asked = first.next_invoke(0);

    let (rows, pages) = walk(&mut client, "engine::functions::list", "page::", 10);
    assert_eq!(
        (names(&rows), pages),
        (listed.iter().map(|it| &**it).collect(), 3)
    );
    let providers = rows[3]["providers"].as_array().unwrap();
    let summary: Vec<_> = providers
        .iter()
        .map(|it| {
            let number = |key: &str| it[key].as_u64().unwrap();
            let name = it["name"].as_str().unwrap();
            (name, number("in_flight"), number("capacity"))
        })
        .collect();
    assert_eq!(summary, [("first", 1, 7), ("second", 0, 1000)]);
    assert_eq!(rows[4]["providers"].as_array().unwrap().len(), 1);
    // A page that is full and the last one says so.
    let (rows, pages) = walk(&mut client, "engine::functions::list", "page::", 5);
    assert_eq!((rows.len(), pages), (25, 5));
    let (rows, _) = walk(&mut client, "engine::functions::list", "", 1000);
    assert_eq!(names(&rows).last(), Some(&"zebra"));
    let page = ask(&mut client, "engine::functions::list", &Json::Null);
    assert_eq!(page["entries"].as_array().unwrap().len(), 26);
    assert_eq!(page["revision"].as_u64(), Some(client.reader.mine));
    first.answer(asked.id, b"");
    assert_eq!(client.outcome(running), result(b""));
    // They are on no board.
    assert!(
        !client
            .names()
            .iter()
            .any(|name| name.starts_with("engine::"))
    );
}

#[test]
fn workers_and_bindings_are_listed_page_by_page() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f", "g"]).unwrap();
    let events = numbered("event.", 12);
    let binders = [
        bind(at, "binder", &events),
        bind(at, "binder", &events[..1]),
    ];
    let mut client = Peer::join(at, "client", &nothing());

    let (rows, pages) = walk(&mut client, "engine::workers::list", "", 2);
    assert_eq!(
        (names(&rows), pages),
        (vec!["provider", "binder", "binder"], 2)
    );
    let counts = |row: &Value| (row["functions"].as_u64(), row["bindings"].as_u64());
    assert_eq!(counts(&rows[0]), (Some(2), Some(0)));
    assert_eq!(counts(&rows[1]), (Some(0), Some(12)));
    assert_eq!(rows[0]["worker"].as_u64(), Some(provider.welcome().worker));
    assert!(rows[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let (rows, _) = walk(&mut client, "engine::workers::list", "prov", 2);
    assert_eq!(names(&rows), ["provider"]);

    let (rows, pages) = walk(&mut client, "engine::bindings::list", "event.", 5);
    let listed: Vec<_> = rows
        .iter()
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        (listed, pages),
        (events.iter().map(|it| &**it).collect(), 3)
    );
    assert_eq!(rows[0]["workers"].as_array().unwrap().len(), 2);
    assert_eq!(rows[1]["workers"].as_array().unwrap().len(), 1);
    drop(binders);
}

#[test]
fn stats_count_what_happened() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut provider = Peer::join(at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let mut client = Peer::join(at, "client", &nothing());
    let id = client.call("f", b"", plain());
    let asked = provider.next_invoke(0);
    let ending = client.call_out("nobody::f", b"", plain());
    assert_eq!(failed(&ending), ("no_such_function", Executed::No));
    let stats = ask(&mut client, "engine::stats", &Json::Null);
    let number = |key: &str| stats[key].as_u64().unwrap_or_else(|| panic!("{key}"));
    assert_eq!((number("connections"), number("functions")), (2, 1));
    assert_eq!((number("workers"), number("calls")), (1, 1));
    assert!(number("bytes_in") > 0 && number("frames_out") > 0);
    provider.answer(asked.id, b"");
    assert_eq!(client.outcome(id), result(b""));
    let stats = ask(&mut client, "engine::stats", &Json::Null);
    assert_eq!(stats["calls"].as_u64(), Some(0));
    assert!(stats["endings"]["result"].as_u64().unwrap() > 0);
    // The server has a clock, and tells.
    assert!(stats["turns"].as_u64().unwrap() > 0);
    for window in ["turn_us", "recent_turn_us"] {
        let times = ["p50", "p90", "p99", "p999", "max"].map(|key| stats[window][key].as_u64());
        assert!(
            times.is_sorted() && times[4] > Some(0),
            "{window}: {times:?}"
        );
    }
}

#[test]
fn what_the_engine_cannot_read_or_does_not_have_fails_by_name() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut client = Peer::join(at, "client", &nothing());
    for payload in [&b"\xc1"[..], b"\x81\xa5limit\xa1x", b"text", &[0x91; 5000]] {
        let ending = client.call_out("engine::functions::list", payload, plain());
        assert_eq!(failed(&ending), ("invalid_argument", Executed::No));
    }
    let ending = client.call_out("engine::no::such", b"", plain());
    assert_eq!(failed(&ending), ("no_such_function", Executed::No));
    client.ping();
}

#[test]
fn a_function_of_very_many_providers_is_listed_within_a_payload() {
    let limits = Limits {
        max_payload: 16 * 1024,
        ..patient()
    };
    let server = serve(limits);
    let at = &server.addresses()[0];
    let name = "n".repeat(250);
    let providers: Vec<_> = (0..80)
        .map(|_| {
            let mut provider = Client::join(at, &name);
            provider.register(&["f"]).unwrap();
            provider
        })
        .collect();
    let mut client = Peer::join(at, "client", &nothing());
    let page = ask(&mut client, "engine::functions::list", &Json::Null);
    let row = &page["entries"][0];
    let listed = row["providers"].as_array().unwrap().len();
    let more = row["more_providers"].as_u64().unwrap() as usize;
    assert!(listed > 0 && more > 0);
    assert_eq!(listed + more, providers.len());
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, &page).unwrap();
    assert!(payload.len() <= 16 * 1024, "{} bytes", payload.len());
}

#[test]
fn a_binding_of_very_many_workers_is_listed_within_a_payload() {
    let limits = Limits {
        max_payload: 1024,
        ..patient()
    };
    let server = serve(limits);
    let at = &server.addresses()[0];
    let binders: Vec<_> = (0..40).map(|_| bind(at, "b", &["e".to_owned()])).collect();
    let mut client = Peer::join(at, "client", &nothing());
    let page = ask(&mut client, "engine::bindings::list", &Json::Null);
    let row = &page["entries"][0];
    let listed = row["workers"].as_array().unwrap().len();
    let more = row["more_workers"].as_u64().unwrap() as usize;
    assert_eq!((listed, listed + more), (1024 / 4 / 9, binders.len()));
}

#[test]
fn a_page_fills_half_a_payload_at_the_most_and_the_walk_goes_on_behind_it() {
    let limits = Limits {
        max_payload: 64 * 1024,
        ..patient()
    };
    let server = serve(limits);
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    let metadata = vec![7; 10_000];
    let names = numbered("large::", 20);
    let large = names.iter().map(|name| Definition {
        name: Text(name),
        metadata: Bin(&metadata),
        ..Definition::default()
    });
    worker.register_all(large.collect()).unwrap();
    let mut client = Peer::join(at, "client", &nothing());
    let mut arguments = json!({});
    let mut seen = Vec::new();
    loop {
        let page = ask(&mut client, "engine::functions::list", &arguments);
        let mut payload = Vec::new();
        rmpv::encode::write_value(&mut payload, &page).unwrap();
        assert!(payload.len() <= 33 * 1024, "{} bytes", payload.len());
        let entries = page["entries"].as_array().unwrap();
        seen.extend(
            entries
                .iter()
                .map(|it| it["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => arguments["after"] = next.into(),
            None => break,
        }
    }
    assert_eq!(seen, names);
}
