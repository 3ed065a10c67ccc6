//! What a worker makes of peers that are no engines, refuse, contradict themselves or say nothing.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use callboard::protocol::{
    Changes as ChangesFrame, Code, Invoke, Message, NoExtensions, Ping, Text,
};
use callboard::worker::{ConnectError, End, Loss, Notice, Refusal, Status};

use super::fake_engine::{FakeEngine, Line};
use super::*;

fn reason(result: Result<Worker, ConnectError>) -> Loss {
    match result {
        Err(ConnectError::Failed(attempts)) => {
            assert_eq!(attempts.len(), 1, "{attempts:?}");
            attempts[0].loss.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// Listens, and does this with the first connection.
fn stranger(act: impl FnOnce(std::net::TcpStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    thread::spawn(move || act(listener.accept().unwrap().0));
    address
}

/// The next connection's end, as the worker tells it.
fn await_loss(changes: &mut Changes) -> Loss {
    await_notice(changes, |notice| match notice {
        Notice::Disconnected(loss) => Some(loss),
        _ => None,
    })
}

fn start(engine: &FakeEngine) -> (Worker, Changes) {
    let worker = at(&[&engine.address()], "w").start().unwrap();
    let changes = worker.changes();
    (worker, changes)
}

#[test]
fn no_listener_another_server_and_a_silent_one_are_told_apart() {
    let (_reserved, free) = client::unused_port();
    let free = free.to_string().parse().unwrap();
    assert_eq!(
        reason(at(&[&free], "w").connect(PATIENCE)),
        Loss::NobodyListens
    );
    let no_socket = Address::Unix("/nonexistent/engine.sock".into());
    assert_eq!(
        reason(at(&[&no_socket], "w").connect(PATIENCE)),
        Loss::NobodyListens
    );
    let http = stranger(|mut it| it.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap());
    let loss = reason(at(&[&http], "w").connect(PATIENCE));
    assert!(matches!(loss, Loss::NotAnEngine(_)), "{loss}");
    let closing = stranger(|mut it| {
        // Reads HELLO, so that the close is no reset.
        let mut hello = [0; 4096];
        let _ = std::io::Read::read(&mut it, &mut hello);
    });
    assert_eq!(
        reason(at(&[&closing], "w").connect(PATIENCE)),
        Loss::ClosedBeforeWelcome
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = silent.local_addr().unwrap().to_string().parse().unwrap();
    let result = at(&[&address], "w").connect(Duration::from_millis(50));
    assert!(
        matches!(result, Err(ConnectError::Timeout(_))),
        "{result:?}"
    );
    let result = at(&[], "w").connect(PATIENCE);
    assert!(matches!(result, Err(ConnectError::NoAddress)), "{result:?}");
    let result = at(&[&address], "").start();
    assert!(
        matches!(result, Err(ConnectError::InvalidName { .. })),
        "{result:?}"
    );
    let result = at(&[&address], "w")
        .metadata(&"x".repeat(20_000))
        .unwrap()
        .start();
    assert!(
        matches!(result, Err(ConnectError::HelloTooLarge { .. })),
        "{result:?}"
    );
}

#[test]
fn a_refusal_that_waiting_does_not_change_ends_the_worker() {
    let engine = FakeEngine::new();
    let (worker, changes) = start(&engine);
    // One that waiting does change is only waited for.
    engine.accept().goodbye(Code::TooManyConnections, None);
    engine.accept().goodbye(Code::UnsupportedVersion, None);
    let told: Vec<Notice> = changes.collect();
    let [Notice::Ended(End::Refused(Refusal { code, .. }))] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(&**code, "unsupported_version");
    let error = worker.register(["a"]).unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("closed", false));
}

#[test]
fn a_worker_whose_session_was_taken_over_stays_away() {
    let engine = FakeEngine::new();
    let (worker, mut changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome_with_board(1, &["a"]);
    await_synced(&mut changes);
    line.goodbye(Code::SessionTakenOver, None);
    let told: Vec<Notice> = changes.collect();
    assert_eq!(told.last(), Some(&Notice::Ended(End::TakenOver)));
    assert_eq!(worker.status(), Status::Ended(End::TakenOver));
    assert_eq!(
        worker.register(["a"]).unwrap_err().code(),
        "session_taken_over"
    );
    assert!(worker.board().contains("a") && worker.board().is_stale());
}

#[test]
fn a_gap_is_reported_and_the_next_board_is_a_whole_one() {
    let engine = FakeEngine::new();
    let (worker, mut changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome_with_board(1, &["a", "b"]);
    await_synced(&mut changes);
    line.send_message(&Message::Changes(ChangesFrame {
        from: 11,
        to: 12,
        ..ChangesFrame::default()
    }));
    let loss = await_loss(&mut changes);
    assert!(matches!(loss, Loss::Inconsistent(_)), "{loss}");
    let mut line = engine.accept();
    assert_eq!(line.presented(), (Some(vec![1; 16]), None));
    line.welcome_with_board(2, &["b", "c"]);
    let step = next_step(&mut changes);
    assert_eq!(brief(&step), "+c -a");
    assert_eq!(names(&worker), ["b", "c"]);
}

#[test]
fn garbage_ends_the_connection_and_not_the_worker() {
    let engine = FakeEngine::new();
    let (worker, mut changes) = start(&engine);
    for garbage in [
        &b"\xff\xff\xff\xff"[..],
        b"\x00\x00\x00\x02\x91\xc1",
        b"\x00\x00\x00\x02\x91\x40",
    ] {
        let mut line = engine.accept();
        line.welcome_with_board(1, &["a"]);
        await_synced(&mut changes);
        line.send(garbage);
        let loss = await_loss(&mut changes);
        assert!(
            matches!(loss, Loss::NotAnEngine(_) | Loss::Garbled(_)),
            "{loss}"
        );
        assert!(worker.board().contains("a"));
    }
}

#[test]
fn an_engine_that_falls_silent_is_asked_and_then_left() {
    let engine = FakeEngine::new();
    let (worker, mut changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome(1, 100, 1000);
    line.board(&["a"]);
    line.accept_until_ready();
    let asked = line.next().unwrap();
    assert!(matches!(
        Message::decode(&asked),
        Ok(Message::Ping(Ping { revision: 10, .. }))
    ));
    assert_eq!(
        await_loss(&mut changes),
        Loss::Silent(Duration::from_secs(1))
    );
    let mut line = engine.accept();
    assert_eq!(line.presented(), (Some(vec![1; 16]), Some(10)));
    line.welcome_with_board(2, &["a"]);
    worker.wait_synced(PATIENCE).unwrap();
}

#[test]
fn an_engine_that_names_a_time_is_not_tried_before() {
    let engine = FakeEngine::new();
    let (_worker, mut changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome_with_board(1, &[]);
    line.goodbye(Code::ShuttingDown, Some(300));
    let said = line.accepted;
    await_loss(&mut changes);
    drop(line);
    assert!(engine.accept().accepted - said >= Duration::from_millis(300));
}

#[test]
fn what_is_registered_is_registered_again_before_ready() {
    let engine = FakeEngine::new();
    let (worker, _changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome_with_board(1, &[]);
    line.accept_until_ready();
    let mut line = thread::scope(|scope| {
        let registered = scope.spawn(|| worker.register(["a", "b"]));
        let id = registration(&mut line).0;
        // The answer is lost with the connection; the library asks again over the next.
        assert_eq!(id, 2);
        drop(line);
        let mut line = engine.accept();
        line.welcome_with_board(2, &[]);
        let (id, names) = registration(&mut line);
        assert_eq!(names, ["a", "b"]);
        line.send(&fake_engine::accepted(id));
        registered.join().unwrap().unwrap();
        line
    });
    let ready = line.next().unwrap();
    assert!(matches!(Message::decode(&ready), Ok(Message::Ready(_))));
}

fn registration(line: &mut Line) -> (u64, Vec<String>) {
    let body = line.next().unwrap();
    let Ok(Message::Register(it)) = Message::decode(&body) else {
        panic!("{body:?}")
    };
    (
        it.id,
        it.functions
            .iter()
            .map(|function| function.name.to_string())
            .collect(),
    )
}

#[test]
fn requests_that_a_worker_cannot_serve_are_answered() {
    let engine = FakeEngine::new();
    let (_worker, _changes) = start(&engine);
    let mut line = engine.accept();
    line.welcome_with_board(1, &[]);
    line.accept_until_ready();
    let invoke = Invoke {
        id: 9,
        function: Text("f"),
        ..Invoke::default()
    };
    line.send(&invoke.to_frame());
    line.send_message(&Message::Ping(Ping {
        revision: 12,
        ext: NoExtensions {},
    }));
    // In whatever order.
    let answers = [line.next().unwrap(), line.next().unwrap()];
    let answers = answers
        .each_ref()
        .map(|body| Message::decode(body).unwrap());
    let refused = |it: &Message<'_>| matches!(it, Message::Failure(it) if it.id == 9 && it.code.0 == "no_such_function");
    assert!(answers.iter().any(refused), "{answers:?}");
    let pong = |it: &Message<'_>| matches!(it, Message::Pong(it) if it.revision == 12);
    assert!(answers.iter().any(pong), "{answers:?}");
}

#[test]
fn an_engine_that_reads_nothing_holds_up_its_registration_and_nothing_else() {
    let engine = FakeEngine::new();
    let worker = at(&[&engine.address()], "w").request_timeout(Duration::from_millis(200));
    let worker = worker.start().unwrap();
    let mut line = engine.accept();
    line.welcome_with_board(1, &["a"]);
    worker.wait_synced(PATIENCE).unwrap();
    let entry = |i: usize| {
        callboard::worker::Function::new(format!("f{i}")).metadata_bytes(vec![0; 30_000])
    };
    // Far more than the kernel takes for a reader that stands still.
    let error = worker.register((0..500).map(entry)).unwrap_err();
    assert_eq!(error.code(), "timeout");
    assert!(worker.board().contains("a"));
    drop(line);
    drop(worker);
}
