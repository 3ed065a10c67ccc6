//! The clocks, with a clock that the test moves.

use callboard::limits::Limits;
use callboard::protocol::{Ping, Pong};

use crate::reader::{Reader, WatchFilter};
use crate::setup::nothing;
use crate::turn::Budgets;
use crate::world::World;

#[test]
fn a_connection_without_hello_is_closed() {
    let mut world = World::new(Limits::default());
    let link = world.open(Reader::new(nothing()));
    world.wait(1_999);
    world.turn();
    assert_eq!(world.goodbye(link), None);
    world.wait(1);
    world.turn();
    assert_eq!(world.goodbye(link), Some("hello_timeout"));
    assert!(
        world
            .reader(link)
            .goodbye
            .as_ref()
            .unwrap()
            .1
            .contains("--hello-timeout")
    );
    // It does not even read that: the linger deadline ends it.
    world.wait(2_000);
    world.turn();
    assert!(!world.links[link].open);
}

#[test]
fn single_bytes_do_not_renew_the_deadline_of_hello_or_of_a_frame() {
    let mut world = World::new(Limits::default());
    let link = world.open(Reader::new(nothing()));
    let frame = crate::world::hello("w", "default", &nothing(), None, None);
    for byte in &frame[..20] {
        world.say(link, &[*byte]);
        world.wait(110);
        world.turn();
    }
    assert_eq!(world.goodbye(link), Some("hello_timeout"));

    let link = world.join("w", &nothing());
    for byte in [0, 0, 0, 200, 0x93].into_iter().chain([0; 60]) {
        world.say(link, &[byte]);
        world.wait(100);
        world.turn();
    }
    assert_eq!(world.goodbye(link), Some("frame_timeout"));
}

#[test]
fn a_large_frame_gets_a_second_for_every_64_kib() {
    let mut world = World::new(Limits::default());
    let link = world.join("w", &nothing());
    // 1 MiB announced: 5 s and 16 s.
    world.say(link, &[0, 16, 0, 0, 0x93]);
    for _ in 0..20 {
        world.wait(1_000);
        world.say(link, &[0]);
        world.turn();
        assert_eq!(world.goodbye(link), None);
    }
    // The first byte arrived a second after it was said.
    world.wait(2_000);
    world.turn();
    assert_eq!(world.goodbye(link), Some("frame_timeout"));
}

#[test]
fn the_silent_are_asked_and_then_closed() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("watcher", &WatchFilter::new(&[""], &[]));
    let silent = world.join("silent", &nothing());
    let alive = world.join("alive", &nothing());
    world.register(silent, &["a"]);
    for second in 1..=14 {
        world.turn();
        world.wait(1_000);
        for link in [watcher, alive] {
            // One answers what it is asked, the other speaks by itself.
            if second % 4 == 0 {
                world.say(link, &Pong::default().to_frame());
            }
        }
    }
    world.turn();
    assert_eq!(world.reader(silent).pings, 1, "asked once in a silence");
    assert_eq!(world.goodbye(silent), None);
    world.wait(1_000);
    world.turn();
    assert_eq!(world.goodbye(silent), Some("silent"));
    assert!(
        world.reader(watcher).view.functions.is_empty(),
        "gone is gone"
    );
    assert_eq!((world.goodbye(watcher), world.goodbye(alive)), (None, None));
}

#[test]
fn a_ping_is_answered_with_a_bookmark() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &WatchFilter::new(&["a"], &[]));
    let worker = world.join("p", &nothing());
    for name in ["x", "y", "z"] {
        world.register(worker, &[name]);
        world.turn();
    }
    assert_eq!(
        world.reader(watcher).mine,
        0,
        "nothing of it concerned the watcher"
    );
    world.say(watcher, &Ping::default().to_frame());
    world.turn();
    assert_eq!(
        (world.reader(watcher).pongs, world.reader(watcher).mine),
        (1, 3)
    );
    // A change after the bookmark begins where the audience was last concerned.
    world.register(worker, &["a"]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 4)]);
}

#[test]
fn a_peer_that_reads_nothing_is_closed_and_one_that_reads_a_little_is_not() {
    let limits = Limits {
        changes_per_second: 0,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let everything = WatchFilter::new(&[""], &[""]);
    let stalled = world.join("stalled", &everything);
    let slow = world.join("slow", &everything);
    let worker = world.join("p", &nothing());
    for link in [stalled, slow] {
        world.links[link].capacity = 10;
    }
    let pong = Pong::default().to_frame();
    for second in 0..60 {
        world.register(worker, &[&format!("some::function::{second}")]);
        for link in [stalled, slow, worker] {
            world.say(link, &pong);
            world.arrive(link, usize::MAX);
        }
        world.finish_turn(Budgets::ALL);
        world.receive(worker, usize::MAX);
        world.receive(slow, 5);
        world.wait(1_000);
    }
    assert_eq!(world.engine.stats().closed.get("too_slow"), Some(&1));
    world.settle();
    assert_eq!(world.goodbye(slow), None);
    assert_eq!(world.reader(slow).view.functions.len(), 60);
}

#[test]
fn progress_after_a_stall_is_a_sign_of_life() {
    let mut world = World::new(Limits {
        changes_per_second: 0,
        ..Limits::default()
    });
    let reader = world.join("reader", &WatchFilter::new(&[""], &[]));
    let worker = world.join("p", &nothing());
    world.links[reader].capacity = 10;
    let pong = Pong::default().to_frame();
    // It never says a word, but it reads.
    for second in 0..40 {
        world.register(worker, &[&format!("f{second}")]);
        world.say(worker, &pong);
        world.turn();
        world.wait(1_000);
    }
    assert_eq!(world.goodbye(reader), None);
}

#[test]
fn a_peer_whose_replies_pile_up_is_not_read_until_it_reads() {
    let limits = Limits {
        max_outbound: 1000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let link = world.join("w", &nothing());
    world.links[link].capacity = 100;
    let ping = Ping::default().to_frame();
    for _ in 0..1000 {
        world.say(link, &ping);
    }
    world.arrive(link, 4_000);
    world.finish_turn(Budgets::ALL);
    assert!(!world.engine.wants_read(world.links[link].id));
    world.settle();
    assert!(world.engine.wants_read(world.links[link].id));
    assert_eq!(world.reader(link).pongs, 1000);
}

#[test]
fn the_clock_of_a_frame_runs_only_while_the_engine_reads() {
    let limits = Limits {
        max_outbound: 1000,
        write_deadline: 600_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let link = world.join("w", &nothing());
    world.links[link].capacity = 100;
    let ping = Ping::default().to_frame();
    for _ in 0..1000 {
        world.say(link, &ping);
    }
    // The engine stops reading in the middle of a frame.
    world.arrive(link, 400 * ping.len() + 5);
    world.finish_turn(Budgets::ALL);
    assert!(!world.engine.wants_read(world.links[link].id));
    assert_eq!(world.engine.stats().partial_bytes, 5);
    for _ in 0..10 {
        world.wait(2_000);
        world.finish_turn(Budgets::ALL);
    }
    assert!(world.engine.stats().closed.is_empty());
    // Now it reads again, and the rest of the frame has its time.
    world.settle();
    assert_eq!(world.reader(link).pongs, 1000);
    assert_eq!(world.goodbye(link), None);
}

#[test]
fn an_engine_that_stalled_reads_once_more_before_it_expires_a_connection() {
    let mut world = World::new(Limits::default());
    let kept = world.join("kept", &nothing());
    let lost = world.join("lost", &nothing());
    world.wait(20_000);
    // During the stall one of them had spoken; its bytes wait in the kernel.
    world.say(kept, &Ping::default().to_frame());
    world.finish_turn(Budgets::ALL);
    for link in [kept, lost] {
        world.receive(link, usize::MAX);
    }
    // The other is asked, late, and has as long as ever to answer.
    assert_eq!(world.reader(lost).pings, 1);
    world.wait(9_999);
    world.say(kept, &Ping::default().to_frame());
    world.turn();
    assert_eq!(world.goodbye(lost), None);
    world.wait(1);
    world.turn();
    assert_eq!(
        (world.goodbye(kept), world.goodbye(lost)),
        (None, Some("silent"))
    );
}

#[test]
fn settling_is_told_while_it_lasts() {
    let mut world = World::new(Limits::default());
    let early = world.join("early", &nothing());
    world.wait(2_000);
    let later = world.join("later", &nothing());
    world.wait(2_000);
    let late = world.join("late", &nothing());
    let settling = |link: usize| world.reader(link).welcome.as_ref().unwrap().settling_ms;
    assert_eq!(
        (settling(early), settling(later), settling(late)),
        (3_000, 1_000, 0)
    );
}
