//! Several workers with the same function: shared ones stay while any provider lives, exclusive ones take no
//! second.

use callboard::protocol::{Definition, Text};

use super::proxy::Proxy;
use crate::client::serve;
use crate::peer::{Greeting, Peer, all, both, nothing, numbered, patient, plain};
use crate::reader::{Reader, WatchFilter, digest};

/// A worker's connection through the proxy.
fn join_through(proxy: &mut Proxy, name: &str, filter: &WatchFilter) -> Peer {
    let mut peer = Peer::connect(proxy.address(), Reader::new(filter.clone()));
    proxy.carry();
    peer.send(&Greeting::new(name, filter).frame());
    peer.sync();
    peer
}

#[test]
fn without_a_session_key_functions_stay_while_either_provider_lives() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let names = numbered("twin::", 10_000);
    let mut watcher = Peer::join(at, "watcher", &all());
    let mut detailed = Peer::join(at, "detailed", &both());

    // The engine does not know that the first of the two is gone from its end of the network.
    let mut proxy = Proxy::before(at);
    let mut older = join_through(&mut proxy, "twin", &nothing());
    let come = older.register(&names).unwrap();
    let mut newer = Peer::join(at, "twin", &nothing());
    assert_ne!(newer.welcome().worker, older.welcome().worker);
    let doubled = newer.register(&names).unwrap();
    assert_eq!(newer.ready(), Ok(doubled), "READY changes nothing here");
    watcher.catch_up(doubled);
    detailed.catch_up(doubled);
    assert_eq!(watcher.names(), names);
    assert_eq!(
        watcher.reader.steps.len(),
        1,
        "only the first provider is news"
    );
    assert_eq!((come, doubled), (1, 2));
    let ids = |peer: &Peer| peer.view().workers.keys().copied().collect::<Vec<_>>();
    let (first, second) = (older.welcome().worker, newer.welcome().worker);
    assert_eq!(ids(&detailed), [first, second]);

    // Now it is told.
    proxy.finish_late();
    detailed.read_until("the first leaves", |reader| reader.mine == 3);
    assert_eq!(ids(&detailed), [second]);
    assert_eq!(detailed.names(), names);
    watcher.catch_up(3);
    assert_eq!(watcher.reader.steps.len(), 1);
    assert_eq!(watcher.names(), names);

    drop(newer);
    watcher.read_until("the second leaves", |reader| reader.mine == 4);
    assert!(watcher.names().is_empty());
    assert_eq!(watcher.reader.steps.len(), 2);
    drop(proxy);
}

#[test]
fn the_longest_standing_providers_entry_is_shown() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut watcher = Peer::join(at, "watcher", &all());
    let described = |text: &'static str| Definition {
        description: Text(text),
        ..plain("f")
    };
    let mut workers = Vec::new();
    for text in ["first", "second", "third"] {
        let mut worker = Peer::join(at, text, &nothing());
        let revision = worker.register_all(vec![described(text)]).unwrap();
        watcher.catch_up(revision);
        assert_eq!(watcher.view().functions["f"], digest(&described("first")));
        workers.push(worker);
    }
    // One behind the first changes nothing that is shown.
    let third = workers.pop().unwrap();
    let steps = watcher.reader.steps.len();
    drop(third);
    let first = &mut workers[0];
    let revision = first.register_all(vec![described("first again")]).unwrap();
    watcher.catch_up(revision);
    assert_eq!(watcher.reader.steps.len(), steps + 1);
    assert_eq!(
        watcher.view().functions["f"],
        digest(&described("first again"))
    );
    let second = digest(&described("second"));
    drop(workers.remove(0));
    watcher.read_until("the next entry", |reader| {
        assert!(reader.view.functions.contains_key("f"), "it was never gone");
        reader.view.functions["f"] == second
    });
}

#[test]
fn exclusive_is_refused_with_the_owner_named() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let exclusive = |name: &'static str| Definition {
        exclusive: true,
        ..plain(name)
    };
    let mut watcher = Peer::join(at, "watcher", &all());
    let mut owner = Peer::join(at, "the-owner", &nothing());
    let functions = vec![exclusive("only"), plain("any")];
    let revision = owner.register_all(functions).unwrap();
    let mut other = Peer::join(at, "other", &nothing());
    for (what, batch) in [
        ("a second provider", vec![plain("fresh"), plain("only")]),
        ("two that insist", vec![plain("fresh"), exclusive("only")]),
        (
            "one that comes late",
            vec![plain("fresh"), exclusive("any")],
        ),
    ] {
        let (code, message) = other.register_all(batch).unwrap_err();
        assert_eq!(code, "exclusive", "{what}");
        assert!(message.contains("the-owner"), "{what}: {message}");
    }
    // The owner itself may say it again, and may give it up.
    assert_eq!(owner.register_all(vec![exclusive("only")]), Ok(revision));
    assert_eq!(
        other.ready(),
        Ok(revision),
        "nothing of the batches is there"
    );
    watcher.catch_up(revision);
    assert_eq!(watcher.names(), ["any", "only"]);
    drop(owner);
    watcher.read_until("the owner leaves", |reader| reader.mine > revision);
    let revision = other.register_all(vec![exclusive("only")]).unwrap();
    watcher.catch_up(revision);
    assert_eq!(watcher.names(), ["only"]);
}
