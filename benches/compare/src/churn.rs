//! Churn: distinct functions that come one after the other, in bursts, before many watchers. How many entries a target
//! delivers for a second of its processor's time. Apart from it, for Callboard alone, one function that comes and
//! goes, of which a watcher is told the net effect.

use std::time::{Duration, Instant};

use crate::comparison::{Comparison, Metric, Unit};
use crate::crowd::PATIENCE;
use crate::fanout::Party;
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::wire::{Fault, TOGGLED, Tongue, toggle};

const DELIVERED: usize = 0;

const METRICS: [Metric; 3] = [
    Metric {
        name: "entries delivered per CPU second",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "changes by the clock",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "on the wire, each entry",
        unit: Unit::Bytes,
    },
];

const TOGGLES: [Metric; 3] = [
    Metric {
        name: "toggles taken per CPU second",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "entries delivered per CPU second",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "toggles by the clock",
        unit: Unit::PerSecond,
    },
];

/// Publications that are sent with one write.
pub(crate) const BURST: u64 = 256;

/// The same, of fewer: a worker's functions rather than a fleet's.
pub(crate) const SMALL_BURST: u64 = 16;

/// An odd number of toggles leaves something to tell.
const TOGGLES_AT_ONCE: u64 = 255;

/// The most of etcd, whose connection takes no more at once.
const BURST_OF_ETCD: u64 = 64;

/// Bursts that not all watchers have yet.
const IN_FLIGHT: u64 = 2;

/// Functions that one worker may register are a few more.
const MOST: u64 = 60_000;

impl Party {
    /// Bursts for so long, by a publisher of their own: the figures of [`METRICS`].
    fn churn(&mut self, burst: u64, length: Duration) -> Result<Vec<f64>, Fault> {
        self.crowd.new_publisher(&self.target)?;
        let watchers = self.watchers as u64;
        let burst = match self.crowd.tongue {
            Tongue::Etcd => burst.min(BURST_OF_ETCD),
            _ => burst,
        };
        let (used, bytes) = (self.target.processor_time(), self.crowd.bytes());
        // How many watchers have all of a burst.
        let mut told: Vec<u64> = Vec::new();
        let (mut published, mut complete) = (0, 0);
        let began = Instant::now();
        loop {
            let goes_on = began.elapsed() < length && published < MOST;
            if goes_on && published < (complete + IN_FLIGHT) * burst {
                published = self.crowd.publish(burst)?;
                told.push(0);
                continue;
            }
            if !goes_on && complete * burst == published && self.crowd.answered() == published {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{complete} bursts of {} arrived", told.len()));
            }
            self.crowd.turn(PATIENCE, &mut |heard| {
                if heard.number % burst == 0 {
                    told[(heard.number / burst) as usize - 1] += 1;
                }
            })?;
            while told.get(complete as usize) == Some(&watchers) {
                complete += 1;
            }
        }
        let took = began.elapsed();
        let used = self.target.processor_time().saturating_sub(used);
        let bytes = self.crowd.bytes() - bytes;
        self.crowd.end_publisher()?;
        let delivered = (published * watchers) as f64;
        Ok(vec![
            delivered / used.as_secs_f64(),
            published as f64 / took.as_secs_f64(),
            bytes as f64 / delivered,
        ])
    }

    /// One function comes and goes for so long: the figures of [`TOGGLES`].
    fn toggles(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        self.crowd.new_publisher(&self.target)?;
        let used = self.target.processor_time();
        let (mut published, mut delivered) = (0, 0);
        let began = Instant::now();
        let mut count = |heard: crate::crowd::Heard| {
            delivered += u64::from(heard.number == TOGGLED);
        };
        while began.elapsed() < length || self.crowd.answered() < published {
            let waiting = published - self.crowd.answered();
            if began.elapsed() < length && waiting < IN_FLIGHT * TOGGLES_AT_ONCE {
                published = self.crowd.request(TOGGLES_AT_ONCE, toggle)?;
                continue;
            }
            if began.elapsed() > PATIENCE {
                return Err("toggles are not answered".to_owned());
            }
            self.crowd.turn(PATIENCE, &mut count)?;
        }
        let took = began.elapsed();
        // What comes after the toggles says that a watcher has all of them.
        self.crowd.skip_to(published + 1);
        self.crowd.publish(1)?;
        let mut waiting = self.watchers;
        while waiting > 0 {
            if began.elapsed() > PATIENCE {
                return Err(format!("{waiting} watchers lag behind the toggles"));
            }
            self.crowd.turn(PATIENCE, &mut |heard| match heard.number {
                TOGGLED => delivered += 1,
                _ => waiting -= 1,
            })?;
        }
        let used = self
            .target
            .processor_time()
            .saturating_sub(used)
            .as_secs_f64();
        self.crowd.end_publisher()?;
        Ok(vec![
            published as f64 / used,
            delivered as f64 / used,
            published as f64 / took.as_secs_f64(),
        ])
    }
}

pub(crate) fn compare(
    parties: &mut [Party],
    burst: u64,
    rounds: usize,
    length: Duration,
) -> Comparison {
    let names = parties.iter().map(|party| party.target.name);
    let mut comparison = Comparison::new(&METRICS, names);
    comparison.alternate(rounds, parties, |party| party.churn(burst, length));
    comparison
}

/// Of those parties that fold.
pub(crate) fn compare_toggles(
    parties: &mut [Party],
    rounds: usize,
    length: Duration,
) -> Comparison {
    let mut folding: Vec<&mut Party> = parties
        .iter_mut()
        .filter(|party| party.crowd.tongue == Tongue::Callboard)
        .collect();
    let names = folding.iter().map(|party| party.target.name);
    let mut comparison = Comparison::new(&TOGGLES, names.collect::<Vec<_>>());
    comparison.alternate(rounds, &mut folding, |party| party.toggles(length));
    comparison
}

pub(crate) fn section(churn: Comparison, toggles: Comparison, watchers: usize) -> Section {
    let mut verdicts = vec![];
    for peer in ["Redis", "NATS"] {
        if !churn.names().contains(&peer) {
            continue;
        }
        for (word, times) in [("at least", 3.0), ("aim at", 5.0)] {
            verdicts.push(Verdict::at_least(
                format!("entries per CPU second: {word} {times} × {peer}"),
                churn.ratio("Callboard", peer, DELIVERED),
                times,
                churn.control("Callboard", DELIVERED),
            ));
        }
    }
    Section {
        key: "churn",
        title: format!("Churn before {} watchers", grouped(watchers as f64)),
        text: format!(
            "Distinct functions are registered, one with each request, in bursts of {BURST} ({BURST_OF_ETCD} to etcd, whose \
             connection takes no more at once); at most {IN_FLIGHT} bursts are on their way to the last watcher. The others \
             get the same number of publications, or puts of distinct keys. Processor time is that of the server, with the \
             kernel's work for it. The table above shows the cost of one change at a time.",
        ),
        plot: Plot::Bars(Bars::of(
            "Churn: entries delivered per CPU second of the server",
            &churn,
            &[DELIVERED],
        )),
        verdicts,
        tables: vec![
            (String::new(), churn),
            (
                "One function that comes and goes, pipelined likewise; of the toggles of one turn a watcher is told \
                 the net effect"
                    .to_owned(),
                toggles,
            ),
        ],
    }
}

/// What small bursts came to.
pub(crate) fn section_of_small(bursts: Comparison, watchers: usize) -> Section {
    let mut verdicts = Vec::new();
    for (base, named, control) in [
        ("floor", "the floor", "floor"),
        ("Redis", "Redis", "Callboard"),
    ] {
        if bursts.names().contains(&base) {
            verdicts.push(Verdict::beside(
                format!("entries per CPU second beside {named}"),
                bursts.ratio("Callboard", base, DELIVERED),
                bursts.control(control, DELIVERED),
            ));
        }
    }
    Section {
        key: "bursts",
        title: format!(
            "Bursts of {SMALL_BURST} before {} watchers",
            grouped(watchers as f64)
        ),
        text: format!(
            "The same churn with bursts of {SMALL_BURST} registrations, to all targets. The fewer changes come together, \
             the more of the cost is that of a write to each watcher, and the less that of an entry.",
        ),
        plot: Plot::Bars(Bars::of(
            "Bursts: entries delivered per CPU second of the server",
            &bursts,
            &[DELIVERED],
        )),
        verdicts,
        tables: vec![(String::new(), bursts)],
    }
}
