//! Thousands of workers that join a full board at once, each of which puts a function on it. How long until every one
//! of them sees all of it, and how much the engine's memory grows meanwhile. The floor sends everybody as many bytes as
//! Callboard sent to each on the average. All are connected before the clock starts: what is measured is a fleet that
//! says HELLO, not the kernel's queue of connections.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::board::{self, Board};
use crate::comparison::{Comparison, Metric, Unit};
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::target::{Programs, Target};
use crate::wire::{CallboardReader, Fault, News, Skimmed, Skimmer, Tongue, joiner, register};

const RATE: usize = 0;
const GROWTH: usize = 2;

const METRICS: [Metric; 4] = [
    Metric {
        name: "workers a second",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "until all see all",
        unit: Unit::Milliseconds,
    },
    Metric {
        name: "the server's memory grows by",
        unit: Unit::MiB,
    },
    Metric {
        name: "sent to each",
        unit: Unit::Bytes,
    },
];

/// Memory that the engine may take for it.
const MOST_GROWTH: f64 = 64.0;

/// Of so many workers one looks into all that it gets; the others follow the revisions.
const LOOKS_INTO_ALL: usize = 10;

/// How long it may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Between two looks at the server's memory.
const WEIGHING: Duration = Duration::from_millis(100);

const SCRATCH: usize = 64 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// A worker that joins.
struct Worker {
    stream: TcpStream,
    follows: Follows,
    bytes: u64,
    /// The revision that it sees, once it has the board.
    shows: Option<u64>,
    registered: bool,
}

/// What it does with what it gets.
enum Follows {
    /// Of the floor: until so many bytes are there.
    Bytes(u64),
    Revisions(Skimmer),
    All(Box<All>),
}

/// All that one of them got.
struct All {
    skimmer: Skimmer,
    reader: CallboardReader,
    /// Functions that it has, by number.
    seen: Vec<bool>,
}

impl Worker {
    /// Takes in what came. Appends to `out` what it says to that.
    fn take(
        &mut self,
        key: usize,
        functions: u64,
        piece: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, Fault> {
        self.bytes += piece.len() as u64;
        let mut newest = 0;
        let (shows, registered) = (&mut self.shows, &mut self.registered);
        let mut news = |skimmed| {
            match skimmed {
                Skimmed::Welcome => {
                    let name = board::name(functions + 1 + key as u64);
                    register(1, &name, board::DESCRIPTION, out);
                }
                Skimmed::Shows(revision) => *shows = Some(revision),
                Skimmed::Registered(revision) => {
                    *registered = true;
                    newest = revision;
                }
            }
            Ok(())
        };
        match &mut self.follows {
            Follows::Bytes(_) => {}
            Follows::Revisions(skimmer) => skimmer.read(piece, news)?,
            Follows::All(all) => {
                all.skimmer.read(piece, &mut news)?;
                let seen = &mut all.seen;
                let mut entries = |it| match it {
                    News::Entry(number) => {
                        let place = seen.get_mut(number as usize - 1);
                        *place.ok_or_else(|| format!("function {number} should not be there"))? =
                            true;
                        Ok(())
                    }
                    News::Gone(number) => Err(format!("function {number} is gone")),
                    News::Updated(number) => Err(format!("function {number} was registered twice")),
                    _ => Ok(()),
                };
                all.reader.read(piece, &mut Vec::new(), &mut entries)?;
            }
        }
        Ok(newest)
    }

    /// Whether it sees all that there is at this revision.
    fn is_done(&self, revision: u64) -> bool {
        match &self.follows {
            Follows::Bytes(bytes) => self.bytes >= *bytes,
            Follows::Revisions(_) => self.registered && self.shows >= Some(revision),
            Follows::All(all) => {
                self.registered && self.shows >= Some(revision) && all.seen.iter().all(|seen| *seen)
            }
        }
    }
}

struct Rush<'a> {
    target: &'a Target,
    functions: u64,
    poll: Poll,
    workers: Vec<Worker>,
    hello: Vec<u8>,
}

impl<'a> Rush<'a> {
    /// All connect; none sends anything.
    fn connect(
        target: &'a Target,
        functions: u64,
        workers: usize,
        bytes: u64,
    ) -> Result<Self, Fault> {
        let mut rush = Self {
            target,
            functions,
            poll: Poll::new().map_err(|error| error.to_string())?,
            workers: Vec::with_capacity(workers),
            hello: match target.tongue {
                Tongue::Raw => joiner(bytes),
                tongue => tongue.watch(),
            },
        };
        for key in 0..workers {
            let follows = match (target.tongue, key % LOOKS_INTO_ALL) {
                (Tongue::Raw, _) => Follows::Bytes(bytes),
                (_, 0) => Follows::All(Box::new(All {
                    skimmer: Skimmer::default(),
                    reader: CallboardReader::new(true),
                    seen: vec![false; functions as usize + workers],
                })),
                _ => Follows::Revisions(Skimmer::default()),
            };
            let stream = rush.open(Token(key)).map_err(|error| error.to_string())?;
            rush.workers.push(Worker {
                stream,
                follows,
                bytes: 0,
                shows: None,
                registered: false,
            });
        }
        Ok(rush)
    }

    fn open(&self, token: Token) -> std::io::Result<TcpStream> {
        let stream = std::net::TcpStream::connect(self.target.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let registry = self.poll.registry();
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(stream)
    }

    /// All say HELLO. Returns how long it took until all see all, and by how much the server had grown at the most.
    fn run(&mut self, weight: u64) -> Result<(Duration, u64), Fault> {
        let mut events = Events::with_capacity(1024);
        let (mut scratch, mut out) = (vec![0; SCRATCH], Vec::new());
        let mut heaviest = weight;
        let (mut registered, mut newest, mut done) = (0, 0, 0);
        let mut is_done = vec![false; self.workers.len()];
        let began = Instant::now();
        let mut weighed = began;
        for worker in &mut self.workers {
            worker
                .stream
                .write_all(&self.hello)
                .map_err(|error| error.to_string())?;
        }
        while done < self.workers.len() {
            let now = Instant::now();
            if now - began > LONGEST {
                return Err(format!("{done} of {} are done in time", self.workers.len()));
            }
            if now - weighed > WEIGHING {
                weighed = now;
                heaviest = heaviest.max(self.target.memory());
            }
            match self.poll.poll(&mut events, Some(WEIGHING)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| error.to_string())?,
            }
            let all_registered = registered == self.workers.len();
            for event in &events {
                let Token(key) = event.token();
                let worker = &mut self.workers[key];
                let was_registered = worker.registered;
                loop {
                    let n = match worker.stream.read(&mut scratch) {
                        Ok(0) => return Err("the server closed a connection".to_owned()),
                        Ok(n) => n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(format!("a connection was lost: {error}")),
                    };
                    let revision = worker.take(key, self.functions, &scratch[..n], &mut out)?;
                    newest = newest.max(revision);
                    if !out.is_empty() {
                        worker
                            .stream
                            .write_all(&out)
                            .map_err(|error| error.to_string())?;
                        out.clear();
                    }
                    if n < scratch.len() {
                        break;
                    }
                }
                registered += usize::from(worker.registered && !was_registered);
                // Only when all are registered, the newest revision has all of them.
                if !is_done[key] && (all_registered || self.target.tongue == Tongue::Raw) {
                    is_done[key] = worker.is_done(newest);
                    done += usize::from(is_done[key]);
                }
            }
            if !all_registered && registered == self.workers.len() {
                for (worker, is_done) in self.workers.iter().zip(&mut is_done) {
                    *is_done = worker.is_done(newest);
                    done += usize::from(*is_done);
                }
            }
        }
        let took = began.elapsed();
        heaviest = heaviest.max(self.target.memory());
        Ok((took, heaviest - weight))
    }
}

/// One rush on a fresh target: the figures of [`METRICS`].
fn rush(
    programs: &Programs,
    tongue: Tongue,
    functions: u64,
    workers: usize,
    bytes: u64,
) -> Result<Vec<f64>, Fault> {
    let (target, _board);
    if tongue == Tongue::Raw {
        target = Target::floor();
    } else {
        target = Target::callboard(programs)?;
        _board = Board::fill(&target, functions)?;
    }
    let weight = target.memory();
    let mut rush = Rush::connect(&target, functions, workers, bytes)?;
    let (took, growth) = rush.run(weight)?;
    let sent: u64 = rush.workers.iter().map(|worker| worker.bytes).sum();
    Ok(vec![
        workers as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e3,
        growth as f64 / MIB,
        sent as f64 / workers as f64,
    ])
}

pub(crate) fn ask(
    programs: &Programs,
    functions: u64,
    workers: usize,
    rounds: usize,
) -> Result<Section, Fault> {
    let first = rush(programs, Tongue::Callboard, functions, workers, 0)?;
    let bytes = first[METRICS.len() - 1] as u64;
    let mut subjects = [
        Tongue::Raw,
        Tongue::Callboard,
        Tongue::Callboard,
        Tongue::Raw,
    ];
    let names = subjects.map(|tongue| {
        if tongue == Tongue::Raw {
            "floor"
        } else {
            "Callboard"
        }
    });
    let mut comparison = Comparison::new(&METRICS, names);
    comparison.alternate(rounds, &mut subjects, |tongue| {
        rush(programs, *tongue, functions, workers, bytes)
    });
    let growth = comparison.spread("Callboard", GROWTH);
    let told = |it: crate::figures::Spread| {
        format!(
            "{} MiB ({} to {})",
            grouped(it.median),
            grouped(it.least),
            grouped(it.most)
        )
    };
    let (all, board) = (grouped(workers as f64), grouped(functions as f64));
    Ok(Section {
        key: "rush",
        title: format!("{all} workers join {board} functions at once"),
        text: format!(
            "{all} connected workers say HELLO at once to an engine with {board} functions on its board, and each registers \
             one function after its WELCOME. The run ends when each of them has the board with all {all} new functions. \
             Every tenth worker decodes all that it gets and must have each function; the others follow the revisions. \
             Memory is the highest of samples every {} ms, minus the engine's memory before any worker connected.",
            WEIGHING.as_millis()
        ),
        verdicts: vec![
            Verdict {
                target: format!(
                    "memory grows by at most {MOST_GROWTH} MiB; every worker is synced"
                ),
                measured: growth.map_or_else(|| "not measured".to_owned(), told),
                control: "-".to_owned(),
                met: growth.map(|it| it.most <= MOST_GROWTH),
            },
            Verdict::beside(
                "the rate beside the floor's",
                comparison.ratio("Callboard", "floor", RATE),
                comparison.control("floor", RATE),
            ),
        ],
        plot: Plot::Bars(Bars::of("Workers that join at once", &comparison, &[RATE])),
        tables: vec![(String::new(), comparison)],
    })
}
