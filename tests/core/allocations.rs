//! What costs memory and what does not, shown by counting allocations: the promises about cost that
//! a count can hold. Timings are for `benches/`; here nothing is timed.

use allocation_counter::measure;
use callboard::protocol::{
    Bin, Call, CallOptions, Cancel, Cast, Failure, HEADER_LEN, Invoke, InvokeOptions, Message,
    Outcome, OutcomeOptions, Ping, Pong, Synced, Text, check_wellformed,
};

use crate::fleet::{Calls, Fleet, Gathered, hello, name, register, unregister};

/// Allocations of `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

/// The frames that travel once a call, or are sent to see whether anybody is there.
fn hot_frames() -> Vec<Vec<u8>> {
    let (function, payload) = (Text("orders::create"), Bin(&[0x5a; 300]));
    let headers = Bin(&[0x81, 0xa1, b'k', 0xa1, b'v']);
    let call = Call {
        id: 70_000,
        function,
        payload,
        ext: CallOptions::default(),
    };
    let with_options = Call {
        ext: CallOptions {
            timeout_ms: Some(5_000),
            wait: true,
            worker: Some(12),
            headers,
            ..CallOptions::default()
        },
        ..call.clone()
    };
    let invoke = Invoke {
        id: 3,
        function,
        timeout_ms: 30_000,
        payload,
        ext: InvokeOptions {
            caller: 9,
            caller_name: Text("a worker"),
            headers,
        },
    };
    let result = Outcome {
        id: 70_000,
        payload,
        ext: OutcomeOptions {
            revision: Some(1 << 40),
            matched: None,
        },
    };
    let failure = Failure {
        id: 70_000,
        code: Text("no_such_function"),
        message: Text("`orders::create` has no provider"),
        ..Failure::default()
    };
    let cast = Cast {
        function,
        payload,
        ..Cast::default()
    };
    vec![
        call.to_frame(),
        with_options.to_frame(),
        invoke.to_frame(),
        result.to_frame(),
        failure.to_frame(),
        cast.to_frame(),
        Cancel::default().to_frame(),
        Ping::default().to_frame(),
        Pong::default().to_frame(),
        Synced::default().to_frame(),
    ]
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(name(1)))), 2);
}

#[test]
fn decoding_a_hot_frame_allocates_nothing() {
    for frame in hot_frames() {
        let body = &frame[HEADER_LEN..];
        let mut kind = "";
        let count = allocations(|| {
            check_wellformed(body).expect("well-formed");
            let message = Message::decode(body).expect("a message");
            kind = message.kind_name();
            assert!(!matches!(message, Message::Unknown { .. }));
        });
        assert_eq!(count, 0, "{kind}");
    }
}

#[test]
fn encoding_into_a_buffer_with_room_allocates_nothing() {
    let mut out = Vec::with_capacity(4096);
    for frame in hot_frames() {
        let message = Message::decode(&frame[HEADER_LEN..]).expect("a message");
        out.clear();
        assert_eq!(
            allocations(|| message.encode(&mut out)),
            0,
            "{}",
            message.kind_name()
        );
        assert_eq!(out, frame);
    }
}

/// Allocations of a turn that registers a function, and of one that unregisters it, on a board of so
/// many functions that one connection watches. The median of many: now and then one of the maps grows.
fn cost_of_a_change(functions: usize) -> (u64, u64) {
    let mut fleet = Fleet::with(functions, 1);
    let worker = fleet.join(&hello(false));
    let (mut coming, mut going) = (Vec::new(), Vec::new());
    for number in 0..501 {
        // All of one length, spread over the order of names.
        let name = format!("service{}::new{:04}", number % 97, number);
        let (register, unregister) = (
            register([&*name].into_iter()),
            unregister([&*name].into_iter()),
        );
        coming.push(allocations(|| fleet.say(worker, &register)));
        going.push(allocations(|| fleet.say(worker, &unregister)));
    }
    assert_eq!(fleet.engine.stats().functions, functions as u64);
    coming.sort_unstable();
    going.sort_unstable();
    (coming[250], going[250])
}

#[test]
fn registering_costs_the_same_on_a_large_board_as_on_a_small_one() {
    let small = cost_of_a_change(10);
    assert_eq!(small, cost_of_a_change(1_000));
    assert_eq!(small, cost_of_a_change(100_000));
}

#[test]
fn one_change_is_encoded_once_and_allocated_once_for_a_thousand_watchers() {
    let cost = |watchers| {
        let mut fleet = Fleet::with(100, watchers);
        let worker = fleet.join(&hello(false));
        // The queue of those who have something to write grows to its size with the first.
        for number in 0..10 {
            let name = name(1_000 + number);
            fleet.say(worker, &register([&*name].into_iter()));
        }
        let frame = register(["one::more"].into_iter());
        let (before, writes) = (fleet.engine.stats(), fleet.writes);
        let count = allocations(|| fleet.say(worker, &frame));
        let after = fleet.engine.stats();
        assert_eq!(after.encodings - before.encodings, 1);
        // One write each, and one for the answer.
        assert_eq!(fleet.writes - writes, watchers as u64 + 1);
        assert_eq!(after.behind, 0);
        count
    };
    assert_eq!(cost(1), cost(1_000));
}

#[test]
fn a_heartbeat_costs_as_little_among_a_thousand_connections_as_alone() {
    let ping = Ping::default().to_frame();
    let cost = |watchers| {
        let mut fleet = Fleet::with(100, watchers);
        let worker = fleet.join(&hello(true));
        fleet.say(worker, &ping);
        allocations(|| fleet.say(worker, &ping))
    };
    assert_eq!(cost(0), cost(1_000));
}

/// Allocations of a call from CALL to the caller's RESULT, with so many calls in flight between the two. The median
/// of many: now and then the table of calls in flight is put in order.
fn cost_of_a_call(mut fleet: Fleet, in_flight: usize) -> u64 {
    let mut calls = Calls::begin(&mut fleet, in_flight);
    let mut counts: Vec<u64> = (0..501)
        .map(|_| allocations(|| calls.turn(&mut fleet)))
        .collect();
    counts.sort_unstable();
    counts[250]
}

#[test]
fn a_call_allocates_nothing() {
    assert_eq!(cost_of_a_call(Fleet::with(10, 0), 1), 0);
}

#[test]
fn calls_that_come_together_allocate_nothing() {
    let mut fleet = Fleet::with(10, 100);
    let mut calls = Gathered::begin(&mut fleet, 64);
    // The lists and buffers grow to their size with the first.
    calls.turn(&mut fleet);
    calls.turn(&mut fleet);
    for _ in 0..100 {
        assert_eq!(allocations(|| calls.turn(&mut fleet)), 0);
    }
}

#[test]
fn a_call_costs_the_same_on_a_large_board_as_on_a_small_one() {
    let small = cost_of_a_call(Fleet::with(10, 0), 1);
    assert_eq!(small, cost_of_a_call(Fleet::with(1_000, 0), 1));
    assert_eq!(small, cost_of_a_call(Fleet::with(100_000, 0), 1));
}

#[test]
fn a_call_costs_the_same_among_ten_thousand_connections_as_among_ten() {
    let few = cost_of_a_call(Fleet::with(10, 10), 1);
    assert_eq!(few, cost_of_a_call(Fleet::with(10, 1_000), 1));
    assert_eq!(few, cost_of_a_call(Fleet::with(10, 10_000), 1));
}

#[test]
fn a_call_costs_the_same_among_ten_thousand_in_flight_as_alone() {
    let alone = cost_of_a_call(Fleet::with(10, 0), 1);
    for in_flight in [2, 1_000, 10_000] {
        assert_eq!(alone, cost_of_a_call(Fleet::with(10, 0), in_flight));
    }
}

#[test]
fn a_join_is_one_write() {
    for functions in [0, 10] {
        let mut fleet = Fleet::with(functions, 1);
        let writes = fleet.writes;
        fleet.join(&hello(true));
        assert_eq!(fleet.writes - writes, 1, "{functions}");
    }
}
