//! The live board against the real engine: registering, seeing, waiting, leaving.

use std::thread;
use std::time::Duration;

use callboard::worker::{
    Cause, Change, End, Function, Notice, RequestError, Standing, Status, WaitError, Watch,
};

use super::*;

#[test]
fn what_one_registers_all_see_until_it_is_unregistered() {
    let engine = engine();
    let watcher = connect(&engine, "watcher");
    let mut changes = watcher.changes();
    let provider = connect(&engine, "provider");
    let described = Function::new("orders::create")
        .description("Takes an order")
        .metadata(&serde_json::json!({"team": "sales"}))
        .unwrap()
        .request(&serde_json::json!({"type": "object"}))
        .unwrap();
    let registered = provider
        .register([described, "orders::cancel".into()])
        .unwrap();
    // The answer comes after the change: one's own board has it by then.
    assert_eq!(names(&provider), ["orders::cancel", "orders::create"]);
    assert!(provider.board().revision() >= registered.revision);
    let step = next_step(&mut changes);
    assert_eq!(
        (brief(&step).as_str(), step.to),
        ("+orders::cancel +orders::create", registered.revision)
    );
    assert_eq!(step.cause, Cause::Pushed);
    let entry = watcher.board().get("orders::create").unwrap();
    assert_eq!(entry.description(), "Takes an order");
    let metadata: serde_json::Value = entry.metadata().unwrap().unwrap();
    assert_eq!(metadata, serde_json::json!({"team": "sales"}));
    assert_eq!(entry.response::<serde_json::Value>().unwrap(), None);
    assert!(!entry.is_own() && !entry.is_stale());
    assert!(provider.board().get("orders::create").unwrap().is_own());

    provider
        .register([Function::new("orders::create").description("New")])
        .unwrap();
    let step = next_step(&mut changes);
    assert!(
        matches!(&step.changes[..], [Change::Updated { old, new }]
            if old.description() == "Takes an order" && new.description() == "New"),
        "{step:?}"
    );
    provider.unregister(["orders::create"]).unwrap();
    assert_eq!(brief(&next_step(&mut changes)), "-orders::create");
    assert_eq!(names(&watcher), ["orders::cancel"]);
    let offers = provider.offers();
    assert_eq!((offers.len(), &offers[0].standing), (1, &Standing::Listed));
}

#[test]
fn a_worker_that_leaves_in_whatever_way_leaves_in_one_step() {
    let engine = engine();
    let watcher = connect(&engine, "watcher");
    let mut changes = watcher.changes();
    for way in 0..3 {
        let provider = connect(&engine, "provider");
        provider.register(["a", "b", "c"]).unwrap();
        assert_eq!(brief(&next_step(&mut changes)), "+a +b +c");
        match way {
            0 => provider.close(),
            1 => provider.abort(),
            _ => drop(provider),
        }
        assert_eq!(brief(&next_step(&mut changes)), "-a -b -c");
    }
}

#[test]
fn ten_thousand_functions_are_one_step() {
    let engine = engine();
    let watcher = connect(&engine, "watcher");
    let mut changes = watcher.changes();
    let provider = connect(&engine, "provider");
    let functions =
        (0..10_000).map(|i| Function::new(format!("f{i:05}")).metadata_bytes(vec![7; 100]));
    provider.register(functions).unwrap();
    let step = next_step(&mut changes);
    assert_eq!(
        (step.changes.len(), watcher.board().len()),
        (10_000, 10_000)
    );
    let late = connect(&engine, "late");
    assert_eq!(
        late.board().snapshot().functions,
        watcher.board().snapshot().functions
    );
    provider.abort();
    assert_eq!(next_step(&mut changes).changes.len(), 10_000);
    assert!(watcher.board().is_empty());
}

#[test]
fn a_refusal_is_typed_and_names_the_owner() {
    let engine = engine();
    let owner = connect(&engine, "the-owner");
    owner
        .register([Function::new("nightly").exclusive()])
        .unwrap();
    let other = connect(&engine, "other");
    let error = other.register(["nightly", "free"]).unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("exclusive", true));
    assert!(error.to_string().contains("the-owner"), "{error}");
    // All or nothing, and nothing stays wanted.
    assert_eq!(
        (names(&other), other.offers()),
        (vec!["nightly".to_owned()], Vec::new())
    );
    let error = other.unregister(["nightly"]).unwrap_err();
    assert_eq!(error.code(), "not_registered");
    let error = other.register(["two words"]).unwrap_err();
    assert!(matches!(error, RequestError::InvalidName { .. }), "{error}");
    assert_eq!(
        other.register(["engine::x"]).unwrap_err().code(),
        "reserved_name"
    );
    let large = Function::new("large").metadata_bytes(vec![0; 40_000]);
    let error = other.register([large]).unwrap_err();
    assert_eq!(
        (error.code(), error.retryable()),
        ("entry_too_large", false)
    );
}

#[test]
fn one_can_wait_for_a_function() {
    let engine = engine();
    let waiter = connect(&engine, "waiter");
    let board = waiter.board();
    let short = Duration::from_millis(10);
    assert_eq!(
        board.wait_for("late", short),
        Err(WaitError::Timeout(short))
    );
    let provider = connect(&engine, "provider");
    thread::scope(|scope| {
        let found = scope.spawn(|| board.wait_for("late", PATIENCE));
        provider.register(["late"]).unwrap();
        assert_eq!(found.join().unwrap().unwrap().name(), "late");
        let gone = scope.spawn(|| board.wait_until(PATIENCE, |board| !board.contains("late")));
        provider.unregister(["late"]).unwrap();
        assert_eq!(gone.join().unwrap(), Ok(()));
        let never = scope.spawn(|| board.wait_for("never", PATIENCE));
        waiter.close();
        assert_eq!(never.join().unwrap(), Err(WaitError::Ended(End::Closed)));
    });
}

#[test]
fn prefixes_sections_and_namespaces_show_what_they_should() {
    let engine = engine();
    let address = &engine.addresses()[0];
    let provider = connect(&engine, "provider");
    provider.register(["orders::a", "stock::a"]).unwrap();
    let orders = at(&[address], "w").watch(Watch::functions(["orders::"]));
    let orders = orders.connect(PATIENCE).unwrap();
    let nothing = at(&[address], "w")
        .watch(Watch::nothing())
        .connect(PATIENCE)
        .unwrap();
    let elsewhere = at(&[address], "w")
        .namespace("other")
        .connect(PATIENCE)
        .unwrap();
    let workers = at(&[address], "all")
        .watch(everything())
        .connect(PATIENCE)
        .unwrap();
    let mut changes = workers.changes();
    provider.register(["orders::b", "stock::b"]).unwrap();
    assert_eq!(
        brief(&next_step(&mut changes)),
        "=provider +orders::b +stock::b"
    );
    await_names(&orders, &["orders::a", "orders::b"]);
    assert!(nothing.board().is_empty() && elsewhere.board().is_empty());
    assert!(!nothing.board().is_stale() && !elsewhere.board().is_stale());
    let providers = workers.board().providers("stock::b");
    assert_eq!((providers.len(), providers[0].name()), (1, "provider"));
    let second = at(&[address], "second");
    let second = second
        .metadata(&"who I am")
        .unwrap()
        .connect(PATIENCE)
        .unwrap();
    second.register(["stock::b"]).unwrap();
    // A second provider is no news to who watches functions only, but to who watches workers it is.
    assert_eq!(brief(&next_step(&mut changes)), ">second");
    assert_eq!(workers.board().providers("stock::b").len(), 2);
    let info = workers.board().workers();
    let info = info.iter().find(|it| it.name() == "second").unwrap();
    assert_eq!(
        info.metadata::<String>().unwrap().as_deref(),
        Some("who I am")
    );
    provider.close();
    assert_eq!(
        brief(&next_step(&mut changes)),
        "<provider -orders::a -orders::b -stock::a"
    );
}

#[test]
fn a_board_and_the_changes_after_it_fit_together() {
    let engine = engine();
    let provider = connect(&engine, "provider");
    let watcher = connect(&engine, "watcher");
    let mut boards = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..200 {
                provider.register([format!("f{}", i % 7).as_str()]).unwrap();
                if i % 3 == 0 {
                    provider.unregister([format!("f{}", i % 7)]).unwrap();
                }
            }
            provider.register(["last"]).unwrap();
        });
        for _ in 0..20 {
            boards.push(watcher.board_and_changes());
        }
        watcher.board().wait_for("last", PATIENCE).unwrap();
    });
    let want = watcher.board().snapshot();
    for (mut board, mut changes) in boards {
        while board.revision < want.revision {
            let step = next_step(&mut changes);
            assert_eq!((step.from, step.cause), (board.revision, Cause::Pushed));
            board.revision = step.to;
            for change in step.changes {
                match change {
                    Change::Added(entry) => board.functions.push(entry),
                    Change::Removed(entry) => {
                        board.functions.retain(|it| it.name() != entry.name());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        board.functions.sort_by(|a, b| a.name().cmp(b.name()));
        assert_eq!(board, want);
    }
}

#[test]
fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let address = Address::Unix(path);
    let engine = serve(vec![address.clone()], settled());
    let worker = at(&[&address], "w").connect(PATIENCE).unwrap();
    worker.register(["a"]).unwrap();
    let Status::Connected(connection) = worker.status() else {
        panic!("{:?}", worker.status())
    };
    assert_eq!(
        (connection.address, &*connection.engine),
        (address, "callboard")
    );
    drop(engine);
}

#[test]
fn a_closed_worker_says_so_everywhere() {
    let engine = engine();
    let worker = connect(&engine, "w");
    worker.register(["a"]).unwrap();
    let (board, mut changes) = (worker.board(), worker.changes());
    worker.close();
    assert!(board.is_stale() && board.contains("a"));
    let told: Vec<Notice> = changes.by_ref().collect();
    assert_eq!(told.last(), Some(&Notice::Ended(End::Closed)));
}
