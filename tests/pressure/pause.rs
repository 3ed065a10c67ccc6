//! An engine that stands still for longer than anybody may be silent, with its usual deadlines: nobody who
//! kept the rules is expired when it goes on.

use std::time::{Duration, Instant};

use callboard::protocol::Ping;

use crate::crowd::{Crowd, Member, Sight};
use crate::engine::Engine;
use crate::machine::{alone, require_descriptors};
use crate::peer::{Peer, all, nothing};

/// The engine takes a peer for gone after 15 s.
const PAUSE: Duration = Duration::from_secs(20);

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "heavy: the engine stands still for 20 s"]
fn an_engine_that_stood_still_for_20_s_expires_nobody() {
    const EACH: usize = 500;
    let _alone = alone();
    require_descriptors(2000);
    let engine = Engine::start(10, &[]);
    let at = engine.socket_address();
    let (mut talkers, mut listeners) = (Crowd::new(at), Crowd::new(at));
    for n in 0..EACH {
        talkers.add(Sight::strict(&all()), Some(format!("talker::{n:03}")));
        listeners.add(Sight::strict(&all()), Some(format!("listener::{n:03}")));
    }
    let mut crowds = [talkers, listeners];
    for crowd in &mut crowds {
        crowd.read_until("an answer", |member| member.registered().is_some());
    }
    let revision = change(&engine, "before");
    until_all_know(&mut crowds, revision);

    engine.stop();
    // They come while it stands still, and wait for as long as it does.
    let mut strangers = Crowd::new(at);
    for _ in 0..EACH {
        strangers.add(Sight::lean(), None);
    }
    let [mut talkers, mut listeners] = crowds;
    for _ in 0..10 {
        // Some talk on, as those do who have something to say; the others have nothing to answer.
        talkers.say(&Ping::default().to_frame());
        talkers.watch_for(PAUSE / 10);
        listeners.watch_for(Duration::ZERO);
        strangers.watch_for(Duration::ZERO);
    }
    engine.go_on();

    strangers.read_until("a welcome", Member::is_synced);
    let mut crowds = [talkers, listeners, strangers];
    // Those who were silent are asked now; longer than a PING takes to come.
    for _ in 0..30 {
        for crowd in &mut crowds {
            crowd.watch_for(Duration::from_millis(70));
        }
    }
    let revision = change(&engine, "after");
    until_all_know(&mut crowds, revision);
    let closed = engine.stats()["closed"].clone();
    assert!(
        closed["silent"].is_nil() && closed["hello_timeout"].is_nil(),
        "{closed}"
    );
    for crowd in &crowds[..2] {
        for member in &crowd.members {
            let names = member.reader().expect("eyes").view.functions.len();
            assert_eq!(names, 2 * EACH, "nobody was taken off the board");
        }
    }
}

/// Somebody comes, registers something, takes it back, and goes. Returns the last revision.
fn change(engine: &Engine, name: &str) -> u64 {
    let mut peer = Peer::join(&engine.address(), name, &nothing());
    peer.register(&[name]).unwrap();
    peer.unregister(&[name]).unwrap()
}

fn until_all_know(crowds: &mut [Crowd], revision: u64) {
    let deadline = Instant::now() + PATIENCE;
    let mut all_know = false;
    while !all_know {
        assert!(
            Instant::now() < deadline,
            "revision {revision} does not come"
        );
        all_know = true;
        for crowd in &mut *crowds {
            crowd.watch_for(Duration::from_millis(10));
            for member in &crowd.members {
                assert!(member.ended.is_none(), "{:?}", member.goodbye());
                // One who looks at little does not know where it stands.
                all_know &= member.reader().is_none_or(|reader| reader.mine >= revision);
            }
        }
    }
}
