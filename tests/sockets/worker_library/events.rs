//! Events and casts over a real engine: their receivers, and what the board shows of bindings.

use std::sync::mpsc;

use callboard::worker::{Binding, Context, Watch};

use super::*;

/// A worker with a function `hear` that reports what it was cast, and by which event.
fn listener(
    engine: &ServerHandle,
    name: &'static str,
    tell: &mpsc::Sender<(&'static str, u32, Option<String>)>,
) -> Worker {
    let worker = connect(engine, name);
    let tell = tell.clone();
    let handler = move |context: &Context, n: u32| {
        assert_eq!(context.deadline(), None);
        tell.send((name, n, context.event().map(str::to_owned)))
            .unwrap();
        Ok(())
    };
    worker.serve("hear", handler).unwrap();
    worker
}

#[test]
fn an_event_comes_once_per_function_or_to_all_that_want_it_so() {
    let engine = engine();
    let (tell, heard) = mpsc::channel();
    let a = listener(&engine, "a", &tell);
    let b = listener(&engine, "b", &tell);
    let source = at(&[&engine.addresses()[0]], "source")
        .watch(Watch::all().bindings([""]))
        .connect(PATIENCE)
        .unwrap();
    let once = Binding::new("tick", "hear")
        .with_id("x")
        .with_config(&"0 3 * * *")
        .unwrap();
    for worker in [&a, &b] {
        worker.bind([once.clone()]).unwrap();
        worker
            .bind([Binding::new("flush", "hear").deliver_to_all()])
            .unwrap();
    }
    source
        .board()
        .wait_until(PATIENCE, |board| board.bindings().len() == 2)
        .unwrap();
    let shown = source.board().bindings();
    let tick = shown.iter().find(|it| it.event() == "tick").unwrap();
    assert_eq!(tick.config::<String>().unwrap().unwrap(), "0 3 * * *");
    assert_eq!(source.emit("tick", &1).unwrap(), 1);
    assert_eq!(source.emit("flush", &2).unwrap(), 1);
    assert_eq!(source.emit("nobody", &3).unwrap(), 0);
    source.cast("hear", &4).unwrap();
    let mut told: Vec<_> = (0..4)
        .map(|_| heard.recv_timeout(PATIENCE).unwrap())
        .map(|(who, n, event)| (n, if n == 2 { who } else { "any" }, event))
        .collect();
    told.sort();
    let event = |name: &str| Some(name.to_owned());
    assert_eq!(
        told,
        [
            (1, "any", event("tick")),
            (2, "a", event("flush")),
            (2, "b", event("flush")),
            (4, "any", None),
        ]
    );
    // A binding leaves with its worker, or when it is untied.
    a.unbind([once]).unwrap();
    let error = a.unbind([Binding::new("tick", "hear")]).unwrap_err();
    assert_eq!(error.code(), "not_registered");
    b.close();
    source
        .board()
        .wait_until(PATIENCE, |board| board.bindings().len() == 1)
        .unwrap();
    assert!(heard.try_recv().is_err());
}

#[test]
fn bindings_come_back_with_their_worker() {
    let first = engine();
    let address = first.addresses()[0].clone();
    let (tell, heard) = mpsc::channel();
    let listener = listener(&first, "a", &tell);
    listener.bind([Binding::new("tick", "hear")]).unwrap();
    let source = at(&[&address], "source")
        .watch(Watch::all().bindings([""]))
        .connect(PATIENCE)
        .unwrap();
    let mut changes = source.changes();
    first.kill();
    first.join().unwrap();
    let _second = serve_again(&address, settled());
    await_synced(&mut changes);
    source
        .board()
        .wait_until(PATIENCE, |board| {
            !board.is_stale() && board.bindings().iter().any(|it| !it.is_stale())
        })
        .unwrap();
    assert_eq!(source.emit("tick", &5).unwrap(), 1);
    assert_eq!(
        heard.recv_timeout(PATIENCE).unwrap(),
        ("a", 5, Some("tick".to_owned()))
    );
}
