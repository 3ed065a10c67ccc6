//! Namespaces are separate boards: nothing of one is seen, counted or taken over in another.

use crate::client::serve;
use crate::peer::{Greeting, Peer, all, both, nothing, patient};

#[test]
fn namespaces_never_leak_into_one_another() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let spaces = ["default", "blue", "blue2", "green"];
    let join = |space: &'static str, name: &'static str, filter| {
        let mut peer = Peer::greet(at, &Greeting::new(name, &filter).in_namespace(space));
        peer.sync();
        peer
    };
    let mut watchers = spaces.map(|space| join(space, "watcher", both()));
    let mut workers = spaces.map(|space| join(space, "worker", nothing()));
    // The same name everywhere, and one of each one's own; green stays empty.
    for (index, worker) in workers.iter_mut().enumerate().take(3) {
        for name in ["same::f", spaces[index]] {
            worker.register(&[name]).unwrap();
        }
    }
    // Exclusive in one does not mean anything in another.
    let exclusive = callboard::protocol::Definition {
        exclusive: true,
        ..crate::peer::plain("only")
    };
    for worker in &mut workers[..3] {
        assert_eq!(worker.register_all(vec![exclusive.clone()]), Ok(3));
    }
    for (index, watcher) in watchers.iter_mut().enumerate().take(3) {
        watcher.catch_up(3);
        let mut expected = vec!["only", "same::f", spaces[index]];
        expected.sort_unstable();
        assert_eq!(watcher.names(), expected);
        assert_eq!(watcher.view().workers.len(), 1);
        assert_eq!(watcher.reader.steps, [(0, 1), (1, 2), (2, 3)]);
        let late = join(spaces[index], "late", both());
        assert_eq!(late.view(), watcher.view());
    }
    assert_eq!(watchers[3].ping(), 0, "no revision of another's");
    assert_eq!(watchers[3].reader.change_frames, 0);

    // The end of one affects no other.
    let [default, mut blue, mut blue2, mut green] = workers;
    drop(default);
    watchers[0].read_until("it leaves", |reader| reader.mine == 4);
    assert!(watchers[0].names().is_empty());
    assert_eq!(blue.ready(), Ok(3));
    assert_eq!(blue2.ready(), Ok(3));
    assert_eq!(green.ready(), Ok(0));

    // Another namespace's session is not taken over, and its resume point is a foreign one.
    let greeting = Greeting::new("worker", &all())
        .in_namespace("blue")
        .with_session_of(&blue2)
        .resuming(&watchers[2].reader);
    let mut thief = Peer::greet(at, &greeting);
    thief.sync();
    assert!(!thief.welcome().taken_over && !thief.welcome().resumed);
    assert_ne!(thief.welcome().worker, blue2.welcome().worker);
    assert_eq!(thief.reader.resyncs, ["foreign_epoch"]);
    assert_eq!(thief.names(), ["blue", "only", "same::f"]);
    assert_eq!(blue2.ready(), Ok(3), "it is served as before");
    assert_ne!(watchers[1].welcome().epoch, watchers[2].welcome().epoch);
}
