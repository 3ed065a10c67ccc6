//! The command line of a comparison.

use std::path::{Path, PathBuf};
use std::time::Duration;

use getopts::Options as Flags;

/// The questions, in the order in which they are asked.
pub(crate) const QUESTIONS: [&str; 11] = [
    "fanout",
    "churn",
    "bursts",
    "stalled",
    "join",
    "rush",
    "call",
    "calls",
    "idle",
    "watchers",
    "functions",
];

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) effort: Effort,
    /// Where page and plots go.
    pub(crate) out: PathBuf,
    /// The engine's program; built if none is named.
    pub(crate) engine: Option<PathBuf>,
    pub(crate) only: Vec<String>,
    pub(crate) peers: bool,
    pub(crate) notes: Vec<String>,
}

impl Options {
    /// File descriptors that the load needs for what is asked; each server needs no more.
    pub(crate) fn descriptors(&self) -> u64 {
        let of = |question: &str| match question {
            "fanout" | "churn" | "bursts" => 7_000,
            "stalled" => 3_000,
            "call" | "calls" => 1_000,
            "rush" => self.effort.number(5_000),
            "idle" => self.effort.number(10_000),
            "watchers" => 1_200 + self.effort.number(10_000),
            _ => 500,
        };
        let most = self.only.iter().map(|it| of(it)).max();
        most.unwrap_or_default() as u64 + 200
    }
}

/// How much is run of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    /// Rounds of a question that asks for so many.
    pub(crate) fn rounds(self, rounds: usize) -> usize {
        if self.quick { 3 } else { rounds }
    }

    /// What one target runs in one round.
    pub(crate) fn length(self, milliseconds: u64) -> Duration {
        Duration::from_millis(if self.quick {
            milliseconds / 5
        } else {
            milliseconds
        })
    }

    /// A number of connections or functions, of which a quick run takes a tenth.
    pub(crate) fn number(self, number: usize) -> usize {
        if self.quick { number / 10 } else { number }
    }
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("benches/compare is in it")
}

fn flags() -> Flags {
    let mut flags = Flags::new();
    flags
        .optflag(
            "",
            "quick",
            "A smoke run of two minutes, with a tenth of everything.",
        )
        .optopt(
            "",
            "out",
            "Where page and plots go [target/comparison].",
            "DIR",
        )
        .optopt(
            "",
            "engine",
            "The engine to measure; built if not given.",
            "FILE",
        )
        .optopt(
            "",
            "only",
            &format!("Some of {}.", QUESTIONS.join(", ")),
            "KEY,…",
        )
        .optflag("", "no-peers", "Leave Redis, NATS and etcd out.")
        .optmulti("", "note", "To be said at the top of the page.", "TEXT")
        .optflag("h", "help", "This text.");
    flags
}

/// What was asked for, or the text to say in its place.
pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
    let flags = flags();
    let usage = || flags.usage("Callboard beside others, in one run.\n\nUsage: compare [OPTIONS]");
    let given = flags
        .parse(arguments)
        .map_err(|error| format!("{error}\n{}", usage()))?;
    if given.opt_present("help") || !given.free.is_empty() {
        return Err(usage());
    }
    let only: Vec<String> = match given.opt_str("only") {
        Some(words) => words.split(',').map(str::to_owned).collect(),
        None => QUESTIONS.map(str::to_owned).to_vec(),
    };
    if let Some(unknown) = only.iter().find(|it| !QUESTIONS.contains(&&***it)) {
        return Err(format!("no such question: {unknown}\n{}", usage()));
    }
    let out = given.opt_str("out").map(PathBuf::from);
    Ok(Options {
        effort: Effort {
            quick: given.opt_present("quick"),
        },
        out: out.unwrap_or_else(|| root().join("target/comparison")),
        engine: given.opt_str("engine").map(PathBuf::from),
        only,
        peers: !given.opt_present("no-peers"),
        notes: given.opt_strs("note"),
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
    fn without_a_word_all_is_asked() {
        let options = parsed("").expect("no word is fine");
        assert_eq!(options.only, QUESTIONS);
        assert!(options.peers && !options.effort.quick);
        assert_eq!(options.effort.number(1_000), 1_000);
        assert_eq!(options.descriptors(), 11_400);
    }

    #[test]
    fn words_choose() {
        let options = parsed("--quick --only fanout,join --no-peers --out x");
        let options = options.expect("they are known");
        assert_eq!(options.only, ["fanout", "join"]);
        assert!(!options.peers && options.effort.quick);
        assert_eq!(options.effort.number(1_000), 100);
        assert_eq!(options.out, Path::new("x"));
        assert!(parsed("--only everything").is_err_and(|it| it.contains("no such question")));
        assert!(parsed("run").is_err());
        assert!(parsed("--fast").is_err());
    }

    #[test]
    fn help_and_readme_have_each_question() {
        let help = parsed("--help").expect_err("a text to say");
        let readme = std::fs::read_to_string(root().join("benches/README.md"));
        let readme = readme.expect("it is there");
        let of_questions = |line: &&str| line.starts_with("| `") && line.contains("` | ");
        let firsts = readme.lines().filter(of_questions);
        let firsts: String = firsts.filter_map(|row| row.split(" | ").next()).collect();
        for question in QUESTIONS {
            assert!(help.contains(question), "{question}");
            assert!(firsts.contains(&format!("`{question}`")), "{question}");
        }
    }

    #[test]
    fn the_repository_is_found() {
        assert!(root().join("benches/compare/Cargo.toml").is_file());
    }
}
