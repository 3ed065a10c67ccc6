//! JSON output: one value per line, and MessagePack converted to it. A value without a JSON form becomes an object
//! that says so (`{"bin": "hex"}`), so that nothing is lost and nothing fails.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Number, Value, json};

use super::text::is_hidden;

/// Values nested deeper than this are shown as bytes, because peers choose the depth and recursion costs stack.
pub(super) const MAX_DEPTH: usize = 64;

/// Writes a value as one line. Characters that would affect a terminal are escaped, which JSON permits for any
/// character.
pub(super) fn write_line(out: &mut impl io::Write, value: &Value) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, Visible))?;
    out.write_all(b"\n")
}

/// A value as one line of text without a line end.
pub(super) fn to_text(value: &Value) -> String {
    let mut line = Vec::new();
    // Writing to memory does not fail, and a Value has only string keys.
    let _ = write_line(&mut line, value);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// The compact format of serde_json with hidden characters escaped.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// Schemas and metadata: null if empty, their JSON if they are MessagePack, otherwise `{"bin": "hex"}`.
pub(super) fn from_messagepack(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    let mut rest = bytes;
    match value(&mut rest, MAX_DEPTH) {
        Some(value) if rest.is_empty() => value,
        _ => bin(bytes),
    }
}

fn bin(bytes: &[u8]) -> Value {
    json!({ "bin": hex(bytes) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to memory does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Takes one value off the front; `None` if it is not MessagePack.
fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let marker = take(rest, 1)?[0];
    Some(match marker {
        0x00..=0x7f => marker.into(),
        0xe0..=0xff => marker.cast_signed().into(),
        0xc0 => Value::Null,
        0xc2 | 0xc3 => Value::Bool(marker == 0xc3),
        0xcc..=0xcf => unsigned(rest, 1 << (marker - 0xcc))?.into(),
        0xd0..=0xd3 => signed(rest, 1 << (marker - 0xd0))?.into(),
        0xca => {
            let float = f32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
            // By way of its text, so that 0.1 does not become 0.10000000149011612.
            float_value(float.to_string().parse().ok()?)
        }
        0xcb => float_value(f64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        0xa0..=0xbf => string(rest, usize::from(marker & 0x1f))?,
        0xd9..=0xdb => {
            let length = unsigned(rest, 1 << (marker - 0xd9))?;
            string(rest, length as usize)?
        }
        0xc4..=0xc6 => {
            let length = unsigned(rest, 1 << (marker - 0xc4))?;
            bin(take(rest, length as usize)?)
        }
        0x90..=0x9f => array(rest, u64::from(marker & 0x0f), depth)?,
        0xdc | 0xdd => {
            let length = unsigned(rest, 2 << (marker - 0xdc))?;
            array(rest, length, depth)?
        }
        0x80..=0x8f => map(rest, u64::from(marker & 0x0f), depth)?,
        0xde | 0xdf => {
            let length = unsigned(rest, 2 << (marker - 0xde))?;
            map(rest, length, depth)?
        }
        0xd4..=0xd8 => extension(rest, 1 << (marker - 0xd4))?,
        0xc7..=0xc9 => {
            let length = unsigned(rest, 1 << (marker - 0xc7))?;
            extension(rest, length as usize)?
        }
        0xc1 => return None,
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// A big-endian number of this many bytes.
fn unsigned(rest: &mut &[u8], bytes: usize) -> Option<u64> {
    let taken = take(rest, bytes)?;
    Some(taken.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

fn signed(rest: &mut &[u8], bytes: usize) -> Option<i64> {
    let shift = 64 - 8 * bytes;
    Some((unsigned(rest, bytes)? << shift).cast_signed() >> shift)
}

/// JSON has no infinities and no NaN: they become text.
fn float_value(float: f64) -> Value {
    match Number::from_f64(float) {
        Some(number) => Value::Number(number),
        None => float.to_string().into(),
    }
}

fn string(rest: &mut &[u8], length: usize) -> Option<Value> {
    let text = std::str::from_utf8(take(rest, length)?).ok()?;
    Some(text.into())
}

/// Nothing is allocated for a merely announced length.
fn array(rest: &mut &[u8], length: u64, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut elements = Vec::new();
    for _ in 0..length {
        elements.push(value(rest, depth)?);
    }
    Some(Value::Array(elements))
}

/// The last of equal keys counts.
fn map(rest: &mut &[u8], length: u64, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Map::new();
    for _ in 0..length {
        let key = key(rest, depth)?;
        members.insert(key, value(rest, depth)?);
    }
    Some(Value::Object(members))
}

/// Keys that are not text become the text of their JSON, arrays and maps that of their bytes: text nested in text
/// would double the escapes with each level.
fn key(rest: &mut &[u8], depth: usize) -> Option<String> {
    let begin = *rest;
    let is_nested = matches!(begin.first()?, 0x80..=0x9f | 0xdc..=0xdf);
    Some(match value(rest, depth)? {
        Value::String(text) => text,
        _ if is_nested => bin(&begin[..begin.len() - rest.len()]).to_string(),
        other => other.to_string(),
    })
}

fn extension(rest: &mut &[u8], length: usize) -> Option<Value> {
    let kind = take(rest, 1)?[0].cast_signed();
    let data = take(rest, length)?;
    Some(json!({ "ext": kind, "bin": hex(data) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messagepack_becomes_the_json_it_was_made_from() {
        let value = json!({
            "text": "größe", "list": [1, -1, 300, -300, 70_000, -70_000, u64::MAX, i64::MIN],
            "nothing": null, "yes": true, "no": false, "half": 0.5,
            "deep": {"long": "x".repeat(70_000), "many": vec![0; 20]},
        });
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        assert_eq!(from_messagepack(&bytes), value);
        for end in 1..200 {
            let cut = from_messagepack(&bytes[..end]);
            assert_eq!(cut, json!({"bin": hex(&bytes[..end])}), "cut at {end}");
        }
    }

    #[test]
    fn what_has_no_json_says_so() {
        for (bytes, want) in [
            (&b""[..], json!(null)),
            (b"\xc4\x02\x01\xff", json!({"bin": "01ff"})),
            (b"\xd4\x05\x09", json!({"ext": 5, "bin": "09"})),
            (b"\xc7\x02\xff\x01\x02", json!({"ext": -1, "bin": "0102"})),
            (b"\xca\x3d\xcc\xcc\xcd", json!(0.1)),
            (b"\xca\x7f\xc0\x00\x00", json!("NaN")),
            (b"\x82\x01\x02\xc0\x03", json!({"1": 2, "null": 3})),
            (b"\xc1", json!({"bin": "c1"})),
            (b"\x01\x02", json!({"bin": "0102"})),
            (b"\xa1\xff", json!({"bin": "a1ff"})),
            (b"\xdd\xff\xff\xff\xff\x01", json!({"bin": "ddffffffff01"})),
        ] {
            assert_eq!(from_messagepack(bytes), want, "{bytes:02x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![0x91; MAX_DEPTH];
        bytes.push(0xc0);
        assert!(from_messagepack(&bytes).is_array());
        let bytes = vec![0x91; 30_000];
        assert!(from_messagepack(&bytes).is_object());
    }

    #[test]
    fn maps_as_keys_of_maps_stay_short() {
        let mut bytes = vec![0x81; 60];
        bytes.push(0xa0);
        bytes.extend([0x01; 60]);
        let line = to_text(&from_messagepack(&bytes));
        assert!(line.len() < 4 * bytes.len(), "{} bytes", line.len());
        let line = to_text(&from_messagepack(b"\x81\x92\x01\x02\x03"));
        assert_eq!(line, r#"{"{\"bin\":\"920102\"}":3}"#);
    }

    #[test]
    fn a_line_cannot_move_the_cursor() {
        let value = json!({"a\u{202e}": "\u{9b}31m\u{1b}\u{7f}\n", "b": "ok \u{e0001}"});
        let line = to_text(&value);
        assert_eq!(
            line,
            r#"{"a\u202e":"\u009b31m\u001b\u007f\n","b":"ok \udb40\udc01"}"#
        );
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
