//! Losing the engine and finding it again: restarts, resuming, takeovers.

use std::thread;
use std::time::Duration;

use callboard::worker::{Cause, ConnectionInfo, Function, Loss, Notice, Standing, Status};

use super::proxy::Proxy;
use super::*;

fn await_connected(changes: &mut Changes) -> ConnectionInfo {
    await_notice(changes, |notice| match notice {
        Notice::Connected(connection) => Some(connection),
        _ => None,
    })
}

#[test]
fn a_board_stays_readable_without_the_engine_and_says_that_it_is_stale() {
    let engine = engine();
    let worker = connect(&engine, "w");
    worker.register(["a"]).unwrap();
    let board = worker.board();
    assert!(!board.is_stale() && board.stale_for().is_none());
    engine.kill();
    engine.join().unwrap();
    board
        .wait_until(PATIENCE, callboard::worker::Board::is_stale)
        .unwrap();
    assert!(board.contains("a") && board.get("a").unwrap().is_stale());
    assert!(board.stale_for().is_some());
    assert_eq!(worker.offers()[0].standing, Standing::Pending);
    assert!(matches!(worker.status(), Status::Connecting { .. }));
}

#[test]
fn after_a_restart_of_the_engine_all_is_back_and_what_is_not_is_told_when_it_has_settled() {
    let engine = engine();
    let address = engine.addresses()[0].clone();
    let watcher = connect(&engine, "watcher");
    let stays = connect(&engine, "stays");
    let goes = connect(&engine, "goes");
    stays.register(["a", "b"]).unwrap();
    stays.register([Function::new("c").exclusive()]).unwrap();
    goes.register(["x", "b"]).unwrap();
    await_names(&watcher, &["a", "b", "c", "x"]);
    let mut changes = watcher.changes();
    engine.kill();
    engine.join().unwrap();
    goes.abort();
    let engine = serve_again(&address, Limits::default());
    assert!(await_connected(&mut changes).settling > Duration::ZERO);
    // No entry flaps: the only step removes what did not come back.
    let step = next_step(&mut changes);
    assert_eq!((brief(&step).as_str(), step.cause), ("-x", Cause::Settled));
    assert_eq!(names(&watcher), ["a", "b", "c"]);
    assert!(
        watcher
            .board()
            .with_prefix("")
            .iter()
            .all(|entry| !entry.is_stale())
    );
    assert!(
        stays
            .offers()
            .iter()
            .all(|offer| offer.standing == Standing::Listed)
    );
    drop(engine);
}

#[test]
fn without_settling_a_restart_is_told_as_it_is() {
    let engine = engine();
    let address = engine.addresses()[0].clone();
    let watcher = connect(&engine, "watcher");
    let goes = connect(&engine, "goes");
    goes.register(["x"]).unwrap();
    watcher.board().wait_for("x", PATIENCE).unwrap();
    let mut changes = watcher.changes();
    engine.kill();
    engine.join().unwrap();
    goes.abort();
    let _engine = serve_again(&address, settled());
    let step = next_step(&mut changes);
    assert_eq!(brief(&step), "-x");
    let reason = "foreign_epoch".into();
    assert_eq!(step.cause, Cause::Replaced { reason });
}

#[test]
fn a_registration_waits_for_the_engine_and_the_engine_may_come_later() {
    let engine = engine();
    let address = engine.addresses()[0].clone();
    let provider = connect(&engine, "provider");
    engine.kill();
    engine.join().unwrap();
    provider
        .board()
        .wait_until(PATIENCE, callboard::worker::Board::is_stale)
        .unwrap();
    let early = at(&[&address], "early").start().unwrap();
    let hasty = at(&[&address], "hasty").request_timeout(Duration::from_millis(10));
    let hasty = hasty.start().unwrap();
    let error = hasty.register(["h"]).unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("timeout", true));
    thread::scope(|scope| {
        let registered = scope.spawn(|| provider.register(["p"]));
        let also = scope.spawn(|| early.register(["e"]));
        let engine = serve_again(&address, settled());
        registered.join().unwrap().unwrap();
        also.join().unwrap().unwrap();
        // A registration whose caller gave up waiting was applied all the same.
        await_names(&provider, &["e", "h", "p"]);
        drop(engine);
    });
}

#[test]
fn a_worker_that_missed_changes_gets_them_and_no_snapshot() {
    let engine = engine();
    let proxy = Proxy::to(&engine.addresses()[0]);
    let watcher = at(&[proxy.address()], "watcher").connect(PATIENCE).unwrap();
    let provider = connect(&engine, "provider");
    provider.register(["a", "b"]).unwrap();
    await_names(&watcher, &["a", "b"]);
    let mut changes = watcher.changes();
    proxy.set_closed(true);
    proxy.cut_off_workers();
    proxy.cut_off_engine();
    await_notice(&mut changes, |it| {
        matches!(it, Notice::Disconnected(_)).then_some(())
    });
    for i in 0..10 {
        provider.register([format!("f{i}").as_str()]).unwrap();
    }
    provider.unregister(["a"]).unwrap();
    assert_eq!(names(&watcher), ["a", "b"]);
    proxy.set_closed(false);
    let connection = await_connected(&mut changes);
    assert!(connection.resumed);
    let mut told = Vec::new();
    loop {
        let synced = await_notice(&mut changes, |notice| match notice {
            Notice::Step(step) => {
                assert_eq!(step.cause, Cause::Pushed);
                told.push(brief(&step));
                Some(false)
            }
            Notice::Synced { .. } => Some(true),
            _ => None,
        });
        if synced {
            break;
        }
    }
    // However the engine folded it.
    let told = told.join(" ");
    let mut told: Vec<&str> = told.split(' ').collect();
    told.sort_unstable();
    let want = "+f0 +f1 +f2 +f3 +f4 +f5 +f6 +f7 +f8 +f9 -a";
    assert_eq!(told, want.split(' ').collect::<Vec<_>>());
    assert_eq!(watcher.board().snapshot(), fresh(&engine));
}

/// The board as a newcomer gets it.
fn fresh(engine: &ServerHandle) -> callboard::worker::Snapshot {
    connect(engine, "fresh").board().snapshot()
}

#[test]
fn a_worker_that_takes_its_session_over_flaps_on_no_board() {
    let engine = engine();
    let watcher = at(&[&engine.addresses()[0]], "watcher")
        .watch(everything())
        .connect(PATIENCE)
        .unwrap();
    let proxy = Proxy::to(&engine.addresses()[0]);
    let provider = at(&[proxy.address()], "provider")
        .connect(PATIENCE)
        .unwrap();
    let functions: Vec<Function> = (0..3000)
        .map(|i| Function::new(format!("f{i:04}")))
        .collect();
    provider.register(functions).unwrap();
    provider
        .register([Function::new("only").exclusive()])
        .unwrap();
    watcher.board().wait_for("only", PATIENCE).unwrap();
    let Status::Connected(before) = provider.status() else {
        panic!("{:?}", provider.status())
    };
    let mut changes = watcher.changes();
    for _ in 0..3 {
        let mut own = provider.changes();
        proxy.cut_off_workers();
        let connection = await_connected(&mut own);
        assert!(connection.taken_over && connection.resumed);
        assert_eq!(connection.worker, before.worker);
    }
    let listed = |_: &callboard::worker::Board| {
        provider
            .offers()
            .iter()
            .all(|offer| offer.standing == Standing::Listed)
    };
    provider.board().wait_until(PATIENCE, listed).unwrap();
    // The old connections end at the engine: nothing of the new one's may go with them.
    proxy.cut_off_engine_from_the_past();
    provider.board().wait_until(PATIENCE, listed).unwrap();
    let marker = connect(&engine, "marker");
    marker.register(["~marker"]).unwrap();
    await_notice(&mut changes, |notice| match notice {
        Notice::Step(step) => (brief(&step) == ">marker +~marker").then_some(()),
        other => panic!("{other:?}"),
    });
    assert_eq!(watcher.board().len(), 3002);
}

#[test]
fn an_engine_that_stops_is_returned_to_when_it_says_and_not_before() {
    let engine = engine();
    let address = engine.addresses()[0].clone();
    let worker = connect(&engine, "w");
    worker.register(["a"]).unwrap();
    let mut changes = worker.changes();
    engine.shutdown();
    let loss = await_notice(&mut changes, |notice| match notice {
        Notice::Disconnected(loss) => Some(loss),
        _ => None,
    });
    engine.join().unwrap();
    assert!(
        matches!(
            &loss,
            Loss::Goodbye {
                retry_after: Some(_),
                ..
            }
        ),
        "{loss}"
    );
    assert_eq!(loss.code(), Some("shutting_down"));
    assert!(worker.board().contains("a"));
    let _engine = serve_again(&address, settled());
    await_synced(&mut changes);
    await_names(&worker, &["a"]);
}
