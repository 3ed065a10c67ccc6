//! Several addresses in order of preference: moving to a later one, and back.

use std::sync::{Mutex, mpsc};

use callboard::protocol::Executed;
use callboard::worker::{CallOptions, Context, Loss, Notice, Status};

use super::*;

fn address_of(worker: &Worker) -> Option<Address> {
    match worker.status() {
        Status::Connected(connection) => Some(connection.address),
        _ => None,
    }
}

fn await_address(worker: &Worker, address: &Address) {
    let there = |_: &callboard::worker::Board| address_of(worker).as_ref() == Some(address);
    worker.board().wait_until(PATIENCE, there).unwrap();
}

#[test]
fn a_worker_moves_to_the_next_engine_and_back_when_the_first_returns() {
    let (first, second) = (engine(), engine());
    let addresses = [first.addresses()[0].clone(), second.addresses()[0].clone()];
    let worker = at(&[&addresses[0], &addresses[1]], "w")
        .connect(PATIENCE)
        .unwrap();
    worker.register(["a"]).unwrap();
    assert_eq!(address_of(&worker).as_ref(), Some(&addresses[0]));
    let at_second = connect(&second, "watcher");
    let mut changes = worker.changes();
    first.kill();
    first.join().unwrap();
    at_second.board().wait_for("a", PATIENCE).unwrap();
    await_address(&worker, &addresses[1]);
    let first = serve_again(&addresses[0], settled());
    await_notice(&mut changes, |it| {
        (it == Notice::Disconnected(Loss::Moved)).then_some(())
    });
    await_address(&worker, &addresses[0]);
    // Both boards are told.
    await_names(&at_second, &[]);
    await_names(&connect(&first, "watcher"), &["a"]);
}

#[test]
fn moving_to_another_address_of_the_same_engine_flaps_on_no_board() {
    let folder = tempfile::tempdir().unwrap();
    let unix = Address::Unix(folder.path().join("engine.sock"));
    let engine = serve(vec![any_port(), unix.clone()], settled());
    let tcp = engine.addresses()[0].clone();
    // No engine listens at the preferred address yet.
    let link = folder.path().join("preferred.sock");
    let preferred = Address::Unix(link.clone());
    let watcher = at(&[&tcp], "watcher")
        .watch(everything())
        .connect(PATIENCE)
        .unwrap();
    let worker = at(&[&preferred, &tcp], "w").connect(PATIENCE).unwrap();
    assert_eq!(address_of(&worker), Some(tcp));
    worker.register(["a", "b"]).unwrap();
    await_names(&watcher, &["a", "b"]);
    let mut changes = watcher.changes();
    let mut own = worker.changes();
    std::os::unix::fs::symlink(folder.path().join("engine.sock"), &link).unwrap();
    let connection = await_notice(&mut own, |notice| match notice {
        Notice::Connected(connection) => Some(connection),
        _ => None,
    });
    assert!(connection.taken_over && connection.resumed);
    assert_eq!(connection.address, preferred);
    await_synced(&mut own);
    worker.register(["c"]).unwrap();
    assert_eq!(brief(&next_step(&mut changes)), "=w +c");
}

#[test]
fn a_worker_that_is_never_idle_moves_back_all_the_same() {
    let (first, second) = (engine(), engine());
    let addresses = [first.addresses()[0].clone(), second.addresses()[0].clone()];
    first.kill();
    first.join().unwrap();
    let provider = connect(&second, "provider");
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let hold = move |_: &Context, (): ()| {
        // The thread that dropped it may be gone by then.
        let _ = wait.lock().unwrap().recv_timeout(10 * PATIENCE);
        Ok(())
    };
    provider.serve("hold", hold).unwrap();
    let worker = at(&[&addresses[0], &addresses[1]], "w")
        .connect(PATIENCE)
        .unwrap();
    let mut changes = worker.changes();
    let options = CallOptions::new().timeout(10 * PATIENCE);
    let call = worker.begin_raw("hold", [0xc0], &options).unwrap();
    let first = serve_again(&addresses[0], settled());
    await_notice(&mut changes, |it| {
        (it == Notice::Disconnected(Loss::Moved)).then_some(())
    });
    await_address(&worker, &addresses[0]);
    // It may have run over there, and says so.
    let error = call.wait().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("connection_lost", Executed::Maybe)
    );
    drop((let_go, first));
}

#[test]
fn each_address_is_tried_and_each_reason_is_told() {
    let engine = engine();
    let nowhere = Address::Unix("/nonexistent/engine.sock".into());
    let worker = at(&[&nowhere, &engine.addresses()[0]], "w")
        .connect(PATIENCE)
        .unwrap();
    assert_eq!(address_of(&worker).as_ref(), Some(&engine.addresses()[0]));
}
