//! docs/PROOF.md lists the numbers inside of the code at which it goes another way, each with its tests, and those that
//! switch nothing. A number that is in neither list fails here. Reads files; never runs the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::proof::{named_in, quoted, section};

const FOLDERS: &[&str] = &["src/engine", "src/protocol", "src/server", "src/worker"];

/// The types of constants that code compares with.
const TYPES: &[&str] = &[
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i32",
    "Duration",
    "WriteBudget",
];

#[test]
fn every_number_in_the_code_is_tested_on_both_sides_or_said_to_switch_nothing() {
    let page = section("## Internal thresholds");
    let listed: Vec<&str> = quoted(page).filter(|it| it.contains("::")).collect();
    let listed: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for folder in FOLDERS {
        collect(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut found,
        );
    }
    assert!(found.len() > 100, "is the search broken?");
    let missing: Vec<&String> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "in neither list: {missing:?}");
    let gone: Vec<&String> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "not in the code: {gone:?}");
}

#[test]
fn every_test_of_a_threshold_exists() {
    assert!(named_in(section("## Internal thresholds")).len() > 40);
}

#[test]
fn numbers_are_found_and_other_constants_are_not() {
    let text = "
        const ONE: usize = 1;
            pub(super) const TWO: u64 =
                2 << 3;
        pub const NAMES: [&str; 3] = KINDS;
        const TEXT: &str = \"4\";
        const REST: u32 = ONE;
        #[cfg(test)]
        mod tests {
            const THREE: usize = 3;
        }
    ";
    assert_eq!(numbers(text).collect::<Vec<_>>(), ["ONE", "TWO"]);
}

/// Adds the constants with a number in the files of a folder, as `file::NAME`; a `mod.rs` has the name of its folder.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let noun = match stem {
            "mod" => folder.file_name().unwrap().to_str().unwrap(),
            noun => noun,
        };
        let text = std::fs::read_to_string(&path).unwrap();
        found.extend(numbers(&text).map(|name| format!("{noun}::{name}")));
    }
}

/// The names of the constants whose value has a digit, outside of tests.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("mod tests {").next().unwrap();
    let statements = code.split(';');
    statements.filter_map(|statement| {
        let (before, declaration) = statement.rsplit_once("const ")?;
        let is_declared = before
            .rsplit('\n')
            .next()
            .is_some_and(|it| it.trim().is_empty() || it.trim().starts_with("pub"));
        let (name, rest) = declaration.split_once(':')?;
        let (kind, value) = rest.split_once('=')?;
        let is_number =
            TYPES.contains(&kind.trim()) && value.contains(|it: char| it.is_ascii_digit());
        (is_declared && is_number).then_some(name)
    })
}
