//! What of the table is to be measured, and on which engine.

use std::path::PathBuf;
use std::time::Duration;

use super::row::{ROWS, Row};

const USAGE: &str = "usage: cargo bench --bench sockets -- attack [ROW…] [--n N,N…] [--user other|same] \
                     [--seconds N] [--engine FILE]";

/// Under attack for so long.
const SECONDS: u64 = 3;

pub(super) struct Options {
    pub(super) rows: Vec<&'static Row>,
    counts: Option<Vec<usize>>,
    /// Whether the bystander is of the attackers' user.
    pub(super) users: Vec<bool>,
    pub(super) length: Duration,
    pub(super) engine: PathBuf,
}

impl Options {
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rows: Vec::new(),
            counts: None,
            users: vec![false, true],
            length: Duration::from_secs(SECONDS),
            engine: env!("CARGO_BIN_EXE_callboard").into(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value\n{USAGE}"));
            match &**word {
                "--n" => options.counts = Some(numbers(value()?)?),
                "--seconds" => {
                    let seconds = numbers(value()?)?[0];
                    options.length = Duration::from_secs(seconds as u64);
                }
                "--engine" => options.engine = value()?.into(),
                "--user" => {
                    options.users = match &**value()? {
                        "other" => vec![false],
                        "same" => vec![true],
                        _ => return Err(USAGE.to_owned()),
                    }
                }
                name => {
                    let row = ROWS.iter().find(|row| row.name == name);
                    options.rows.push(row.ok_or_else(|| {
                        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                        format!("no row {name}\n{USAGE}\nrows: {}", names.join(" "))
                    })?);
                }
            }
        }
        if options.rows.is_empty() {
            options.rows = ROWS.iter().collect();
        }
        Ok(options)
    }

    /// How many attack in this row: those of `--n` that make sense for it, or all that it has.
    pub(super) fn counts(&self, row: &Row) -> Vec<usize> {
        let Some(wanted) = &self.counts else {
            return row.counts.to_vec();
        };
        let most = row.counts.last().copied().unwrap_or_default();
        let mut counts: Vec<usize> = wanted.iter().map(|&n| n.clamp(1, most)).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }
}

fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    numbers.map_err(|_| format!("not numbers: {text}\n{USAGE}"))
}
