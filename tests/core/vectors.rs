//! The golden vectors of `tests/vectors/` against the code, both ways. The generic MessagePack reader
//! used here shares no code with the protocol's own encoding of messages. Never opens a socket.
//!
//! To add a vector, write its JSON view and leave `hex` empty: the failing test prints the hex.

use std::fmt::Write;

use callboard::protocol::{DecodeError, FrameError, HEADER_LEN, Inbox, Malformed, Message};
use rmpv::Value;
use serde_json::{Value as Json, json};

/// What the refused vectors were made for: the default of `--max-frame`.
const MAX_FRAME: usize = 1_114_112;

fn load(file: &str) -> Vec<Json> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    match serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}")) {
        Json::Array(vectors) if !vectors.is_empty() => vectors,
        _ => panic!("{path} is no list of vectors"),
    }
}

fn text<'a>(vector: &'a Json, key: &str) -> &'a str {
    vector[key]
        .as_str()
        .unwrap_or_else(|| panic!("`{key}` is missing in {vector}"))
}

fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to memory does not fail");
    }
    hex
}

fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte in {hex}");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"))
        .collect()
}

/// The body of the one frame that `hex` holds.
fn body_of(hex: &str) -> Vec<u8> {
    let frame = from_hex(hex);
    let mut input = &frame[..];
    let mut inbox = Inbox::default();
    let body = inbox
        .next(&mut input, MAX_FRAME)
        .expect("a frame")
        .expect("a whole frame")
        .to_vec();
    assert!(input.is_empty(), "more than one frame in {hex}");
    body
}

/// JSON view to MessagePack value, by the convention of `tests/vectors/README.md`.
fn value_of(view: &Json) -> Value {
    match view {
        Json::Null => Value::Nil,
        Json::Bool(bool) => (*bool).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => number
            .as_u64()
            .map_or_else(|| number.as_i64().expect("an integer").into(), Into::into),
        Json::Array(values) => Value::Array(values.iter().map(value_of).collect()),
        Json::Object(map) => match single(map) {
            Some(("bin", hex)) => Value::Binary(from_hex(hex)),
            Some(("int", digits)) => digits.parse::<u64>().expect("a u64").into(),
            _ => Value::Map(
                map.iter()
                    .map(|(key, value)| (key.as_str().into(), value_of(value)))
                    .collect(),
            ),
        },
    }
}

/// The key and the text of a map that has just one text in it.
fn single(map: &serde_json::Map<String, Json>) -> Option<(&str, &str)> {
    match map.iter().next() {
        Some((key, Json::String(text))) if map.len() == 1 => Some((key, text)),
        _ => None,
    }
}

/// MessagePack value to JSON view.
fn view_of(value: &Value) -> Json {
    const EXACT_IN_JSON: u64 = (1 << 53) - 1;
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(bool) => json!(bool),
        Value::Integer(integer) => match integer.as_u64() {
            Some(number) if number > EXACT_IN_JSON => json!({"int": number.to_string()}),
            Some(number) => json!(number),
            None => json!(integer.as_i64()),
        },
        Value::String(text) => json!(text.as_str().expect("UTF-8")),
        Value::Binary(bytes) => json!({"bin": to_hex(bytes)}),
        Value::Array(values) => values.iter().map(view_of).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().expect("a text key").to_owned(), view_of(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::F32(_) | Value::F64(_) | Value::Ext(..) => panic!("no message holds {value}"),
    }
}

/// The whole frame of a JSON view, every value in its shortest form.
fn frame_of(view: &Json) -> Vec<u8> {
    let mut body = Vec::new();
    rmpv::encode::write_value(&mut body, &value_of(view)).expect("memory takes every byte");
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn re_encoded(message: &Message<'_>) -> String {
    let mut out = Vec::new();
    message.encode(&mut out);
    to_hex(&out)
}

/// A kind as the documentation writes it: RESULT is `Outcome` in the code, where `Result` is taken.
fn documented_name(kind_name: &str) -> String {
    match kind_name {
        "Outcome" => "RESULT".to_owned(),
        name => name.to_uppercase(),
    }
}

#[test]
fn json_views_encode_to_the_golden_bytes() {
    for vector in load("messages.json") {
        let name = text(&vector, "name");
        let hex = to_hex(&frame_of(&vector["json"]));
        assert_eq!(
            text(&vector, "hex"),
            hex,
            "{name}: its hex should be\n{hex}"
        );
    }
}

#[test]
fn golden_bytes_decode_to_the_json_views() {
    for vector in load("messages.json") {
        let name = text(&vector, "name");
        let body = body_of(text(&vector, "hex"));
        let value = rmpv::decode::read_value(&mut &body[..]).expect(name);
        assert_eq!(view_of(&value), vector["json"], "{name}");
    }
}

#[test]
fn golden_messages_survive_decoding_and_encoding_byte_for_byte() {
    for vector in load("messages.json") {
        let (name, hex) = (text(&vector, "name"), text(&vector, "hex"));
        let body = body_of(hex);
        let message = Message::decode(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = documented_name(message.kind_name());
        assert_eq!(kind, text(&vector, "kind"), "{name}");
        assert_eq!(re_encoded(&message), hex, "{name}");
    }
}

#[test]
fn every_kind_and_every_extension_key_has_a_golden_vector() {
    let vectors = load("messages.json");
    for &(name, number) in Message::KINDS {
        let kind = documented_name(name);
        let of_kind: Vec<_> = vectors.iter().filter(|v| v["kind"] == *kind).collect();
        assert!(!of_kind.is_empty(), "{kind} has no vector");
        for vector in of_kind {
            assert_eq!(vector["json"][0], number, "{}", text(vector, "name"));
        }
    }
    let all = serde_json::to_string(&vectors).expect("JSON");
    for key in wire_keys() {
        assert!(
            all.contains(&format!("\"{key}\":")),
            "no vector has `{key}`"
        );
    }
}

/// Every key that the sources declare for a map on the wire.
fn wire_keys() -> Vec<&'static str> {
    let sources = [
        include_str!("../../src/protocol/kinds.rs"),
        include_str!("../../src/protocol/sections.rs"),
    ];
    let keys: Vec<_> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""))
        .map(|(_, key)| key)
        .collect();
    assert!(keys.len() > 50, "the sources are read wrongly: {keys:?}");
    keys
}

#[test]
fn vector_names_are_unique() {
    for file in ["messages.json", "accepted.json", "refused.json"] {
        let vectors = load(file);
        let mut names: Vec<_> = vectors.iter().map(|vector| text(vector, "name")).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{file}");
    }
}

#[test]
fn what_newer_and_other_encoders_write_reads_as_the_same_message() {
    for vector in load("accepted.json") {
        let name = text(&vector, "name");
        let body = body_of(text(&vector, "hex"));
        let message = Message::decode(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let reads_as = &vector["reads_as"];
        if let Message::Unknown { kind, id } = message {
            assert_eq!(
                value_of(&reads_as["unknown"]).as_u64(),
                Some(kind),
                "{name}"
            );
            assert_eq!(reads_as.get("id").and_then(Json::as_u64), id, "{name}");
            continue;
        }
        let kind = documented_name(message.kind_name());
        assert_eq!(kind, text(&vector, "kind"), "{name}");
        assert_ne!(re_encoded(&message), "", "{name}");
        assert_eq!(re_encoded(&message), to_hex(&frame_of(reads_as)), "{name}");
    }
}

#[test]
fn every_kind_is_read_from_newer_peers() {
    let vectors = load("accepted.json");
    for &(name, _) in Message::KINDS {
        let wanted = format!("newer-{}", documented_name(name).to_lowercase());
        assert!(
            vectors.iter().any(|vector| vector["name"] == *wanted),
            "there is no {wanted}"
        );
    }
}

#[test]
fn what_is_malformed_is_refused_for_the_reason_given() {
    for vector in load("refused.json") {
        let name = text(&vector, "name");
        let bytes = from_hex(text(&vector, "hex"));
        let mut input = &bytes[..];
        let mut inbox = Inbox::default();
        let error = match inbox.next(&mut input, MAX_FRAME) {
            Err(error) => frame_error(error),
            Ok(Some(body)) => match Message::decode(body) {
                Err(error) => decode_error(&error),
                Ok(message) => panic!("{name} was read as {message:?}"),
            },
            Ok(None) => panic!("{name} is not refused, more bytes are waited for"),
        };
        assert_eq!(error, text(&vector, "error"), "{name}");
    }
}

/// An engine refuses all of them. A client reads no fields of what only workers send.
#[test]
fn what_a_client_refuses_is_what_it_could_receive() {
    const FROM_WORKERS: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 64];
    for vector in load("refused.json") {
        let name = text(&vector, "name");
        let is_of_a_worker = text(&vector, "error") == "field" && {
            let body = body_of(text(&vector, "hex"));
            let value = rmpv::decode::read_value(&mut &body[..]).expect(name);
            let kind = value[0].as_u64();
            kind.is_some_and(|kind| FROM_WORKERS.contains(&kind))
        };
        assert_eq!(vector["client"], !is_of_a_worker, "{name}");
    }
}

/// Types are strict: whatever stands in a golden message, nothing of another type is taken for it. The
/// protocol has no nil, so that is tried everywhere, too.
#[test]
fn a_value_of_another_type_is_refused_wherever_it_stands() {
    let others = [
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(""),
        json!("x"),
        json!({"bin": ""}),
        json!({"bin": "01"}),
        json!([]),
        json!([1]),
        json!({}),
        json!({"x": 1}),
    ];
    let type_of = |view: &Json| match value_of(view) {
        Value::Integer(number) if number.is_u64() => "u64",
        Value::Integer(_) => "a negative number",
        Value::Binary(_) => "bin",
        Value::Nil => "nil",
        Value::Boolean(_) => "bool",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        _ => "map",
    };
    let mut tried = 0;
    for vector in load("messages.json") {
        if text(&vector, "kind") == "unknown" {
            continue;
        }
        let mut places = Vec::new();
        find_places(&vector["json"], &mut String::new(), &mut places);
        for place in places {
            let mut view = vector["json"].clone();
            let original = view.pointer(&place).expect("a place in it").clone();
            for other in &others {
                if type_of(other) == type_of(&original) {
                    continue;
                }
                *view.pointer_mut(&place).expect("the same place") = other.clone();
                let frame = frame_of(&view);
                let error = Message::decode(&frame[HEADER_LEN..]).map_err(|e| decode_error(&e));
                assert_eq!(error.err(), Some("field"), "{view} was taken, see {place}");
                tried += 1;
            }
        }
    }
    assert!(tried > 5_000, "only {tried} were tried");
}

/// Where values stand within `view`, as JSON pointers, `view` itself excepted.
fn find_places(view: &Json, path: &mut String, places: &mut Vec<String>) {
    let mut visit = |key: &str, value: &Json| {
        let length = path.len();
        path.push('/');
        path.push_str(key);
        places.push(path.clone());
        find_places(value, path, places);
        path.truncate(length);
    };
    match view {
        Json::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                visit(&at.to_string(), value);
            }
        }
        Json::Object(map) if !matches!(single(map), Some(("bin" | "int", _))) => {
            for (key, value) in map {
                visit(key, value);
            }
        }
        _ => {}
    }
}

/// Every reason for which bytes are refused has a vector: a new one does not compile without its word
/// below, and fails here without its vector.
#[test]
fn every_reason_for_refusal_has_a_vector() {
    let vectors = load("refused.json");
    let has = |error: &str| vectors.iter().any(|vector| vector["error"] == error);
    for error in FRAME_ERRORS.iter().chain(MALFORMED).chain(&["field"]) {
        assert!(has(error), "no vector is refused as {error}");
    }
}

const FRAME_ERRORS: &[&str] = &["foreign", "frame_too_large", "too_short"];

fn frame_error(error: FrameError) -> &'static str {
    FRAME_ERRORS[match error {
        FrameError::Foreign(_) => 0,
        FrameError::TooLarge { .. } => 1,
        FrameError::TooShort(_) => 2,
    }]
}

const MALFORMED: &[&str] = &[
    "not_an_array",
    "truncated",
    "trailing_bytes",
    "too_deep",
    "reserved_byte",
    "extension_type",
    "invalid_utf8",
    "key_not_string",
    "duplicate_key",
    "too_many_keys",
    "too_many_elements",
];

fn decode_error(error: &DecodeError) -> &'static str {
    let DecodeError::Malformed(malformed) = error else {
        return "field";
    };
    MALFORMED[match malformed {
        Malformed::NotAnArray => 0,
        Malformed::Truncated => 1,
        Malformed::TrailingBytes(_) => 2,
        Malformed::TooDeep => 3,
        Malformed::ReservedByte => 4,
        Malformed::ExtensionType => 5,
        Malformed::InvalidUtf8 => 6,
        Malformed::KeyNotString => 7,
        Malformed::DuplicateKey => 8,
        Malformed::TooManyKeys => 9,
        Malformed::TooManyElements => 10,
    }]
}
