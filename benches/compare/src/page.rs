//! Writes what came out as a page of Markdown: when and where, whether the project's targets were met, each question
//! with its tables and its plot, and what makes the comparison fair or not. Measures nothing.

use std::fmt::Write;

use crate::comparison::{Comparison, Unit};
use crate::figures::Spread;
use crate::section::{Section, Verdict, times};

/// All that is on the page.
pub(crate) struct Page {
    /// What must be said before anything is read, such as that the machine was busy.
    pub(crate) warnings: Vec<String>,
    pub(crate) date: String,
    pub(crate) command: String,
    /// The machine and the servers, name by name.
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
    pub(crate) fairness: Vec<String>,
}

/// The folder of the plots beside the page.
pub(crate) const PLOTS: &str = "benchmarks";

const INTRODUCTION: &str = "\
Callboard beside others that do the same work: a bare loop that writes prepared bytes (the floor under any server \
with one thread), Redis pub/sub, NATS and etcd. In one run, each round measures every target, and the next round does \
so in the opposite order. A figure is the median of all rounds, with the lowest and the highest in brackets; a ratio is \
taken within each round. **A/A** measures the same target twice in each round: two figures for the same thing differ \
by that much. This page is written by `benches/compare`; [benches/README.md](../benches/README.md) says how to \
repeat it, [COSTS.md](COSTS.md) has what is counted and not timed.
";

impl Page {
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Benchmarks\n\n");
        for warning in &self.warnings {
            line(&mut out, &format!("> **{warning}**\n"));
        }
        line(
            &mut out,
            &format!("Measured on {} with `{}`.\n", self.date, self.command),
        );
        line(&mut out, INTRODUCTION);
        out += "## The targets\n\n| | target | measured | A/A | |\n|---|---|---|---|---|\n";
        for section in &self.sections {
            for verdict in &section.verdicts {
                verdict_row(&mut out, section, verdict);
            }
        }
        for section in &self.sections {
            out += "\n";
            section_text(&mut out, section);
        }
        out += "\n## What is fair here, and what is not\n\n";
        for note in &self.fairness {
            line(&mut out, &format!("- {note}"));
        }
        out += "\n## The machine\n\n| | |\n|---|---|\n";
        for (name, value) in &self.machine {
            line(&mut out, &format!("| {name} | {value} |"));
        }
        out
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn verdict_row(out: &mut String, section: &Section, verdict: &Verdict) {
    let Verdict {
        target,
        measured,
        control,
        met,
    } = verdict;
    let met = match met {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "-",
    };
    let title = &section.title;
    line(
        out,
        &format!("| {title} | {target} | {measured} | {control} | {met} |"),
    );
}

fn section_text(out: &mut String, section: &Section) {
    line(out, &format!("## {}\n", section.title));
    line(out, &format!("{}\n", section.text));
    let (title, key) = (&section.title, section.key);
    line(out, &format!("![{title}]({PLOTS}/{key}.svg)"));
    for (caption, comparison) in &section.tables {
        if !caption.is_empty() {
            line(out, &format!("\n{caption}:"));
        }
        out.push('\n');
        figures(out, comparison);
        ratios(out, comparison);
    }
}

fn head(out: &mut String, first: &str, comparison: &Comparison, with_unit: bool) {
    let mut titles = vec![first.to_owned()];
    titles.extend(comparison.metrics.iter().map(|metric| {
        let (name, unit) = (metric.name, metric.unit.name());
        match with_unit && metric.unit != Unit::PerSecond {
            true => format!("{name}, {unit}"),
            false => name.to_owned(),
        }
    }));
    line(out, &format!("| {} |", titles.join(" | ")));
    line(out, &format!("|{}", "---|".repeat(titles.len())));
}

fn row(out: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    line(out, &format!("| {name} | {} |", cells.join(" | ")));
}

fn figures(out: &mut String, comparison: &Comparison) {
    head(out, "", comparison, true);
    let metrics = 0..comparison.metrics.len();
    for name in comparison.names() {
        if let Some(fault) = comparison.fault(name) {
            line(
                out,
                &format!(
                    "| {name} | failed: {fault} |{}",
                    " |".repeat(metrics.len() - 1)
                ),
            );
            continue;
        }
        row(
            out,
            name,
            metrics
                .clone()
                .map(|metric| comparison.spread(name, metric).map_or_else(dash, figure)),
        );
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// The others that Callboard is compared with, and the two controls.
fn ratios(out: &mut String, comparison: &Comparison) {
    let ours = &*comparison.subject;
    let names = comparison.names();
    let metrics = 0..comparison.metrics.len();
    if !names.contains(&ours) {
        return;
    }
    out.push('\n');
    head(out, &format!("{ours} in parts of"), comparison, false);
    let of = |spread: Option<Spread>| spread.map_or_else(dash, times);
    for name in names.iter().filter(|name| **name != ours) {
        let ratios = metrics
            .clone()
            .map(|it| of(comparison.ratio(ours, name, it)));
        row(out, name, ratios);
    }
    for name in names {
        if comparison.control(name, 0).is_some() {
            let ratios = metrics.clone().map(|it| of(comparison.control(name, it)));
            row(out, &format!("A/A: {name}"), ratios);
        }
    }
}

/// The median, with the least and the most.
pub(crate) fn figure(spread: Spread) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    if least == most {
        return grouped(median);
    }
    format!(
        "{} ({} to {})",
        grouped(median),
        grouped(least),
        grouped(most)
    )
}

/// A figure with as many digits as count, and commas between the thousands.
pub(crate) fn grouped(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit.is_ascii_digit() && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        write!(out, ".{rest}").expect("memory");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Metric;
    use crate::section::{Bars, Plot};

    const TIME: Metric = Metric {
        name: "last watcher",
        unit: Unit::Microseconds,
    };

    fn page() -> Page {
        let names = ["floor", "Callboard", "etcd", "Callboard", "floor"];
        let mut comparison = Comparison::new(&[TIME], names);
        let mut subjects = [4_000.0, 5_000.0, 0.0, 5_000.0, 4_400.0];
        comparison.alternate(2, &mut subjects, |it| match *it {
            0.0 => Err("a watcher got publication 3 and not 2".to_owned()),
            it => Ok(vec![it]),
        });
        let ratio = comparison.ratio("Callboard", "floor", 0);
        let control = comparison.control("floor", 0);
        let section = Section {
            key: "fanout",
            title: "One change".to_owned(),
            text: "What was done.".to_owned(),
            verdicts: vec![Verdict::at_most(
                "at most 1.15 × the floor",
                ratio,
                1.15,
                control,
            )],
            plot: Plot::Bars(Bars::of("One change", &comparison, &[0])),
            tables: vec![(String::new(), comparison)],
        };
        Page {
            warnings: vec!["Noisy.".to_owned()],
            date: "2026-11-26".to_owned(),
            command: "compare".to_owned(),
            machine: vec![("kernel".to_owned(), "Linux 6".to_owned())],
            sections: vec![section],
            fairness: vec!["All are alike.".to_owned()],
        }
    }

    #[test]
    fn a_page_holds_targets_tables_and_notes() {
        let page = page().markdown();
        for wanted in [
            "> **Noisy.**",
            "Measured on 2026-11-26 with `compare`.",
            "| One change | at most 1.15 × the floor | 1.19 × (1.19 to 1.19) | 1.10 × (1.10 to 1.10) | **missed** |",
            "![One change](benchmarks/fanout.svg)",
            "|  | last watcher, us |",
            "| floor | 4,200 |",
            "| Callboard | 5,000 |",
            "| etcd | failed: a watcher got publication 3 and not 2 |",
            "| Callboard in parts of | last watcher |",
            "| etcd | - |",
            "| A/A: Callboard | 1.00 × (1.00 to 1.00) |",
            "- All are alike.",
            "| kernel | Linux 6 |",
        ] {
            assert!(page.contains(wanted), "{wanted}\n{page}");
        }
    }

    #[test]
    fn all_rows_of_a_table_have_as_many_cells() {
        let page = page().markdown();
        for table in page.split("\n\n").filter(|it| it.starts_with('|')) {
            let cells: Vec<usize> = table.lines().map(|row| row.matches('|').count()).collect();
            assert!(cells.iter().all(|it| *it == cells[0]), "{table}");
        }
    }

    #[test]
    fn figures_are_grouped() {
        let shown = [0.123, 12.34, 1234.5, 1_234_567.0].map(grouped);
        assert_eq!(shown, ["0.12", "12.3", "1,234", "1,234,567"]);
    }
}
