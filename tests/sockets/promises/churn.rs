//! Joins under churn: workers register, unregister, change, crash and come back as fast as they can, while
//! watchers of all kinds join again and again. In the end everyone sees the same board, each its part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::{Definition, Text};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{RngExt, SeedableRng};

use crate::client::serve;
use crate::peer::{
    Greeting, Peer, all, both, nothing, numbered, patient, plain, register_frame, unregister_frame,
};
use crate::reader::{Reader, WatchFilter, digest};

/// Functions that stay; with the churned ones the board has about 10,000.
const STEADY: usize = 7000;
/// Functions of each churning worker's own.
const OWN: usize = 700;
/// Functions that all churning workers provide, or not.
const SHARED: usize = 200;
const CHURNERS: u64 = 4;
/// Rounds that each makes at least.
const ROUNDS: usize = 300;
/// Rounds after which it stops even if the joiners are not done, so that these are done some day.
const MOST_ROUNDS: usize = 3000;
const JOINERS: u64 = 3;
/// Joins of each joiner.
const JOINS: usize = 20;

/// A worker that never rests.
struct Churner {
    at: Address,
    name: String,
    peer: Peer,
    filter: WatchFilter,
    own: Vec<String>,
    shared: Vec<String>,
    /// What it provides, and a digest of how.
    provided: BTreeMap<String, u64>,
    descriptions: BTreeMap<String, String>,
    chance: StdRng,
}

impl Churner {
    fn new(at: &Address, number: u64) -> Self {
        let name = format!("churner-{number}");
        // Every second one checks all that happens by itself.
        let filter = if number.is_multiple_of(2) {
            nothing()
        } else {
            both()
        };
        let mut churner = Self {
            peer: Peer::join(at, &name, &filter),
            own: numbered(&format!("churn{number}::"), OWN),
            shared: numbered("shared::", SHARED),
            provided: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            chance: StdRng::seed_from_u64(number),
            at: at.clone(),
            filter,
            name,
        };
        let names = churner.own.clone();
        churner.provide(&names);
        churner
    }

    /// Some of its names, provided now or not.
    fn some(&mut self, most: usize) -> Vec<String> {
        let count = self.chance.random_range(1..=most);
        let pool = if self.chance.random_bool(0.3) {
            &self.shared
        } else {
            &self.own
        };
        let names: BTreeSet<&String> = pool.sample(&mut self.chance, count).collect();
        names.into_iter().cloned().collect()
    }

    fn definitions<'a>(&'a self, names: &'a [String]) -> Vec<Definition<'a>> {
        let define = |name: &'a String| Definition {
            description: Text(self.descriptions.get(name).map_or("", |it| it)),
            ..plain(name)
        };
        names.iter().map(define).collect()
    }

    fn provide(&mut self, names: &[String]) {
        let id = self.peer.request();
        let definitions = self.definitions(names);
        let digests: Vec<u64> = definitions.iter().map(digest).collect();
        let frame = register_frame(id, false, definitions);
        self.peer.send(&frame);
        self.peer.ending(id).unwrap();
        self.provided.extend(names.iter().cloned().zip(digests));
        if !self.filter.is_nothing() {
            // What was answered is in the view.
            assert!(names.iter().all(|name| self.peer.has(name)));
        }
    }

    fn withdraw(&mut self, names: &[String]) {
        self.peer.unregister(names).unwrap();
        self.provided.retain(|name, _| !names.contains(name));
    }

    fn round(&mut self) {
        match self.chance.random_range(0..100) {
            0..40 => {
                let names = self.some(10);
                self.provide(&names);
            }
            40..70 => {
                let mut names = self.some(10);
                names.retain(|name| self.provided.contains_key(name));
                self.withdraw(&names);
            }
            70..85 => {
                for name in self.some(5) {
                    let text = format!("as of {}", self.chance.random_range(0..1000));
                    self.descriptions.insert(name.clone(), text);
                    self.provide(&[name]);
                }
            }
            85..90 => {
                let names = self.own.clone();
                self.provide(&names);
            }
            90..93 => {
                let mut names = self.some(OWN / 2);
                names.retain(|name| self.provided.contains_key(name));
                self.withdraw(&names);
            }
            93..96 => self.come_and_go(),
            96..98 => self.crash(),
            _ => self.take_over(),
        }
    }

    /// Registers something and takes it back at once.
    fn come_and_go(&mut self) {
        let mut names = self.some(5);
        names.retain(|name| !self.provided.contains_key(name));
        let (come, go) = (self.peer.request(), self.peer.request());
        let mut bytes = register_frame(come, false, self.definitions(&names));
        bytes.extend(unregister_frame(go, &names));
        self.peer.send(&bytes);
        self.peer.ending(come).unwrap();
        self.peer.ending(go).unwrap();
    }

    /// Dies without GOODBYE and comes back as a new worker.
    fn crash(&mut self) {
        let newer = Peer::connect(&self.at, Reader::new(self.filter.clone()));
        let older = std::mem::replace(&mut self.peer, newer);
        let name = self.name.clone();
        let greeting = Greeting::new(&name, &self.filter);
        let greeting = self.resume(greeting, &older);
        older.reset();
        self.peer.send(&greeting.frame());
        self.peer.sync();
        self.provide_again();
    }

    /// Loses its connection, and is back before the engine knows.
    fn take_over(&mut self) {
        let newer = Peer::connect(&self.at, Reader::new(self.filter.clone()));
        let older = std::mem::replace(&mut self.peer, newer);
        let name = self.name.clone();
        let greeting = Greeting::new(&name, &self.filter).with_session_of(&older);
        let greeting = self.resume(greeting, &older);
        self.peer.send(&greeting.frame());
        self.peer.sync();
        assert_eq!(self.peer.welcome().worker, older.welcome().worker);
        self.provide_again();
        self.peer.ready().unwrap();
    }

    /// Goes on with the view of the connection before, every second time.
    fn resume<'a>(&mut self, greeting: Greeting<'a>, older: &Peer) -> Greeting<'a> {
        if self.filter.is_nothing() || self.chance.random_bool(0.5) {
            return greeting;
        }
        self.peer.reader.view = older.view().clone();
        self.peer.reader.mine = older.reader.mine;
        greeting.resuming(&older.reader)
    }

    fn provide_again(&mut self) {
        // It leaves some behind.
        let mut left = self.some(20);
        left.retain(|name| self.chance.random_bool(0.5) && self.provided.contains_key(name));
        self.provided.retain(|name, _| !left.contains(name));
        let names: Vec<String> = self.provided.keys().cloned().collect();
        self.provide(&names);
    }
}

/// Joins again and again; keeps some of its watchers, which read when they find the time.
fn join_again_and_again(at: &Address, number: u64) -> Vec<Peer> {
    let covers = [
        all(),
        both(),
        WatchFilter::new(&["churn0::"], &[]),
        WatchFilter::new(&[], &[""]),
        WatchFilter::new(
            &["churn1::0000", "shared::", "steady::001"],
            &["churner-2", "steady"],
        ),
        WatchFilter::new(&[], &["churner-1"]),
        WatchFilter::new(&["steady::"], &[]),
    ];
    let mut kept: Vec<Peer> = Vec::new();
    let mut chance = StdRng::seed_from_u64(1000 + number);
    for round in 0..JOINS {
        let filter = &covers[(round + number as usize) % covers.len()];
        let peer = Peer::join_narrow(at, "joiner", filter);
        let revision = peer.welcome().revision;
        assert!(peer.reader.mine >= revision, "SYNCED is older than WELCOME");
        if let Some(laggard) = kept.choose_mut(&mut chance) {
            laggard.catch_up(revision);
        }
        if round % 2 == 0 {
            kept.push(peer);
        }
    }
    kept
}

/// Returns a watcher of everything that was there all the time and read nothing until the end.
fn joins_under_churn(log_bytes: u64) -> Peer {
    let limits = Limits {
        changes_per_second: 0,
        // Unread bytes shall stay in the engine and not in the kernel.
        send_buffer: 16 * 1024,
        log_bytes,
        ..patient()
    };
    let server = serve(limits);
    let at = server.addresses()[0].clone();
    let mut steady = Peer::join(&at, "steady", &nothing());
    let stays = numbered("steady::", STEADY);
    steady.register(&stays).unwrap();

    let sleeper = Peer::join_narrow(&at, "sleeper", &both());

    let joiners_done = AtomicBool::new(false);
    let ready = AtomicUsize::new(0);
    let (churners, mut watchers) = thread::scope(|scope| {
        let churners: Vec<_> = (0..CHURNERS)
            .map(|number| {
                let (at, joiners_done, ready) = (&at, &joiners_done, &ready);
                scope.spawn(move || {
                    let mut churner = Churner::new(at, number);
                    ready.fetch_add(1, Ordering::Release);
                    for rounds in 0..MOST_ROUNDS {
                        if rounds >= ROUNDS && joiners_done.load(Ordering::Acquire) {
                            break;
                        }
                        churner.round();
                    }
                    churner
                })
            })
            .collect();
        crate::client::until("the board is full", || {
            ready.load(Ordering::Acquire) == CHURNERS as usize
                || churners.iter().any(thread::ScopedJoinHandle::is_finished)
        });
        let joiners: Vec<_> = (0..JOINERS)
            .map(|number| {
                let at = &at;
                scope.spawn(move || join_again_and_again(at, number))
            })
            .collect();
        let watchers: Vec<_> = joiners
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        // Whatever became of the joiners: the churn must not go on for ever.
        joiners_done.store(true, Ordering::Release);
        let churners: Vec<_> = churners.into_iter().map(|it| it.join().unwrap()).collect();
        let watchers: Vec<Peer> = watchers.into_iter().flat_map(Result::unwrap).collect();
        (churners, watchers)
    });

    // The churn is over; what is on the board now is what its workers say.
    let revision = steady.ready().unwrap();
    let mut fresh = Peer::join(&at, "fresh", &both());
    fresh.catch_up(revision);
    let board = fresh.view().clone();
    let mut names: BTreeSet<&String> = stays.iter().collect();
    let mut workers = BTreeMap::new();
    let steady_set: BTreeSet<String> = stays.iter().cloned().collect();
    workers.insert(steady.welcome().worker, ("steady".to_owned(), steady_set));
    for churner in &churners {
        names.extend(churner.provided.keys());
        let id = churner.peer.welcome().worker;
        let provided = churner.provided.keys().cloned().collect();
        workers.insert(id, (churner.name.clone(), provided));
        for (name, digest) in &churner.provided {
            assert!(
                name.starts_with("shared::") || board.functions[name] == *digest,
                "{name}"
            );
        }
    }
    assert_eq!(board.functions.keys().collect::<BTreeSet<_>>(), names);
    assert_eq!(board.workers, workers);

    // Those who watch nothing stay as well: their functions would leave with them.
    let churning = churners.into_iter().map(|it| it.peer);
    let (_blind, checking): (Vec<_>, Vec<_>) =
        churning.partition(|peer| peer.reader.filter.is_nothing());
    watchers.extend(checking);
    watchers.push(sleeper);
    for watcher in &mut watchers {
        watcher.catch_up(revision);
        let filter = &watcher.reader.filter;
        assert_eq!(watcher.reader.mine, fresh.reader.mine, "{filter:?}");
        assert!(
            *watcher.view() == filter.project(&board),
            "{filter:?} is wrong"
        );
    }
    watchers.pop().unwrap()
}

#[test]
fn joins_under_churn_have_the_right_view() {
    let sleeper = joins_under_churn(1 << 30);
    // Whatever it missed was in the log, and much of it in one frame.
    let reader = &sleeper.reader;
    assert_eq!(reader.resyncs, ["joined"]);
    assert!(reader.change_frames < reader.mine / 2);
}

/// Watchers fall off this log all the time, in the middle of snapshots too.
#[test]
fn joins_under_churn_have_the_right_view_with_a_short_log() {
    let sleeper = joins_under_churn(256 * 1024);
    let resyncs = &sleeper.reader.resyncs;
    assert!(resyncs.len() > 1 && resyncs[1..].iter().all(|it| it == "log_trimmed"));
}
