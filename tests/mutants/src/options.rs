//! The command line.

use std::path::{Path, PathBuf};

use getopts::Options as Flags;

use crate::mutation::{Folder, Id};

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) count: usize,
    pub(crate) seed: u64,
    /// Folders to draw from.
    pub(crate) only: Vec<Folder>,
    pub(crate) jobs: usize,
    /// Where the copy, its builds and the results are.
    pub(crate) out: PathBuf,
    /// The share that must be noticed, in percent.
    pub(crate) at_least: f64,
    /// The one mutant to run, drawn or not.
    pub(crate) id: Option<Id>,
    pub(crate) list: bool,
    /// Runs those again that no test noticed.
    pub(crate) again: bool,
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("tests/mutants is in it")
}

fn flags() -> Flags {
    let mut flags = Flags::new();
    flags
        .optopt("", "count", "How many mutants are drawn [300].", "N")
        .optopt("", "seed", "Which draw it is [1].", "N")
        .optopt(
            "",
            "only",
            "Some of protocol, engine, server, worker.",
            "FOLDER,…",
        )
        .optopt("", "jobs", "How many mutants run side by side [1].", "N")
        .optopt(
            "",
            "out",
            "Where copy, builds and results go [target/mutants].",
            "DIR",
        )
        .optopt(
            "",
            "at-least",
            "The share that must be noticed, in percent [95].",
            "N",
        )
        .optopt("", "id", "Runs this mutant alone, drawn or not.", "ID")
        .optflag("", "list", "Lists the mutants of the draw, and runs none.")
        .optflag("", "again", "Runs those again that no test noticed.")
        .optflag("h", "help", "This text.");
    flags
}

/// The options, or the text to print in their place.
pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
    let flags = flags();
    let usage = || {
        flags.usage(
            "Draws small changes of Callboard by lot, and says which of them no test notices.\n\n\
             Usage: mutants [OPTIONS]",
        )
    };
    let given = flags
        .parse(arguments)
        .map_err(|error| format!("{error}\n{}", usage()))?;
    if given.opt_present("help") || !given.free.is_empty() {
        return Err(usage());
    }
    let wrong = |flag: &str| format!("--{flag} has a value that it cannot have\n{}", usage());
    let number = |flag: &str, default: usize| match given.opt_str(flag) {
        Some(text) => text.parse().map_err(|_| wrong(flag)),
        None => Ok(default),
    };
    let only = match given.opt_str("only") {
        Some(words) => words.split(',').map(Folder::parse).collect(),
        None => Some(Folder::ALL.to_vec()),
    };
    let id = given
        .opt_str("id")
        .map(|text| Id::parse(&text).ok_or_else(|| wrong("id")));
    let at_least = given.opt_str("at-least").map(|text| text.parse());
    let out = given.opt_str("out").map(PathBuf::from);
    Ok(Options {
        count: number("count", 300)?,
        seed: number("seed", 1)? as u64,
        only: only.ok_or_else(|| wrong("only"))?,
        jobs: number("jobs", 1)?.max(1),
        out: out.unwrap_or_else(|| root().join("target/mutants")),
        at_least: at_least
            .transpose()
            .map_err(|_| wrong("at-least"))?
            .unwrap_or(95.0),
        id: id.transpose()?,
        list: given.opt_present("list"),
        again: given.opt_present("again"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Options, String> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn without_a_word_three_hundred_of_all_folders_are_drawn() {
        let options = parsed("").expect("no word is fine");
        assert_eq!((options.count, options.seed, options.jobs), (300, 1, 1));
        assert_eq!(options.only, Folder::ALL);
        assert!(options.id.is_none() && !options.list && !options.again);
    }

    #[test]
    fn words_choose() {
        let options =
            parsed("--count 5 --seed 9 --only engine,worker --jobs 2 --at-least 90.5 --out x");
        let options = options.expect("they are known");
        assert_eq!((options.count, options.seed, options.jobs), (5, 9, 2));
        assert_eq!(options.only, [Folder::Engine, Folder::Worker]);
        assert_eq!(options.out, Path::new("x"));
        assert!((options.at_least - 90.5).abs() < 1e-9);
        assert!(parsed("--id 00000000ff").is_ok_and(|it| it.id == Id::parse("ff")));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "--count many",
            "--only cli",
            "--id mutant",
            "--fast",
            "run",
            "--at-least all",
        ] {
            assert!(parsed(words).is_err(), "{words}");
        }
    }

    #[test]
    fn the_repository_is_found() {
        assert!(root().join("tests/mutants/Cargo.toml").is_file());
    }
}
