//! Sessions that outlive a connection: takeover and resume.

use callboard::limits::Limits;
use callboard::protocol::{Bin, Hello, HelloOptions, Text, Watch};

use crate::reader::{Reader, View, WatchFilter};
use crate::setup::{everything, fleet, functions, many, names, nothing, register_all};
use crate::world::{World, hello};

/// A new connection says HELLO with the key of an older one.
pub(crate) fn claim(world: &mut World, newer: usize, older: usize) {
    let session = world.session(older);
    let frame = hello("p", "default", &nothing(), Some(&session), None);
    world.say(newer, &frame);
}

fn take_over(world: &mut World, older: usize) -> usize {
    let newer = world.open(Reader::new(nothing()));
    claim(world, newer, older);
    world.turn();
    newer
}

/// A worker that watches nothing says HELLO.
fn greet(world: &mut World, metadata: &[u8], session: Option<&[u8]>) -> usize {
    let worker = world.open(Reader::new(nothing()));
    let frame = Hello {
        versions: vec![1],
        name: Text("p"),
        namespace: Text(""),
        ext: HelloOptions {
            watch: Some(Watch::default()),
            session: session.map(Bin),
            metadata: Bin(metadata),
            ..HelloOptions::default()
        },
    };
    world.say(worker, &frame.to_frame());
    worker
}

#[test]
fn no_ghosts_a_takeover_that_confirms_everything_is_no_change() {
    let all = many(10_000);
    let (mut world, watcher, older) = fleet(&all, Limits::default());
    let newer = take_over(&mut world, older);
    let welcome = world.reader(newer).welcome.clone().unwrap();
    assert!(welcome.taken_over);
    assert_eq!(
        welcome.worker,
        world.reader(older).welcome.as_ref().unwrap().worker
    );
    assert_eq!(
        world.reader(older).goodbye.as_ref().unwrap().0,
        "session_taken_over"
    );
    register_all(&mut world, newer, &all);
    let ready = world.ready(newer);
    // So much is handled in several turns.
    for _ in 0..10 {
        world.turn();
    }
    assert_eq!(world.ending(newer, ready), &Ok(1));
    // A late end of the older connection removes nothing.
    world.eof(older);
    world.reset(older);
    world.wait(10_000);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
    assert_eq!(world.reader(watcher).view.functions.len(), 10_000);
    // The end of the newer one removes all, at once.
    world.reset(newer);
    world.turn();
    assert_eq!(world.reader(watcher).view, View::default());
}

#[test]
fn metadata_that_a_takeover_changes_are_told_even_if_nothing_is_left() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let mut session = None;
    for metadata in [&b"first"[..], b"second", b""] {
        let worker = greet(&mut world, metadata, session.as_deref());
        world.turn();
        world.register(worker, &["f"]);
        world.turn();
        let welcome = world.reader(worker).welcome.clone().unwrap();
        assert_eq!(welcome.taken_over, session.is_some());
        let told = world.reader(watcher).view.metadata.get(&welcome.worker);
        assert_eq!(told.map_or(&b""[..], |it| it), metadata);
        session = Some(welcome.session);
    }
}

#[test]
fn metadata_that_two_takeovers_change_back_in_one_turn_are_no_change() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &everything());
    let first = greet(&mut world, b"one", None);
    world.turn();
    world.register(first, &["f"]);
    world.turn();
    let session = world.session(first);
    let links = [b"two", b"one"].map(|it| greet(&mut world, it, Some(&session)));
    world.turn();
    let last = world.reader(links[1]).welcome.as_ref().unwrap();
    assert!(last.taken_over);
    assert_eq!((last.revision, world.reader(watcher).steps.len()), (1, 1));
    world.register(links[1], &["g"]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
}

#[test]
fn what_a_newcomer_does_not_bring_along_leaves_in_one_change() {
    let all = many(100);
    let (mut world, watcher, older) = fleet(&all, Limits::default());
    let newer = take_over(&mut world, older);
    register_all(&mut world, newer, &all[2..]);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1)], "not before READY");
    world.ready(newer);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
    assert_eq!(world.reader(watcher).view.functions.len(), 98);
}

#[test]
fn without_ready_the_unconfirmed_leave_after_the_newcomers_silence() {
    let all = many(10);
    let (mut world, watcher, older) = fleet(&all, Limits::default());
    let newer = take_over(&mut world, older);
    world.wait(1_500);
    register_all(&mut world, newer, &all[..9]);
    world.turn();
    world.wait(1_999);
    world.turn();
    assert_eq!(
        world.reader(watcher).view.functions.len(),
        10,
        "its last frame was just before"
    );
    world.wait(2);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1), (1, 2)]);
    assert_eq!(world.reader(watcher).view.functions.len(), 9);
}

#[test]
fn a_lost_welcome_makes_no_ghost_the_older_key_is_good_until_ready() {
    let all = many(10);
    let (mut world, watcher, first) = fleet(&all, Limits::default());
    let second = take_over(&mut world, first);
    // The second's WELCOME never reached the worker: it comes again with the first's key.
    let third = take_over(&mut world, first);
    assert!(world.reader(third).welcome.as_ref().unwrap().taken_over);
    assert_eq!(
        world.reader(second).goodbye.as_ref().unwrap().0,
        "session_taken_over"
    );
    register_all(&mut world, third, &all);
    world.ready(third);
    world.turn();
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
    // From READY on the first's key is as good as any unknown one.
    let fourth = take_over(&mut world, first);
    assert!(!world.reader(fourth).welcome.as_ref().unwrap().taken_over);
    assert!(world.reader(third).goodbye.is_none());
}

#[test]
fn a_hello_that_comes_late_takes_no_session_over() {
    let all = many(10);
    let (mut world, watcher, first) = fleet(&all, Limits::default());
    let session = world.session(first);
    // Connected, and its HELLO is held up; the worker gives it up and comes again.
    let late = world.open(Reader::new(nothing()));
    let newer = take_over(&mut world, first);
    world.say(
        late,
        &hello("p", "default", &nothing(), Some(&session), None),
    );
    world.turn();
    world.eof(late);
    register_all(&mut world, newer, &all);
    world.ready(newer);
    world.turn();
    assert!(!world.reader(late).welcome.as_ref().unwrap().taken_over);
    assert_eq!(world.reader(newer).goodbye, None);
    assert_eq!(world.reader(watcher).steps, [(0, 1)]);
}

#[test]
fn a_key_of_another_namespace_or_of_no_session_is_ignored() {
    let (mut world, _, older) = fleet(&many(1), Limits::default());
    let session = world.session(older);
    for (namespace, key) in [
        ("other", &session[..]),
        ("default", &[7; 16]),
        ("default", &[]),
    ] {
        let link = world.open(Reader::new(nothing()));
        world.say(link, &hello("x", namespace, &nothing(), Some(key), None));
        world.turn();
        assert!(!world.reader(link).welcome.as_ref().unwrap().taken_over);
    }
    assert!(world.reader(older).goodbye.is_none());
}

/// Ends a watcher's connection and opens another that resumes, with `change` to the resume point.
fn resume(
    world: &mut World,
    link: usize,
    epoch: Option<u64>,
    meanwhile: impl FnOnce(&mut World),
) -> usize {
    let filter = world.reader(link).filter.clone();
    let reader = std::mem::replace(&mut world.links[link].reader, Reader::new(filter.clone()));
    world.links[link].deaf = true;
    world.reset(link);
    meanwhile(world);
    let welcome = reader.welcome.clone().unwrap();
    let point = (
        epoch.unwrap_or(welcome.epoch),
        reader.mine,
        &welcome.digest[..],
    );
    let frame = hello("w", "default", &filter, None, Some(point));
    let link = world.open(reader.reconnected());
    world.say(link, &frame);
    world.turn();
    link
}

fn ten_changes(world: &mut World, worker: usize) {
    for index in 0..10 {
        world.register(worker, &[&format!("missed::{index}")]);
        if index == 5 {
            world.unregister(worker, &["svc::function_00000"]);
        }
        world.turn();
    }
}

#[test]
fn resume_gets_what_was_missed_and_no_snapshot() {
    let (mut world, watcher, worker) = fleet(&many(3), Limits::default());
    let back = resume(&mut world, watcher, None, |world| {
        ten_changes(world, worker);
    });
    let reader = world.reader(back);
    assert!(reader.welcome.as_ref().unwrap().resumed && reader.is_synced());
    assert_eq!((reader.snapshot_frames, reader.resyncs.len()), (0, 0));
    assert_eq!((reader.view.functions.len(), reader.mine), (12, 11));
    // With nothing missed, SYNCED alone.
    let again = resume(&mut world, back, None, |_| {});
    let reader = world.reader(again);
    assert_eq!((reader.snapshot_frames, reader.change_frames), (0, 0));
    assert!(reader.is_synced());
}

#[test]
fn a_foreign_epoch_or_a_trimmed_log_gets_a_replacing_snapshot() {
    let (mut world, watcher, worker) = fleet(&many(3), Limits::default());
    let back = resume(&mut world, watcher, Some(99), |world| {
        ten_changes(world, worker);
    });
    assert_eq!(world.reader(back).resyncs, ["foreign_epoch"]);
    assert_eq!(world.reader(back).view.functions.len(), 12);

    let tiny = Limits {
        log_bytes: 300,
        ..Limits::default()
    };
    let (mut world, watcher, worker) = fleet(&many(3), tiny);
    let back = resume(&mut world, watcher, None, |world| {
        ten_changes(world, worker);
    });
    assert_eq!(world.reader(back).resyncs, ["log_trimmed"]);
    assert_eq!(world.reader(back).view.functions.len(), 12);
}

#[test]
fn a_lone_watcher_can_resume_although_its_audience_died_with_it() {
    let mut world = World::new(Limits::default());
    let watcher = world.join("w", &WatchFilter::new(&["missed::1"], &[]));
    let worker = world.join("p", &nothing());
    let back = resume(&mut world, watcher, None, |world| {
        ten_changes(world, worker);
    });
    let reader = world.reader(back);
    assert_eq!(reader.resyncs.len(), 0);
    assert_eq!(names(&reader.view), ["missed::1"]);
    // And hears of the next change without a gap.
    world.register(worker, &["missed::10"]);
    world.turn();
    assert_eq!(names(&world.reader(back).view), ["missed::1", "missed::10"]);
}

#[test]
fn another_watch_is_no_resume() {
    let (mut world, watcher, _) = fleet(&many(3), Limits::default());
    let welcome = world.reader(watcher).welcome.clone().unwrap();
    let filter = functions();
    let link = world.open(Reader::new(filter.clone()));
    let point = (welcome.epoch, 1, &welcome.digest[..]);
    world.say(link, &hello("w", "default", &filter, None, Some(point)));
    world.turn();
    assert_eq!(world.reader(link).resyncs, ["other_watch"]);
}
