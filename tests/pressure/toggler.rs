//! One legal worker that changes the board as fast as it can before a thousand watchers: it is slowed down to its
//! budget, and others' calls and changes go on meanwhile.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::client::until;
use crate::crowd::{Crowd, Member, Sight};
use crate::engine::{Engine, PATIENT};
use crate::machine::{alone, require_descriptors};
use crate::peer::{Peer, all, nothing, register_frame, unregister_frame};
use crate::talk::{plain, result};

const WATCHERS: usize = 1000;
/// Changes a second.
const BUDGET: u64 = 20;
/// What it asks for: at its budget it would take hours.
const TOGGLES: u64 = 300_000;
const CALLS: usize = 500;
const CHANGES: usize = 40;

#[test]
#[ignore = "heavy: 1,000 watchers"]
fn a_worker_that_toggles_before_a_thousand_watchers_is_slowed_and_the_others_are_not() {
    let _alone = alone();
    require_descriptors(WATCHERS as u64 + 200);
    let mut flags = PATIENT.to_vec();
    let budget = format!("--changes-per-second={BUDGET}");
    flags.push(&budget);
    let engine = Engine::start(10, &flags);
    let at = engine.address();
    let mut crowd = Crowd::new(engine.socket_address());
    for _ in 0..WATCHERS {
        crowd.add(Sight::strict(&all()), None);
    }
    crowd.read_until("the board", Member::is_synced);

    let mut busy = Peer::join(&at, "toggler", &nothing());
    let toggled = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&toggled);
    // It ends with the connection, at the end of the test. A change that is undone within its turn reaches no
    // watcher and costs nothing: each toggle waits for the answer to the one before.
    let toggling = thread::spawn(move || {
        for id in 1..=TOGGLES {
            let frame = match id % 2 {
                0 => unregister_frame(id, &["toggle"]),
                _ => register_frame(id, false, vec![crate::peer::plain("toggle")]),
            };
            if busy.socket.write_all(&frame).is_err() {
                return;
            }
            while !busy.reader.endings.contains_key(&id) {
                if busy.ended {
                    return;
                }
                busy.read_on();
            }
            counting.store(id, Ordering::Relaxed);
        }
    });
    until(
        "it is slowed down: its first second's worth is used up",
        || toggled.load(Ordering::Relaxed) > BUDGET,
    );

    let mut provider = Peer::join(&at, "provider", &nothing());
    provider.register(&["f"]).unwrap();
    let mut caller = Peer::join(&at, "caller", &nothing());
    for n in 0..CALLS {
        let id = caller.call("f", &n.to_be_bytes(), plain());
        let asked = provider.next_invoke(n);
        provider.answer(asked.id, &asked.payload);
        assert_eq!(caller.outcome(id), result(&n.to_be_bytes()));
        if n % 100 == 0 {
            crowd.turn(std::time::Duration::ZERO);
        }
    }
    let mut other = Peer::join(&at, "changer", &nothing());
    let mut revision = 0;
    for n in 0..CHANGES {
        revision = other.register(&[format!("changed::{n}")]).unwrap();
    }
    crowd.read_until("the others' changes", |member| member.mine() >= revision);
    let so_far = toggled.load(Ordering::Relaxed);
    println!("{so_far} of {TOGGLES} toggles were answered meanwhile");
    assert!(so_far < TOGGLES, "it was not slowed down");
    for member in &crowd.members {
        let view = &member.reader().expect("eyes").view;
        let changed = view
            .functions
            .keys()
            .filter(|name| name.starts_with("changed::"));
        assert_eq!(changed.count(), CHANGES);
    }
    drop(engine);
    toggling.join().unwrap();
}
