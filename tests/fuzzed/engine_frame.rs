//! A frame as an engine sends it, its fields chosen by the input: of the right form, and as contradictory in
//! what it says as the input wants.

use callboard::protocol::{
    Bin, BindingEntry, BindingKey, BindingSection, Cancel, Cast, CastOptions, Changes, Definition,
    Drain, Executed, Failure, FailureOptions, FunctionSection, Goodbye, GoodbyeOptions, Invoke,
    InvokeOptions, NoExtensions, Outcome, OutcomeOptions, Ping, Pong, Register, Resync, Rights,
    Sections, Snapshot, Synced, Text, Welcome, WelcomeOptions, WorkerEntry, WorkerKey,
    WorkerLimits, WorkerSection, begin_frame, end_frame,
};

use super::cursor::Cursor;

/// What an engine that wants to be believed would know.
#[derive(Debug, Default)]
pub struct Told {
    /// Where the worker's view stands.
    pub revision: u64,
    /// Ids of the requests that the worker has open.
    pub requests: Vec<u64>,
    /// The epoch that it was last told.
    pub epoch: u64,
}

const NAMES: [&str; 8] = [
    "a1",
    "a2",
    "b1",
    "own::one",
    "own::two",
    "c",
    "",
    "\u{1b}[2J",
];

/// The longest heartbeats and settling times stand for "never".
const TIMES: [u64; 8] = [0, 1, 100, 5_000, 15_000, 60_000, u64::MAX / 2, u64::MAX];

fn name<'a>(cursor: &mut Cursor<'a>) -> Text<'a> {
    match cursor.byte() {
        n @ 0..=239 => Text(NAMES[usize::from(n) % NAMES.len()]),
        _ => Text(std::str::from_utf8(cursor.short()).unwrap_or("a1")),
    }
}

fn names<'a>(cursor: &mut Cursor<'a>) -> Vec<Text<'a>> {
    (0..cursor.below(4)).map(|_| name(cursor)).collect()
}

/// One step on, mostly.
fn revision(cursor: &mut Cursor<'_>, told: &Told) -> u64 {
    match cursor.byte() {
        0..=99 => told.revision,
        100..=199 => told.revision.saturating_add(1),
        200..=219 => told.revision.saturating_add(2),
        220..=229 => told.revision.saturating_sub(1),
        _ => cursor.number(),
    }
}

fn open_request(cursor: &mut Cursor<'_>, told: &Told) -> u64 {
    match cursor.byte() {
        n @ 0..=239 if !told.requests.is_empty() => {
            told.requests[usize::from(n) % told.requests.len()]
        }
        _ => cursor.number(),
    }
}

/// Appends a frame to `out`.
pub fn append(cursor: &mut Cursor<'_>, told: &Told, out: &mut Vec<u8>) {
    let begin = out.len();
    let ext = NoExtensions {};
    match cursor.below(24) {
        0 | 1 => welcome(cursor, told, out),
        2..=7 => changes(cursor, told, out),
        8 => {
            let revision = revision(cursor, told);
            let reason = Text(cursor.of(&["joined", "log_trimmed", "\u{202e}"]));
            Resync {
                revision,
                reason,
                ext,
            }
            .encode(out);
        }
        9 | 10 => {
            let sections = sections(cursor);
            Snapshot { sections, ext }.encode(out);
        }
        11 => {
            let revision = revision(cursor, told);
            Synced { revision, ext }.encode(out);
        }
        12 => {
            let revision = revision(cursor, told);
            if cursor.flag() {
                Ping { revision, ext }.encode(out);
            } else {
                Pong { revision, ext }.encode(out);
            }
        }
        13..=15 => outcome(cursor, told, out),
        16 => failure(cursor, told, out),
        17 | 18 => invoke(cursor, out),
        19 => {
            let (function, payload) = (name(cursor), cursor.bytes());
            let ext = CastOptions {
                event: name(cursor),
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
        20 => {
            let id = cursor.number();
            Cancel { id, ext }.encode(out);
        }
        21 => ending(cursor, out),
        22 => {
            let body = cursor.short();
            let mark = begin_frame(out);
            out.extend_from_slice(body);
            end_frame(out, mark);
        }
        _ => {
            if cursor.flag() {
                welcome(cursor, told, out);
            } else {
                changes(cursor, told, out);
            }
            let frame = &mut out[begin..];
            let at = usize::from(cursor.byte()) % frame.len();
            frame[at] ^= 1 << cursor.below(8);
        }
    }
}

/// WELCOME as an engine says it that may have met the worker before.
pub fn welcome(cursor: &mut Cursor<'_>, told: &Told, out: &mut Vec<u8>) {
    let shape = cursor.byte();
    let session = [cursor.byte(); 16];
    let limits = if shape & 1 == 0 {
        WorkerLimits::default()
    } else {
        WorkerLimits {
            max_frame: cursor.of(&[0, 1, 63, 64, 200, 100_000, u64::MAX]),
            max_payload: cursor.of(&[0, 1, 10, 1_000, u64::MAX]),
            max_functions: cursor.number(),
            max_entry: cursor.number(),
        }
    };
    Welcome {
        version: 1,
        worker: u64::from(shape >> 5),
        engine: name(cursor),
        epoch: if shape & 2 == 0 {
            told.epoch
        } else {
            cursor.number()
        },
        revision: revision(cursor, told),
        session: Bin(&session[..usize::from(session[0] % 17)]),
        digest: Bin(&session[..8]),
        ext: WelcomeOptions {
            ping_ms: cursor.of(&TIMES),
            silence_ms: cursor.of(&TIMES),
            settling_ms: cursor.of(&TIMES),
            resumed: shape & 4 == 4,
            taken_over: shape & 8 == 8,
            limits,
        },
    }
    .encode(out);
}

fn changes(cursor: &mut Cursor<'_>, told: &Told, out: &mut Vec<u8>) {
    let from = match cursor.byte() {
        0..=229 => told.revision,
        _ => cursor.number(),
    };
    Changes {
        from,
        to: match cursor.byte() {
            0..=199 => told.revision.saturating_add(1),
            200..=239 => told.revision.saturating_add(7),
            _ => cursor.number(),
        },
        more: cursor.below(6) == 5,
        sections: sections(cursor),
        ext: NoExtensions {},
    }
    .encode(out);
}

fn sections<'a>(cursor: &mut Cursor<'a>) -> Sections<'a> {
    let mut sections = Sections::default();
    match cursor.below(8) {
        0..=3 => sections.functions = functions(cursor),
        4 | 5 => sections.workers = workers(cursor),
        6 => sections.bindings = bindings(cursor),
        _ => {
            sections.functions = functions(cursor);
            sections.workers = workers(cursor);
            sections.bindings = bindings(cursor);
        }
    }
    sections
}

fn functions<'a>(cursor: &mut Cursor<'a>) -> FunctionSection<'a> {
    let definition = |name, cursor: &mut Cursor<'a>| Definition {
        name,
        description: Text(cursor.of(&["", "one", "two"])),
        exclusive: cursor.flag(),
        ..Definition::default()
    };
    let removed = names(cursor);
    let added = names(cursor);
    let updated = names(cursor);
    let definitions = |names: Vec<Text<'a>>, cursor: &mut Cursor<'a>| {
        let it = names.into_iter().map(|name| definition(name, cursor));
        it.collect()
    };
    FunctionSection {
        removed,
        added: definitions(added, cursor),
        updated: definitions(updated, cursor),
    }
}

fn workers<'a>(cursor: &mut Cursor<'a>) -> WorkerSection<'a> {
    let entry = |cursor: &mut Cursor<'a>| WorkerEntry {
        id: u64::from(cursor.byte() % 5),
        name: name(cursor),
        metadata: cursor.of(&[None, Some(b"\xc0".as_slice())]).map(Bin),
        added: names(cursor),
        removed: names(cursor),
    };
    let shape = cursor.byte();
    WorkerSection {
        removed: (0..shape & 1)
            .map(|_| WorkerKey {
                id: u64::from(cursor.byte() % 5),
                name: name(cursor),
            })
            .collect(),
        added: (0..shape >> 1 & 3).map(|_| entry(cursor)).collect(),
        updated: (0..shape >> 3 & 1).map(|_| entry(cursor)).collect(),
    }
}

fn bindings<'a>(cursor: &mut Cursor<'a>) -> BindingSection<'a> {
    let entry = |cursor: &mut Cursor<'a>| BindingEntry {
        event: name(cursor),
        function: name(cursor),
        id: name(cursor),
        config: Bin(cursor.of(&[b"".as_slice(), b"\xc0"])),
        deliver_all: cursor.flag(),
    };
    let shape = cursor.byte();
    BindingSection {
        removed: (0..shape & 1)
            .map(|_| BindingKey {
                event: name(cursor),
                function: name(cursor),
                id: name(cursor),
            })
            .collect(),
        added: (0..shape >> 1 & 3).map(|_| entry(cursor)).collect(),
        updated: (0..shape >> 3 & 1).map(|_| entry(cursor)).collect(),
    }
}

fn outcome(cursor: &mut Cursor<'_>, told: &Told, out: &mut Vec<u8>) {
    let id = open_request(cursor, told);
    let shape = cursor.byte();
    let payload = if shape & 1 == 1 {
        cursor.bytes()
    } else {
        Vec::new()
    };
    let ext = OutcomeOptions {
        revision: (shape & 2 == 2).then(|| revision(cursor, told)),
        matched: (shape & 4 == 4).then(|| cursor.number()),
    };
    let payload = Bin(&payload);
    Outcome { id, payload, ext }.encode(out);
}

fn failure(cursor: &mut Cursor<'_>, told: &Told, out: &mut Vec<u8>) {
    let id = open_request(cursor, told);
    let details = cursor.bytes();
    Failure {
        id,
        code: Text(cursor.of(&[
            "exclusive",
            "draining",
            "not_registered",
            "",
            "overloaded",
            "new",
        ])),
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

fn invoke(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    let (function, payload) = (name(cursor), cursor.bytes());
    Invoke {
        id: cursor.number(),
        function,
        timeout_ms: cursor.of(&TIMES),
        payload: Bin(&payload),
        ext: InvokeOptions {
            caller: cursor.number(),
            caller_name: name(cursor),
            headers: Bin(cursor.short()),
        },
    }
    .encode(out);
}

fn ending(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    match cursor.below(5) {
        0 => Drain::default().encode(out),
        4 => Rights::default().encode(out),
        1 => Register::default().encode(out),
        _ => Goodbye {
            code: Text(cursor.of(&["bye", "session_taken_over", "shutting_down", "new_word"])),
            message: name(cursor),
            ext: GoodbyeOptions {
                retry_after_ms: cursor.of(&[None, Some(1), Some(u64::MAX)]),
                versions: vec![cursor.number()],
            },
        }
        .encode(out),
    }
}
