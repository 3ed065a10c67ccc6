//! Gone is gone: what a worker provided leaves every board in one step, however the worker ended.

use callboard::address::Address;
use callboard::server::{Server, ServerConfig};

use crate::client::serve;
use crate::peer::{Peer, all, both, numbered, patient};
use crate::process::Process;
use crate::reader::{Reader, WatchFilter};

const MANY: usize = 10_000;

/// Reads until `is_so`, and says in how many steps and in how many frames that came.
fn steps_until(peer: &mut Peer, is_so: impl Fn(&Reader) -> bool) -> (usize, u64) {
    let (steps, frames) = (peer.reader.steps.len(), peer.reader.change_frames);
    peer.read_until("the change", is_so);
    (
        peer.reader.steps.len() - steps,
        peer.reader.change_frames - frames,
    )
}

#[test]
fn a_killed_worker_process_leaves_in_one_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = Address::Unix(directory.path().join("board.sock"));
    let server = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap(), path],
        limits: patient(),
        ..ServerConfig::default()
    })
    .unwrap();
    let [tcp, unix] = server.addresses() else {
        panic!("two addresses were asked for")
    };
    let mut other = Peer::join(tcp, "other", &all());
    other.register(&["other::stays"]).unwrap();
    let workers = WatchFilter::new(&[], &["doomed"]);
    let prefix = WatchFilter::new(&["doomed::0", "doomed::1", "other::"], &[]);
    let unconcerned = WatchFilter::new(&["other::"], &["other"]);
    let mut watchers = [
        Peer::join(tcp, "functions", &all()),
        Peer::join(unix, "both", &both()),
        Peer::join(tcp, "workers", &workers),
        Peer::join(unix, "prefix", &prefix),
    ];
    let mut aside = Peer::join(tcp, "aside", &unconcerned);
    let before: Vec<_> = watchers.iter().map(|it| it.view().clone()).collect();
    let aside_before = aside.view().clone();

    let role = format!("worker {tcp} doomed doomed:: {MANY}");
    let mut doomed = Process::start(&role);
    assert_eq!(doomed.line(), "registered");
    let count = |reader: &Reader| {
        let provided = reader.view.workers.values();
        let provided = provided.filter(|(name, _)| name == "doomed");
        let listed = reader.view.functions.keys();
        (
            listed.filter(|it| it.starts_with("doomed::")).count(),
            provided
                .map(|(_, functions)| functions.len())
                .sum::<usize>(),
        )
    };
    for (peer, full) in watchers
        .iter_mut()
        .zip([(MANY, 0), (MANY, MANY), (0, MANY), (MANY, 0)])
    {
        let (steps, frames) = steps_until(peer, |reader| count(reader) != (0, 0));
        assert_eq!(count(&peer.reader), full, "{:?}", peer.reader.filter);
        assert_eq!(steps, 1, "{:?}", peer.reader.filter);
        assert!(frames > 1, "a step of {MANY} fits into no single part");
    }

    doomed.kill();
    let gone = watchers[0].reader.mine;
    for (peer, before) in watchers.iter_mut().zip(before) {
        let (steps, frames) = steps_until(peer, |reader| count(reader) == (0, 0));
        assert_eq!(steps, 1, "{:?}", peer.reader.filter);
        // A watcher of workers is told the worker's key alone.
        assert!(frames > 1 || peer.reader.filter == workers);
        assert_eq!(*peer.view(), before);
        assert_eq!(peer.reader.steps.last(), Some(&(gone, gone + 1)));
    }
    aside.catch_up(gone + 1);
    assert_eq!(aside.reader.steps, []);
    assert_eq!(*aside.view(), aside_before);
}

#[test]
fn gone_is_gone_after_goodbye_end_of_stream_and_reset() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut watcher = Peer::join(at, "watcher", &both());
    let names = numbered("brief::", 1000);
    let bye = callboard::protocol::Goodbye {
        code: callboard::protocol::Text("bye"),
        ..callboard::protocol::Goodbye::default()
    };
    let ends: [(&str, &dyn Fn(Peer)); 3] = [
        ("goodbye", &|mut peer| {
            peer.send(&bye.to_frame());
            peer.read_to_end();
        }),
        ("end of stream", &|mut peer| {
            peer.finish();
            peer.read_to_end();
        }),
        ("reset", &Peer::reset),
    ];
    for (what, end) in ends {
        let mut worker = Peer::join(at, "brief", &all());
        let revision = worker.register(&names).unwrap();
        watcher.catch_up(revision);
        assert_eq!(watcher.view().functions.len(), names.len(), "{what}");
        end(worker);
        let (steps, _) = steps_until(&mut watcher, |reader| reader.mine > revision);
        assert_eq!(
            (steps, watcher.view()),
            (1, &crate::reader::View::default()),
            "{what}"
        );
    }
}
