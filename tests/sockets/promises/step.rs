//! One order, one step at a time: a turn's net effect is one revision, a batch is never seen by halves.

use callboard::protocol::Message;

use crate::client::{Client, serve};
use crate::peer::{
    Peer, all, both, nothing, numbered, patient, plain, register_frame, unregister_frame,
};
use crate::reader::WatchFilter;

#[test]
fn added_and_removed_in_one_turn_reaches_no_watcher() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &both());
    let revision = worker.register(&["there::already"]).unwrap();
    let mut watchers = [all(), both(), WatchFilter::new(&["brief"], &["work"])]
        .map(|filter| Peer::join(at, "watcher", &filter));
    let before = watchers.each_ref().map(|it| it.view().clone());

    // Few bytes in one write arrive in one read.
    let both_ways = |id, name: &str| {
        let mut bytes = register_frame(id, false, vec![plain(name)]);
        bytes.extend(unregister_frame(id + 1, &[name]));
        bytes
    };
    let bytes = [both_ways(100, "brief::one"), both_ways(102, "brief::two")].concat();
    worker.send(&bytes);
    for id in 100..104 {
        assert_eq!(worker.ending(id), Ok(revision));
    }
    // Removed and added again, as it was: as little of a change.
    let mut bytes = unregister_frame(104, &["there::already"]);
    bytes.extend(register_frame(105, false, vec![plain("there::already")]));
    worker.send(&bytes);
    assert_eq!(worker.ending(105), Ok(revision));
    // A worker that came and went with all it had.
    let mut brief = Peer::connect(at, crate::reader::Reader::new(nothing()));
    let mut bytes = crate::peer::Greeting::new("working", &nothing()).frame();
    bytes.extend(register_frame(1, false, vec![plain("brief::three")]));
    bytes.extend(callboard::protocol::Goodbye::default().to_frame());
    brief.send(&bytes);
    brief.read_to_end();

    assert_eq!(worker.ready(), Ok(revision));
    for (watcher, before) in watchers.iter_mut().zip(before) {
        watcher.catch_up(revision);
        assert_eq!(
            (watcher.reader.mine, watcher.reader.change_frames),
            (revision, 0)
        );
        assert_eq!(*watcher.view(), before);
    }
}

#[test]
fn a_batch_of_10_000_is_one_step() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let names = numbered("batch::", 10_000);
    let mut worker = Peer::join(at, "worker", &both());
    let covers = [all(), both(), WatchFilter::new(&[], &[""])];
    let mut watchers = covers.map(|filter| Peer::join(at, "watcher", &filter));
    let mut revision = 0;
    // As one frame, then as many; then gone, likewise.
    for (round, per_frame) in [10_000, 700].into_iter().enumerate() {
        let id = worker.request();
        let chunks: Vec<&[String]> = names.chunks(per_frame).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let more = index + 1 < chunks.len();
            let functions = chunk.iter().map(|name| plain(name)).collect();
            worker.send(&register_frame(id, more, functions));
            if more {
                // It was read, and nothing of it is there.
                assert_eq!(worker.ping(), revision);
                assert!(!worker.reader.endings.contains_key(&id));
            }
        }
        assert_eq!(worker.ending(id), Ok(revision + 1));
        let removed = worker.unregister(&names).unwrap();
        assert_eq!(removed, revision + 2);
        for watcher in &mut watchers {
            let frames = watcher.reader.change_frames;
            watcher.read_until("the batch", |reader| reader.mine > revision);
            let steps = &watcher.reader.steps[2 * round..];
            assert_eq!(steps[0], (revision, revision + 1));
            if watcher.reader.mine == revision + 1 {
                let provided: usize = watcher.view().workers.values().map(|it| it.1.len()).sum();
                let seen = watcher.names().len().max(provided);
                assert_eq!(seen, names.len());
            }
            watcher.catch_up(removed);
            assert!(watcher.reader.change_frames > frames + 2, "several parts");
            let steps = &watcher.reader.steps[2 * round..];
            assert_eq!(
                steps,
                [(revision, revision + 1), (revision + 1, revision + 2)]
            );
            assert!(watcher.names().is_empty() && watcher.view().workers.is_empty());
        }
        revision = removed;
    }
}

#[test]
fn replies_come_after_the_change_that_they_name() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Client::join_all(at, "worker");
    worker.next_where(|message| matches!(message, Message::Synced(_)));
    for round in 1..=200 {
        let name = format!("f::{round}");
        let id = worker.new_id();
        // A failure of the same turn overtakes the change as little as the good answer does.
        let mut bytes = register_frame(id, false, vec![plain(&name)]);
        bytes.extend(unregister_frame(id + 1000, &["nobody's"]));
        worker.send(&bytes);
        let frame = worker.next();
        let Message::Changes(changes) = frame.message() else {
            panic!("{:?} came first", frame.message());
        };
        assert_eq!((changes.from, changes.to), (round - 1, round));
        assert_eq!(worker.answer(id), Ok(round));
        let (code, _) = worker.answer(id + 1000).unwrap_err();
        assert_eq!(code, "not_registered");
    }
}
