//! Registrations: answers, refusals, reconnects in between, and batches that exceed a frame.

use super::*;

#[test]
fn a_registration_is_answered_and_registered_again_after_a_reconnect() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b"]);
    assert_eq!(bench.standing("a"), Some(Standing::Listed));
    bench.drop_connection();
    assert_eq!(bench.standing("a"), Some(Standing::Pending));
    bench.up(2);
    let written = bench.written();
    assert_eq!(written, ["register 3 a b"]);
    // READY waits until everything is registered again.
    bench.hear(&outcome(3, 12).to_frame()).unwrap();
    assert_eq!(bench.written(), ["ready 4"]);
    assert_eq!(bench.standing("a"), Some(Standing::Listed));
}

#[test]
fn a_refused_registration_is_forgotten() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a"]);
    let ticket = bench.register(&["a", "x"]);
    assert_eq!(bench.written(), ["register 3 a x"]);
    bench.hear(&failure(3, Code::Exclusive).to_frame()).unwrap();
    let error = bench.link.take_end(ticket).unwrap().unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("exclusive", true));
    assert_eq!(bench.standing("x"), None);
    bench.drop_connection();
    bench.up(2);
    assert_eq!(bench.written(), ["register 4 a"]);
}

#[test]
fn what_is_ordered_without_a_connection_or_unanswered_is_sent_with_the_next() {
    let mut bench = bench(Watch::nothing());
    let before = bench.register(&["a"]);
    assert_eq!(bench.written(), Vec::<String>::new());
    bench.up(1);
    assert_eq!(bench.written(), ["ready 1", "register 2 a"]);
    // One at a time, so that the engine's state is known before the next request.
    let meanwhile = bench.unregister(&["a"]);
    assert_eq!(bench.written(), Vec::<String>::new());
    bench.drop_connection();
    bench.up(2);
    // READY waits for the operation that may have taken effect.
    assert_eq!(bench.written(), ["register 3 a"]);
    bench.hear(&outcome(3, 12).to_frame()).unwrap();
    assert_eq!(bench.written(), ["ready 4", "unregister 5 a"]);
    bench.hear(&outcome(5, 13).to_frame()).unwrap();
    assert_eq!(
        bench.link.take_end(before),
        Some(Ok(Registered { revision: 12 }))
    );
    assert_eq!(
        bench.link.take_end(meanwhile),
        Some(Ok(Registered { revision: 13 }))
    );
    assert_eq!(bench.link.offers(), []);
}

#[test]
fn what_is_being_unregistered_does_not_come_back_with_a_reconnect() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b"]);
    let ticket = bench.unregister(&["a"]);
    assert_eq!(bench.written(), ["unregister 3 a"]);
    bench.drop_connection();
    bench.up(2);
    assert_eq!(bench.written(), ["register 4 b"]);
    bench.hear(&outcome(4, 12).to_frame()).unwrap();
    assert_eq!(bench.written(), ["unregister 5 a"]);
    // The previous engine carried it out, or this one never had it: the result is the same.
    bench
        .hear(&failure(5, Code::NotRegistered).to_frame())
        .unwrap();
    assert!(bench.link.take_end(ticket).unwrap().is_ok());
    assert_eq!(bench.standing("a"), None);
    assert_eq!(bench.written(), ["ready 6"]);
    // Unregistering a function that was never registered is still an error.
    let ticket = bench.unregister(&["x"]);
    assert_eq!(bench.written(), ["unregister 7 x"]);
    bench
        .hear(&failure(7, Code::NotRegistered).to_frame())
        .unwrap();
    assert_eq!(
        bench.link.take_end(ticket).unwrap().unwrap_err().code(),
        "not_registered"
    );
}

#[test]
fn one_refusal_after_a_reconnect_does_not_take_the_others_down() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b", "c", "d"]);
    bench.drop_connection();
    bench.up(2);
    bench.link.take_notices();
    assert_eq!(bench.written(), ["register 3 a b c d"]);
    bench.hear(&failure(3, Code::Exclusive).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 4 a b"]);
    bench.hear(&outcome(4, 12).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 5 c d"]);
    bench.hear(&failure(5, Code::Exclusive).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 6 c"]);
    bench.hear(&failure(6, Code::Exclusive).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 7 d"]);
    bench.hear(&outcome(7, 13).to_frame()).unwrap();
    assert_eq!(bench.written(), ["ready 8"]);
    let notices = bench.link.take_notices();
    assert!(
        matches!(&notices[..], [Notice::NotRestored { name, .. }] if &**name == "c"),
        "{notices:?}"
    );
    assert!(matches!(bench.standing("c"), Some(Standing::Refused(_))));
    // It is retried after growing, jittered pauses, and reported once.
    let mut pauses = Vec::new();
    for id in 9..20 {
        // The heartbeat continues in the meantime.
        let mut pause = Duration::ZERO;
        while bench
            .written()
            .iter()
            .all(|it| *it != format!("register {id} c"))
        {
            pause += SECOND / 10;
            bench.wait(SECOND / 10).unwrap();
            bench.hear(&Pong::default().to_frame()).unwrap();
            assert!(pause < 31 * SECOND);
        }
        pauses.push(pause);
        bench
            .hear(&failure(id, Code::Exclusive).to_frame())
            .unwrap();
    }
    assert!(
        pauses[0] <= 2 * SECOND && pauses[10] >= 14 * SECOND,
        "{pauses:?}"
    );
    assert_eq!(bench.link.take_notices(), []);
    // It is not unregistered with the others, because the engine does not have it.
    let ticket = bench.unregister(&["a", "c"]);
    assert_eq!(bench.written(), ["unregister 20 a"]);
    bench.hear(&outcome(20, 14).to_frame()).unwrap();
    assert!(bench.link.take_end(ticket).unwrap().is_ok());
    assert_eq!(
        (bench.standing("c"), bench.standing("b")),
        (None, Some(Standing::Listed))
    );
}

#[test]
fn what_is_being_unregistered_is_not_retried_meanwhile() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b", "x", "y"]);
    bench.drop_connection();
    bench.up(2);
    let mut exchange = |written: &str, frame: &[u8]| {
        assert_eq!(bench.written(), [written]);
        bench.hear(frame).unwrap();
    };
    exchange(
        "register 3 a b x y",
        &failure(3, Code::Exclusive).to_frame(),
    );
    exchange("register 4 a b", &outcome(4, 12).to_frame());
    exchange("register 5 x y", &failure(5, Code::Exclusive).to_frame());
    exchange("register 6 x", &failure(6, Code::Exclusive).to_frame());
    exchange("register 7 y", &failure(7, Code::Exclusive).to_frame());
    exchange("ready 8", &outcome(8, 12).to_frame());
    // The engine does not have it, so it is left out of the request; then the answer is lost.
    let ticket = bench.unregister(&["a", "x"]);
    assert_eq!(bench.written(), ["unregister 9 a"]);
    bench.drop_connection();
    bench.up(3);
    assert_eq!(bench.written(), ["register 10 b y"]);
    bench
        .hear(&failure(10, Code::Exclusive).to_frame())
        .unwrap();
    assert_eq!(bench.written(), ["register 11 b"]);
    // Refused functions are due for a retry before the operation can be sent.
    bench.wait(SECOND).unwrap();
    bench.hear(&outcome(11, 13).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 12 y"]);
    bench.hear(&outcome(12, 14).to_frame()).unwrap();
    // Not x: the engine would then have x, but not a.
    assert_eq!(bench.written(), ["register 13 y"]);
    bench.hear(&outcome(13, 14).to_frame()).unwrap();
    assert_eq!(bench.written(), ["unregister 14 a"]);
    bench
        .hear(&failure(14, Code::NotRegistered).to_frame())
        .unwrap();
    assert!(bench.link.take_end(ticket).unwrap().is_ok());
    assert_eq!(bench.standing("a"), None);
    assert_eq!(bench.standing("x"), None);
}

#[test]
fn when_rights_change_all_is_registered_and_bound_again() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b"]);
    let rights = Rights::default().to_frame();
    bench.hear(&rights).unwrap();
    assert_eq!(bench.written(), ["register 3 a b"]);
    // One of them may have left the board.
    bench.hear(&failure(3, Code::Forbidden).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 4 a"]);
    bench.hear(&outcome(4, 13).to_frame()).unwrap();
    assert_eq!(bench.written(), ["register 5 b"]);
    bench.hear(&failure(5, Code::Forbidden).to_frame()).unwrap();
    assert_eq!(bench.standing("a"), Some(Standing::Listed));
    assert!(matches!(bench.standing("b"), Some(Standing::Refused(_))));
    let notices = bench.link.take_notices();
    let lost = notices.iter().filter_map(|notice| match notice {
        Notice::NotRestored { name, .. } => Some(&**name),
        _ => None,
    });
    assert_eq!(lost.collect::<Vec<_>>(), ["b"]);
    // And back again.
    bench.hear(&rights).unwrap();
    assert_eq!(bench.written(), ["register 6 a b"]);
    bench.hear(&outcome(6, 14).to_frame()).unwrap();
    assert_eq!(bench.standing("b"), Some(Standing::Listed));
    assert_eq!(bench.written(), Vec::<String>::new());
    let notices = bench.link.take_notices();
    assert!(matches!(&notices[..], [Notice::Restored { name }] if &**name == "b"));
}

#[test]
fn what_left_with_a_right_while_it_was_being_unregistered_is_not_forgotten() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b"]);
    let ticket = bench.unregister(&["a", "b"]);
    assert_eq!(bench.written(), ["unregister 3 a b"]);
    // The engine had removed one of them from the board, so it refuses the batch.
    bench.hear(&Rights::default().to_frame()).unwrap();
    bench
        .hear(&failure(3, Code::NotRegistered).to_frame())
        .unwrap();
    let error = bench.link.take_end(ticket).unwrap().unwrap_err();
    assert_eq!(error.code(), "not_registered");
    assert_eq!(bench.written(), ["register 4 a b"]);
}

#[test]
fn what_is_unbound_while_rights_change_stays_so() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let bindings = ["a", "b"].map(|function| Binding::new("e", function));
    bench.link.bind(bindings.to_vec()).unwrap();
    assert_eq!(bench.written(), ["bind 2 e-a e-b"]);
    bench.hear(&outcome(2, 12).to_frame()).unwrap();
    bench.link.unbind(vec![Binding::new("e", "a")]).unwrap();
    assert_eq!(bench.written(), ["unbind 3 e-a"]);
    bench.hear(&Rights::default().to_frame()).unwrap();
    bench.hear(&outcome(3, 13).to_frame()).unwrap();
    assert_eq!(bench.written(), ["bind 4 e-b"]);
}

#[test]
fn an_engine_that_is_full_is_asked_again_for_the_whole_batch() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.provide(&["a", "b"]);
    bench.drop_connection();
    bench.up(2);
    assert_eq!(bench.written(), ["register 3 a b"]);
    bench
        .hear(&failure(3, Code::TooManyWorkers).to_frame())
        .unwrap();
    assert_eq!(bench.written(), ["ready 4"]);
    bench.wait(SECOND).unwrap();
    assert_eq!(bench.written(), ["register 5 a b"]);
    bench.hear(&outcome(5, 12).to_frame()).unwrap();
    assert_eq!(bench.standing("b"), Some(Standing::Listed));
}

#[test]
fn what_an_engine_that_stops_refuses_waits_for_the_next() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let ticket = bench.register(&["a"]);
    assert_eq!(bench.written(), ["register 2 a"]);
    bench.hear(&failure(2, Code::Draining).to_frame()).unwrap();
    assert_eq!(bench.link.take_end(ticket), None);
    let loss = bench
        .hear(&goodbye(Code::ShuttingDown, Some(700)).to_frame())
        .unwrap_err();
    let Loss::Goodbye {
        retry_after,
        before_welcome,
        ..
    } = &loss
    else {
        panic!("{loss}")
    };
    assert_eq!(
        (*retry_after, *before_welcome),
        (Some(Duration::from_millis(700)), false)
    );
    bench.up(2);
    assert_eq!(bench.written(), ["register 3 a"]);
}

#[test]
fn batches_span_frames_within_the_limit() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let function = |i: usize| Function::new(format!("f{i:02}")).metadata_bytes(vec![0; 1000]);
    let mut entries: Vec<Function> = (0..50).map(function).collect();
    let mut large = entries.clone();
    large[0] = function(0).description("one byte more than the engine takes");
    bench.link.register(entries.clone()).unwrap();
    let frames = bench.frames();
    assert!(frames.iter().all(|frame| frame.len() <= 100_000));
    let texts: Vec<String> = frames
        .iter()
        .map(|it| brief(&Message::decode(it).unwrap()))
        .collect();
    assert_eq!(texts.len(), 1);
    bench.drop_connection();
    // An engine with smaller frames.
    bench.link.open(address(), None, bench.now);
    bench.written();
    let mut small = welcome(2, &[2; 16]);
    small.ext.limits.max_frame = 3000;
    bench.hear(&small.to_frame()).unwrap();
    let frames = bench.frames();
    assert!(
        frames.iter().all(|frame| frame.len() <= 3000),
        "{}",
        frames.len()
    );
    let texts: Vec<String> = frames
        .iter()
        .map(|it| brief(&Message::decode(it).unwrap()))
        .collect();
    assert!(
        texts[0].starts_with("register 3 f00 f01") && texts[0].ends_with('…'),
        "{texts:?}"
    );
    assert!(texts.last().unwrap().ends_with("f49"), "{texts:?}");
    bench.hear(&outcome(3, 12).to_frame()).unwrap();
    bench.written();
    // Nothing is sent that the engine would refuse.
    let ticket = bench.link.register(large).unwrap();
    assert_eq!(
        bench.link.take_end(ticket).unwrap().unwrap_err().code(),
        "entry_too_large"
    );
    entries.push(Function::new("f50"));
    let ticket = bench.link.register(entries).unwrap();
    assert_eq!(
        bench.link.take_end(ticket).unwrap().unwrap_err().code(),
        "too_many_functions"
    );
    let names: Vec<Arc<str>> = (0..40).map(|_| "x".repeat(200).into()).collect();
    let ticket = bench.link.unregister(names).unwrap();
    assert_eq!(
        bench.link.take_end(ticket).unwrap().unwrap_err().code(),
        "frame_too_large"
    );
    assert_eq!(bench.written(), Vec::<String>::new());
}

#[test]
fn a_request_lists_no_more_than_an_array_may_have() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    let most = crate::protocol::MAX_ELEMENTS;
    let names: Vec<Arc<str>> = (0..=most).map(|index| index.to_string().into()).collect();
    let ticket = bench.link.unregister(names).unwrap();
    let refusal = bench.link.take_end(ticket).unwrap().unwrap_err();
    assert_eq!(refusal.code(), "frame_too_large");
    assert!(refusal.to_string().contains("65537 names"), "{refusal}");
    assert_eq!(bench.written(), Vec::<String>::new());
}

#[test]
fn nothing_follows_a_goodbye() {
    let mut bench = bench(Watch::nothing());
    bench.up_and_ready(1);
    bench.link.leave(bench.now);
    bench.register(&["a"]);
    assert_eq!(bench.written(), ["goodbye bye"]);
    bench.register(&["b"]);
    assert_eq!(bench.written(), [""; 0]);
    // The next connection sends everything.
    bench.drop_connection();
    bench.up(2);
    loop {
        let frames = bench.frames();
        if frames.is_empty() {
            break;
        }
        for frame in frames {
            let id = match Message::decode(&frame).unwrap() {
                Message::Register(it) => it.id,
                Message::Ready(it) => it.id,
                other => panic!("{other:?}"),
            };
            bench.hear(&outcome(id, 10).to_frame()).unwrap();
        }
    }
    assert_eq!(bench.standing("a"), Some(Standing::Listed));
    assert_eq!(bench.standing("b"), Some(Standing::Listed));
}

#[test]
fn limits_that_no_engine_can_mean_break_nothing() {
    let mut bench = bench(Watch::nothing());
    bench.register(&["a", "b"]);
    bench.link.open(address(), None, bench.now);
    bench.written();
    let mut tiny = welcome(1, &[1; 16]);
    tiny.ext.limits.max_frame = 1;
    bench.hear(&tiny.to_frame()).unwrap();
    assert_eq!(
        bench.written(),
        ["ready 1", "register 2 a …", "register 2 b"]
    );
}

#[test]
fn an_entry_that_no_frame_holds_is_refused_whatever_the_engine_says() {
    let mut bench = bench(Watch::nothing());
    bench.link.open(address(), None, bench.now);
    bench.written();
    let mut vast = welcome(2, &[2; 16]);
    let limits = &mut vast.ext.limits;
    (limits.max_frame, limits.max_payload, limits.max_entry) = (u64::MAX, u64::MAX, u64::MAX);
    bench.hear(&vast.to_frame()).unwrap();
    assert_eq!(bench.written(), ["ready 1"]);
    bench.hear(&outcome(1, 10).to_frame()).unwrap();
    let entry = Function::new("c").metadata_bytes(vec![0; MAX_FRAME_CEILING - 100]);
    let ticket = bench.link.register(vec![entry]).unwrap();
    let refused = bench.link.take_end(ticket).unwrap().unwrap_err();
    assert_eq!(refused.code(), "entry_too_large");
}

#[test]
fn names_may_fill_a_frame_and_no_more() {
    let names: Vec<String> = ["a", "b", "c", "d"].map(|it| it.repeat(255)).into();
    let names: Vec<&str> = names.iter().map(|it| &**it).collect();
    // Each takes 3 bytes beside its own, and the frame 64.
    for (max_frame, fits) in [(4 * 258 + 64, true), (4 * 258 + 63, false)] {
        let mut bench = bench(Watch::nothing());
        bench.link.open(address(), None, bench.now);
        bench.written();
        let mut small = welcome(1, &[1; 16]);
        small.ext.limits.max_frame = max_frame;
        bench.hear(&small.to_frame()).unwrap();
        bench.written();
        bench.hear(&outcome(1, 10).to_frame()).unwrap();
        for (name, id) in names.iter().zip(2..) {
            bench.register(&[name]);
            bench.written();
            bench.hear(&outcome(id, 11).to_frame()).unwrap();
        }
        let ticket = bench.unregister(&names);
        assert_eq!(bench.frames().len(), usize::from(fits));
        let refused = bench.link.take_end(ticket).map(|end| end.unwrap_err());
        let code = refused.as_ref().map(RequestError::code);
        assert_eq!(code, (!fits).then_some("frame_too_large"));
    }
}

#[test]
fn an_abandoned_order_is_carried_out_nevertheless() {
    let mut bench = bench(Watch::nothing());
    let ticket = bench.register(&["a"]);
    bench.link.abandon(ticket);
    bench.up(1);
    assert_eq!(bench.written(), ["ready 1", "register 2 a"]);
    bench.hear(&outcome(2, 11).to_frame()).unwrap();
    assert_eq!(bench.link.take_end(ticket), None);
    assert_eq!(bench.standing("a"), Some(Standing::Listed));
}

#[test]
fn any_number_of_bindings_is_made_again() {
    for count in [1, 999, 1000, 1001, 2001] {
        let mut bench = bench(Watch::nothing());
        bench.up_and_ready(1);
        bench.written();
        let all = (0..count).map(|number| Binding::new(format!("e{number}"), "f"));
        let all: Vec<Binding> = all.collect();
        for some in all.chunks(500) {
            bench.link.bind(some.to_vec()).unwrap();
            let frames = bench.frames();
            let Message::Bind(sent) = Message::decode(&frames[0]).unwrap() else {
                panic!()
            };
            bench.hear(&outcome(sent.id, 11).to_frame()).unwrap();
        }
        bench.drop_connection();
        bench.up(2);
        let mut bound = std::collections::BTreeSet::new();
        let is_ready = loop {
            let frames = bench.frames();
            let Some(frame) = frames.first() else {
                break false;
            };
            match Message::decode(frame).unwrap() {
                Message::Bind(it) => {
                    bound.extend(it.bindings.iter().map(|it| it.event.to_string()));
                    bench.hear(&outcome(it.id, 12).to_frame()).unwrap();
                }
                Message::Ready(_) => break true,
                other => panic!("{other:?}"),
            }
        };
        assert!(is_ready);
        assert_eq!(bound.len(), count);
    }
}
