//! A frame as a worker sends it, its fields chosen by the input: of the right form, so that it gets past the
//! decoder, and as wrong in what it says as the input wants.

use callboard::protocol::{
    Bin, Bind, BindingEntry, BindingKey, Call, CallOptions, Cancel, Cast, CastOptions, Definition,
    Drain, Emit, EmitOptions, Executed, Failure, FailureOptions, Goodbye, Hello, HelloOptions,
    NoExtensions, Outcome, Ping, Pong, Ready, Register, Resume, Synced, Text, Unbind, Unregister,
    Watch, Welcome, begin_frame, end_frame,
};

use super::cursor::Cursor;
use super::principals::TOKENS;

/// What the strangers have been told and may say again.
#[derive(Debug, Default)]
pub struct Known {
    pub welcomes: Vec<Greeting>,
    /// Ids of INVOKEs, to any connection.
    pub invokes: Vec<u64>,
    /// Ids of workers that are there.
    pub workers: Vec<u64>,
    /// The engine has credentials: HELLO presents a token.
    pub has_credentials: bool,
    /// Ids of requests given so far.
    pub requests: u64,
}

/// What a WELCOME said.
#[derive(Debug, Clone, Default)]
pub struct Greeting {
    pub session: Vec<u8>,
    pub digest: Vec<u8>,
    pub epoch: u64,
    pub revision: u64,
}

const NAMES: [&str; 12] = [
    "a1",
    "a2",
    "b1",
    "b2",
    "well::echo",
    "well::linked",
    "engine::stats",
    "engine::functions::list",
    "engine::workers::list",
    "engine::bindings::list",
    "no name",
    "",
];

fn name<'a>(cursor: &mut Cursor<'a>) -> Text<'a> {
    match cursor.byte() {
        n @ 0..=235 => Text(NAMES[usize::from(n) % NAMES.len()]),
        236 | 237 => Text("engine::drain"),
        238 | 239 => Text("engine::workers::kick"),
        _ => Text(std::str::from_utf8(cursor.short()).unwrap_or("a1")),
    }
}

fn names<'a>(cursor: &mut Cursor<'a>) -> Vec<Text<'a>> {
    (0..cursor.below(5)).map(|_| name(cursor)).collect()
}

fn prefixes<'a>(cursor: &mut Cursor<'a>) -> Option<Vec<Text<'a>>> {
    match cursor.below(6) {
        0 => None,
        1 => Some(vec![Text("")]),
        2 => Some(vec![Text("a"), Text("well::")]),
        3 => Some(Vec::new()),
        _ => Some(names(cursor)),
    }
}

/// A new id mostly, else one that may be in use.
fn request(cursor: &mut Cursor<'_>, known: &mut Known) -> u64 {
    match cursor.byte() {
        0..=199 => {
            known.requests += 1;
            known.requests
        }
        n @ 200..=249 => u64::from(n) % 8,
        _ => cursor.number(),
    }
}

fn one_of(cursor: &mut Cursor<'_>, known: &[u64]) -> u64 {
    match cursor.byte() {
        n @ 0..=239 if !known.is_empty() => known[usize::from(n) % known.len()],
        _ => cursor.number(),
    }
}

/// Appends a frame to `out`.
pub fn append(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    let begin = out.len();
    match cursor.below(24) {
        0 => hello(cursor, known, out),
        1..=3 => register(cursor, known, out),
        4 => {
            let id = request(cursor, known);
            let names = names(cursor);
            let ext = NoExtensions {};
            Unregister { id, names, ext }.encode(out);
        }
        5 => {
            let id = request(cursor, known);
            let ext = NoExtensions {};
            Ready { id, ext }.encode(out);
        }
        6 => bind(cursor, known, out),
        7 => {
            let id = request(cursor, known);
            let key = |_| BindingKey {
                event: name(cursor),
                function: name(cursor),
                id: name(cursor),
            };
            let bindings = (0..2).map(key).collect();
            let ext = NoExtensions {};
            Unbind { id, bindings, ext }.encode(out);
        }
        8..=11 => call(cursor, known, out),
        12 => emit(cursor, known, out),
        13 => cast(cursor, out),
        14 | 15 => outcome(cursor, known, out),
        16 => failure(cursor, known, out),
        17 => {
            let id = request(cursor, known);
            let ext = NoExtensions {};
            Cancel { id, ext }.encode(out);
        }
        18 => {
            let revision = cursor.number();
            let ext = NoExtensions {};
            if cursor.flag() {
                Pong { revision, ext }.encode(out);
            } else {
                Ping { revision, ext }.encode(out);
            }
        }
        19 => Drain::default().encode(out),
        20 => farewell_or_foreign(cursor, out),
        21 => {
            // An unknown kind.
            let mark = begin_frame(out);
            let known_fields = [0x92, 30 + (cursor.byte() & 0x3f), cursor.byte() & 0x7f];
            out.extend_from_slice(&known_fields);
            end_frame(out, mark);
        }
        22 => {
            let body = cursor.short();
            let mark = begin_frame(out);
            out.extend_from_slice(body);
            end_frame(out, mark);
        }
        _ => {
            // A good frame with something wrong in it, at a place that the input chooses.
            append_plain(cursor, known, out);
            let frame = &mut out[begin..];
            let at = usize::from(cursor.byte()) % frame.len();
            frame[at] ^= 1 << cursor.below(8);
        }
    }
}

fn append_plain(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    match cursor.below(5) {
        0 => hello(cursor, known, out),
        1 => register(cursor, known, out),
        2 => bind(cursor, known, out),
        3 => call(cursor, known, out),
        _ => failure(cursor, known, out),
    }
}

/// HELLO as a stranger says it who wants to get in.
pub fn hello(cursor: &mut Cursor<'_>, known: &Known, out: &mut Vec<u8>) {
    let shape = cursor.byte();
    let metadata = if shape & 1 == 1 {
        cursor.bytes()
    } else {
        Vec::new()
    };
    let greeting = known.welcomes.get(usize::from(shape >> 5)).cloned();
    let greeting = greeting.unwrap_or_default();
    let resume = Resume {
        epoch: greeting.epoch,
        revision: match shape & 0x18 {
            0 => greeting.revision,
            _ => cursor.number(),
        },
        digest: Bin(&greeting.digest),
    };
    let watch = (shape & 2 == 0).then(|| Watch {
        functions: prefixes(cursor),
        workers: prefixes(cursor),
        bindings: prefixes(cursor),
    });
    // None, or the first of them more often than others.
    let token = match known.has_credentials.then(|| cursor.below(6)) {
        None | Some(5) => None,
        Some(choice) => Some(TOKENS[choice.saturating_sub(1)]),
    };
    Hello {
        versions: if cursor.byte() == 255 {
            vec![2]
        } else {
            vec![1, 9]
        },
        name: Text(cursor.of(&["stranger", "other", "\u{202e}\n", "", "x"])),
        namespace: Text(cursor.of(&["", "default", "default", "two", "three", "bad name"])),
        ext: HelloOptions {
            watch,
            session: (!greeting.session.is_empty()).then_some(Bin(&greeting.session)),
            resume: (shape & 4 == 4).then_some(resume),
            capacity: cursor.of(&[None, Some(1), Some(2), Some(0), Some(u64::MAX)]),
            tier: [None, Some(0), Some(1), Some(u64::MAX)][usize::from(shape >> 3 & 3)],
            metadata: Bin(&metadata),
            token: token.map(Text),
            ..HelloOptions::default()
        },
    }
    .encode(out);
}

fn register(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    let id = request(cursor, known);
    let more = cursor.below(8) == 7;
    let blobs: Vec<_> = (0..cursor.below(5)).map(|_| cursor.bytes()).collect();
    let texts: Vec<String> = blobs
        .iter()
        .map(|blob| String::from_utf8_lossy(blob).into_owned())
        .collect();
    let mut functions = Vec::new();
    for (blob, text) in blobs.iter().zip(&texts) {
        let shape = cursor.byte();
        let opaque = |bit| Bin(if shape & bit == 0 { &[] } else { &blob[..] });
        functions.push(Definition {
            name: name(cursor),
            description: Text(if shape & 1 == 0 { "" } else { text }),
            request: opaque(2),
            response: opaque(4),
            metadata: opaque(8),
            exclusive: shape & 0x70 == 0x70,
        });
    }
    let ext = NoExtensions {};
    Register {
        id,
        more,
        functions,
        ext,
    }
    .encode(out);
}

fn bind(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    let id = request(cursor, known);
    let configs: Vec<_> = (0..cursor.below(4)).map(|_| cursor.bytes()).collect();
    let mut bindings = Vec::new();
    for config in &configs {
        bindings.push(BindingEntry {
            event: name(cursor),
            function: name(cursor),
            id: name(cursor),
            config: Bin(config),
            deliver_all: cursor.flag(),
        });
    }
    let ext = NoExtensions {};
    Bind { id, bindings, ext }.encode(out);
}

fn call(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    let id = request(cursor, known);
    let function = name(cursor);
    let payload = cursor.bytes();
    let shape = cursor.byte();
    let headers = if shape & 1 == 1 {
        cursor.bytes()
    } else {
        Vec::new()
    };
    Call {
        id,
        function,
        payload: Bin(&payload),
        ext: CallOptions {
            timeout_ms: match shape & 6 {
                0 => None,
                2 => Some(1000),
                4 => Some(u64::from(cursor.byte())),
                _ => Some(cursor.number()),
            },
            wait: shape & 0x18 != 0,
            idempotent: shape & 0x20 != 0,
            worker: (shape & 0xc0 == 0xc0).then(|| one_of(cursor, &known.workers)),
            headers: Bin(&headers),
        },
    }
    .encode(out);
}

fn emit(cursor: &mut Cursor<'_>, known: &mut Known, out: &mut Vec<u8>) {
    let id = if cursor.flag() {
        0
    } else {
        request(cursor, known)
    };
    let (event, payload, headers) = (name(cursor), cursor.bytes(), cursor.bytes());
    let (payload, headers) = (Bin(&payload), Bin(&headers));
    let ext = EmitOptions { headers };
    Emit {
        id,
        event,
        payload,
        ext,
    }
    .encode(out);
}

fn cast(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    let (function, payload, headers) = (name(cursor), cursor.bytes(), cursor.bytes());
    let ext = CastOptions {
        caller: u64::from(cursor.byte()),
        headers: Bin(&headers),
        ..CastOptions::default()
    };
    let payload = Bin(&payload);
    Cast {
        function,
        payload,
        ext,
    }
    .encode(out);
}

fn outcome(cursor: &mut Cursor<'_>, known: &Known, out: &mut Vec<u8>) {
    let id = one_of(cursor, &known.invokes);
    let payload = cursor.bytes();
    let payload = Bin(&payload);
    Outcome {
        id,
        payload,
        ..Outcome::default()
    }
    .encode(out);
}

fn failure(cursor: &mut Cursor<'_>, known: &Known, out: &mut Vec<u8>) {
    let id = one_of(cursor, &known.invokes);
    let details = cursor.bytes();
    Failure {
        id,
        code: Text(cursor.of(&["sold_out", "overloaded", "", "provider_gone", "\u{1b}[2J"])),
        message: name(cursor),
        retryable: cursor.flag(),
        executed: if cursor.flag() {
            Executed::No
        } else {
            Executed::Maybe
        },
        ext: FailureOptions {
            from_function: cursor.flag(),
            details: Bin(&details),
        },
    }
    .encode(out);
}

fn farewell_or_foreign(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    match cursor.below(4) {
        0 => Welcome::default().encode(out),
        1 => Synced::default().encode(out),
        _ => Goodbye {
            code: Text("bye"),
            message: name(cursor),
            ..Goodbye::default()
        }
        .encode(out),
    }
}
