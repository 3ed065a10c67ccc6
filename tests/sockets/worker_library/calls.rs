//! Calls between workers over a real engine: results, failures of every origin, cancelling, calls within
//! calls, and what a lost engine does to those in flight.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use callboard::protocol::Executed;
use callboard::worker::{CallError, CallOptions, Context, Fault, Function};
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    customer: String,
    lines: Vec<u32>,
}

/// A provider whose function `hold` reports that it runs, and returns when it is let go.
struct Holding {
    worker: Worker,
    running: mpsc::Receiver<Context>,
    let_go: mpsc::Sender<()>,
}

fn holding(engine: &ServerHandle) -> Holding {
    let worker = connect(engine, "holding");
    let (tell, running) = mpsc::channel();
    let (let_go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let handler = move |context: &Context, (): ()| {
        tell.send(context.clone()).unwrap();
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        Ok("held")
    };
    worker.serve("hold", handler).unwrap();
    Holding {
        worker,
        running,
        let_go,
    }
}

#[test]
fn what_one_worker_serves_another_calls() {
    let engine = engine();
    let (orders, shop) = (connect(&engine, "orders"), connect(&engine, "shop"));
    let create = |context: &Context, order: Order| {
        assert_eq!(context.caller_name(), "shop");
        assert_eq!(context.function(), "orders::create");
        assert!(context.time_left().unwrap() <= Duration::from_secs(30));
        assert!(!context.is_cancelled());
        let trace: Option<String> = context.headers()?;
        Ok((order.lines.iter().sum::<u32>(), trace))
    };
    orders.serve("orders::create", create).unwrap();
    let order = Order {
        customer: "c".to_owned(),
        lines: vec![40, 2],
    };
    let options = CallOptions::new()
        .timeout(Duration::from_secs(5))
        .headers(&"t-1")
        .unwrap();
    let result: (u32, Option<String>) = shop.call_with("orders::create", &order, &options).unwrap();
    assert_eq!(result, (42, Some("t-1".to_owned())));
    // One's own functions, too.
    let result: (u32, Option<String>) = shop.call("orders::create", &order).unwrap();
    assert_eq!(result, (42, None));
}

#[test]
fn errors_say_their_origin_and_whether_the_call_may_have_run() {
    let engine = engine();
    let worker = connect(&engine, "w");
    let half = |_: &Context, n: u32| {
        assert!(n != 13, "not thirteen");
        if n % 2 == 1 {
            let fault = Fault::new("odd", format!("{n} has no half"));
            return Err(fault.not_executed().with_details(&n)?);
        }
        Ok(n / 2)
    };
    worker
        .register([Function::new("half").handler(half)])
        .unwrap();
    worker.register(["listed"]).unwrap();
    assert_eq!(worker.call::<u32>("half", &4).unwrap(), 2);
    let CallError::Function(fault) = worker.call::<u32>("half", &3).unwrap_err() else {
        panic!("the function spoke")
    };
    assert_eq!((fault.code(), fault.executed()), ("odd", Executed::No));
    assert_eq!(fault.details::<u32>().unwrap(), Some(3));
    let panicked = worker.call::<u32>("half", &13).unwrap_err();
    assert_eq!(panicked.code(), "handler_panicked");
    assert_eq!(panicked.executed(), Executed::Maybe);
    assert!(panicked.is_from_function());
    let wrong = worker.call::<u32>("half", &"text").unwrap_err();
    assert_eq!(wrong.code(), "invalid_argument");
    let unread = worker.call::<String>("half", &2).unwrap_err();
    assert_eq!(unread.code(), "invalid_result");
    let unserved = worker.call::<u32>("listed", &2).unwrap_err();
    assert_eq!(unserved.code(), "unsupported");
    let nobody = worker.call::<u32>("nobody", &2).unwrap_err();
    assert!(matches!(nobody, CallError::Engine(_)), "{nobody}");
    assert_eq!(
        (nobody.code(), nobody.executed()),
        ("no_such_function", Executed::No)
    );
    let named = worker.call::<u32>("no name", &2).unwrap_err();
    assert_eq!(named.code(), "invalid_name");
    let options = CallOptions::new();
    let large = worker.call_raw("half", vec![0; 1_048_577], &options);
    assert_eq!(large.unwrap_err().code(), "payload_too_large");
    // The pool has survived it all.
    assert_eq!(worker.call::<u32>("half", &8).unwrap(), 4);
}

#[test]
fn large_payloads_pass_and_a_result_over_the_limit_fails_its_call_alone() {
    let engine = engine();
    let worker = connect(&engine, "w");
    worker
        .serve_raw("echo", |_, bytes| Ok(bytes.to_vec()))
        .unwrap();
    worker
        .serve_raw("burst", |_, _| Ok(vec![0; 1_048_577]))
        .unwrap();
    let bytes: Vec<u8> = (0..1_048_576_u32).map(|n| (n % 251) as u8).collect();
    let options = CallOptions::new();
    let echo = worker.call_raw("echo", bytes.clone(), &options).unwrap();
    assert!(echo == bytes);
    let error = worker.call_raw("burst", [], &options).unwrap_err();
    assert_eq!(error.code(), "payload_too_large");
    assert_eq!(worker.call_raw("echo", [1], &options).unwrap(), [1]);
}

#[test]
fn calls_of_any_size_about_that_which_a_caller_writes_itself_are_answered() {
    let engine = engine();
    let (provider, caller) = (connect(&engine, "provider"), connect(&engine, "caller"));
    let echo = |_: &Context, payload: &[u8]| Ok(payload.to_vec());
    let echo = Function::new("echo").raw_handler(echo);
    provider.register([echo]).unwrap();
    // Frames of somewhat less than 64 KiB, and somewhat more.
    for bytes in 64 * 1024 - 60..64 * 1024 + 4 {
        let payload = vec![7; bytes];
        let options = CallOptions::new();
        let answer = caller.call_raw("echo", payload.clone(), &options).unwrap();
        assert_eq!(answer, payload);
    }
}

#[test]
fn a_handler_may_call_its_own_worker_on_the_last_free_thread() {
    let engine = engine();
    let worker = at(&[&engine.addresses()[0]], "w")
        .threads(2)
        .connect(PATIENCE)
        .unwrap();
    let inner = |_: &Context, n: u32| Ok(n + 1);
    let outer = |context: &Context, n: u32| Ok(context.client().call::<u32>("inner", &n)? * 2);
    worker
        .register([
            Function::new("inner").handler(inner),
            Function::new("outer").handler(outer),
        ])
        .unwrap();
    assert_eq!(worker.call::<u32>("outer", &20).unwrap(), 42);
}

#[test]
fn a_caller_that_loses_interest_is_seen_by_the_handler() {
    let engine = engine();
    let provider = connect(&engine, "watchful");
    let (tell, running) = mpsc::channel();
    let handler = move |context: &Context, (): ()| {
        tell.send(context.clone()).unwrap();
        // An end of the wait for another reason fails the test below.
        let _ = context.wait_cancelled(PATIENCE);
        Ok(())
    };
    provider.serve("hold", handler).unwrap();
    let caller = connect(&engine, "caller");
    let unit = [0xc0];
    let call = caller.begin_raw("hold", unit, &CallOptions::new()).unwrap();
    let context = running.recv_timeout(PATIENCE).unwrap();
    assert!(!context.is_cancelled());
    drop(call);
    assert!(context.wait_cancelled(PATIENCE));
    // The caller's death.
    let _call = caller.begin_raw("hold", unit, &CallOptions::new()).unwrap();
    let context = running.recv_timeout(PATIENCE).unwrap();
    caller.abort();
    assert!(context.wait_cancelled(PATIENCE));
    // The deadline.
    let caller = connect(&engine, "caller");
    let short = CallOptions::new().timeout(Duration::from_millis(100));
    let call = caller.begin_raw("hold", unit, &short).unwrap();
    let context = running.recv_timeout(PATIENCE).unwrap();
    let error = call.wait().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("deadline_exceeded", Executed::Maybe)
    );
    assert!(context.wait_cancelled(PATIENCE));
}

#[test]
fn a_drop_leaves_the_board_at_once_and_finishes_what_is_in_flight() {
    let engine = engine();
    let provider = holding(&engine);
    let caller = connect(&engine, "caller");
    let call = caller
        .begin_raw("hold", [0xc0], &CallOptions::new())
        .unwrap();
    provider.running.recv_timeout(PATIENCE).unwrap();
    let Holding { worker, let_go, .. } = provider;
    let closing = thread::spawn(move || drop(worker));
    await_names(&caller, &[]);
    assert!(!closing.is_finished());
    let_go.send(()).unwrap();
    let result = call.wait().unwrap();
    assert_eq!(rmp_serde::from_slice::<String>(&result).unwrap(), "held");
    closing.join().unwrap();
}

#[test]
fn a_drain_ends_with_the_last_handler_and_not_with_its_patience() {
    let engine = engine();
    let Holding {
        worker,
        running,
        let_go,
    } = holding(&engine);
    let caller = connect(&engine, "caller");
    let call = caller
        .begin_raw("hold", [0xc0], &CallOptions::new())
        .unwrap();
    running.recv_timeout(PATIENCE).unwrap();
    let (tell, drained) = mpsc::channel();
    // Far longer than anything here is waited for.
    thread::spawn(move || tell.send(worker.drain(30 * PATIENCE)));
    await_names(&caller, &[]);
    let_go.send(()).unwrap();
    assert_eq!(drained.recv_timeout(PATIENCE), Ok(true));
    call.wait().unwrap();
}

#[test]
fn a_drain_whose_patience_ends_tells_the_handlers_to_stop() {
    let engine = engine();
    let provider = holding(&engine);
    let caller = connect(&engine, "caller");
    let _call = caller
        .begin_raw("hold", [0xc0], &CallOptions::new())
        .unwrap();
    let context = provider.running.recv_timeout(PATIENCE).unwrap();
    assert!(!provider.worker.drain(Duration::from_millis(20)));
    assert!(context.is_cancelled());
    let error = provider.worker.register(["late"]).unwrap_err();
    assert_eq!(error.code(), "draining");
    provider.let_go.send(()).unwrap();
    assert!(provider.worker.drain(PATIENCE));
}

#[test]
fn a_handler_that_drains_its_own_worker_waits_for_the_others_only() {
    let engine = engine();
    let worker = Arc::new(connect(&engine, "worker"));
    let (tell, told) = mpsc::channel();
    let own = Arc::downgrade(&worker);
    let retire = move |_: &Context, (): ()| {
        let worker = own.upgrade().unwrap();
        // Far longer than anything here is waited for.
        let drained = worker.drain(30 * PATIENCE);
        tell.send(()).unwrap();
        Ok(drained)
    };
    worker.serve("retire", retire).unwrap();
    let caller = connect(&engine, "caller");
    let drained = caller
        .begin_raw("retire", [0xc0], &CallOptions::new())
        .unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    // Its own answer still gets out.
    assert_eq!(drained.wait().unwrap(), [0xc3]);
    await_names(&caller, &[]);
}

#[test]
fn a_handler_that_drops_its_own_worker_ends_it() {
    let engine = engine();
    let worker = at(&[&engine.addresses()[0]], "worker")
        .drain_timeout(30 * PATIENCE)
        .connect(PATIENCE)
        .unwrap();
    let own = Arc::new(Mutex::new(None::<Worker>));
    let held = own.clone();
    let (tell, told) = mpsc::channel();
    let end = move |_: &Context, (): ()| {
        drop(held.lock().unwrap().take());
        tell.send(()).unwrap();
        Ok(())
    };
    worker.serve("end", end).unwrap();
    *own.lock().unwrap() = Some(worker);
    let caller = connect(&engine, "caller");
    let call = caller
        .begin_raw("end", [0xc0], &CallOptions::new())
        .unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    // A worker that closes the connection cannot answer over it.
    let error = call.wait().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("provider_gone", Executed::Maybe)
    );
}

#[test]
fn a_killed_engine_fails_what_may_have_run_and_no_call_hangs() {
    let first = engine();
    let address = first.addresses()[0].clone();
    let provider = holding(&first);
    let caller = connect(&first, "caller");
    let call = caller
        .begin_raw("hold", [0xc0], &CallOptions::new().wait())
        .unwrap();
    let context = provider.running.recv_timeout(PATIENCE).unwrap();
    first.kill();
    first.join().unwrap();
    let error = call.wait().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("connection_lost", Executed::Maybe)
    );
    assert!(context.wait_cancelled(PATIENCE));
    provider.let_go.send(()).unwrap();
    // Made without a connection, it waits for one.
    let waiting = caller
        .begin_raw("hold", [0xc0], &CallOptions::new().wait())
        .unwrap();
    let _second = serve_again(&address, settled());
    provider.running.recv_timeout(PATIENCE).unwrap();
    provider.let_go.send(()).unwrap();
    waiting.wait().unwrap();
}

#[test]
fn an_idempotent_call_that_may_wait_sees_no_error_over_an_engines_kill() {
    let first = engine();
    let address = first.addresses()[0].clone();
    let provider = connect(&first, "provider");
    provider.serve("add", |_, n: u64| Ok(n + 1)).unwrap();
    let caller = connect(&first, "caller");
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let options = CallOptions::new().wait().idempotent().timeout(PATIENCE);
    let await_done = |more: u64| {
        let goal = done.load(Ordering::SeqCst) + more;
        let deadline = Instant::now() + PATIENCE;
        while done.load(Ordering::SeqCst) < goal {
            assert!(Instant::now() < deadline, "the calls stand still");
            thread::yield_now();
        }
    };
    // It outlives the last calls.
    let mut second = None;
    thread::scope(|scope| {
        for thread in 0..4 {
            let (caller, options, done, stop) = (&caller, &options, &done, &stop);
            scope.spawn(move || {
                let mut n = thread;
                while !stop.load(Ordering::SeqCst) {
                    let result: u64 = caller.call_with("add", &n, options).unwrap();
                    assert_eq!(result, n + 1);
                    n += 4;
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        await_done(100);
        first.kill();
        first.join().unwrap();
        second = Some(serve_again(&address, settled()));
        await_done(100);
        stop.store(true, Ordering::SeqCst);
    });
    drop(second);
}

#[test]
fn more_calls_than_the_capacity_go_elsewhere_or_are_refused() {
    let engine = engine();
    let (tell, running) = mpsc::channel();
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let provider = at(&[&engine.addresses()[0]], "small")
        .capacity(1)
        .connect(PATIENCE)
        .unwrap();
    let handler = move |_: &Context, (): ()| {
        tell.send(()).unwrap();
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        Ok(())
    };
    provider.serve("hold", handler).unwrap();
    let caller = connect(&engine, "caller");
    let first = caller
        .begin_raw("hold", [0xc0], &CallOptions::new())
        .unwrap();
    running.recv_timeout(PATIENCE).unwrap();
    let error = caller.call::<()>("hold", &()).unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("overloaded", true));
    let_go.send(()).unwrap();
    first.wait().unwrap();
}

#[test]
fn a_closed_worker_ends_the_calls_it_made() {
    let engine = engine();
    let provider = holding(&engine);
    let caller = connect(&engine, "caller");
    let client = caller.client();
    let call = caller
        .begin_raw("hold", [0xc0], &CallOptions::new())
        .unwrap();
    provider.running.recv_timeout(PATIENCE).unwrap();
    caller.close();
    let error = call.wait().unwrap_err();
    assert!(
        ["closed", "connection_lost"].contains(&error.code()),
        "{error}"
    );
    assert_eq!(client.call::<()>("hold", &()).unwrap_err().code(), "closed");
    provider.let_go.send(()).unwrap();
}
