//! How costs grow: a change with the number of its watchers, beside the floor's; a change and a call with the number of
//! functions on the board, in engines that run beside each other.

use std::time::{Duration, Instant};

use crate::board::Board;
use crate::calls;
use crate::comparison::{Comparison, Metric, Unit};
use crate::fanout::Party;
use crate::figures::{Series, Spread};
use crate::load::{self, Frames, Pair, Shape};
use crate::page::grouped;
use crate::plot::axis;
use crate::section::{Lines, Plot, Section, Verdict};
use crate::target::{Programs, Target};
use crate::wire::Fault;

const CPU: usize = 0;

const BY_WATCHERS: [Metric; 3] = [
    Metric {
        name: "CPU of the server, each delivery",
        unit: Unit::Nanoseconds,
    },
    Metric {
        name: "until the last watcher, divided by their number",
        unit: Unit::Nanoseconds,
    },
    Metric {
        name: "until the last watcher",
        unit: Unit::Microseconds,
    },
];

const CHANGE: usize = 0;
const CALL: usize = 2;

const BY_FUNCTIONS: [Metric; 4] = [
    Metric {
        name: "a change, median",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "the worst change",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "a call, median",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "the worst call",
        unit: Unit::Microseconds,
    },
];

/// Watchers of a change on a board whose size is looked at.
const FEW: usize = 10;

/// The most changes in one round: the board is to keep its size.
const CHANGES: usize = 1_000;

impl Party {
    /// Changes for so long: seconds until the last watcher, of each of them.
    fn last_of_each(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        let began = Instant::now();
        let mut last = Vec::new();
        while last.is_empty() || (began.elapsed() < length && last.len() < CHANGES) {
            let heard = self.change()?;
            last.push(heard[heard.len() - 1]);
        }
        Ok(last)
    }

    /// The figures of [`BY_WATCHERS`].
    fn by_watchers(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        let used = self.target.processor_time();
        let last = self.last_of_each(length)?;
        let used = self.target.processor_time().saturating_sub(used);
        let deliveries = (last.len() * self.watchers) as f64;
        let median = spread(&last).median;
        Ok(vec![
            used.as_secs_f64() * 1e9 / deliveries,
            median * 1e9 / self.watchers as f64,
            median * 1e6,
        ])
    }
}

fn spread(values: &[f64]) -> Spread {
    let series: Series = values.iter().copied().collect();
    series.spread().expect("there was one at least")
}

fn watchers_name(watchers: usize) -> String {
    format!("{} watchers", grouped(watchers as f64))
}

/// The same target with each number of watchers. All of one target run beside each other; two targets would need more
/// descriptors than a process has.
fn grow(
    target: impl Fn() -> Result<Target, Fault>,
    sizes: &[usize],
    rounds: usize,
    length: Duration,
) -> Result<Comparison, Fault> {
    let mut parties = Vec::new();
    for &watchers in sizes {
        let mut party = Party::new(target()?, watchers)?;
        party.last_of_each(length / 4)?;
        parties.push(party);
    }
    let last = sizes[sizes.len() - 1];
    let names = sizes.iter().map(|&size| watchers_name(size));
    let mut comparison = Comparison::new(&BY_WATCHERS, names).about(&watchers_name(last));
    comparison.alternate(rounds, &mut parties, |party| party.by_watchers(length));
    Ok(comparison)
}

pub(crate) fn by_watchers(
    programs: &Programs,
    sizes: &[usize],
    rounds: usize,
    length: Duration,
) -> Result<Section, Fault> {
    let ours = grow(|| Target::callboard(programs), sizes, rounds, length)?;
    let floor = grow(|| Ok(Target::floor()), sizes, rounds, length)?;
    let most = sizes[sizes.len() - 1];
    let floor_grows = |size| {
        let ratio = floor.ratio(&watchers_name(most), &watchers_name(size), CPU);
        ratio.map_or_else(String::new, |it| {
            format!(" (the floor's: {:.2} ×)", it.median)
        })
    };
    let mut verdicts = Vec::new();
    for &size in &sizes[..sizes.len() - 1] {
        verdicts.push(Verdict::at_most(
            format!(
                "CPU of a delivery among {}: at most 1.5 × that among {}{}",
                grouped(most as f64),
                grouped(size as f64),
                floor_grows(size)
            ),
            ours.ratio(&watchers_name(most), &watchers_name(size), CPU),
            1.5,
            None,
        ));
    }
    let line = |name: &str, comparison: &Comparison| {
        let points = sizes.iter().filter_map(|&size| {
            let spread = comparison.spread(&watchers_name(size), CPU)?;
            Some((size as f64, spread))
        });
        (name.to_owned(), points.collect())
    };
    let range = format!("{} to {}", grouped(sizes[0] as f64), grouped(most as f64));
    Ok(Section {
        key: "watchers",
        title: format!("Growth: {range} watchers"),
        text: "One change at a time, with more and more watchers. The cost of a change beside its deliveries (reading, \
               sealing and answering it) is divided among them, so a delivery to few watchers looks expensive."
            .to_owned(),
        verdicts,
        plot: Plot::Lines(Lines {
            title: "What one delivery costs the server, by the number of watchers".to_owned(),
            x: "watchers".to_owned(),
            y: axis("CPU of a delivery", Unit::Nanoseconds),
            drawn: vec![line("Callboard", &ours), line("floor", &floor)],
        }),
        tables: vec![("Callboard".to_owned(), ours), ("The floor".to_owned(), floor)],
    })
}

/// An engine with a board of some size, a few watchers, a caller and a provider.
struct Sized {
    party: Party,
    pair: Pair<Frames>,
    _board: Board,
}

impl Sized {
    fn new(programs: &Programs, functions: u64) -> Result<Self, Fault> {
        let target = Target::callboard(programs)?;
        let board = Board::fill(&target, functions)?;
        let pair = calls::pair(&target.address.to_string(), 0);
        let party = Party::new(target, FEW)?;
        Ok(Self {
            party,
            pair,
            _board: board,
        })
    }

    /// The figures of [`BY_FUNCTIONS`].
    fn measure(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        let changes = spread(&self.party.last_of_each(length)?);
        // What was registered goes, and the board has its size again.
        self.party.crowd.new_publisher(&self.party.target)?;
        let pair = std::slice::from_mut(&mut self.pair);
        let run = calls::caught(|| load::run(pair, Shape::One, length))?;
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        Ok(vec![
            changes.median * 1e6,
            changes.most * 1e6,
            microseconds(run.times.value_at_quantile(0.5)),
            microseconds(run.times.max()),
        ])
    }
}

pub(crate) fn by_functions(
    programs: &Programs,
    sizes: &[u64],
    rounds: usize,
    length: Duration,
) -> Result<Section, Fault> {
    let name = |functions: u64| format!("{} functions", grouped(functions as f64));
    let mut engines = Vec::new();
    for &functions in sizes {
        let mut engine = Sized::new(programs, functions)?;
        engine.measure(length / 4)?;
        engines.push(engine);
    }
    let (least, most) = (sizes[0], sizes[sizes.len() - 1]);
    let names = sizes.iter().map(|&size| name(size));
    let mut comparison = Comparison::new(&BY_FUNCTIONS, names).about(&name(most));
    comparison.alternate(rounds, &mut engines, |engine| engine.measure(length));
    let verdict = |what: &str, metric| {
        let worst = comparison.spread(&name(most), metric + 1);
        let worst = worst.map_or(0.0, |it| it.most);
        Verdict::at_most(
            format!(
                "{what}: at most 2 × that on {} functions (the worst took {} us)",
                grouped(least as f64),
                grouped(worst)
            ),
            comparison.ratio(&name(most), &name(least), metric),
            2.0,
            None,
        )
    };
    let line = |what: &str, metric| {
        let points = sizes.iter().filter_map(|&size| {
            let spread = comparison.spread(&name(size), metric)?;
            Some((size as f64, spread))
        });
        (what.to_owned(), points.collect())
    };
    let range = format!("{} to {}", grouped(least as f64), grouped(most as f64));
    Ok(Section {
        key: "functions",
        title: format!("Growth: {range} functions"),
        text: format!(
            "Engines with boards of different sizes, {FEW} watchers each. A change puts one more function on the board; \
             its time ends with the last of the watchers. A call goes to a function of its own, one in flight. No worker \
             may have more than 65,536 functions: {} of them share the largest board.",
            most.div_ceil(60_000)
        ),
        verdicts: vec![
            verdict(&format!("the median change on {}", name(most)), CHANGE),
            verdict(&format!("the median call on {}", name(most)), CALL),
        ],
        plot: Plot::Lines(Lines {
            title: "A change and a call, by the size of the board".to_owned(),
            x: "functions on the board".to_owned(),
            y: axis("time", Unit::Microseconds),
            drawn: vec![
                line("a change, median", CHANGE),
                line("a change, the worst", CHANGE + 1),
                line("a call, median", CALL),
                line("a call, the worst", CALL + 1),
            ],
        }),
        tables: vec![(String::new(), comparison)],
    })
}
