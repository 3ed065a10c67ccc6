//! docs/ERRORS.md against the code: each error code of the engine, of the worker library and of `expose`, and each
//! exit code, has its row, and no row is left over. Reads sources as text; runs nothing but `--help`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use callboard::protocol::Code;

const PAGE: &str = include_str!("../../docs/ERRORS.md");
const CLI: &str = include_str!("../../docs/CLI.md");

/// The first cells of the table behind `mark`, without code marks; each row says something.
fn rows<'a>(page: &'a str, mark: &str) -> Vec<&'a str> {
    let (_, table) = page.split_once(mark).unwrap_or_else(|| panic!("{mark}"));
    let table = table.trim_start().split("\n\n").next().unwrap_or(table);
    let rows = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .filter(|line| !line.starts_with("|-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        cells[0].trim_matches('`')
    })
    .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code in these folders of `src`: no comments, no tests.
fn code_of(folder: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(folder);
    let mut code = String::new();
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).expect("under the folder");
        if inside
            .iter()
            .any(|part| part == "tests" || part == "tests.rs")
        {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in text.lines().filter(|it| !it.trim().starts_with("//")) {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The texts in quotes.
fn quoted(code: &str) -> impl Iterator<Item = &str> {
    code.split('"').skip(1).step_by(2)
}

/// The codes that faults are made with by name, and those that errors call themselves.
fn codes_in(code: &str) -> BTreeSet<&str> {
    let mut codes = BTreeSet::new();
    for (at, made) in code.match_indices("Fault::new(") {
        let rest = code[at + made.len()..].trim_start();
        if let Some(literal) = rest.strip_prefix('"') {
            codes.extend(literal.split('"').next());
        }
    }
    for (at, _) in code.match_indices("fn code(&self) -> &str {") {
        let body = code[at..].split("\n    }\n").next().unwrap_or_default();
        codes.extend(quoted(body));
    }
    codes
}

fn engines() -> BTreeSet<&'static str> {
    Code::ALL.iter().map(|code| code.as_str()).collect()
}

#[test]
fn every_code_of_the_engine_says_what_to_do() {
    let wanted: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(rows(PAGE, "<!-- codes -->"), wanted);
}

#[test]
fn an_end_without_a_code_says_what_to_do() {
    let engine = code_of("engine");
    let mut wanted = BTreeSet::new();
    for (at, leaving) in engine.match_indices("self.leave(id, \"") {
        wanted.extend(engine[at + leaving.len()..].split('"').next());
    }
    let rows: BTreeSet<&str> = rows(PAGE, "<!-- ends without a code -->")
        .into_iter()
        .collect();
    assert_eq!(rows, wanted);
    assert!(!rows.is_empty(), "is the search broken?");
}

#[test]
fn every_code_of_the_library_and_of_expose_says_what_to_do() {
    for (folder, mark) in [
        ("worker", "<!-- codes of the library -->"),
        ("cli", "<!-- codes of expose -->"),
    ] {
        let code = code_of(folder);
        let own: BTreeSet<&str> = &codes_in(&code) - &engines();
        assert!(own.len() >= 3, "{folder}: is the search broken? {own:?}");
        let rows: BTreeSet<&str> = rows(PAGE, mark).into_iter().collect();
        assert_eq!(rows, own, "{folder}");
    }
}

#[test]
fn every_exit_code_has_a_meaning_and_says_what_to_do() {
    let help = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .arg("--help")
        .output()
        .expect("the help");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let (_, list) = help.split_once("\nExit codes:\n").expect("exit codes");
    let wanted: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|code| !code.is_empty())
        .collect();
    assert!(wanted.len() > 5, "is the search broken? {wanted:?}");
    assert_eq!(rows(PAGE, "<!-- exit codes -->"), wanted);
    assert_eq!(rows(CLI, "\n## Exit codes\n"), wanted);
}
