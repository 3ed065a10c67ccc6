//! Fleets of the library's links against the pure engine, without sockets and without a clock: seeded
//! runs of registering, losing connections that the engine believes in for longer, half-read frames and
//! engine restarts. At every moment the notices add up to the view; at the end all views are the board,
//! and on the board is what the workers want to provide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::engine::{Close, Config, ConnId, Engine, Peer as EnginePeer, Time, Written};
use callboard::limits::Limits;
use callboard::worker::link::{Identity, Link, Ticket};
use callboard::worker::{Change, Entry, Function, Loss, Notice, Standing, Watch, WorkerInfo};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const STEPS: usize = 250;
const NAMES: [&str; 10] = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "x1", "x2"];

/// A worker: its link, and what is under way to and from the engine.
struct Peer {
    link: Link,
    conn: Option<ConnId>,
    up: Vec<u8>,
    down: Vec<u8>,
    /// The engine has closed its sending half: behind `down` comes the end.
    ending: bool,
    tickets: Vec<Ticket>,
    replica: Replica,
}

/// What somebody knows who only listens to the notices.
#[derive(Default)]
struct Replica {
    functions: BTreeMap<String, Entry>,
    workers: BTreeMap<(u64, u64), WorkerInfo>,
    revision: u64,
    synced: bool,
}

struct World {
    engine: Engine,
    limits: Limits,
    boots: u64,
    now: Time,
    start: Instant,
    dice: StdRng,
    peers: Vec<Peer>,
    connections: u32,
}

impl Replica {
    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Step(step) => {
                assert_eq!(
                    step.from,
                    self.revision.max(step.from),
                    "a step begins in the past"
                );
                self.revision = step.to;
                assert!(!step.changes.is_empty());
                for change in step.changes {
                    self.apply(change);
                }
            }
            Notice::Synced { revision } => (self.synced, self.revision) = (true, revision),
            Notice::Disconnected(_) => self.synced = false,
            Notice::Connected(_) | Notice::NotRestored { .. } => {}
            Notice::Missed | Notice::Ended(_) => panic!("{notice:?}"),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Added(new) => {
                assert!(self.functions.insert(new.name().to_owned(), new).is_none());
            }
            Change::Removed(old) => assert!(self.functions.remove(old.name()).is_some()),
            Change::Updated { old, new } => {
                let before = self
                    .functions
                    .insert(new.name().to_owned(), new.clone())
                    .unwrap();
                assert_eq!(before.function(), old.function());
                assert_ne!(old.function(), new.function());
            }
            Change::WorkerJoined(new) => {
                assert!(self.workers.insert(new.key(), new).is_none());
            }
            Change::WorkerLeft(old) => {
                let key = old.key();
                assert!(self.workers.remove(&key).is_some(), "{key:?}");
            }
            Change::WorkerUpdated { old, new, .. } => {
                let key = old.key();
                assert!(self.workers.remove(&key).is_some(), "{key:?}");
                assert!(self.workers.insert(new.key(), new).is_none());
            }
            other => panic!("{other:?}"),
        }
    }

    fn assert_adds_up_to(&self, link: &Link) {
        let view = link.view();
        let known = self
            .functions
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.function()));
        let entries: Vec<Entry> = view.with_prefix("").collect();
        assert!(known.eq(entries.iter().map(|entry| (entry.name(), entry.function()))));
        let mut known: Vec<_> = self.workers.values().map(provided).collect();
        known.sort();
        let mut seen: Vec<_> = view.workers().map(|it| provided(&it)).collect();
        seen.sort();
        assert_eq!(known, seen);
        // It may have fallen behind since, and is being brought up to date.
        assert!(self.synced || !view.is_live());
    }
}

/// A worker without its marks.
fn provided(worker: &WorkerInfo) -> (String, u64, Vec<String>) {
    let functions = worker.functions().map(str::to_owned).collect();
    (worker.name().to_owned(), worker.id(), functions)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let limits = Limits {
            log_bytes: [500, 20_000, 1 << 20][dice.random_range(0..3)],
            changes_per_second: 0,
            ..Limits::default()
        };
        let now = Time(1_000_000);
        Self {
            engine: boot(&limits, seed, now),
            limits,
            boots: seed * 1000,
            now,
            start: Instant::now(),
            dice,
            peers: Vec::new(),
            connections: 0,
        }
    }

    fn hire(&mut self, name: &str, watch: Watch) {
        let identity = Identity {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            watch,
            metadata: Vec::new(),
            capacity: None,
        };
        self.peers.push(Peer {
            link: Link::new(identity, self.dice.random(), self.instant()),
            conn: None,
            up: Vec::new(),
            down: Vec::new(),
            ending: false,
            tickets: Vec::new(),
            replica: Replica::default(),
        });
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now.0)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.dice.random_ratio(1, n)
    }

    fn open(&mut self, index: usize) {
        self.connections += 1;
        let conn = ConnId::new(self.connections, self.connections);
        let nobody = EnginePeer::Unix {
            pid: None,
            uid: None,
        };
        self.engine.handle_open(conn, nobody, self.now);
        let address: Address = "engine:1".parse().unwrap();
        let (epoch, now) = (None, self.instant());
        let peer = &mut self.peers[index];
        peer.link.open(address, epoch, now);
        (peer.conn, peer.ending) = (Some(conn), false);
        peer.up.clear();
        peer.down.clear();
    }

    /// The worker has lost its connection; the engine notices now, or with its own heartbeat.
    fn lose(&mut self, index: usize, noticed: bool) {
        let now = self.instant();
        let peer = &mut self.peers[index];
        if let Some(conn) = peer.conn.take() {
            peer.link.handle_end(None, now);
            if noticed {
                self.engine.handle_eof(conn, self.now);
            }
        }
    }

    fn restart(&mut self) {
        self.boots += 1;
        self.engine = boot(&self.limits, self.boots, self.now);
        for index in 0..self.peers.len() {
            self.lose(index, false);
        }
    }

    fn act(&mut self) {
        let index = self.dice.random_range(0..self.peers.len());
        let names: BTreeSet<&str> = (0..self.dice.random_range(1..4))
            .map(|_| NAMES[self.dice.random_range(0..NAMES.len())])
            .collect();
        match self.dice.random_range(0..20) {
            0..=5 => {
                let version = self.dice.random_range(0..3);
                let functions = names.iter().map(|&name| {
                    let function = Function::new(name).description(format!("v{version}"));
                    if name.starts_with('x') {
                        function.exclusive()
                    } else {
                        function
                    }
                });
                let ticket = self.peers[index]
                    .link
                    .register(functions.collect())
                    .unwrap();
                self.peers[index].tickets.push(ticket);
            }
            6..=9 => {
                let link = &mut self.peers[index].link;
                let offered = link
                    .offers()
                    .into_iter()
                    .map(|it| Arc::from(it.function.name()));
                let mut leaving: Vec<Arc<str>> = offered
                    .filter(|name: &Arc<str>| names.contains(&**name))
                    .collect();
                if leaving.is_empty() {
                    leaving.push("never".into());
                }
                let ticket = link.unregister(leaving).unwrap();
                self.peers[index].tickets.push(ticket);
            }
            10..=12 => {
                let noticed = self.one_in(2);
                self.lose(index, noticed);
            }
            13 if self.one_in(8) => self.restart(),
            _ => {}
        }
    }

    /// Some of what is under way arrives, the engine has its turn, the time goes on.
    fn turn(&mut self, all: bool, pause: Duration) {
        for index in 0..self.peers.len() {
            if self.peers[index].conn.is_none() && (all || self.one_in(3)) {
                self.open(index);
            }
            self.upwards(index, all);
        }
        while let Some(conn) = self.engine.poll_expired(self.now) {
            self.engine.handle_expired(conn, self.now);
        }
        self.engine.seal(self.now);
        self.flush(all);
        for index in 0..self.peers.len() {
            self.downwards(index, all);
        }
        self.now = self.now.after(pause);
        let now = self.instant();
        for index in 0..self.peers.len() {
            let link = &mut self.peers[index].link;
            if link.next_deadline().is_some_and(|at| at <= now)
                && let Err(loss) = link.handle_time(now)
            {
                self.drop_socket(index, &loss);
            }
            self.listen(index);
        }
    }

    fn upwards(&mut self, index: usize, all: bool) {
        let peer = &mut self.peers[index];
        peer.link.take_output(&mut peer.up);
        let Some(conn) = peer.conn else {
            return peer.up.clear();
        };
        if self.engine.wants_read(conn) && !peer.up.is_empty() {
            let n = if all {
                peer.up.len()
            } else {
                self.dice.random_range(0..=peer.up.len())
            };
            let bytes: Vec<u8> = peer.up.drain(..n).collect();
            self.engine.handle_bytes(conn, &bytes, self.now);
        }
    }

    fn flush(&mut self, all: bool) {
        let most = if all {
            usize::MAX
        } else {
            self.dice.random_range(0..8)
        };
        for _ in 0..most {
            let Some(conn) = self.engine.poll_flush() else {
                break;
            };
            let peer = self.peers.iter_mut().find(|peer| peer.conn == Some(conn));
            let mut lost = Vec::new();
            let down = peer.map_or(&mut lost, |peer| &mut peer.down);
            self.engine.flush(conn, self.now, |slices| {
                let before = down.len();
                down.extend(slices.iter().flat_map(|slice| slice.iter()));
                Written::Bytes(down.len() - before)
            });
        }
        while let Some(close) = self.engine.poll_close() {
            let (Close::SendingHalf(conn) | Close::Socket(conn)) = close;
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == Some(conn)) {
                peer.ending = true;
            }
        }
        while self.engine.poll_resume().is_some() {}
    }

    fn downwards(&mut self, index: usize, all: bool) {
        let now = self.instant();
        let peer = &mut self.peers[index];
        if peer.conn.is_none() {
            return;
        }
        let n = if all {
            peer.down.len()
        } else {
            self.dice.random_range(0..=peer.down.len())
        };
        let bytes: Vec<u8> = peer.down.drain(..n).collect();
        let mut result = Ok(());
        if !bytes.is_empty() {
            result = peer.link.handle_bytes(&bytes, now);
        }
        if result.is_ok() && peer.ending && peer.down.is_empty() {
            result = Err(peer.link.handle_end(None, now));
        }
        if let Err(loss) = result {
            self.drop_socket(index, &loss);
        }
    }

    /// The link has ended its connection by itself.
    fn drop_socket(&mut self, index: usize, loss: &Loss) {
        let harmless = matches!(
            loss,
            Loss::Closed | Loss::ClosedBeforeWelcome | Loss::Silent(_)
        ) || matches!(loss, Loss::NoWelcome)
            || matches!(
                loss.code(),
                Some("silent" | "frame_timeout" | "hello_timeout")
            );
        assert!(harmless, "{loss}");
        if let Some(conn) = self.peers[index].conn.take() {
            self.engine.handle_eof(conn, self.now);
        }
    }

    fn listen(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        let notices = peer.link.take_notices();
        let news = !notices.is_empty();
        for notice in notices {
            peer.replica.hear(notice);
        }
        if news {
            peer.replica.assert_adds_up_to(&peer.link);
        }
        let link = &mut peer.link;
        peer.tickets.retain(|&ticket| match link.take_end(ticket) {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => {
                assert!(
                    ["exclusive", "not_registered"].contains(&error.code()),
                    "{error}"
                );
                false
            }
        });
    }

    /// Everything arrives, for so long that ghosts are noticed and refusals are retried.
    fn heal(&mut self) {
        for _ in 0..400 {
            self.turn(true, Duration::from_millis(200));
        }
    }

    fn assert_right(&mut self) {
        self.hire("fresh", Watch::all().workers([""]));
        self.heal();
        let fresh = self.peers.pop().unwrap().link;
        let board: Vec<Entry> = fresh.view().with_prefix("").collect();
        let workers: Vec<_> = fresh.view().workers().map(|it| provided(&it)).collect();
        let mut wanted = BTreeSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            assert!(peer.tickets.is_empty() && peer.link.view().is_live());
            let watch_all = index != 1 && index != 2;
            let seen: Vec<Entry> = peer.link.view().with_prefix("").collect();
            let want: Vec<&Entry> = board
                .iter()
                .filter(|it| watch_all || index == 1 && it.name().starts_with('a'))
                .collect();
            assert!(seen.iter().all(|entry| !entry.is_stale()));
            let seen: Vec<&Function> = seen.iter().map(Entry::function).collect();
            assert_eq!(
                seen,
                want.iter().map(|it| it.function()).collect::<Vec<_>>(),
                "{index}"
            );
            let mut listed = Vec::new();
            for offer in peer.link.offers() {
                let name = offer.function.name().to_owned();
                match offer.standing {
                    Standing::Listed => listed.push(name),
                    Standing::Refused(_) => assert!(name.starts_with('x')),
                    Standing::Pending => panic!("{name} was never answered"),
                }
            }
            let id = peer.link.connection().unwrap().worker;
            let mine = workers.iter().find(|(_, it, _)| *it == id);
            assert_eq!(
                mine.map_or(&Vec::new(), |(_, _, functions)| functions),
                &listed
            );
            wanted.extend(listed);
        }
        assert!(
            board
                .iter()
                .map(Entry::name)
                .eq(wanted.iter().map(String::as_str))
        );
    }
}

fn boot(limits: &Limits, seed: u64, now: Time) -> Engine {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        limits: limits.clone(),
        name: "simulated".to_owned(),
        seed: bytes,
    };
    Engine::new(config, now)
}

/// The seeds to run: a fixed few, or those that CALLBOARD_SEEDS names (`FROM..TO`).
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("CALLBOARD_SEEDS") else {
        return 0..100;
    };
    let (from, to) = text.split_once("..").expect("CALLBOARD_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn whatever_happens_views_and_board_come_to_the_same() {
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.hire("everything", Watch::all().workers([""]));
            world.hire("prefix", Watch::functions(["a"]));
            world.hire("nothing", Watch::nothing());
            world.hire("functions", Watch::all());
            world.hire("twin", Watch::all().workers([""]));
            world.hire("twin", Watch::all());
            for _ in 0..STEPS {
                world.act();
                let pause = Duration::from_millis(world.dice.random_range(0..300));
                world.turn(false, pause);
            }
            world.heal();
            world
                .peers
                .iter()
                .for_each(|peer| peer.replica.assert_adds_up_to(&peer.link));
            world.assert_right();
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}
