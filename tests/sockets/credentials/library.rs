//! The library, where it is not let in, sent away, or without the file that it needs.

use std::time::Instant;

use callboard::worker::{ConnectError, End, Function, Loss, Notice, Status};

use super::PATIENCE;
use super::guarded_engine::{GuardedEngine, await_connected, await_notice, god, principal};

#[test]
fn a_worker_that_is_not_let_in_tries_until_it_is_and_says_so_meanwhile() {
    let mut guarded = GuardedEngine::new(&god());
    let worker = guarded.builder("late", "late").start().unwrap();
    let mut notices = worker.changes();
    guarded.engine.error("authentication failed");
    let connecting = worker.status();
    if let Status::Connecting { attempts } = &connecting {
        let code = attempts.first().and_then(|it| it.loss.code());
        assert!(
            code.is_none_or(|code| code == "unauthorized"),
            "{connecting:?}"
        );
    } else {
        panic!("{connecting:?}");
    }
    guarded.reload(&(god() + &principal("late", "observe = [\"\"]")));
    await_connected(&mut notices);
    // `connect` reports the refusal at once.
    let failed = guarded
        .builder("nobody", "w")
        .connect(PATIENCE)
        .unwrap_err();
    let ConnectError::Failed(attempts) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(attempts[0].loss.code(), Some("unauthorized"));
}

#[test]
fn a_worker_that_was_sent_away_stays_away() {
    let guarded =
        GuardedEngine::new(&(god() + &principal("x", "register = [\"\"]\nobserve = [\"\"]")));
    let worker = guarded.worker("x", "x");
    worker.register([Function::new("a::b")]).unwrap();
    let mut notices = worker.changes();
    let (code, stdout, stderr) = guarded.run("god", &["kick", "x"]);
    assert_eq!((code, &*stdout), (0, "1 worker kicked\n"), "{stderr}");
    let end = await_notice(&mut notices, |notice| match notice {
        Notice::Ended(end) => Some(end),
        _ => None,
    });
    assert!(matches!(end, End::Kicked(_)), "{end:?}");
    let (_, functions, _) = guarded.run("god", &["functions", "--json"]);
    assert_eq!(functions, "");
    // Started again, it may.
    guarded
        .worker("x", "x")
        .register([Function::new("a::b")])
        .unwrap();
}

#[test]
fn a_file_that_is_not_there_for_a_moment_ends_no_worker() {
    let guarded = GuardedEngine::new(&god());
    let path = guarded.token_file("god");
    let text = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let token = callboard::worker::Token::file(&path);
    let builder = callboard::worker::Worker::builder("w")
        .engine(&guarded.address)
        .unwrap();
    let worker = builder.token(token).start().unwrap();
    let mut notices = worker.changes();
    let deadline = Instant::now() + PATIENCE;
    let tried = loop {
        if let Status::Connecting { attempts } = worker.status()
            && let Some(attempt) = attempts.into_iter().next()
        {
            break attempt;
        }
        assert!(Instant::now() < deadline, "it was not tried");
        std::thread::yield_now();
    };
    assert!(matches!(tried.loss, Loss::Token(_)), "{tried}");
    std::fs::write(&path, text).unwrap();
    await_connected(&mut notices);
}
