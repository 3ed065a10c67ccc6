//! An engine that stands still for longer than a peer may be silent, with its usual deadlines: it expires no
//! connection that kept the rules when it resumes.

use std::time::Duration;

use callboard::protocol::Ping;

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::Engine;
use crate::machine::{alone, require_descriptors};
use crate::peer::{Peer, all, nothing};

/// The engine takes a peer for gone after 15 s.
const PAUSE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "heavy: the engine stands still for 20 s"]
fn an_engine_that_stood_still_for_20_s_expires_no_connection() {
    const EACH: usize = 500;
    let _alone = alone();
    require_descriptors(2000);
    // Silence has its usual limit. HELLO has longer: so many take their time on a slow machine.
    let engine = Engine::start(10, &["--hello-timeout=120000"]);
    let mut crowd = Crowd::new(engine.socket_address());
    // The first half talks on meanwhile, as those do who have something to say; the other has nothing to
    // answer.
    for n in 0..2 * EACH {
        crowd.add(Sight::strict(&all()), Some(format!("pause::{n:04}")));
    }
    crowd.read_until("an answer", |member| member.registered().is_some());
    let revision = change(&engine, "before");
    crowd.read_until("the change", |member| member.mine() >= revision);

    engine.stop();
    // They come while it stands still, and wait for as long as it does.
    for _ in 0..EACH {
        crowd.add(Sight::strict(&all()), None);
    }
    for _ in 0..10 {
        crowd.say(EACH, &Ping::default().to_frame());
        crowd.watch_for(PAUSE / 10);
    }
    engine.go_on();

    crowd.read_until("the board, for newcomers too", Member::is_synced);
    // Those who were silent are asked now; longer than a PING takes to come.
    crowd.watch_for(PAUSE / 3);
    let revision = change(&engine, "after");
    crowd.read_until("the change", |member| member.mine() >= revision);
    for member in &crowd.members {
        assert!(member.ended.is_none(), "{:?}", member.goodbye());
        let names = member.reader().expect("eyes").view.functions.len();
        assert_eq!(names, 2 * EACH, "nobody was taken off the board");
    }
    let closed = engine.stats()["closed"].clone();
    assert!(closed["silent"].is_nil(), "{closed}");
}

/// A worker connects, registers a function, unregisters it, and leaves. Returns the last revision.
fn change(engine: &Engine, name: &str) -> u64 {
    let mut peer = Peer::join(&engine.address(), name, &nothing());
    peer.register(&[name]).unwrap();
    peer.unregister(&[name]).unwrap()
}
