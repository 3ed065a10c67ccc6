//! Coming back with a resume point: what was missed if the engine still knows it, a replacing snapshot if not.

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::server::{Server, ServerConfig};

use crate::client::serve;
use crate::peer::{Greeting, Peer, all, both, nothing, numbered, patient};
use crate::reader::{Reader, WatchFilter};

/// Comes back with the resume point and the view of an earlier connection.
fn resume(at: &Address, filter: &WatchFilter, earlier: Reader) -> Peer {
    let greeting = Greeting::new("watcher", filter).resuming(&earlier);
    let mut peer = Peer::greet_again(at, &greeting, earlier.reconnected());
    peer.sync();
    peer
}

#[test]
fn resume_after_ten_missed_changes_gets_those_and_no_snapshot() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    let stays = numbered("stays::", 5000);
    worker.register(&stays).unwrap();
    for filter in [
        all(),
        both(),
        WatchFilter::new(&["missed::", "stays::0"], &["work"]),
    ] {
        let watcher = Peer::join(at, "watcher", &filter);
        let (earlier, epoch) = (watcher.reader.mine, watcher.welcome().epoch);
        let reader = watcher.reader;
        // Six come, three of the board's and one of the six leave again.
        let missed = numbered("missed::", 6);
        let mut last = 0;
        for name in &missed {
            last = worker.register(&[name]).unwrap();
        }
        for name in stays[..3].iter().chain(&missed[..1]) {
            last = worker.unregister(&[name]).unwrap();
        }
        assert_eq!(last, earlier + 10);

        let mut watcher = resume(at, &filter, reader);
        assert!(watcher.welcome().resumed);
        assert_eq!(watcher.welcome().epoch, epoch);
        let reader = &watcher.reader;
        assert_eq!(reader.snapshot_frames, 0, "{filter:?}");
        assert!(reader.resyncs.is_empty());
        assert_eq!(reader.steps.first().map(|step| step.0), Some(earlier));
        assert_eq!(reader.mine, last);
        let fresh = Peer::join(at, "fresh", &filter);
        assert_eq!(watcher.view(), fresh.view());

        // It goes on from there, one step at a time.
        let steps = watcher.reader.steps.len();
        last = worker.register(&stays[..3]).unwrap();
        last = worker.unregister(&missed[1..]).unwrap().max(last);
        watcher.catch_up(last);
        assert_eq!(
            watcher.reader.steps[steps..],
            [(last - 2, last - 1), (last - 1, last)]
        );
        let fresh = Peer::join(at, "fresh", &filter);
        assert_eq!(watcher.view(), fresh.view());
    }
}

#[test]
fn resume_without_missed_changes_gets_synced_alone() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    let revision = worker.register(&["a", "b"]).unwrap();
    let watcher = Peer::join(at, "watcher", &all());
    let watcher = resume(at, &all(), watcher.reader);
    assert!(watcher.welcome().resumed);
    assert_eq!(
        (watcher.reader.change_frames, watcher.reader.snapshot_frames),
        (0, 0)
    );
    assert_eq!(watcher.reader.mine, revision);
    assert_eq!(watcher.names(), ["a", "b"]);
}

#[test]
fn a_foreign_epoch_gets_a_replacing_snapshot() {
    let server = serve(patient());
    let at = server.addresses()[0].clone();
    let mut worker = Peer::join(&at, "worker", &nothing());
    worker.register(&["before", "both"]).unwrap();
    let watcher = Peer::join(&at, "watcher", &all());
    let epoch = watcher.welcome().epoch;
    server.kill();
    server.join().unwrap();

    let config = ServerConfig {
        listen: vec![at.clone()],
        limits: patient(),
        ..ServerConfig::default()
    };
    let _server = Server::spawn(config).unwrap();
    let mut worker = Peer::join(&at, "worker", &nothing());
    // As many revisions as before and more: the numbers alone would look like a resume point.
    for name in ["both", "after", "later"] {
        worker.register(&[name]).unwrap();
    }
    let watcher = resume(&at, &all(), watcher.reader);
    assert_ne!(watcher.welcome().epoch, epoch);
    assert!(!watcher.welcome().resumed);
    assert_eq!(watcher.reader.resyncs, ["foreign_epoch"]);
    assert_eq!(watcher.names(), ["after", "both", "later"]);
}

#[test]
fn a_revision_that_fell_off_the_log_gets_a_replacing_snapshot() {
    let limits = Limits {
        log_bytes: 4096,
        ..patient()
    };
    let server = serve(limits);
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    let names = numbered("f::", 200);
    worker.register(&names[..2]).unwrap();
    let watcher = Peer::join(at, "watcher", &both());
    worker.unregister(&names[..1]).unwrap();
    let mut last = 0;
    for name in &names[2..] {
        last = worker.register(&[name]).unwrap();
    }
    let watcher = resume(at, &both(), watcher.reader);
    assert!(!watcher.welcome().resumed);
    assert_eq!(watcher.reader.resyncs, ["log_trimmed"]);
    assert_eq!(watcher.reader.mine, last);
    assert_eq!(watcher.names(), names[1..]);
}

#[test]
fn another_watch_gets_a_replacing_snapshot() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    worker.register(&["a::1", "b::1"]).unwrap();
    let watcher = Peer::join(at, "watcher", &all());
    let filter = WatchFilter::new(&["a::"], &[]);
    let greeting = Greeting::new("watcher", &filter).resuming(&watcher.reader);
    let mut watcher = Peer::greet(at, &greeting);
    watcher.sync();
    assert_eq!(watcher.reader.resyncs, ["other_watch"]);
    assert_eq!(watcher.names(), ["a::1"]);
}
