//! Seeded churn: workers that come, register, go, crash, take over and resume, and watchers of all sorts
//! that read at all speeds. Every view is compared with the board at its revision. The worlds are smaller than
//! those of the simulation, and their logs tiny: they come where it does not, to folds for joiners and to pages
//! cut in the midst of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use callboard::limits::Limits;
use callboard::protocol::{Definition, Register, Text};

use crate::reader::{Reader, View, WatchFilter};
use crate::rng::{Rng, seeds, watched};
use crate::turn::Budgets;
use crate::world::{World, hello};

const PREFIXES: [&str; 4] = ["a::", "b::", "bb::", "c"];

struct Churn {
    world: World,
    rng: Rng,
    /// Sees everything at once; the others are measured by it.
    oracle: usize,
    /// The board at each revision.
    history: BTreeMap<u64, View>,
    /// Link indices of workers in service.
    workers: Vec<usize>,
    /// What each worker's link asked for and was granted, by link.
    granted: BTreeMap<usize, BTreeSet<String>>,
    /// Requests under way: (link, id) to what they ask for.
    asked: BTreeMap<(usize, u64), Asked>,
    /// Readers of ended connections, who may come back.
    absent: Vec<(String, Reader)>,
    worker_names: BTreeMap<usize, String>,
    /// The revision at which each link's view was compared last.
    compared: BTreeMap<usize, u64>,
    /// Connections that ended without the engine having noticed yet.
    late: Vec<usize>,
}

enum Asked {
    Register(Vec<String>),
    Unregister(Vec<String>),
    Ready,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let limits = Limits {
            log_bytes: [2_000, 20_000, 200_000, 16 << 20][rng.below(4)],
            changes_per_second: [0, 0, 50][rng.below(3)],
            ..Limits::default()
        };
        let mut world = World::seeded(limits, seed);
        let oracle = world.join("oracle", &WatchFilter::new(&[""], &[""]));
        Self {
            world,
            rng,
            oracle,
            history: BTreeMap::from([(0, View::default())]),
            workers: Vec::new(),
            granted: BTreeMap::new(),
            asked: BTreeMap::new(),
            absent: Vec::new(),
            worker_names: BTreeMap::new(),
            compared: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    fn filter(&mut self) -> WatchFilter {
        let mut some = || -> Vec<String> {
            match self.rng.below(4) {
                0 => Vec::new(),
                1 => vec![String::new()],
                _ => (0..=self.rng.below(3))
                    .map(|_| {
                        let prefix = PREFIXES[self.rng.below(PREFIXES.len())];
                        if self.rng.one_in(4) {
                            format!("{prefix}1")
                        } else {
                            prefix.to_owned()
                        }
                    })
                    .collect(),
            }
        };
        let (functions, mut workers) = (some(), some());
        if !self.rng.one_in(2) {
            workers.clear();
        }
        WatchFilter { functions, workers }
    }

    fn name(&mut self) -> String {
        format!(
            "{}{}",
            PREFIXES[self.rng.below(PREFIXES.len())],
            self.rng.below(20)
        )
    }

    fn come(&mut self) {
        let back = self.rng.one_in(2).then(|| self.absent.pop()).flatten();
        let (name, reader, session, resume) = match back {
            Some((name, reader)) => {
                let welcome = reader.welcome.clone().unwrap_or_default();
                let resume = (welcome.epoch, reader.mine, welcome.digest);
                let synced = reader.is_synced();
                let session = welcome.session;
                let resume = (synced && !self.rng.one_in(5)).then_some(resume);
                let fresh = if resume.is_some() {
                    reader.reconnected()
                } else {
                    Reader::new(reader.filter)
                };
                (name, fresh, Some(session), resume)
            }
            None => (self.name(), Reader::new(self.filter()), None, None),
        };
        let filter = reader.filter.clone();
        let link = self.world.open(reader);
        let resume = resume
            .as_ref()
            .map(|(epoch, revision, digest)| (*epoch, *revision, &digest[..]));
        let frame = hello(&name, "default", &filter, session.as_deref(), resume);
        self.world.say(link, &frame);
        if self.rng.one_in(3) {
            self.world.links[link].capacity = [0, 1, 700, 70_000][self.rng.below(4)];
        }
        self.workers.push(link);
        self.granted.insert(link, BTreeSet::new());
        self.worker_names.insert(link, name);
    }

    fn go(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        let index = self.rng.below(self.workers.len());
        let link = self.workers.swap_remove(index);
        let kind = self.rng.below(4);
        match kind {
            0 => self.world.eof(link),
            1 => self.world.reset(link),
            2 => {
                let goodbye = callboard::protocol::Goodbye::default().to_frame();
                self.world.say(link, &goodbye);
            }
            // The engine takes it for alive: the worker that comes back takes the session over.
            _ => self.world.links[link].up.clear(),
        }
        let filter = self.world.links[link].reader.filter.clone();
        let reader = std::mem::replace(&mut self.world.links[link].reader, Reader::new(filter));
        if reader.welcome.is_some() && reader.goodbye.is_none() {
            self.absent.push((self.worker_names[&link].clone(), reader));
        }
        // Frames that still arrive for the old connection are dropped.
        self.world.links[link].deaf = true;
        if kind == 3 {
            // Its end comes sooner or later, perhaps after the session was taken over.
            self.late.push(link);
        }
    }

    fn act(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        let link = self.workers[self.rng.below(self.workers.len())];
        match self.rng.below(10) {
            0..=4 => self.register(link),
            5..=7 => {
                let granted: Vec<String> = self.granted[&link].iter().cloned().collect();
                let mut names: Vec<String> =
                    granted.into_iter().filter(|_| self.rng.one_in(3)).collect();
                if self.rng.one_in(10) {
                    names.push(self.name());
                }
                let texts: Vec<&str> = names.iter().map(|name| &**name).collect();
                let id = self.world.unregister(link, &texts);
                self.asked.insert((link, id), Asked::Unregister(names));
            }
            8 => {
                let id = self.world.ready(link);
                self.asked.insert((link, id), Asked::Ready);
            }
            _ => {
                let ping = callboard::protocol::Ping::default().to_frame();
                self.world.say(link, &ping);
            }
        }
    }

    fn register(&mut self, link: usize) {
        let many = self.rng.one_in(25);
        let count = if many { 200 } else { 1 + self.rng.below(6) };
        let mut names: Vec<String> = (0..count).map(|_| self.name()).collect();
        if many {
            for (index, name) in names.iter_mut().enumerate() {
                *name = format!("{name}::{index}");
            }
        }
        let description = "x".repeat(if many { 400 } else { self.rng.below(3) });
        let id = self.world.request(link);
        let chunk = if self.rng.one_in(3) { 2 } else { count };
        let chunks: Vec<&[String]> = names.chunks(chunk).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let functions = chunk
                .iter()
                .map(|name| Definition {
                    name: Text(name),
                    description: Text(&description),
                    exclusive: self.rng.one_in(40),
                    ..Definition::default()
                })
                .collect();
            let more = index + 1 < chunks.len();
            let frame = Register {
                id,
                more,
                functions,
                ..Register::default()
            }
            .to_frame();
            self.world.say(link, &frame);
        }
        self.asked.insert((link, id), Asked::Register(names));
    }

    fn turn(&mut self) {
        for link in 0..self.world.links.len() {
            let most = [usize::MAX, 1, 7, 300][self.rng.below(4)];
            self.world.arrive(link, most);
        }
        if let Some(link) = self.late.first().copied().filter(|_| self.rng.one_in(3)) {
            self.late.remove(0);
            self.world.reset(link);
        }
        let budgets = if self.rng.one_in(4) {
            Budgets::writes(self.rng.below(6), self.rng.below(6))
        } else {
            Budgets::ALL
        };
        self.world.finish_turn(budgets);
        // The oracle hears of each revision by itself.
        while self.world.reader(self.oracle).mine < self.world.engine.stats().revisions {
            self.world.flush(Budgets::writes(1, 1));
            self.world.receive(self.oracle, usize::MAX);
        }
        self.world.wait(self.rng.below(40) as u64);
        let oracle = self.world.reader(self.oracle);
        self.history.insert(oracle.mine, oracle.view.clone());
        for link in 0..self.world.links.len() {
            let most = [usize::MAX, 0, 100, 100_000][self.rng.below(4)];
            self.world.receive(link, most);
            self.compare(link);
        }
        self.take_endings();
    }

    /// A view that is complete equals the board at its revision, as far as its watch covers it.
    fn compare(&mut self, link: usize) {
        let reader = self.world.reader(link);
        if !reader.is_synced() || reader.filter.is_nothing() {
            return;
        }
        let (_, board) = self.history.range(..=reader.mine).next_back().unwrap();
        if self.compared.insert(link, reader.mine) == Some(reader.mine) {
            return;
        }
        let want = reader.filter.project(board);
        assert!(
            reader.view == want,
            "link {link} at revision {} with {:?}:\n{}",
            reader.mine,
            reader.filter,
            difference(&reader.view, &want),
        );
    }

    fn take_endings(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        for ((link, id), what) in asked {
            let Some(ending) = self.world.reader(link).endings.get(&id).cloned() else {
                self.asked.insert((link, id), what);
                continue;
            };
            let Ok(revision) = ending else { continue };
            let granted = self.granted.get_mut(&link).unwrap();
            match what {
                Asked::Register(names) => granted.extend(names),
                Asked::Unregister(names) => granted.retain(|name| !names.contains(name)),
                Asked::Ready => {}
            }
            // All changes up to the reply's revision came before it.
            let reader = self.world.reader(link);
            if !reader.filter.is_nothing() {
                let known = self.history.range(..=reader.mine).next_back().unwrap().1;
                let at_reply = self.history.range(..=revision).next_back().unwrap().1;
                let fresher = reader.mine >= revision;
                assert!(
                    fresher || reader.filter.project(known) == reader.filter.project(at_reply),
                    "a reply overtook a change"
                );
            }
        }
    }

    fn finish(&mut self) {
        for link in std::mem::take(&mut self.late) {
            self.world.reset(link);
        }
        for &link in &self.workers {
            let id = self.world.ready(link);
            self.asked.insert((link, id), Asked::Ready);
        }
        self.world.settle();
        self.world.wait(2_500);
        self.world.settle();
        let oracle = self.world.reader(self.oracle);
        self.history.insert(oracle.mine, oracle.view.clone());
        self.take_endings();
        let board = self.world.reader(self.oracle).view.clone();
        // What the workers were granted is what the board has.
        let mut functions = BTreeSet::new();
        for link in self.workers.clone() {
            let reader = self.world.reader(link);
            if reader.goodbye.is_some() {
                continue;
            }
            functions.extend(self.granted[&link].iter().cloned());
            let id = reader.welcome.as_ref().unwrap().worker;
            let listed = board
                .workers
                .get(&id)
                .map(|(_, functions)| functions.clone());
            assert_eq!(
                listed.unwrap_or_default(),
                self.granted[&link],
                "worker {id}"
            );
            assert!(reader.is_synced(), "link {link} never got a complete view");
            self.compare(link);
        }
        let shown: BTreeSet<String> = board.functions.keys().cloned().collect();
        assert_eq!(shown, functions);
        // A fresh snapshot says the same.
        let fresh = self.world.join("fresh", &WatchFilter::new(&[""], &[""]));
        assert_eq!(self.world.reader(fresh).view, board);
        // All who left are gone from the engine's books.
        let stats = self.world.engine.stats();
        assert_eq!((stats.behind, stats.outbound_bytes), (0, 0), "{stats:?}");
    }
}

/// The difference between a view and the board, in as few words as possible.
fn difference(have: &View, want: &View) -> String {
    let mut out = String::new();
    for name in have.functions.keys().chain(want.functions.keys()) {
        let (have, want) = (have.functions.get(name), want.functions.get(name));
        if have != want {
            let _ = writeln!(out, "{name}: has {have:?}, wants {want:?}");
        }
    }
    for id in have.workers.keys().chain(want.workers.keys()) {
        let (have, want) = (have.workers.get(id), want.workers.get(id));
        if have != want {
            let _ = writeln!(out, "worker {id}: has {have:?}, wants {want:?}");
        }
    }
    out
}

fn run(seed: u64) {
    let mut churn = Churn::new(seed);
    for _ in 0..120 {
        for _ in 0..churn.rng.below(6) {
            match churn.rng.below(10) {
                0..=1 => churn.come(),
                2 => churn.go(),
                _ => churn.act(),
            }
        }
        churn.turn();
    }
    churn.finish();
}

#[test]
fn every_view_equals_the_board_at_its_revision_whatever_happens() {
    for seed in watched(
        "every_view_equals_the_board_at_its_revision_whatever_happens",
        seeds(0..100),
    ) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} (run it alone: `run({seed})`)");
    }
}
