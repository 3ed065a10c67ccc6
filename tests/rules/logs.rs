//! Every line that an engine or the worker library logs is explained in docs/LOGS.md.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/LOGS.md");

#[test]
fn every_log_line_is_explained() {
    let mut missing = Vec::new();
    let mut found = 0;
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for line in log_lines(&text) {
            found += 1;
            if !PAGE.contains(&line) {
                missing.push(format!("{}: {line}", file.display()));
            }
        }
    }
    assert!(
        found > 20,
        "only {found} log lines were found: is the search broken?"
    );
    assert!(
        missing.is_empty(),
        "docs/LOGS.md does not explain:\n{}",
        missing.join("\n")
    );
}

#[test]
fn placeholders_and_continued_lines_are_read_as_people_see_them() {
    let text = "log::info!(\n    \"a {x} of \\\n     `{}` {:?}\",\n);";
    assert_eq!(log_lines(text), ["a … of … …"]);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The format strings of all log macros, with `…` for what is filled in.
fn log_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, _) in text.match_indices("!(") {
        let before = &text[..at];
        let name = before
            .rsplit(|c: char| !c.is_ascii_lowercase())
            .next()
            .unwrap();
        if !["debug", "info", "warn", "error", "log"].contains(&name) {
            continue;
        }
        let Some(literal) = text[at..].split_once('"').map(|(_, rest)| rest) else {
            continue;
        };
        lines.push(filled(literal));
    }
    lines
}

/// A string literal up to its end, with continued lines joined and placeholders replaced.
fn filled(literal: &str) -> String {
    let mut out = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' if chars.peek() == Some(&'\n') => {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
            }
            '\\' => out.extend(chars.next()),
            '{' => {
                while chars.next().is_some_and(|c| c != '}') {}
                out.push('…');
            }
            // Code marks around a name would end the page's own.
            '`' => {}
            c => out.push(c),
        }
    }
    // A name in code marks and what follows it without a space become one.
    out
}
