//! Watchers that do not read, among others that do: what the others notice of them. Changes come at a steady pace, and
//! each delivery is timed from the moment at which its change was due, so that a server that is late cannot hide it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::comparison::{Comparison, Metric, Unit};
use crate::crowd::PATIENCE;
use crate::fanout::Party;
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::target::{Programs, Target};
use crate::wire::{Fault, register};

const MEDIAN: usize = 0;
const P99: usize = 1;

const METRICS: [Metric; 3] = [
    Metric {
        name: "half within",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "99 % within",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "99.9 % within",
        unit: Unit::Microseconds,
    },
];

/// Those who read, and those who do not.
const READING: usize = 900;
const STALLED: usize = 100;

/// Between two changes.
const PACE: Duration = Duration::from_millis(20);

/// Bytes of a description with which sockets are filled, and how many such changes are enough in any case.
const LARGE: usize = 30_000;
const LARGE_CHANGES: usize = 400;

/// The longest delivery that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

impl Party {
    /// Some watchers stop reading; what their sockets hold is filled, so that the engine can write them nothing.
    fn stall(&mut self, programs: &Programs, stalled: usize) -> Result<(), Fault> {
        self.crowd.put_to_sleep(stalled);
        self.watchers -= stalled;
        let description = "x".repeat(LARGE);
        for _ in 0..LARGE_CHANGES {
            self.change_with(|number, out| {
                register(number, &format!("large::n{number:010}"), &description, out);
            })?;
            if self.target.stat(programs, "behind")? == stalled as u64 {
                return Ok(());
            }
        }
        Err("those who do not read are never behind".to_owned())
    }

    /// Changes at a steady pace for so long. Nanoseconds from the moment each was due to each delivery.
    fn paced(&mut self, length: Duration) -> Result<Histogram<u64>, Fault> {
        let mut times = Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds");
        let changes = length.as_nanos().div_ceil(PACE.as_nanos()) as u32;
        let began = Instant::now();
        let due = |change: u32| began + PACE * change;
        let (mut published, mut first, mut waiting) = (0, 0, changes as usize * self.watchers);
        while waiting > 0 {
            let now = Instant::now();
            if published < changes && now >= due(published) {
                let number = self.crowd.publish(1)?;
                if published == 0 {
                    first = number;
                }
                published += 1;
                continue;
            }
            let patience = if published < changes {
                // The wait is rounded up to a millisecond; the last one is spent asking.
                due(published)
                    .duration_since(now)
                    .saturating_sub(Duration::from_millis(2))
            } else {
                Duration::from_millis(100)
            };
            if now - began > length + PATIENCE {
                return Err(format!("{waiting} deliveries are missing"));
            }
            self.crowd.turn(patience, &mut |heard| {
                let due = due((heard.number - first) as u32);
                times.saturating_record(heard.at.duration_since(due).as_nanos() as u64);
                waiting -= 1;
            })?;
        }
        Ok(times)
    }
}

pub(crate) fn ask(programs: &Programs, rounds: usize, length: Duration) -> Result<Section, Fault> {
    let without = format!("{READING} that read");
    let with = format!("the same and {STALLED} that do not");
    let mut parties = Vec::new();
    for stalled in [0, STALLED, 0] {
        let mut party = Party::new(Target::callboard(programs)?, READING + stalled)?;
        if stalled > 0 {
            party.stall(programs, stalled)?;
        }
        party.paced(PACE * 10)?;
        parties.push(party);
    }
    let names = [&without, &with, &without];
    let mut comparison = Comparison::new(&METRICS, names).about(&with);
    comparison.alternate(rounds, &mut parties, |party| {
        let times = party.paced(length)?;
        let at = |part| times.value_at_quantile(part) as f64 / 1e3;
        Ok([0.5, 0.99, 0.999].map(at).to_vec())
    });
    // They are still behind: the engine has not closed them.
    let behind = parties[1].target.stat(programs, "behind")?;
    if behind != STALLED as u64 {
        return Err(format!("{behind} of {STALLED} that do not read are behind"));
    }
    let all = grouped((READING + STALLED) as f64);
    Ok(Section {
        key: "stalled",
        title: format!("{STALLED} of {all} watchers do not read"),
        text: format!(
            "An engine whose {READING} watchers all read, and one that has {STALLED} more whose sockets are full. A change \
             is due every {} ms; each delivery to a watcher that reads is timed from then.",
            PACE.as_millis()
        ),
        verdicts: vec![Verdict::not_above(
            "the others' 99 %: within the A/A spread",
            comparison.ratio(&with, &without, P99),
            comparison.control(&without, P99),
        )],
        plot: Plot::Bars(Bars::of(
            "Deliveries to watchers that read",
            &comparison,
            &[MEDIAN, P99],
        )),
        tables: vec![(String::new(), comparison)],
    })
}
