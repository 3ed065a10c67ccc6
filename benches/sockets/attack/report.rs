//! The report on attacks: a table of verdicts, the worst row first, and one of all runs, in Markdown.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::bystander::Measured;
use super::row::Row;
use super::verdict::{self, Outcome};

/// One run.
pub(super) struct Run {
    pub(super) n: usize,
    /// The bystander is of the attackers' user.
    pub(super) same: bool,
    /// Before the attack, and under it.
    pub(super) idle: Measured,
    pub(super) attacked: Measured,
    /// Parts of the time under attack: the engine worked, and it could have worked and had no processor.
    pub(super) busy: f64,
    pub(super) withheld: f64,
    /// The longest turn in microseconds, and whether it was longer than those before the attack. `None`: the engine did
    /// not say it in time.
    pub(super) turn: Option<(u64, bool)>,
    /// The most memory, in bytes.
    pub(super) peak: u64,
}

#[derive(Default)]
pub(super) struct Report {
    rows: Vec<(&'static Row, Vec<Run>)>,
}

impl Report {
    pub(super) fn add(&mut self, row: &'static Row, run: Run) {
        match self.rows.iter_mut().find(|(it, _)| it.name == row.name) {
            Some((_, runs)) => runs.push(run),
            None => self.rows.push((row, vec![run])),
        }
    }

    /// The idle engine's median and 99th percentile: of all runs the one in the middle, since of one run it hangs on
    /// four calls.
    fn idle(&self) -> [Duration; 2] {
        [0.5, 0.99].map(|part| {
            let runs = self.rows.iter().flat_map(|(_, runs)| runs);
            let mut all: Vec<Duration> = runs.map(|run| at(&run.idle.calls, part)).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        })
    }
}

fn at(times: &Histogram<u64>, part: f64) -> Duration {
    Duration::from_nanos(times.value_at_quantile(part))
}

fn outcome(row: &Row, run: &Run, idle: Duration) -> Outcome {
    let attacked = &run.attacked;
    let refused: u64 = attacked.refused.values().sum();
    let harmed = attacked.failed + attacked.unanswered + attacked.unheard + refused;
    Outcome {
        same: run.same,
        p99: at(&attacked.calls, 0.99),
        aim: verdict::aim(idle, (row.step)(run.n) as u32),
        harmed: harmed + attacked.lost.len() as u64,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = self.idle();
        writeln!(
            f,
            "Calls on the idle engine: p50 {}, p99 {}, in the run in the middle.\n",
            ms(p50),
            ms(p99)
        )?;
        let outcomes = |runs: &[Run], row| -> Vec<Outcome> {
            runs.iter().map(|run| outcome(row, run, p99)).collect()
        };
        let mut rows: Vec<_> = self.rows.iter().collect();
        verdict::order(&mut rows, |(row, runs)| outcomes(runs, row));
        writeln!(f, "| row | attack | another user's p99 | aim | verdict |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for (row, runs) in &rows {
            let outcomes = outcomes(runs, row);
            let (late, aim) = verdict::worst(&outcomes)
                .map_or((String::new(), String::new()), |it| {
                    (ms(it.p99), ms(it.aim))
                });
            writeln!(
                f,
                "| `{}` | {} | {late} | {aim} | {} |",
                row.name,
                row.what,
                verdict::verdict(&outcomes)
            )?;
        }
        writeln!(
            f,
            "\n| row | N | user | longest turn | engine | withheld | call p50 | call p99 | failed | heard p50 | heard at most | \
             joined at most | peak RSS | refused, lost |"
        )?;
        writeln!(
            f,
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for (row, runs) in &rows {
            for run in runs {
                write_run(f, row, run)?;
            }
        }
        Ok(())
    }
}

fn write_run(f: &mut fmt::Formatter<'_>, row: &Row, run: &Run) -> fmt::Result {
    let it = &run.attacked;
    let turn = match run.turn {
        None => "not told".to_owned(),
        Some((us, true)) => ms(Duration::from_micros(us)),
        Some((us, false)) => format!("below {}", ms(Duration::from_micros(us))),
    };
    let failed = match it.unanswered {
        0 => it.failed.to_string(),
        open => format!("{}, {open} open", it.failed),
    };
    let heard = match it.unheard {
        0 => ms(at(&it.heard, 1.0)),
        _ => format!("{} unheard", it.unheard),
    };
    let joined = match it.joins.len() {
        0 => "-".to_owned(),
        _ => ms(at(&it.joins, 1.0)),
    };
    let mut notes: Vec<String> = it
        .refused
        .iter()
        .map(|(what, times)| format!("{times} x {what}"))
        .collect();
    notes.extend(it.lost.iter().map(|lost| format!("lost {lost}")));
    writeln!(
        f,
        "| `{}` | {} | {} | {turn} | {:.0} % | {:.0} % | {} | {} | {failed} | {} | {heard} | {joined} | {} MiB | {} |",
        row.name,
        run.n,
        if run.same { "same" } else { "other" },
        100.0 * run.busy,
        100.0 * run.withheld,
        ms(at(&it.calls, 0.5)),
        ms(at(&it.calls, 0.99)),
        ms(at(&it.heard, 0.5)),
        run.peak >> 20,
        notes.join("; "),
    )
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        0.0..10.0 => format!("{ms:.2} ms"),
        10.0..100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}
