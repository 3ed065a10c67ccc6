//! Calls over the life of connections: sent or not, repeated or lost, answered or timed out; and incoming calls.

use super::*;
use crate::worker::answer::Answer;
use crate::worker::outgoing_call::{CallKind, OutgoingCall};
use crate::worker::{Binding, CallError, CallOptions, Fault};

fn call(name: &str, options: &CallOptions) -> OutgoingCall {
    OutgoingCall {
        kind: CallKind::Function,
        name: name.into(),
        payload: vec![1],
        options: options.clone(),
    }
}

fn result(id: u64) -> Vec<u8> {
    Outcome {
        id,
        payload: Bin(&[7]),
        ext: OutcomeOptions::default(),
    }
    .to_frame()
}

fn invoke(id: u64) -> Vec<u8> {
    Invoke {
        id,
        function: Text("f"),
        timeout_ms: 1000,
        payload: Bin(&[]),
        ext: InvokeOptions::default(),
    }
    .to_frame()
}

/// The id of the last written call.
fn id_of(written: &[String]) -> u64 {
    let call = written.iter().find(|it| it.starts_with("call")).unwrap();
    call.split(' ').nth(1).unwrap().parse().unwrap()
}

fn ends(bench: &mut Bench) -> Vec<Result<Answer, CallError>> {
    let ended = bench.link.take_ended_calls();
    ended.into_iter().map(|(_, end)| end).collect()
}

fn begin(bench: &mut Bench, name: &str, options: &CallOptions) -> Ticket {
    bench.link.call(call(name, options), bench.now).unwrap()
}

#[test]
fn an_answer_that_no_frame_holds_is_a_failure_whatever_the_engine_says() {
    let mut bench = bench(Watch::nothing());
    bench.link.open(address(), None, bench.now);
    bench.written();
    let mut vast = welcome(1, &[1; 16]);
    (vast.ext.limits.max_frame, vast.ext.limits.max_payload) = (u64::MAX, u64::MAX);
    bench.hear(&vast.to_frame()).unwrap();
    bench.written();
    bench.hear(&invoke(3)).unwrap();
    let reply = bench.link.take_work()[0].reply.unwrap();
    bench
        .link
        .answer(reply, Ok(vec![0; MAX_FRAME_CEILING - 10]));
    let frames = bench.frames();
    let Ok(Message::Failure(failure)) = Message::decode(&frames[0]) else {
        panic!("{} frames", frames.len());
    };
    assert_eq!(failure.code.0, "payload_too_large");
}

#[test]
fn a_call_made_before_the_connection_waits_for_it() {
    let mut bench = bench(Watch::nothing());
    begin(&mut bench, "f", &CallOptions::new());
    bench.up(1);
    let written = bench.written();
    let id = id_of(&written);
    bench.hear(&result(id)).unwrap();
    let ends = ends(&mut bench);
    assert_eq!(ends[0].as_ref().unwrap().payload, [7]);
}

#[test]
fn only_what_was_not_written_or_may_be_repeated_is_sent_again() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    begin(&mut bench, "plain", &CallOptions::new());
    begin(&mut bench, "patient", &CallOptions::new().wait());
    begin(&mut bench, "idempotent", &CallOptions::new().idempotent());
    assert_eq!(bench.written().len(), 3);
    begin(&mut bench, "unwritten", &CallOptions::new());
    bench.drop_connection();
    let ends = ends(&mut bench);
    assert_eq!(ends.len(), 2);
    for end in ends {
        let error = end.unwrap_err();
        assert_eq!(error.code(), "connection_lost");
        assert_eq!(error.executed(), Executed::Maybe);
    }
    bench.up(2);
    let written = bench.written();
    let calls = written.iter().filter(|it| it.starts_with("call"));
    let names: Vec<&str> = calls.filter_map(|it| it.split(' ').nth(2)).collect();
    assert_eq!(names, ["idempotent", "unwritten"]);
}

#[test]
fn what_a_lost_connection_may_have_executed_stays_in_doubt() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    begin(&mut bench, "f", &CallOptions::new().idempotent());
    bench.written();
    bench.drop_connection();
    bench.up(2);
    let id = id_of(&bench.written());
    bench
        .hear(&failure(id, Code::NoSuchFunction).to_frame())
        .unwrap();
    let error = ends(&mut bench).pop().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("no_such_function", Executed::Maybe)
    );
}

#[test]
fn a_function_s_own_failure_says_what_it_executed_unless_another_engine_may_have() {
    for (is_lost, executed) in [(false, Executed::No), (true, Executed::Maybe)] {
        let mut bench = bench(Watch::nothing());
        bench.up_and_ready(1);
        bench.written();
        begin(&mut bench, "f", &CallOptions::new().idempotent());
        let mut written = bench.written();
        if is_lost {
            bench.drop_connection();
            bench.up(2);
            written = bench.written();
        }
        let mut told = failure(id_of(&written), Code::NoSuchFunction);
        told.ext.from_function = true;
        bench.hear(&told.to_frame()).unwrap();
        let error = ends(&mut bench).pop().unwrap().unwrap_err();
        assert!(matches!(error, CallError::Function(_)), "{error:?}");
        assert_eq!(error.executed(), executed);
    }
}

#[test]
fn at_its_deadline_no_call_waits_for_the_next_engine() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    begin(&mut bench, "f", &CallOptions::new().wait().timeout(SECOND));
    let id = id_of(&bench.written());
    let drain = crate::protocol::Drain::default();
    bench.hear(&drain.to_frame()).unwrap();
    bench.now += SECOND;
    bench.hear(&failure(id, Code::Draining).to_frame()).unwrap();
    let error = ends(&mut bench).pop().unwrap().unwrap_err();
    assert_eq!(error.code(), "draining");
}

#[test]
fn a_stopping_engine_makes_those_wait_who_want_to() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    begin(&mut bench, "patient", &CallOptions::new().wait());
    let first = id_of(&bench.written());
    bench
        .hear(&crate::protocol::Drain::default().to_frame())
        .unwrap();
    bench
        .hear(&failure(first, Code::Draining).to_frame())
        .unwrap();
    begin(&mut bench, "later", &CallOptions::new().wait());
    begin(&mut bench, "plain", &CallOptions::new());
    let written = bench.written();
    assert_eq!(written.len(), 1, "{written:?}");
    bench
        .hear(&failure(id_of(&written), Code::Draining).to_frame())
        .unwrap();
    let told = ends(&mut bench);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].as_ref().unwrap_err().code(), "draining");
    bench.drop_connection();
    bench.up(2);
    let calls = bench.written();
    assert_eq!(calls.iter().filter(|it| it.starts_with("call")).count(), 2);
    // The next engine does not stop: a call that may wait goes out at once, and its timeout is the engine's.
    begin(&mut bench, "new", &CallOptions::new().wait());
    assert_eq!(bench.written().len(), 1);
}

#[test]
fn a_call_ends_when_its_time_is_over_even_if_the_engine_forgets_it() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    let options = CallOptions::new().timeout(SECOND);
    let ticket = begin(&mut bench, "f", &options);
    let id = id_of(&bench.written());
    bench.link.expire_call(ticket, bench.now + SECOND);
    assert!(ends(&mut bench).is_empty(), "the engine speaks first");
    bench.now = bench.link.patience(ticket).unwrap();
    bench.link.expire_call(ticket, bench.now);
    let error = ends(&mut bench).pop().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("deadline_exceeded", Executed::Maybe)
    );
    assert_eq!(bench.written(), [format!("cancel {id}")]);
    // Too late: the answer is ignored.
    bench.hear(&result(id)).unwrap();
    assert!(ends(&mut bench).is_empty());
    assert!(bench.link.is_idle());
}

#[test]
fn a_call_that_never_found_a_connection_was_not_executed() {
    let mut bench = bench(Watch::nothing());
    let ticket = begin(&mut bench, "f", &CallOptions::new().timeout(SECOND));
    assert_eq!(bench.link.patience(ticket), Some(bench.now + SECOND));
    bench.link.expire_call(ticket, bench.now + SECOND);
    let error = ends(&mut bench).pop().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.executed()),
        ("deadline_exceeded", Executed::No)
    );
}

#[test]
fn too_large_a_payload_is_not_sent() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    let mut call = call("f", &CallOptions::new());
    call.payload = vec![0; 90_001];
    bench.link.call(call, bench.now).unwrap();
    let error = ends(&mut bench).pop().unwrap().unwrap_err();
    assert!(matches!(
        error,
        CallError::PayloadTooLarge { limit: 90_000, .. }
    ));
    assert!(bench.written().is_empty());
}

#[test]
fn a_call_may_fill_a_frame_and_no_more() {
    // 100,000 bytes, of which 256 are for what is beside name, headers and payload.
    for (headers, fits) in [(9_743, true), (9_744, false)] {
        let mut bench = bench(Watch::nothing());
        bench.up_and_ready(1);
        bench.written();
        let mut call = call("f", &CallOptions::new().headers_bytes(vec![0; headers]));
        call.payload = vec![0; 90_000];
        bench.link.call(call, bench.now).unwrap();
        let frames = bench.frames();
        assert_eq!(frames.len(), usize::from(fits));
        assert!(frames.iter().all(|frame| frame.len() <= 100_000));
        assert_eq!(ends(&mut bench).len(), usize::from(!fits));
    }
}

#[test]
fn an_answer_goes_over_the_connection_of_its_call_or_nowhere() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    bench.hear(&invoke(3)).unwrap();
    bench.hear(&invoke(4)).unwrap();
    let mut work = bench.link.take_work();
    let (second, first) = (work.pop().unwrap(), work.pop().unwrap());
    bench.link.answer(first.reply.unwrap(), Ok(vec![7]));
    bench.link.answer(first.reply.unwrap(), Ok(vec![8]));
    assert_eq!(bench.written(), ["result 3 [7]"]);
    let cancel = crate::protocol::Cancel {
        id: 4,
        ext: NoExtensions {},
    };
    assert!(!second.invocation.cancelled.is_cancelled());
    bench.hear(&cancel.to_frame()).unwrap();
    assert!(second.invocation.cancelled.is_cancelled());
    bench.drop_connection();
    bench.up_and_ready(2);
    bench.written();
    bench.link.answer(second.reply.unwrap(), Ok(vec![7]));
    assert!(bench.written().is_empty());
}

#[test]
fn a_result_over_the_limit_fails_its_call_alone() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.written();
    bench.hear(&invoke(3)).unwrap();
    bench.hear(&invoke(4)).unwrap();
    let replies = bench
        .link
        .take_work()
        .into_iter()
        .map(|it| it.reply.unwrap());
    let replies: Vec<_> = replies.collect();
    bench.link.answer(replies[0], Ok(vec![0; 90_001]));
    let long = Fault::new("x", "").with_details_bytes(vec![0; 90_001]);
    bench.link.answer(replies[1], Err(long));
    assert_eq!(
        bench.written(),
        ["failure 3 payload_too_large", "failure 4 payload_too_large"]
    );
}

#[test]
fn draining_is_over_once_no_call_comes_any_more_and_lasts_over_a_reconnect() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a"]);
    bench.written();
    bench.link.drain();
    let written = bench.written();
    assert_eq!(written[0], "drain");
    assert_eq!(bench.link.in_flight(), (0, true));
    let fence = written[1].split(' ').nth(1).unwrap().parse().unwrap();
    bench.hear(&invoke(3)).unwrap();
    bench.hear(&outcome(fence, 11).to_frame()).unwrap();
    assert_eq!(bench.link.in_flight(), (1, false));
    let error = bench.link.register(vec![Function::new("b")]).unwrap_err();
    assert_eq!(error.code(), "draining");
    bench.drop_connection();
    bench.up(2);
    assert_eq!(bench.written(), Vec::<String>::new());
}

#[test]
fn bindings_are_made_again_behind_the_functions_and_before_ready() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a"]);
    bench.written();
    let ticket = bench.link.bind(vec![Binding::new("e", "a")]).unwrap();
    let id = bench.written()[0]
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    bench.hear(&outcome(id, 12).to_frame()).unwrap();
    assert_eq!(
        bench.link.take_end(ticket),
        Some(Ok(Registered { revision: 12 }))
    );
    bench.drop_connection();
    bench.up(2);
    let mut asked = Vec::new();
    for _ in 0..3 {
        for line in bench.written() {
            let mut words = line.split(' ');
            asked.push(words.next().unwrap().to_owned());
            let id = words.next().unwrap().parse().unwrap();
            bench.hear(&outcome(id, 13).to_frame()).unwrap();
        }
    }
    assert_eq!(asked, ["register", "bind", "ready"]);
}
