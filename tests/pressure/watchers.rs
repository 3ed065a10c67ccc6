//! Ten thousand connections that all watch the board while it changes: each view is right at the end, and
//! the engine's memory is bounded.

use std::collections::BTreeMap;
use std::thread;

use callboard::address::Address;

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::{Engine, PATIENT};
use crate::machine::{SLACK, alone, require_descriptors, wanted};
use crate::peer::{Peer, all, nothing, plain};
use crate::reader::{View, digest};

/// A connection's own part of the engine's memory: what docs/COSTS.md says of an idle one, four times, for the
/// allocator's sake.
const CONNECTION: u64 = 4 * 1024;

/// Functions that stay on the board whatever is done to it.
const STEADY: usize = 200;

#[test]
fn a_few_hundred_watchers_have_the_right_view_under_churn() {
    churn(300, 60);
}

#[test]
#[ignore = "heavy: 10,000 connections"]
fn ten_thousand_watchers_have_the_right_view_under_churn() {
    let _alone = alone();
    let watchers = wanted("CALLBOARD_WATCHERS", 10_000);
    require_descriptors(watchers + 200);
    churn(watchers, 40);
}

fn churn(watchers: u64, rounds: usize) {
    let engine = Engine::start(10, PATIENT);
    let at = engine.address();
    let mut steady = Peer::join(&at, "steady", &nothing());
    let names: Vec<String> = (0..STEADY).map(|n| format!("steady::{n:03}")).collect();
    steady.register(&names).unwrap();
    let mut crowd = Crowd::new(engine.socket_address());
    let first = engine.memory();
    // Some come before the churn, some into it.
    let (early, late) = (watchers * 4 / 5, watchers / 5);
    for _ in 0..early {
        crowd.add(Sight::strict(&all()), None);
    }
    crowd.read_until("the whole board", Member::is_synced);
    let joined = engine.memory();
    let weight = joined.saturating_sub(first);
    assert!(
        weight <= early * CONNECTION + SLACK,
        "{early} connections weigh {weight} bytes"
    );

    let churning = thread::spawn(move || (act(&at, rounds), steady));
    for _ in 0..late {
        crowd.add(Sight::strict(&all()), None);
    }
    crowd.watch_until("the end of the churn", |_| churning.is_finished());
    let (last, _steady) = churning.join().expect("the churn went well");
    crowd.read_until("the last revision", |member| {
        member.is_synced() && member.mine() >= last.revision
    });
    for member in &crowd.members {
        assert_eq!(member.reader().expect("it looks").view, last.view);
    }
    let after = engine.memory();
    let log = engine.count("log_bytes") + engine.count("cache_bytes");
    let bound = watchers * CONNECTION + log + SLACK;
    let grown = after.saturating_sub(first);
    assert!(
        grown <= bound,
        "{grown} bytes more than before, not {bound}"
    );
    assert_eq!(engine.count("behind"), 0);
    println!(
        "{watchers} watchers: {} KiB before, {} KiB with all, {} KiB after {} revisions (log and cache \
         {} KiB)",
        first / 1024,
        joined / 1024,
        after / 1024,
        last.revision,
        log / 1024,
    );
}

/// What the board shows in the end.
struct Last {
    view: View,
    revision: u64,
    /// Of what the churn left: its end would be one more change.
    _provider: Peer,
}

/// Changes the board by what workers do: register, describe again, unregister, leave in every way.
fn act(at: &Address, rounds: usize) -> Last {
    let mut held: BTreeMap<usize, Peer> = BTreeMap::new();
    for round in 0..rounds {
        let name = |n: usize| format!("churn::{round:04}::{n}");
        let mut peer = Peer::join(at, "churner", &nothing());
        peer.register(&[name(0), name(1), name(2)]).unwrap();
        let mut described = plain("steady::churned");
        let text = format!("round {round}");
        described.description.0 = &text;
        peer.register_all(vec![described]).unwrap();
        peer.unregister(&[name(1)]).unwrap();
        held.insert(round, peer);
        if round % 3 == 2 {
            // One that came ten rounds ago goes.
            if let Some(peer) = round.checked_sub(10).and_then(|round| held.remove(&round)) {
                if round % 2 == 0 {
                    peer.reset();
                } else {
                    peer.finish();
                }
            }
        }
    }
    // What goes last must be gone before anybody can say what is left.
    let (_, mut provider) = held.pop_last().expect("some are left");
    let left = held.len();
    for (_, peer) in held {
        peer.reset();
    }
    let mut watcher = Peer::join(at, "witness", &all());
    watcher.read_until("all but one are gone", |reader| {
        let churned = reader.view.functions.keys();
        churned.filter(|name| name.starts_with("churn::")).count() == 2
    });
    assert!(left > 0);
    let revision = provider.register(&["churn::last"]).unwrap();
    watcher.catch_up(revision);
    let view = watcher.view().clone();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let round = rounds - 1;
    for name in [
        format!("churn::{round:04}::0"),
        format!("churn::{round:04}::2"),
        "churn::last".to_owned(),
    ] {
        expected.insert(name.clone(), digest(&plain(&name)));
    }
    for n in 0..STEADY {
        let name = format!("steady::{n:03}");
        expected.insert(name.clone(), digest(&plain(&name)));
    }
    let text = format!("round {round}");
    let mut described = plain("steady::churned");
    described.description.0 = &text;
    expected.insert("steady::churned".to_owned(), digest(&described));
    assert_eq!(view.functions, expected, "what was done is what is shown");
    Last {
        view,
        revision,
        _provider: provider,
    }
}
