//! Frames: encoding, decoding and the check before it, kind by kind. Measures bytes in memory only.

use std::hint::black_box;

use callboard::protocol::{
    Bin, Call, Changes, Definition, FunctionSection, HEADER_LEN, Invoke, InvokeOptions, Message,
    Outcome, Ping, Register, Sections, Text, check_wellformed,
};
use criterion::{Criterion, Throughput};

/// A payload of the size of a small JSON object.
const PAYLOAD: Bin<'_> = Bin(&[0x5a; 128]);
const FUNCTION: Text<'_> = Text("orders::create");

pub(super) fn bench(criterion: &mut Criterion) {
    let names: Vec<String> = (0..100).map(crate::fleet::name).collect();
    let definition = |name| Definition {
        name: Text(name),
        ..Definition::default()
    };
    let register = |count: usize| {
        let functions = names[..count].iter().map(|name| definition(name)).collect();
        let register = Register {
            id: 7,
            functions,
            ..Register::default()
        };
        Message::Register(register)
    };
    let frames = [
        ("ping", Message::Ping(Ping::default())),
        (
            "call",
            Message::Call(Call {
                id: 70_000,
                function: FUNCTION,
                payload: PAYLOAD,
                ..Call::default()
            }),
        ),
        (
            "invoke",
            Message::Invoke(Invoke {
                id: 70_000,
                function: FUNCTION,
                timeout_ms: 30_000,
                payload: PAYLOAD,
                ext: InvokeOptions {
                    caller: 12,
                    caller_name: Text("a worker"),
                    ..InvokeOptions::default()
                },
            }),
        ),
        (
            "result",
            Message::Outcome(Outcome {
                id: 70_000,
                payload: PAYLOAD,
                ..Outcome::default()
            }),
        ),
        (
            "changes of one entry",
            Message::Changes(Changes {
                from: 1_000,
                to: 1_001,
                more: false,
                sections: Sections {
                    functions: FunctionSection {
                        added: vec![definition(FUNCTION.0)],
                        ..FunctionSection::default()
                    },
                    ..Sections::default()
                },
                ..Changes::default()
            }),
        ),
        ("register of 1", register(1)),
        ("register of 100", register(100)),
    ];
    for (name, message) in &frames {
        let mut out = Vec::with_capacity(64 * 1024);
        message.encode(&mut out);
        let frame = out.clone();
        let body = &frame[HEADER_LEN..];
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(message).encode(&mut out);
            });
        });
        group.bench_function("check", |bencher| {
            bencher.iter(|| check_wellformed(black_box(body)));
        });
        // The check is a part of it.
        group.bench_function("decode", |bencher| {
            bencher.iter(|| drop(black_box(Message::decode(black_box(body)))));
        });
        group.finish();
    }
}
