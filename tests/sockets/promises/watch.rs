//! Watches: a prefix shows what is under it and nothing else, a section shows what it is about, in snapshots
//! and in changes alike.

use callboard::protocol::{Definition, Hello, HelloOptions, Text};

use crate::client::serve;
use crate::peer::{Peer, both, nothing, numbered, patient, plain};
use crate::reader::{Reader, WatchFilter};

/// Watches that overlap, nest, miss, and split what one change brings.
fn covers() -> Vec<WatchFilter> {
    vec![
        both(),
        WatchFilter::new(&[""], &[]),
        WatchFilter::new(&[], &[""]),
        WatchFilter::new(&["orders::"], &[]),
        WatchFilter::new(&["orders::", "orders::create", "o"], &[]),
        WatchFilter::new(&["orders", "mail::s"], &["shop-1"]),
        WatchFilter::new(&["nobody::"], &["nobody"]),
        WatchFilter::new(&[], &["shop-"]),
        WatchFilter::new(&["zz", "a", "mail::"], &["shop-2", "post"]),
        WatchFilter::new(&["orders::create\u{1}"], &["shop-1\u{1}"]),
    ]
}

#[test]
fn prefix_watches_and_details_show_exactly_what_they_should() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut early: Vec<Peer> = covers()
        .iter()
        .map(|filter| Peer::join(at, "watcher", filter))
        .collect();
    let described = |name: &'static str, text: &'static str| Definition {
        description: Text(text),
        ..plain(name)
    };
    let mut shops =
        ["shop-1", "shop-2", "post", "größe 1"].map(|name| Peer::join(at, name, &nothing()));
    let mut late = Vec::new();
    let mut check = |revision: u64| {
        // Old and new watchers see the same, each its own part.
        let mut board = Peer::join(at, "board", &both());
        board.catch_up(revision);
        let board = board.view().clone();
        for filter in covers() {
            late.push(Peer::join(at, "watcher", &filter));
        }
        for watcher in early.iter_mut().chain(&mut late) {
            watcher.catch_up(revision);
            let filter = &watcher.reader.filter;
            assert_eq!(*watcher.view(), filter.project(&board), "{filter:?}");
        }
        board
    };

    let many = numbered("orders::many::", 3000);
    let revision = shops[0]
        .register(&["orders::create", "orders::cancel", "o"])
        .unwrap();
    check(revision);
    let more = ["orders::create", "mail::send", "mail::t", "orders"];
    shops[1].register(&more).unwrap();
    shops[2].register(&["mail::send", "a", "zzz"]).unwrap();
    let revision = shops[3].register(&many).unwrap();
    let board = check(revision);
    assert_eq!(board.functions.len(), 3000 + 8);
    assert_eq!(board.workers.len(), 4);

    // One change that concerns some of several sections and prefixes.
    shops[0]
        .register_all(vec![described("orders::create", "new"), plain("mail::new")])
        .unwrap();
    shops[1]
        .unregister(&["mail::send", "orders::create"])
        .unwrap();
    shops[3].unregister(&many[1000..2000]).unwrap();
    let revision = shops[2].unregister(&["mail::send"]).unwrap();
    let board = check(revision);
    assert!(!board.functions.contains_key("mail::send"));

    // A worker without functions is in no section; back with one it is, under the same id.
    let id = shops[2].welcome().worker;
    let revision = shops[2].unregister(&["a", "zzz"]).unwrap();
    assert!(!check(revision).workers.contains_key(&id));
    let revision = shops[2].register(&["zzz"]).unwrap();
    assert!(check(revision).workers.contains_key(&id));
    drop(shops);
    early[0].read_until("all leave", |reader| reader.view.workers.is_empty());
    let revision = early[0].reader.mine;
    for watcher in early.iter_mut().chain(&mut late) {
        watcher.catch_up(revision);
        assert_eq!(*watcher.view(), crate::reader::View::default());
    }
}

#[test]
fn without_a_watch_all_functions_are_shown_and_with_an_empty_one_nothing() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    let mut revision = worker.register(&["a", "b"]).unwrap();
    let hello = Hello {
        versions: vec![1],
        name: Text("plain"),
        namespace: Text(""),
        ext: HelloOptions::default(),
    };
    let mut plainly = Peer::connect(at, Reader::new(WatchFilter::new(&[""], &[])));
    plainly.send(&hello.to_frame());
    plainly.sync();
    assert_eq!(
        plainly.names(),
        ["a", "b"],
        "and an empty namespace is the default one"
    );
    let mut blind = Peer::join(at, "blind", &nothing());
    revision = worker.register(&["c"]).unwrap().max(revision);
    plainly.catch_up(revision);
    assert_eq!(plainly.names(), ["a", "b", "c"]);
    // Its reader lets no frame of a board pass.
    assert_eq!(blind.ready(), Ok(revision));
    assert_eq!(blind.ping(), 0);
}

#[test]
fn watchers_of_one_thing_are_not_woken_by_another() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Peer::join(at, "worker", &nothing());
    let mut aside = Peer::join(at, "aside", &WatchFilter::new(&["aside::"], &["aside"]));
    let mut last = 0;
    for name in numbered("much::", 50) {
        last = worker.register(&[name]).unwrap();
    }
    aside.catch_up(last);
    assert_eq!(aside.reader.change_frames, 0);
    // The next that concerns it joins on to where it stands.
    let next = worker.register(&["aside::one"]).unwrap();
    aside.read_until("its change", |reader| reader.mine >= next);
    assert_eq!(aside.reader.steps.len(), 1);
    assert_eq!(aside.names(), ["aside::one"]);
}
