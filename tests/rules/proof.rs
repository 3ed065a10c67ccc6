//! docs/PROOF.md and docs/RESTARTS.md name tests: each of them must exist, be a test, and stand in the file that the
//! page says. Reads files; never runs the code.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/PROOF.md");
const RESTARTS: &str = include_str!("../../docs/RESTARTS.md");

#[test]
fn every_test_that_the_page_about_pressure_names_exists() {
    let named = named_in(section("## Pressure"));
    assert!(
        named.len() > 50,
        "only {} tests were found: is the search broken?",
        named.len()
    );
    // And the other way: the page lists every heavy test.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pressure");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for name in tests_of(&text) {
            assert!(
                named.contains(name),
                "{}: {name} has no row",
                path.display()
            );
        }
    }
}

#[test]
fn whatever_the_page_about_restarts_says_is_held_by_a_test_that_exists() {
    let named = named_in(RESTARTS);
    let rows = rows(RESTARTS).len();
    assert!(
        rows > 15 && named.len() > 20,
        "only {} tests in {rows} rows were found: is the search broken?",
        named.len()
    );
}

#[test]
fn what_the_page_says_of_the_operators_book_is_held_by_tests_that_exist() {
    assert!(named_in(section("## The operator's book")).len() > 10);
}

#[test]
fn variables_that_the_page_names_are_read_by_a_test() {
    let section = section("## Pressure");
    let named: BTreeSet<&str> = quoted(section)
        .filter(|it| it.starts_with("CALLBOARD_"))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pressure");
    let mut read = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        read += &std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
    }
    let in_code = read.split('"').filter(|it| it.starts_with("CALLBOARD_"));
    assert_eq!(in_code.collect::<BTreeSet<_>>(), named);
}

#[test]
fn each_planted_fault_has_its_row_and_its_tests_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut planted = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("tests/faults")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let headers: Vec<&str> = text.lines().take(2).collect();
        assert!(
            headers[0].starts_with("Fault: ") && headers[1].starts_with("Check: cargo test "),
            "{}",
            path.display()
        );
        let name = path.file_name().unwrap().to_str().unwrap();
        planted.insert(name.split('-').next().unwrap().to_owned());
    }
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        collect_tests(&root.join(folder), &mut tests);
    }
    let table = section("## Planted faults");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter(|row| row.starts_with(|it: char| it.is_ascii_digit()));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        listed.insert(cells[0].to_owned());
        for name in quoted(cells[2]) {
            assert!(tests.contains(name), "{}: {name} is no test", cells[0]);
        }
    }
    assert_eq!(listed, planted);
}

/// Adds the names of all tests in a folder.
fn collect_tests(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_tests(&path, tests);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            tests.extend(tests_of(&text).into_iter().map(str::to_owned));
        }
    }
}

/// The tests that the rows of a page name. Each row names one at least, and each exists.
pub(crate) fn named_in(text: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for row in rows(text) {
        let (Some(case), Some(tests)) = (row.first(), row.last()) else {
            continue;
        };
        let mut file = None;
        let mut found = 0;
        for word in quoted(tests) {
            if word.contains('/') {
                file = Some(word);
            } else {
                let file = file.unwrap_or_else(|| panic!("{case}: {word} of which file?"));
                assert!(is_test(file, word), "{case}: {file} has no test {word}");
                named.insert(word);
                found += 1;
            }
        }
        assert!(found > 0, "{case}: no test");
    }
    named
}

/// A section of the page, up to the next of the same level.
pub(crate) fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(heading).expect(heading);
    rest.split("\n## ").next().unwrap()
}

/// The cells of the rows of all tables that list tests.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let tables = text.split("\n\n").filter(|it| {
        it.lines()
            .next()
            .is_some_and(|head| head.ends_with("| tests |"))
    });
    let rows = tables.flat_map(|table| table.lines().skip(2));
    rows.map(|row| row.trim_matches('|').split(" | ").collect())
        .collect()
}

/// What stands in code marks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_test(file: &str, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    tests_of(&text).contains(&name)
}

/// The names of the tests in a file.
fn tests_of(text: &str) -> Vec<&str> {
    let after = text.split("#[test]").skip(1);
    after
        .filter_map(|it| it.split_once("fn ")?.1.split('(').next())
        .collect()
}
