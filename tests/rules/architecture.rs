//! The rules of the house that a compiler does not know: which module may name which, what the pure core
//! never touches, how files are called and how long they are, and that the pages in `docs/` say what
//! the code says. Reads files; never runs the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use callboard::limits::Limits;

/// Lines after which a file holds more than one noun.
const MAX_LINES: usize = 600;

/// Each module of the crate and which others it may name. Imports run one way; `cli` is the binary.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("address", &[]),
    ("limits", &["protocol"]),
    ("engine", &["protocol", "limits"]),
    ("worker", &["protocol", "limits", "address"]),
    ("server", &["engine", "limits", "address"]),
    ("bench", &["protocol", "limits", "address"]),
    (
        "cli",
        &[
            "bench", "server", "engine", "worker", "protocol", "limits", "address",
        ],
    ),
];

/// The core is given bytes and the time; it never fetches them.
const NOT_IN_THE_CORE: &[&str] = &[
    "mio",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UdpSocket",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "sleep",
    "spawn",
    "getrandom",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "manager", "managers", "misc",
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The text without comments: naming something there is no dependency.
    fn code(&self) -> String {
        let kept = self
            .text
            .lines()
            .map(|line| line.split("//").next().unwrap_or(line));
        kept.collect::<Vec<_>>().join("\n")
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with this ending under the folders of the repository that exist, with relative paths.
fn files(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            // Cargo's output for a crate of its own is no source.
            if path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                let path = path
                    .strip_prefix(root())
                    .expect("under the root")
                    .to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no .{ending} under {folders:?}");
    found
}

fn sources() -> Vec<Source> {
    files(&["src"], "rs")
}

fn all_rust() -> Vec<Source> {
    let folders = ["src", "tests", "benches", "examples"];
    files(
        &[&folders[..], &["fuzz/src", "fuzz/fuzz_targets"]].concat(),
        "rs",
    )
}

/// The module of the crate that a file in `src/` belongs to; `None` for lib.rs.
fn layer(path: &Path) -> Option<String> {
    let first = path.iter().nth(1)?.to_str()?.trim_end_matches(".rs");
    match first {
        "lib" => None,
        "main" => Some("cli".to_owned()),
        name => Some(name.to_owned()),
    }
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The modules of the crate that `code` names: behind `crate::`, `callboard::` or `super::`, alone or in
/// braces.
fn named_modules(code: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for prefix in ["crate::", "callboard::", "super::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                named.extend(heads_of_group(group));
            } else {
                named.extend(identifiers(rest).next());
            }
        }
    }
    named.retain(|name| LAYERS.iter().any(|(layer, _)| layer == name));
    named
}

/// The first identifier of each path in `a::b, c::{d, e}, f}`.
fn heads_of_group(group: &str) -> Vec<&str> {
    let (mut heads, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(identifiers(group[begin..at].trim()).next());
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn grouped_imports_are_seen_too() {
    let code = "use crate::{engine::{Engine, Time}, limits::Limits, worker};\nuse super::server;";
    assert_eq!(
        named_modules(code),
        BTreeSet::from(["engine", "limits", "server", "worker"])
    );
}

#[test]
fn imports_run_one_way() {
    // A unit test may play the other side.
    let is_test = |source: &Source| {
        source
            .path
            .iter()
            .any(|it| it == "tests" || it == "tests.rs")
    };
    for source in sources().into_iter().filter(|it| !is_test(it)) {
        let Some(layer) = layer(&source.path) else {
            continue;
        };
        let (_, may_name) = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("{layer} has no place among the layers yet: give it one"));
        for named in named_modules(&source.code()) {
            assert!(
                named == layer || may_name.contains(&named),
                "{} names {named}, which {layer} may not",
                source.path.display()
            );
        }
    }
}

#[test]
fn the_core_has_no_socket_no_clock_and_no_thread() {
    for source in sources() {
        if !source.is_under("src/engine") && !source.is_under("src/protocol") {
            continue;
        }
        let code = source.code();
        for word in NOT_IN_THE_CORE {
            assert!(
                !identifiers(&code).any(|identifier| identifier == *word),
                "{} mentions {word}",
                source.path.display()
            );
        }
    }
}

#[test]
fn the_cores_maps_hash_with_the_engines_keys() {
    // With keys from the system, no run could be repeated.
    let mut found = 0;
    for source in sources().iter().filter(|it| it.is_under("src/engine")) {
        let code = source.code();
        for name in ["HashMap", "HashSet"] {
            for (at, _) in code.match_indices(name) {
                let rest = &code[at + name.len()..];
                assert!(
                    !rest.starts_with("::new") && !rest.starts_with("::default"),
                    "{}: {name} with the system's keys",
                    source.path.display()
                );
                if let Some(arguments) = rest.strip_prefix('<') {
                    found += 1;
                    let line = arguments.lines().next().unwrap_or_default();
                    assert!(
                        line.contains("HashKeys"),
                        "{}: {name}<{line}",
                        source.path.display()
                    );
                }
            }
        }
    }
    assert!(found > 5, "only {found} maps were found");
}

#[test]
fn files_are_short() {
    for source in all_rust() {
        let lines = source.text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines",
            source.path.display()
        );
    }
}

#[test]
fn files_are_named_after_a_noun() {
    for source in all_rust() {
        for name in source.path.iter().filter_map(|part| part.to_str()) {
            assert!(
                !EMPTY_NAMES.contains(&name.trim_end_matches(".rs")),
                "{}: the name says nothing",
                source.path.display()
            );
        }
    }
}

#[test]
fn files_open_by_saying_what_they_hold() {
    for source in all_rust() {
        assert!(source.text.starts_with("//! "), "{}", source.path.display());
    }
}

#[test]
fn tests_that_sleep_say_why() {
    for source in files(&["tests"], "rs") {
        let mut before = "";
        for line in source.text.lines() {
            // Put together, so that this line is none of them.
            if line.contains(concat!("thread::", "sleep")) && !line.trim().starts_with("use ") {
                assert!(
                    before.trim().starts_with("//"),
                    "{}: {}",
                    source.path.display(),
                    line.trim()
                );
            }
            before = line;
        }
    }
}

#[test]
fn every_limit_is_documented_as_it_is() {
    let mut table = String::from("| flag | default | what it bounds, and why |\n|---|---|---|\n");
    for spec in Limits::ALL {
        let (default, unit) = (grouped(spec.default), spec.unit);
        let value = format!("{default} {unit}");
        writeln!(
            table,
            "| `--{}` | {} | {} |",
            spec.flag,
            value.trim(),
            spec.reason
        )
        .expect("writing to memory does not fail");
    }
    let page = std::fs::read_to_string(root().join("docs/LIMITS.md")).expect("docs/LIMITS.md");
    assert!(
        page.contains(&table),
        "the table of docs/LIMITS.md should be:\n\n{table}"
    );
}

#[test]
fn what_to_do_when_a_limit_is_met_is_said_for_each() {
    let page = std::fs::read_to_string(root().join("docs/COUNTERS.md")).expect("COUNTERS.md");
    let (_, table) = page
        .split_once("<!-- flags of limited -->")
        .expect("the table");
    let table = table.trim_start().split("\n\n").next().expect("its end");
    let written: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split('`').next())
        .collect();
    let wanted: Vec<&str> = Limits::ALL.iter().map(|spec| spec.flag).collect();
    assert_eq!(written, wanted);
}

/// With commas between the thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let log = std::fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    assert!(log.contains("\n## [Unreleased]\n"));
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let mut pages = files(&["docs", "tests/vectors"], "md");
    for name in ["README.md", "CHANGELOG.md"] {
        if let Ok(text) = std::fs::read_to_string(root().join(name)) {
            pages.push(Source {
                path: name.into(),
                text,
            });
        }
    }
    for page in &pages {
        for (at, _) in page.text.match_indices("](") {
            let link = page.text[at + 2..].split(')').next().unwrap_or_default();
            if link.starts_with("http") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page.path),
                file => root().join(&page.path).with_file_name(file),
            };
            let place = format!("{}: {link}", page.path.display());
            assert!(target.exists(), "{place} leads nowhere");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).expect(&place);
                assert!(anchors(&text).contains(anchor), "{place}: no such heading");
            }
        }
    }
}

/// The anchors that a renderer gives to the headings of a page.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}
