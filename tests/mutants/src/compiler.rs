//! Builds the copy with cargo: checks it, says which mutants do not compile, and returns the test programs.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tree::Place;

/// A test program: the name of its target, and its file.
pub(crate) type Program = (String, PathBuf);

pub(crate) struct Compiler<'a> {
    pub(crate) tree: &'a Path,
    pub(crate) target: PathBuf,
}

impl Compiler<'_> {
    /// Checks the library. Returns the mutants that do not compile; there may be others behind them.
    pub(crate) fn check(&self, places: &[Place]) -> Result<BTreeSet<usize>, Box<dyn Error>> {
        let (passed, messages) = self.cargo(&["check", "--lib"])?;
        if passed {
            return Ok(BTreeSet::new());
        }
        let errors = messages.iter().map(|it| &it["message"]);
        let errors = errors.filter(|it| it["level"] == "error");
        let blamed: BTreeSet<usize> = errors.filter_map(|error| blame(error, places)).collect();
        if blamed.is_empty() {
            return Err("the copy does not compile, and no mutant is the reason".into());
        }
        Ok(blamed)
    }

    /// Builds the programs of these test targets; `lib` is that of the unit tests.
    pub(crate) fn build(&self, targets: &[&str]) -> Result<Vec<Program>, Box<dyn Error>> {
        let mut arguments = vec!["test", "--no-run"];
        for target in targets {
            match *target {
                "lib" => arguments.push("--lib"),
                name => arguments.extend(["--test", name]),
            }
        }
        let (passed, messages) = self.cargo(&arguments)?;
        if !passed {
            return Err("the tests of the copy do not compile".into());
        }
        let program = |target: &str| {
            let message = messages.iter().find(|it| {
                let name = match target {
                    "lib" => it["target"]["kind"][0] == "lib",
                    name => it["target"]["name"] == name,
                };
                name && it["profile"]["test"] == true && it["executable"].is_string()
            })?;
            Some((
                target.to_owned(),
                PathBuf::from(message["executable"].as_str()?),
            ))
        };
        let programs = targets.iter().map(|target| {
            program(target).ok_or_else(|| format!("cargo built no program for {target}").into())
        });
        programs.collect()
    }

    /// Runs cargo in the copy. Returns whether it succeeded, and its messages.
    fn cargo(&self, arguments: &[&str]) -> Result<(bool, Vec<Value>), Box<dyn Error>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let run = Command::new(cargo)
            .args(arguments)
            .args(["--locked", "--message-format=json", "--target-dir"])
            .arg(&self.target)
            .current_dir(self.tree)
            .stderr(Stdio::inherit())
            .output()?;
        let lines = String::from_utf8(run.stdout)?;
        let messages = lines.lines().filter_map(|it| serde_json::from_str(it).ok());
        Ok((run.status.success(), messages.collect()))
    }
}

/// The mutant that a compiler's error is about: the innermost around a place that it names, else the next one in the
/// same file.
fn blame(error: &Value, places: &[Place]) -> Option<usize> {
    let mut named = Vec::new();
    collect_places(error, &mut named);
    let around = |(file, bytes): &(&str, Range<usize>)| {
        let here = places.iter().filter(|it| it.file == *file);
        let here = here.filter(|it| it.bytes.start <= bytes.start && bytes.end <= it.bytes.end);
        here.min_by_key(|it| it.bytes.len()).map(|it| it.mutant)
    };
    let near = |(file, bytes): &(&str, Range<usize>)| {
        let here = places.iter().filter(|it| it.file == *file);
        here.min_by_key(|it| it.bytes.start.abs_diff(bytes.start))
            .map(|it| it.mutant)
    };
    named
        .iter()
        .find_map(around)
        .or_else(|| named.iter().find_map(near))
}

/// The places that a message and its notes name, in their order.
fn collect_places<'a>(message: &'a Value, into: &mut Vec<(&'a str, Range<usize>)>) {
    for span in message["spans"].as_array().into_iter().flatten() {
        let at = |key: &str| {
            let place = span[key].as_u64().and_then(|it| usize::try_from(it).ok());
            place.unwrap_or_default()
        };
        if let Some(file) = span["file_name"].as_str() {
            into.push((file, at("byte_start")..at("byte_end")));
        }
    }
    for child in message["children"].as_array().into_iter().flatten() {
        collect_places(child, into);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(mutant: usize, bytes: Range<usize>) -> Place {
        Place {
            file: "src/a.rs".to_owned(),
            bytes,
            mutant,
        }
    }

    fn error(file: &str, bytes: Range<usize>) -> Value {
        json!({ "file_name": file, "byte_start": bytes.start, "byte_end": bytes.end })
    }

    #[test]
    fn the_innermost_mutant_around_an_error_is_blamed() {
        let places = [place(0, 10..90), place(1, 20..40), place(2, 50..60)];
        let blamed = |bytes| blame(&json!({ "spans": [error("src/a.rs", bytes)] }), &places);
        assert_eq!(blamed(25..30), Some(1));
        assert_eq!(blamed(42..44), Some(0));
        assert_eq!(blamed(38..44), Some(0));
    }

    #[test]
    fn an_error_whose_cause_is_a_note_is_blamed_on_what_the_note_names() {
        let places = [place(0, 10..20), place(1, 50..60)];
        let message = json!({
            "spans": [error("src/a.rs", 70..75)],
            "children": [{ "spans": [error("src/a.rs", 12..14)], "children": [] }],
        });
        assert_eq!(blame(&message, &places), Some(0));
    }

    #[test]
    fn an_error_outside_of_all_is_blamed_on_the_next_in_its_file() {
        let places = [place(0, 10..20), place(1, 50..60)];
        let blamed = |file, bytes| blame(&json!({ "spans": [error(file, bytes)] }), &places);
        assert_eq!(blamed("src/a.rs", 70..75), Some(1));
        assert_eq!(blamed("src/b.rs", 12..14), None);
    }
}
