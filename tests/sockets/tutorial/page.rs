//! The page as a list of steps: its fenced blocks in order. What a block is, its first line says: the language, then
//! the host, then how it is run. Runs nothing.
//!
//!     ```sh board                 commands for the shell of this host; `both`: of each
//!     ```sh board again           the same, run again until the output is as shown (who waits, looks again)
//!     ```sh board exits 4         the same; the last command ends with this code
//!     ```sh board terminal load   commands in a terminal of their own, which go on running
//!     ```text                     what the commands before print
//!     ```text load                what that terminal prints next
//!     ```ini board PATH           a file to be written; so are `toml` and `sh … file PATH`

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Run {
        host: String,
        commands: String,
        how: How,
    },
    /// Starts a terminal.
    Open {
        host: String,
        commands: String,
        terminal: String,
    },
    /// What a terminal prints next.
    Read { terminal: String, shown: String },
    Write {
        host: String,
        path: String,
        text: String,
    },
}

/// How commands are run, and what comes of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct How {
    pub(crate) again: bool,
    pub(crate) exits: i32,
    pub(crate) shown: Option<String>,
}

/// All steps of a page.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|&it| it != "```").collect();
        let text = body.iter().fold(String::new(), |all, it| all + it + "\n");
        let words: Vec<&str> = head.split(' ').collect();
        match words[..] {
            ["text"] => match steps.last_mut() {
                Some(Step::Run { how, .. }) if how.shown.is_none() => how.shown = Some(text),
                last => panic!("an output behind {last:?}"),
            },
            ["text", terminal] => steps.push(Step::Read {
                terminal: terminal.to_owned(),
                shown: text,
            }),
            ["sh", host, "terminal", terminal] => steps.push(Step::Open {
                host: host.to_owned(),
                commands: text,
                terminal: terminal.to_owned(),
            }),
            ["sh", host, "file", path] | ["ini" | "toml", host, path] => steps.push(Step::Write {
                host: host.to_owned(),
                path: path.to_owned(),
                text,
            }),
            ["sh", host, ref how @ ..] => steps.push(Step::Run {
                host: host.to_owned(),
                commands: text,
                how: self::how(how),
            }),
            _ => panic!("a block `{head}`: nobody knows what to do with it"),
        }
    }
    steps
}

fn how(words: &[&str]) -> How {
    match words {
        [] => How::default(),
        ["again"] => How {
            again: true,
            ..How::default()
        },
        ["exits", code] => How {
            exits: code.parse().expect("an exit code"),
            ..How::default()
        },
        _ => panic!("commands that are run `{}`", words.join(" ")),
    }
}

/// Why what was printed is not what the page shows; nothing if it is. `…` stands for anything in a line, a line of
/// nothing else for any number of lines. How many spaces there are between two words does not count.
pub(crate) fn difference(shown: &str, printed: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines()
            .map(words)
            .filter(|it| !it.is_empty())
            .collect()
    };
    let (wanted, found) = (lines(shown), lines(printed));
    (!all_alike(&wanted, &found))
        .then(|| format!("the page shows\n\n{shown}\nand this was printed:\n\n{printed}"))
}

fn all_alike(wanted: &[String], found: &[String]) -> bool {
    match wanted.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == "…" => {
            (0..=found.len()).any(|from| all_alike(rest, &found[from..]))
        }
        Some((line, rest)) => match found.split_first() {
            Some((first, others)) => alike(line, first) && all_alike(rest, others),
            None => false,
        },
    }
}

/// Whether a line is as shown.
pub(crate) fn alike(wanted: &str, found: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = parts.next().and_then(|first| found.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        open = true;
        if at + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

#[test]
fn what_is_not_as_shown_is_seen() {
    assert_eq!(difference("a  b\n…\nd … f\n", "a b\nc\nc\nd e f\n"), None);
    assert_eq!(difference("…\n", ""), None);
    for (shown, printed) in [
        ("a\n", "b\n"),
        ("a\n", ""),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a … c\n", "a b\n"),
        ("x…\n", "yx\n"),
        ("", "a\n"),
    ] {
        assert!(difference(shown, printed).is_some(), "{shown} {printed}");
    }
}
