//! What small files offer, and how they read with one switch each.

use std::collections::BTreeSet;

use super::*;
use crate::rewriting::rewrite;

fn found(text: &str) -> Vec<Mutation> {
    let file = syn::parse_file(text).expect("it is Rust");
    let mut constants = constants(&file);
    constants.insert("LIMIT".to_owned());
    candidates(Folder::Engine, "src/engine/a.rs", text, &file, &constants)
}

/// The descriptions of all mutations of a file.
fn offers(text: &str) -> BTreeSet<String> {
    found(text).into_iter().map(|it| it.what).collect()
}

/// The file with the one mutation that has this description.
fn switched(text: &str, what: &str) -> String {
    let found = found(text);
    let mut chosen = found.iter().filter(|it| it.what == what);
    let (Some(mutation), None) = (chosen.next(), chosen.next()) else {
        panic!("{what}: not one of {:?}", offers(text));
    };
    rewrite(text, &[(3, mutation)]).text
}

/// Each file with all its switches is still Rust.
fn all_switched(text: &str) -> String {
    let found = found(text);
    let rewritten = rewrite(text, &found.iter().enumerate().collect::<Vec<_>>());
    assert_eq!(rewritten.places.len(), found.len());
    if let Err(error) = syn::parse_file(&rewritten.text) {
        panic!("{error}:\n{}", rewritten.text);
    }
    rewritten.text
}

#[test]
fn comparisons_move_their_bound() {
    let text = "fn f(a: u8, b: u8) -> bool { a < b }";
    assert_eq!(
        offers(text),
        BTreeSet::from(["`a < b` becomes `a <= b`".to_owned()])
    );
    assert_eq!(
        switched(text, "`a < b` becomes `a <= b`"),
        "fn f(a: u8, b: u8) -> bool { (if crate::mutant::on(3) { (a) <= (b) } else { (a < b) }) }"
    );
}

#[test]
fn nested_conditions_keep_one_active_switch_each() {
    let text = "fn f(a: u8, b: u8) { if a < b && !(a == 3) { g(); h() } }";
    let all = all_switched(text);
    // The changed text of the outer operator has no switch of the inner ones.
    assert!(all.contains("{ (a < b) || (!(a == 3)) } else { ("), "{all}");
    let offered = offers(text);
    for what in [
        "the condition `a < b && !(a == 3)` is negated",
        "`a < b && !(a == 3)` becomes `a < b || !(a == 3)`",
        "`a < b` becomes `a <= b`",
        "`!(a == 3)` becomes `(a == 3)`",
        "`a == 3` becomes `a != 3`",
        "`3` becomes `4`",
        "`3` becomes `2`",
        "`g();` is left out",
        "`h()` is left out",
    ] {
        assert!(offered.contains(what), "{what}: {offered:?}");
    }
    assert_eq!(offered.len(), 9, "{offered:?}");
}

#[test]
fn conditions_that_bind_are_neither_negated_nor_made_alternatives() {
    let text = "fn f(a: Option<u8>, b: u8) -> u8 { if let Some(a) = a && a > b && b > a { a } else { b } }";
    let offered = offers(text);
    assert_eq!(
        offered,
        BTreeSet::from(["`a > b` becomes `a >= b`", "`b > a` becomes `b >= a`"].map(str::to_owned))
    );
    all_switched(text);
}

#[test]
fn method_chains_change_their_own_method() {
    let text =
        "fn f(list: &mut List) -> Option<u8> { list.inner().min(4).front().map(|it| it + 1) }";
    let what = "`list.inner().min(4).front()` becomes `list.inner().min(4).back()`";
    let expected = "{ (if crate::mutant::on(3) { list.inner().min(4).back() } else { \
                    (list.inner().min(4).front()) }).map(|it| it + 1) }";
    assert!(
        switched(text, what).ends_with(expected),
        "{}",
        switched(text, what)
    );
    assert!(offers(text).contains("`list.inner().min(4)` becomes `list.inner().max(4)`"));
    assert!(offers(text).contains("`it + 1` becomes `it - 1`"));
    all_switched(text);
}

#[test]
fn statements_are_left_out_with_their_semicolon_or_without() {
    let text =
        "fn f(&mut self) { self.count -= 1; match self.state { A => self.close(), B => {} } }";
    assert!(
        switched(text, "`self.count -= 1;` is left out")
            .contains("{ if !crate::mutant::on(3) { self.count -= 1; } match")
    );
    assert!(
        switched(text, "`self.close()` is left out")
            .contains("A => if !crate::mutant::on(3) { self.close() }, B")
    );
    assert!(offers(text).contains("`self.count -= 1` becomes `self.count += 1`"));
    all_switched(&format!("impl X {{ {text} }}"));
}

#[test]
fn a_last_expression_with_a_value_is_not_left_out() {
    let offered = offers("fn f(&self) -> usize { self.g(); self.len() }");
    assert_eq!(
        offered,
        BTreeSet::from(["`self.g();` is left out".to_owned()])
    );
    // A loop has no value, whatever the function has.
    let offered =
        offers("fn f(&self) -> usize { for it in self.list() { it.close() } self.len() }");
    assert_eq!(
        offered,
        BTreeSet::from(["`it.close()` is left out".to_owned()])
    );
}

#[test]
fn a_function_without_result_returns_at_once() {
    let text = "fn f() {\n    g();\n    h();\n}";
    let expected = "fn f() { if crate::mutant::on(3) { return; }\n    g();\n    h();\n}";
    assert_eq!(switched(text, "the function returns at once"), expected);
    // With one statement, leaving that one out is the same.
    assert_eq!(offers("fn f() { g(); }").len(), 1);
}

#[test]
fn arms_are_left_out_where_another_stands_in() {
    let text = "fn f(a: u8) -> bool { match a { 1 => x(), n if n > LIMIT => y(), _ => z() } }";
    assert!(
        switched(text, "the arm `1` is left out").contains("1 if !crate::mutant::on(3) => x()")
    );
    assert!(
        switched(text, "the arm `n` is left out")
            .contains("n if !crate::mutant::on(3) && (n > LIMIT) => y()")
    );
    let offered = offers(text);
    assert!(
        offered.contains("`LIMIT` becomes `LIMIT + 1`"),
        "{offered:?}"
    );
    assert!(
        offered.contains("the condition `n > LIMIT` is negated"),
        "{offered:?}"
    );
    assert!(offers("fn f(a: u8) -> bool { match a { A => x(), B => y() } }").is_empty());
    all_switched(text);
}

#[test]
fn a_condition_whose_operator_has_an_opposite_is_not_negated_twice() {
    let offered = offers("fn f(a: u8) -> u8 { if a == x { y } else if !z { a } else { w } }");
    let expected = ["`a == x` becomes `a != x`", "`!z` becomes `z`"];
    assert_eq!(offered, BTreeSet::from(expected.map(str::to_owned)));
}

#[test]
fn code_within_macros_is_left_alone() {
    let offered = offers(
        "fn f(a: u8) -> bool {
            log::info!(\"{}\", a + 1);
            debug_assert!(a < 3);
            if a > 4 { log::warn!(\"much: {}\", a - 1); }
            matches!(a, 1 | 2)
        }",
    );
    assert!(offered.is_empty(), "{offered:?}");
    assert!(offers("wire_map! { A { a: u8 = \"a\", } }").is_empty());
}

#[test]
fn tests_constants_and_texts_for_people_are_left_alone() {
    for text in [
        "#[cfg(test)] mod tests { fn f() { g(); h(); } }",
        "#[cfg(debug_assertions)] fn f() { g(); h(); }",
        "impl X { #[cfg(any(test, debug_assertions))] fn f() { g(); h(); } }",
        "impl X { pub(crate) fn check_books(&self) { g(); h(); } }",
        "#[test] fn f() { g(); h(); }",
        "const fn f() -> u8 { 1 + 2 }",
        "const A: usize = 1 + 2; static B: [u8; 2] = [1, 2]; enum C { D = 3 }",
        "impl fmt::Display for X { fn fmt(&self, f: &mut F) -> R { g(); f.write(1 + 2) } }",
        "fn f() -> [u8; 4] { let a: [u8; 5] = [x; 6]; const B: u8 = 7; g::<8>(a) }",
    ] {
        assert!(offers(text).is_empty(), "{text}: {:?}", offers(text));
    }
}

#[test]
fn literals_and_results_have_neighbours() {
    let offered = offers("fn f() -> Option<u32> { if g(true) { Some(0x10u32) } else { Some(0) } }");
    for what in [
        "`true` becomes `false`",
        "`0x10u32` becomes `17u32`",
        "`0x10u32` becomes `15u32`",
        "`0` becomes `1`",
        "`Some(0)` becomes `None`",
    ] {
        assert!(offered.contains(what), "{what}: {offered:?}");
    }
}

#[test]
fn ids_stay_when_other_code_changes() {
    let ids = |text: &str| -> BTreeSet<Id> { found(text).iter().map(|it| it.id).collect() };
    let before = ids("fn f(a: u8) -> bool { a < 1 }");
    let after = ids("fn g() { h(); }\n\nfn f(a: u8) -> bool {\n    a < 1\n}");
    assert_eq!(before.len(), 3);
    assert!(before.is_subset(&after));
    // The same change twice in a function has two ids.
    assert_eq!(ids("fn f(a: u8) -> bool { a < x || a < x }").len(), 3);
}

#[test]
fn long_code_is_quoted_in_part() {
    let long = "a".repeat(300);
    let quoted = quote(&format!("begin {long}\n   end"));
    assert!(quoted.chars().count() < 150, "{quoted}");
    assert!(
        quoted.starts_with("begin a") && quoted.ends_with("a end"),
        "{quoted}"
    );
}
