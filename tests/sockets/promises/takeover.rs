//! No ghosts: a worker that comes back with its session key takes its own place, and watchers
//! are told nothing of it.

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::server::ServerHandle;

use super::proxy::Proxy;
use crate::client::{serve, until};
use crate::peer::{
    Greeting, Peer, all, both, nothing, numbered, patient, register_frame, unregister_frame,
};
use crate::reader::{Reader, WatchFilter};

/// A worker behind a proxy, in the eyes of watchers, and what it provides.
struct Scene {
    server: ServerHandle,
    at: Address,
    proxy: Proxy,
    worker: Peer,
    names: Vec<String>,
    watchers: Vec<Peer>,
    revision: u64,
}

impl Scene {
    fn new(count: usize, limits: Limits) -> Self {
        let server = serve(limits);
        let at = server.addresses()[0].clone();
        let names = numbered("worker::", count);
        let mut proxy = Proxy::before(&at);
        let mut worker = Peer::connect(proxy.address(), Reader::new(all()));
        proxy.carry();
        worker.send(&Greeting::new("worker", &all()).frame());
        worker.sync();
        let revision = worker.register(&names).unwrap();
        let covers = [all(), both(), WatchFilter::new(&["worker::0"], &["work"])];
        let mut watchers: Vec<_> = covers
            .iter()
            .map(|filter| Peer::join(&at, "watcher", filter))
            .collect();
        for watcher in &mut watchers {
            watcher.catch_up(revision);
        }
        Self {
            server,
            at,
            proxy,
            worker,
            names,
            watchers,
            revision,
        }
    }

    /// The worker's next connection, not through the proxy, which keeps the older one open.
    fn next_connection(&self) -> Peer {
        let greeting = Greeting::new("worker", &all()).with_session_of(&self.worker);
        let mut newer = Peer::greet(&self.at, &greeting);
        newer.sync();
        let welcome = newer.welcome();
        assert!(welcome.taken_over);
        assert_eq!(welcome.worker, self.worker.welcome().worker);
        assert_ne!(welcome.session, self.worker.welcome().session);
        newer
    }

    /// The older connection hears why, then its end. The worker's end of it is not closed by that.
    fn older_is_told(&mut self) {
        self.worker.read_to_end();
        let (code, ..) = self.worker.reader.goodbye.clone().unwrap();
        assert_eq!(code, "session_taken_over");
    }

    fn no_watcher_was_told(&mut self, newer: &mut Peer) {
        assert_eq!(newer.ready(), Ok(self.revision));
        for watcher in &mut self.watchers {
            watcher.catch_up(self.revision);
            let reader = &watcher.reader;
            assert_eq!((reader.mine, reader.change_frames), (self.revision, 0));
            assert_eq!(reader.resyncs, ["joined"]);
        }
    }
}

#[test]
fn takeover_causes_no_change() {
    let mut scene = Scene::new(10_000, patient());
    let mut newer = scene.next_connection();
    assert_eq!(newer.names(), scene.names, "all stays listed meanwhile");
    assert_eq!(newer.register(&scene.names), Ok(scene.revision));
    scene.no_watcher_was_told(&mut newer);
    scene.older_is_told();

    // What comes late from the older one is read and means nothing, be it frames or its end.
    let closed = scene.server.counters().closed;
    scene
        .proxy
        .send_late(&register_frame(7, false, vec![crate::peer::plain("late")]));
    scene.worker.send(&unregister_frame(8, &scene.names));
    scene.proxy.finish_late();
    let server = &scene.server;
    until("the older connection is dropped", || {
        server.counters().closed > closed
    });
    scene.no_watcher_was_told(&mut newer);
    assert_eq!(newer.names(), scene.names);

    // The newcomer is the worker now: with it, all leaves.
    drop(newer);
    for watcher in &mut scene.watchers {
        watcher.read_until("the worker leaves", |reader| reader.mine > scene.revision);
        assert_eq!(watcher.reader.steps, [(scene.revision, scene.revision + 1)]);
        assert!(watcher.view().functions.is_empty() && watcher.view().workers.is_empty());
    }
}

#[test]
fn what_is_not_brought_along_leaves_in_one_change() {
    let mut scene = Scene::new(10_000, patient());
    let mut newer = scene.next_connection();
    let names = scene.names.clone();
    let (left, brought) = names.split_first().unwrap();
    assert_eq!(
        newer.register(brought),
        Ok(scene.revision),
        "not before READY"
    );
    let revision = scene.revision + 1;
    assert_eq!(newer.ready(), Ok(revision));
    scene.older_is_told();
    for watcher in &mut scene.watchers {
        let before = watcher.view().clone();
        watcher.catch_up(revision);
        assert_eq!(watcher.reader.steps, [(revision - 1, revision)]);
        assert_eq!(watcher.reader.change_frames, 1);
        let mut expected = before;
        assert!(expected.functions.remove(left).is_some());
        for (_, functions) in expected.workers.values_mut() {
            functions.remove(left);
        }
        assert_eq!(*watcher.view(), expected);
    }
    // READY again, and a batch again: nothing more to say.
    assert_eq!(newer.ready(), Ok(revision));
    assert_eq!(newer.register(brought), Ok(revision));
}

#[test]
fn without_ready_the_rest_leaves_in_one_change_as_well() {
    let limits = Limits {
        ready_timeout: 300,
        ..patient()
    };
    let mut scene = Scene::new(20, limits);
    let names = scene.names.clone();
    let (brought, left) = names.split_at(15);
    // In one write, so that no pause of this process comes in between.
    let greeting = Greeting::new("worker", &all()).with_session_of(&scene.worker);
    let mut bytes = greeting.frame();
    let functions = brought.iter().map(|name| crate::peer::plain(name));
    bytes.extend(register_frame(100, false, functions.collect()));
    let mut newer = Peer::connect(&scene.at, Reader::new(all()));
    newer.send(&bytes);
    assert_eq!(newer.ending(100), Ok(scene.revision));
    let revision = scene.revision + 1;
    for watcher in &mut scene.watchers {
        watcher.read_until("the rest leaves", |reader| reader.mine == revision);
        assert_eq!(watcher.reader.steps, [(revision - 1, revision)]);
        assert_eq!(watcher.names(), brought);
        assert!(left.iter().all(|name| !watcher.has(name)));
    }
    assert_eq!(newer.ready(), Ok(revision), "too late, and no harm");
    scene.older_is_told();
}

#[test]
fn the_older_key_is_good_until_ready_and_no_longer() {
    let mut scene = Scene::new(10, patient());
    let oldest = Greeting::new("worker", &nothing()).with_session_of(&scene.worker);
    // As if the first WELCOME had been lost.
    let lost = Peer::greet(&scene.at, &oldest);
    let mut newer = Peer::greet(&scene.at, &oldest);
    assert!(lost.welcome().taken_over && newer.welcome().taken_over);
    assert_eq!(newer.register(&scene.names), Ok(scene.revision));
    scene.no_watcher_was_told(&mut newer);
    scene.older_is_told();
    drop(lost);
    // After READY it is a stranger's key.
    let stranger = Peer::greet(&scene.at, &oldest);
    assert!(!stranger.welcome().taken_over);
    assert_ne!(stranger.welcome().worker, newer.welcome().worker);
    scene.no_watcher_was_told(&mut newer);
}

#[test]
fn a_newcomer_that_dies_before_ready_takes_all_with_it_in_one_change() {
    let mut scene = Scene::new(10_000, patient());
    let mut newer = scene.next_connection();
    assert_eq!(newer.register(&scene.names[..3000]), Ok(scene.revision));
    scene.older_is_told();
    newer.reset();
    let step = (scene.revision, scene.revision + 1);
    for watcher in &mut scene.watchers {
        watcher.read_until("the worker leaves", |reader| reader.mine > step.0);
        assert_eq!(watcher.reader.steps, [step]);
        assert!(watcher.view().functions.is_empty() && watcher.view().workers.is_empty());
    }
}
