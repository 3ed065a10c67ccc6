//! A watcher that does not read: it costs bounded memory, delays no other connection, and ends with the right board.

use std::thread;

use callboard::address::Address;
use callboard::protocol::{Definition, Text};

use crate::peer::{Peer, all, nothing, numbered, plain, register_frame, unregister_frame};
use crate::process::Process;

const CHANGES: u64 = 100_000;
const FUNCTIONS: usize = 1000;
/// Bytes of one description. Half of the changes carry one: 100 MB that the laggard misses.
const DESCRIPTION: usize = 2000;
const LOG_BYTES: u64 = 16 << 20;
/// What the engine may grow by beside the log: the other watchers' buffers, pages, the allocator's slack.
const SLACK: u64 = 32 << 20;

/// Makes so many steps on the board, one after the other, and says after which revision it stopped.
/// Between them it calls `meanwhile` from time to time.
fn churn(at: &Address, mut meanwhile: impl FnMut()) -> (Peer, u64) {
    let mut worker = Peer::join(at, "churner", &nothing());
    let names = numbered("churned::", FUNCTIONS);
    let text = "x".repeat(DESCRIPTION);
    let define = |name| Definition {
        description: Text(&text),
        ..plain(name)
    };
    let mut first = 0;
    for names in names.chunks(100) {
        let definitions = names.iter().map(|name| define(name)).collect();
        first = worker.register_all(definitions).unwrap();
    }
    let mut revision = first;
    for round in 0.. {
        let name = &names[(round / 2) % FUNCTIONS];
        let id = worker.request();
        let frame = if round % 2 == 0 {
            unregister_frame(id, &[name])
        } else {
            register_frame(id, false, vec![define(name)])
        };
        worker.send(&frame);
        let sealed = worker.ending(id).unwrap();
        assert_eq!(sealed, revision + 1, "each is a step of its own");
        revision = sealed;
        worker.reader.endings.clear();
        if round % 5000 == 0 {
            meanwhile();
        }
        if revision == first + CHANGES {
            break;
        }
    }
    // The board that is left is the worker's, and a mark of the end.
    worker.unregister(&names[..10]).unwrap();
    let revision = worker.register(&["the::end"]).unwrap();
    // It is handed out to stay: with it, its functions would leave.
    (worker, revision)
}

#[test]
fn a_watcher_that_stops_reading_for_100_000_changes_costs_little_and_delays_no_other() {
    let flags = format!("changes-per-second=0 log-bytes={LOG_BYTES} send-buffer=65536");
    let (engine, at) = Process::engine(&flags);
    let mut steady = Peer::join(&at, "steady", &nothing());
    let stays = numbered("stays::", 1000);
    steady.register(&stays).unwrap();
    let mut laggard = Peer::join_narrow(&at, "laggard", &all());
    let read_before = laggard.reader.mine;
    let before = engine.resident();

    let mut other = Peer::join(&at, "other", &all());
    let reads_along = thread::spawn(move || {
        other.follow_until(|reader| reader.view.functions.contains_key("the::end"));
        other
    });
    let mut asked = 0;
    let (_churner, last) = churn(&at, || {
        laggard.ask();
        asked += 1;
    });
    // The laggard has read nothing so far; the other one has everything.
    let other = reads_along.join().unwrap();
    assert_eq!(other.reader.mine, last);
    assert_eq!(laggard.reader.mine, read_before);
    let grown = engine.resident().saturating_sub(before);
    assert!(
        grown < LOG_BYTES + SLACK,
        "the engine grew by {grown} bytes"
    );

    // Now it reads on.
    laggard.catch_up(last);
    let reader = &laggard.reader;
    assert_eq!(reader.goodbye, None);
    assert_eq!(
        reader.resyncs,
        ["joined", "log_trimmed"],
        "it fell off the log once"
    );
    assert_eq!(reader.mine, last);
    let fresh = Peer::join(&at, "fresh", &all());
    assert!(laggard.view() == fresh.view() && other.view() == fresh.view());
    assert_eq!(fresh.names().len(), stays.len() + FUNCTIONS - 10 + 1);
    // No reply to it was lost.
    assert!(reader.pongs > asked, "{} of {asked}", reader.pongs);
}
