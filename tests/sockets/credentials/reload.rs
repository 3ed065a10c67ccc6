//! The file changes while workers live: with SIGHUP everybody is brought in line.

use std::fs;

use callboard::worker::{Binding, Board, Function, Loss, Notice, Status, Watch};

use super::PATIENCE;
use super::guarded_engine::{
    GuardedEngine, await_connected, await_notice, god, principal, token, write_guarded,
};

/// `x` with these lines, beside `god`.
fn with_x(lines: &str) -> String {
    god() + &principal("x", lines)
}

const ALL: &str = "register = [\"\"]\ncall = [\"\"]\nobserve = [\"\"]";

#[test]
fn a_token_is_replaced_while_its_worker_lives() {
    let mut guarded = GuardedEngine::new(&with_x(ALL));
    let watcher = guarded.worker("god", "watcher");
    let worker = guarded.worker("x", "rotating");
    worker.register([Function::new("orders::create")]).unwrap();
    let mut notices = worker.changes();
    let first = guarded.token_file("x");
    // The second token beside the first; then the worker's file; then the second alone.
    let both = |tokens: &[&str]| {
        let hashes = tokens
            .iter()
            .map(|it| format!("\"{}\"", callboard::engine::TokenHash::of(it)));
        let hashes: Vec<String> = hashes.collect();
        god() + &format!("[principals.x]\ntokens = [{}]\n{ALL}\n", hashes.join(","))
    };
    let line = guarded.reload(&both(&[&token("x"), "cbt_second"]));
    assert!(
        line.contains("0 connections closed, rights of 0 changed"),
        "{line}"
    );
    write_guarded(&first, "cbt_second\n");
    let line = guarded.reload(&both(&["cbt_second"]));
    assert!(line.contains("1 connections closed"), "{line}");
    let lost = await_notice(&mut notices, |notice| match notice {
        Notice::Disconnected(loss) => Some(loss),
        _ => None,
    });
    assert_eq!(Loss::code(&lost), Some("unauthorized"));
    watcher
        .board()
        .wait_for("orders::create", PATIENCE)
        .unwrap();
    await_connected(&mut notices);
}

#[test]
fn a_file_that_is_of_no_use_changes_nothing_and_the_log_says_why() {
    let mut guarded = GuardedEngine::new(&with_x(ALL));
    let worker = guarded.worker("x", "x");
    let line = guarded.reload("[principals.god]\nregster = []");
    assert!(
        line.contains("credentials reload failed, keeping the previous credentials"),
        "{line}"
    );
    assert!(
        line.contains("line 2: principal `god`: `regster`"),
        "{line}"
    );
    assert!(matches!(worker.status(), Status::Connected(_)));
    worker.register([Function::new("a::b")]).unwrap();
    fs::remove_file(guarded.file()).unwrap();
    guarded.engine.signal("HUP");
    guarded
        .engine
        .error("credentials reload failed, keeping the previous credentials");
    assert_eq!(guarded.run("x", &["functions"]).0, 0);
}

#[test]
fn the_log_names_the_principals_that_a_reload_changes_and_no_secret() {
    let mut guarded = GuardedEngine::new(&with_x(ALL));
    let line = guarded.reload_audited(&(god() + &principal("y", ALL)));
    let expected = "added: \"y\"; removed: \"x\"; changed: none";
    assert!(line.ends_with(expected), "{line}");
    let line = guarded.reload_audited(&(god() + &principal("y", "tier = 1")));
    assert!(
        line.ends_with("added: none; removed: none; changed: \"y\""),
        "{line}"
    );
}

#[test]
fn changed_rights_are_applied_to_live_connections() {
    let mut guarded = GuardedEngine::new(&with_x(ALL));
    let watcher = guarded.worker("god", "watcher");
    let worker = guarded.worker("x", "x");
    worker
        .register([Function::new("mine::a"), Function::new("yours::a")])
        .unwrap();
    watcher.register([Function::new("secret::a")]).unwrap();
    worker.board().wait_for("secret::a", PATIENCE).unwrap();
    let narrow = "register = [\"mine::\"]\ncall = [\"\"]\nobserve = [\"mine::\"]";
    let line = guarded.reload(&with_x(narrow));
    assert!(
        line.contains("0 connections closed, rights of 1 changed"),
        "{line}"
    );
    let seen = |board: &Board| -> Vec<String> {
        board
            .with_prefix("")
            .iter()
            .map(|entry| entry.name().to_owned())
            .collect()
    };
    worker
        .board()
        .wait_until(PATIENCE, |board| seen(board) == ["mine::a"])
        .unwrap();
    watcher
        .board()
        .wait_until(PATIENCE, |board| seen(board) == ["mine::a", "secret::a"])
        .unwrap();
    assert!(matches!(worker.status(), Status::Connected(_)));
    let refused = worker.register([Function::new("yours::b")]).unwrap_err();
    assert_eq!(refused.code(), "forbidden");
}

#[test]
fn what_a_mistake_in_the_file_took_off_the_board_is_back_when_it_is_mended() {
    let bindings = format!("{ALL}\nbind = [\"\"]");
    let mut guarded = GuardedEngine::new(&with_x(&bindings));
    let watcher = guarded.builder("god", "watcher");
    let watcher = watcher
        .watch(Watch::all().bindings([""]))
        .connect(PATIENCE)
        .unwrap();
    let worker = guarded.worker("x", "x");
    worker
        .register([
            Function::new("orders::create"),
            Function::new("orders::take"),
        ])
        .unwrap();
    worker
        .bind([Binding::new("order.paid", "orders::create")])
        .unwrap();
    let mut notices = worker.changes();
    let board = watcher.board();
    let (create, take) = ("orders::create", "orders::take");
    board.wait_for(create, PATIENCE).unwrap();
    // Not `orders::`: one of them may stay, and nothing may be bound.
    guarded.reload(&with_x("register = [\"orders::t\"]\nobserve = [\"\"]"));
    board
        .wait_until(PATIENCE, |board| !board.contains(create))
        .unwrap();
    assert!(board.contains(take));
    // Both have been refused before the file is mended: only then both are restored.
    let binding = "order.paid -> orders::create";
    for wanted in [create, binding] {
        let (name, refusal) = await_notice(&mut notices, |notice| match notice {
            Notice::NotRestored { name, refusal } => Some((name, refusal)),
            _ => None,
        });
        assert_eq!((&*name, &*refusal.code), (wanted, "forbidden"));
    }
    guarded.reload(&with_x(&bindings));
    for name in [create, binding] {
        let back = await_notice(&mut notices, |notice| match notice {
            Notice::Restored { name } => Some(name),
            _ => None,
        });
        assert_eq!(&*back, name);
    }
    board.wait_for(create, PATIENCE).unwrap();
    board
        .wait_until(PATIENCE, |board| board.bindings().len() == 1)
        .unwrap();
    assert!(matches!(worker.status(), Status::Connected(_)));
}
