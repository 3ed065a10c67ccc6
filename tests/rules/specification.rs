//! docs/PROTOCOL.md against the code: every kind, field, key, code and limit that one of them has, the
//! other has too, and the worked example is the golden vectors. Reads sources as text; never runs an
//! engine.

use std::collections::BTreeSet;

use callboard::engine::{Dropped, Stats};
use callboard::limits::Limits;
use callboard::protocol::{Code, Message};

const PAGE: &str = include_str!("../../docs/PROTOCOL.md");
const COUNTERS: &str = include_str!("../../docs/COUNTERS.md");
const KINDS: &str = include_str!("../../src/protocol/kinds.rs");
const SECTIONS: &str = include_str!("../../src/protocol/sections.rs");
const VECTORS: &str = include_str!("../vectors/messages.json");

/// Name and type of a field or key, as the source declares it.
type Declared<'a> = (&'a str, &'a str);

/// A kind as `kinds.rs` declares it.
struct Kind<'a> {
    name: &'a str,
    fields: Vec<Declared<'a>>,
    ext: &'a str,
}

/// A map as `kinds.rs` or `sections.rs` declares it.
struct Map<'a> {
    name: &'a str,
    keys: Vec<Declared<'a>>,
}

/// The inside of `name! { … }`.
fn macro_body<'a>(source: &'a str, name: &str) -> &'a str {
    let (_, rest) = source.split_once(&format!("\n{name}! {{\n")).expect(name);
    rest.split_once("\n}\n").map_or(rest, |(body, _)| body)
}

fn without_comments(source: &str) -> String {
    let kept = source.lines().filter(|line| !line.trim().starts_with("//"));
    kept.collect::<Vec<_>>().join("\n")
}

fn without_lifetime(name: &str) -> &str {
    name.split('<').next().unwrap_or(name).trim()
}

fn kinds(source: &str) -> Vec<Kind<'_>> {
    let declarations = source
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let kinds: Vec<_> = declarations
        .map(|declaration| {
            let (name, rest) = declaration.split_once('=').expect("Name = number");
            let (_, rest) = rest.split_once('{').expect("fields");
            let (fields, ext) = rest.split_once('}').expect("the end of the fields");
            let fields = fields.split(',').filter_map(|field| field.split_once(':'));
            Kind {
                name: without_lifetime(name),
                fields: fields
                    .map(|(name, kind)| (name.trim(), kind.trim()))
                    .collect(),
                ext: without_lifetime(ext.trim().strip_prefix("ext").expect("ext")),
            }
        })
        .collect();
    assert_eq!(
        kinds.len(),
        Message::KINDS.len(),
        "kinds.rs is read wrongly"
    );
    kinds
}

fn maps(source: &str) -> Vec<Map<'_>> {
    let mut maps: Vec<Map<'_>> = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" {") {
            maps.push(Map {
                name: without_lifetime(name),
                keys: Vec::new(),
            });
        } else if let Some((field, key)) = line.split_once(" = \"") {
            let (_, kind) = field.split_once(':').expect("field: type");
            let key = key.strip_suffix("\",").expect("the end of the key");
            maps.last_mut()
                .expect("a map")
                .keys
                .push((key, kind.trim()));
        }
    }
    maps
}

/// What stands under the heading `### title`.
fn section(title: &str) -> &'static str {
    let heading = format!("\n### {title}\n");
    let (_, rest) = PAGE
        .split_once(&heading)
        .unwrap_or_else(|| panic!("docs/PROTOCOL.md lacks the heading `### {title}`"));
    rest.split("\n#").next().unwrap_or(rest)
}

/// The cells of the table rows in `text`, without the heads.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|--"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

fn unquoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// How the page writes a type.
fn documented_type(declared: &str) -> String {
    let declared = declared.trim_start_matches("super::").replace("<'a>", "");
    let inside = |outer: &str| {
        let inner = declared.strip_prefix(outer)?.strip_suffix('>')?;
        Some(documented_type(inner))
    };
    if let Some(inner) = inside("Option<") {
        return inner;
    }
    if let Some(inner) = inside("Vec<") {
        return format!("list of {inner}");
    }
    match &*declared {
        "Text" | "Executed" => "text".to_owned(),
        "Bin" => "bin".to_owned(),
        "u64" | "bool" => declared,
        map => format!("[{map}](#{})", map.to_lowercase()),
    }
}

/// That the rows say what was declared, in the same order.
fn assert_rows(place: &str, rows: &[(&str, &str)], declared: &[Declared<'_>]) {
    let names = |list: &[(&str, &str)]| list.iter().map(|(name, _)| (*name).to_owned()).collect();
    let (written, wanted): (Vec<String>, Vec<String>) = (names(rows), names(declared));
    assert_eq!(written, wanted, "{place}: names or their order");
    for ((name, written), (_, declared)) in rows.iter().zip(declared) {
        // Behind a comma the page names the default.
        let written = written.split(',').next().unwrap_or(written);
        assert_eq!(
            written,
            documented_type(declared),
            "{place}, type of `{name}`"
        );
    }
}

fn documented_name(kind_name: &str) -> String {
    match kind_name {
        "Outcome" => "RESULT".to_owned(),
        name => name.to_uppercase(),
    }
}

#[test]
fn every_kind_is_specified_with_its_number_fields_and_extensions() {
    let (messages, options) = (
        without_comments(macro_body(KINDS, "messages")),
        without_comments(macro_body(KINDS, "wire_map")),
    );
    let options = maps(&options);
    for (kind, &(name, number)) in kinds(&messages).iter().zip(Message::KINDS) {
        assert_eq!(kind.name, name);
        let title = documented_name(name);
        let overview = format!(
            "| [{title}](#{}-{number}) | {number} |",
            title.to_lowercase()
        );
        assert!(PAGE.contains(&overview), "the overview lacks {overview}");

        let place = format!("{title} ({number})");
        let ext = options
            .iter()
            .find(|map| map.name == kind.ext)
            .expect(kind.ext);
        for (sort, declared) in [("field", &kind.fields), ("ext", &ext.keys)] {
            let written: Vec<_> = rows(section(&place))
                .filter(|cells| cells[0] == sort)
                .map(|cells| (unquoted(cells[1]).expect("a quoted name"), cells[2]))
                .collect();
            assert_rows(&format!("{place}, {sort}"), &written, declared);
        }
    }
}

#[test]
fn every_map_is_specified_with_its_keys() {
    for source in [KINDS, SECTIONS] {
        let source = without_comments(macro_body(source, "wire_map"));
        for map in maps(&source) {
            let of_a_kind = map.name.ends_with("Options") || map.name == "NoExtensions";
            if of_a_kind {
                continue; // They stand with their kind, see above.
            }
            let written: Vec<_> = rows(section(map.name))
                .filter_map(|cells| Some((unquoted(cells[0])?, cells[1])))
                .collect();
            assert_rows(map.name, &written, &map.keys);
        }
    }
}

#[test]
fn every_code_is_specified_as_retryable_or_not() {
    let (_, text) = PAGE
        .split_once("\n## 14. Error codes\n")
        .expect("section 14");
    let text = text.split("\n## ").next().unwrap_or(text);
    let written: Vec<_> = rows(text)
        .filter_map(|cells| Some((unquoted(cells[0])?, cells[2])))
        .collect();
    let wanted: Vec<_> = Code::ALL
        .iter()
        .map(|code| (code.as_str(), if code.retryable() { "yes" } else { "no" }))
        .collect();
    assert_eq!(written, wanted);
}

#[test]
fn the_limits_that_a_client_meets_are_the_real_ones() {
    let (_, text) = PAGE.split_once("\n## 13. Limits\n").expect("section 13");
    let text = text.split("\n## ").next().unwrap_or(text);
    let mut seen = 0;
    for cells in rows(text) {
        let Some(flag) = cells[0].strip_prefix("`--") else {
            continue;
        };
        let flag = flag.split('`').next().unwrap_or(flag);
        let spec = Limits::ALL
            .iter()
            .find(|spec| spec.flag == flag)
            .expect(flag);
        let digits = cells[1].split(' ').next().unwrap_or_default();
        let default: String = digits.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(default, spec.default.to_string(), "--{flag}");
        seen += 1;
    }
    assert!(seen > 10, "the table is read wrongly");
}

#[test]
fn the_worked_example_is_the_golden_vectors() {
    let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).expect("JSON");
    let mut blocks = PAGE.split("\n```hex ").skip(1).peekable();
    assert!(blocks.peek().is_some(), "there is no worked example");
    for block in blocks {
        let (name, rest) = block.split_once('\n').expect("a name");
        let (lines, _) = rest.split_once("\n```").expect("the end of the block");
        let bytes = lines
            .lines()
            .map(|line| line.split('#').next().unwrap_or(line));
        let hex: String = bytes.flat_map(str::split_whitespace).collect();
        let vector = vectors
            .iter()
            .find(|vector| vector["name"] == *name)
            .expect(name);
        assert_eq!(hex, vector["hex"].as_str().expect("hex"), "{name}");
    }
}

/// The keys that the rows of a table name, in backticks, in their first cell; none stands twice.
fn keys_of(text: &str) -> BTreeSet<&str> {
    let mut keys = BTreeSet::new();
    for cells in rows(text) {
        for quoted in cells[0].split('`').skip(1).step_by(2) {
            assert!(keys.insert(quoted), "`{quoted}` stands twice");
        }
    }
    keys
}

fn behind<'a>(page: &'a str, mark: &str) -> &'a str {
    let (_, rest) = page.split_once(mark).unwrap_or_else(|| panic!("{mark}"));
    rest.trim_start().split("\n\n").next().unwrap_or(rest)
}

#[test]
fn every_key_of_stats_is_specified_and_explained() {
    let stats = serde_json::to_value(Stats::default()).expect("JSON");
    let stats = stats.as_object().expect("a map");
    let keys: BTreeSet<&str> = stats.keys().map(String::as_str).collect();
    assert!(keys.len() > 30);
    let specified = keys_of(behind(PAGE, "<!-- keys of engine::stats -->"));
    assert_eq!(specified, keys, "docs/PROTOCOL.md, section 15");
    let explained = keys_of(behind(COUNTERS, "<!-- keys of engine::stats -->"));
    assert_eq!(explained, keys, "docs/COUNTERS.md");
}

#[test]
fn every_reason_for_dropping_is_specified_and_explained() {
    let text = behind(PAGE, "<!-- keys of dropped -->");
    let written: Vec<_> = rows(text)
        .filter_map(|cells| Some((unquoted(cells[0])?, cells[1])))
        .collect();
    let wanted: Vec<_> = Dropped::ALL
        .iter()
        .map(|why| (why.as_str(), why.reason()))
        .collect();
    assert_eq!(written, wanted);
    let explained = keys_of(behind(COUNTERS, "<!-- keys of dropped -->"));
    let words: BTreeSet<_> = written.iter().map(|(word, _)| *word).collect();
    assert_eq!(explained, words, "docs/COUNTERS.md");
}
