//! One change to many watchers: how long until the first, the median and the last of them have it, and what it costs
//! the server. One change at a time; the next when all have the one before and its publisher has the answer.

use std::time::{Duration, Instant};

use crate::comparison::{Comparison, Metric, Unit};
use crate::crowd::{Crowd, PATIENCE};
use crate::figures::{Series, at};
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::server::Kind;
use crate::target::{Programs, Target};
use crate::wire::Fault;

const FIRST: usize = 0;
const LAST: usize = 2;

const METRICS: [Metric; 5] = [
    Metric {
        name: "first watcher",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "median watcher",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "last watcher",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "deliveries per CPU second, unpipelined",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "on the wire, each",
        unit: Unit::Bytes,
    },
];

/// A target, and those who watch it.
pub(crate) struct Party {
    pub(crate) target: Target,
    pub(crate) crowd: Crowd,
    pub(crate) watchers: usize,
}

impl Party {
    pub(crate) fn new(target: Target, watchers: usize) -> Result<Self, Fault> {
        let mut crowd = Crowd::join(&target, watchers)?;
        crowd.new_publisher(&target)?;
        Ok(Self {
            target,
            crowd,
            watchers,
        })
    }

    /// One change. Returns after how many seconds the watchers had it, in order.
    pub(crate) fn change(&mut self) -> Result<Vec<f64>, Fault> {
        let tongue = self.crowd.tongue;
        self.change_with(|number, out| tongue.publish(number, out))
    }

    /// The same, with another publication.
    pub(crate) fn change_with(
        &mut self,
        publication: impl FnMut(u64, &mut Vec<u8>),
    ) -> Result<Vec<f64>, Fault> {
        let watchers = self.watchers;
        let mut heard = Vec::with_capacity(watchers);
        let sent = Instant::now();
        let number = self.crowd.publish_with(1, publication)?;
        while heard.len() < watchers || self.crowd.answered() < number {
            if sent.elapsed() > PATIENCE {
                return Err(format!("{} of {watchers} heard of a change", heard.len()));
            }
            self.crowd
                .turn(PATIENCE, &mut |it| heard.push((it.at - sent).as_secs_f64()))?;
        }
        if heard.len() > watchers {
            return Err("a watcher was told twice".to_owned());
        }
        heard.sort_unstable_by(f64::total_cmp);
        Ok(heard)
    }

    /// Changes for so long: the figures of [`METRICS`].
    pub(crate) fn changes(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        let mut parts = [(); 3].map(|()| Series::default());
        let (began, mut changes) = (Instant::now(), 0.0);
        let (used, bytes) = (self.target.processor_time(), self.crowd.bytes());
        while began.elapsed() < length {
            let heard = self.change()?;
            changes += 1.0;
            for (series, part) in parts.iter_mut().zip([0.0, 0.5, 1.0]) {
                series.add(at(&heard, part) * 1e6);
            }
        }
        let used = self.target.processor_time().saturating_sub(used);
        let bytes = (self.crowd.bytes() - bytes) as f64;
        let deliveries = changes * self.watchers as f64;
        let mut figures: Vec<f64> = parts
            .iter()
            .filter_map(|series| Some(series.spread()?.median))
            .collect();
        figures.push(deliveries / used.as_secs_f64());
        figures.push(bytes / deliveries);
        Ok(figures)
    }
}

pub(crate) fn compare(parties: &mut [Party], rounds: usize, length: Duration) -> Comparison {
    let names = parties.iter().map(|party| party.target.name);
    let mut comparison = Comparison::new(&METRICS, names);
    comparison.alternate(rounds, parties, |party| party.changes(length));
    comparison
}

/// The floor, Callboard and the peers that take part, and both of the first again, with all their watchers.
pub(crate) fn parties(programs: &Programs, watchers: usize) -> Result<Vec<Party>, Fault> {
    let mut targets = vec![Target::floor(), Target::callboard(programs)?];
    for kind in Kind::PEERS {
        targets.extend(Target::peer(kind, programs)?);
    }
    targets.push(Target::callboard(programs)?);
    targets.push(Target::floor());
    targets
        .into_iter()
        .map(|target| {
            let name = target.name;
            let mut party = Party::new(target, watchers).map_err(|it| format!("{name}: {it}"))?;
            // Revisions of two bytes, caches and branches warm.
            party.warm_up().map_err(|it| format!("{name}: {it}"))?;
            Ok(party)
        })
        .collect()
}

/// Changes before anything is measured, unless they take too long.
const WARM_UP: usize = 300;
const WARM_UP_AT_MOST: Duration = Duration::from_secs(3);

impl Party {
    fn warm_up(&mut self) -> Result<(), Fault> {
        let began = Instant::now();
        for _ in 0..WARM_UP {
            self.change()?;
            if began.elapsed() > WARM_UP_AT_MOST {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn section(comparison: Comparison, watchers: usize) -> Section {
    let ratio = |base: &str, metric| comparison.ratio("Callboard", base, metric);
    let floor = |metric| comparison.control("floor", metric);
    let ours = |metric| comparison.control("Callboard", metric);
    let mut verdicts = vec![
        Verdict::at_most(
            "last watcher: aim at 1.15 × the floor",
            ratio("floor", LAST),
            1.15,
            floor(LAST),
        ),
        Verdict::at_most(
            "first watcher: at most 1.5 × the floor's",
            ratio("floor", FIRST),
            1.5,
            floor(FIRST),
        ),
    ];
    if comparison.names().contains(&"Redis") {
        verdicts.push(Verdict::not_above(
            "last watcher: not above Redis beyond the A/A spread",
            ratio("Redis", LAST),
            ours(LAST),
        ));
    }
    for peer in ["NATS", "etcd"] {
        if comparison.names().contains(&peer) {
            let target = format!("last watcher: below {peer}");
            verdicts.push(Verdict::at_most(target, ratio(peer, LAST), 1.0, ours(LAST)));
        }
    }
    Section {
        key: "fanout",
        title: format!("One change to {} watchers", grouped(watchers as f64)),
        text: format!(
            "One change at a time, to {} connections that all want it. The time runs from the write that makes the \
             change to the read that brings it. Medians over the changes of a round; the next change comes when all \
             have the one before.",
            grouped(watchers as f64)
        ),
        plot: Plot::Bars(Bars::of(
            "From one change to its watchers",
            &comparison,
            &[FIRST, 1, LAST],
        )),
        verdicts,
        tables: vec![(String::new(), comparison)],
    }
}
