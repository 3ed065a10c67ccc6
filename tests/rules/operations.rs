//! docs/OPERATIONS.md against the other pages and the code: what its table of symptoms names is explained somewhere.
//! Reads files; never runs the code.

use std::collections::BTreeSet;

use callboard::engine::{Dropped, Stats};
use callboard::limits::Limits;
use callboard::protocol::Code;

const PAGE: &str = include_str!("../../docs/OPERATIONS.md");
const ERRORS: &str = include_str!("../../docs/ERRORS.md");
const COUNTERS: &str = include_str!("../../docs/COUNTERS.md");

/// What stands in code marks and is one word of a code, a counter or a flag.
fn words(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| {
            let name = word.trim_start_matches("--");
            !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_' | b'-'))
        })
        .collect()
}

fn table() -> &'static str {
    let (_, table) = PAGE.split_once("<!-- symptoms -->\n").expect("the table");
    table.split("\n\n").next().unwrap_or(table)
}

#[test]
fn what_the_table_of_symptoms_names_is_explained() {
    let stats = serde_json::to_value(Stats::default()).expect("JSON");
    let mut known: BTreeSet<&str> = stats
        .as_object()
        .expect("a map")
        .keys()
        .map(String::as_str)
        .collect();
    known.extend(Code::ALL.iter().map(|code| code.as_str()));
    known.extend(Dropped::ALL.iter().map(|why| why.as_str()));
    let words = words(table());
    assert!(words.len() > 20, "is the search broken? {words:?}");
    let mut unknown = Vec::new();
    for word in words {
        let explained = match word.strip_prefix("--") {
            Some(flag) => {
                Limits::ALL.iter().any(|spec| spec.flag == flag)
                    || ["listen", "namespace", "jobs"].contains(&flag)
            }
            // Options of calls, and words that are explained on the pages about errors and counters.
            None => {
                known.contains(word)
                    || ERRORS.contains(&format!("`{word}`"))
                    || COUNTERS.contains(&format!("`{word}`"))
            }
        };
        if !explained {
            unknown.push(word);
        }
    }
    assert!(unknown.is_empty(), "explained nowhere: {unknown:?}");
}

#[test]
fn every_symptom_says_where_to_look_what_causes_it_and_what_to_do() {
    let rows: Vec<&str> = table().lines().skip(2).collect();
    assert!(rows.len() > 15);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert!(cells.iter().all(|cell| !cell.trim().is_empty()), "{row}");
    }
}
