//! Converts JSON to MessagePack; `json` converts back. Text in, bytes out: reads nothing and knows no command.

use std::fmt;

use rmp::encode;
use serde_json::{Map, Value};

use super::json::MAX_DEPTH;

/// The most bytes of JSON read: no frame is larger than 16 MiB, and JSON is longer than MessagePack.
pub(super) const MAX_JSON: u64 = 64 * 1024 * 1024;

/// Why a text is not a payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PayloadError {
    /// It is not JSON; the parser's message, with line and column.
    Json(String),
    /// It is nested deeper than [`MAX_DEPTH`].
    Depth,
    /// It is longer than this many bytes.
    TooLong(u64),
    /// It is not UTF-8.
    Encoding,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(reason) => write!(f, "invalid JSON: {reason}"),
            Self::Depth => write!(f, "it is nested deeper than {MAX_DEPTH}"),
            Self::TooLong(limit) => write!(f, "it is longer than {limit} bytes"),
            Self::Encoding => f.write_str("it is not UTF-8"),
        }
    }
}

impl std::error::Error for PayloadError {}

/// Converts JSON; only white space is null.
pub(super) fn from_bytes(json: &[u8]) -> Result<Vec<u8>, PayloadError> {
    if json.len() as u64 > MAX_JSON {
        return Err(PayloadError::TooLong(MAX_JSON));
    }
    from_text(std::str::from_utf8(json).map_err(|_| PayloadError::Encoding)?)
}

/// Like [`from_bytes`].
pub(super) fn from_text(json: &str) -> Result<Vec<u8>, PayloadError> {
    if json.trim_ascii().is_empty() {
        return Ok(vec![0xc0]);
    }
    // The parser has a depth limit of its own, beyond this one.
    let value =
        serde_json::from_str(json).map_err(|error| PayloadError::Json(error.to_string()))?;
    let mut bytes = Vec::with_capacity(json.len());
    write(&mut bytes, &value, MAX_DEPTH)?;
    Ok(bytes)
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), PayloadError> {
    // Writing to memory does not fail.
    match value {
        Value::Null => encode::write_nil(out).unwrap_or_default(),
        Value::Bool(yes) => encode::write_bool(out, *yes).unwrap_or_default(),
        Value::String(text) => encode::write_str(out, text).unwrap_or_default(),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                let _ = encode::write_uint(out, number);
            } else if let Some(number) = number.as_i64() {
                let _ = encode::write_sint(out, number);
            } else {
                let _ = encode::write_f64(out, number.as_f64().unwrap_or(f64::NAN));
            }
        }
        Value::Array(elements) => {
            let depth = depth.checked_sub(1).ok_or(PayloadError::Depth)?;
            let _ = encode::write_array_len(out, elements.len() as u32);
            for element in elements {
                write(out, element, depth)?;
            }
        }
        Value::Object(members) => {
            let depth = depth.checked_sub(1).ok_or(PayloadError::Depth)?;
            if write_bytes(out, members).is_some() {
                return Ok(());
            }
            let _ = encode::write_map_len(out, members.len() as u32);
            for (key, member) in members {
                let _ = encode::write_str(out, key);
                write(out, member, depth)?;
            }
        }
    }
    Ok(())
}

/// Converts `{"bin": "hex"}` and `{"ext": 5, "bin": "hex"}`, the form in which bytes and extension types are shown.
/// Returns `None`, without writing, if the object is neither.
fn write_bytes(out: &mut Vec<u8>, members: &Map<String, Value>) -> Option<()> {
    let data = unhex(members.get("bin")?.as_str()?)?;
    match (members.len(), members.get("ext")) {
        (1, _) => {
            let _ = encode::write_bin(out, &data);
        }
        (2, Some(kind)) => {
            let kind = i8::try_from(kind.as_i64()?).ok()?;
            let length = u32::try_from(data.len()).ok()?;
            // Negative types are MessagePack's own, and accepted like others.
            let _ = write_extension(out, length, kind);
            out.extend_from_slice(&data);
        }
        _ => return None,
    }
    Some(())
}

/// Like `rmp`, but for negative types too.
fn write_extension(out: &mut Vec<u8>, length: u32, kind: i8) -> Option<()> {
    match length {
        1 | 2 | 4 | 8 | 16 => out.push(0xd4 + u8::try_from(length.ilog2()).ok()?),
        _ => match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length), _) => out.extend_from_slice(&[0xc7, length]),
            (_, Ok(length)) => {
                out.push(0xc8);
                out.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.push(0xc9);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
    out.push(kind.cast_unsigned());
    Some(())
}

/// The bytes of lower-case hex, as `json` writes it; any other text is just text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::super::json::{from_messagepack, to_text};
    use super::*;

    #[test]
    fn json_comes_back_as_it_was_sent() {
        for text in [
            "null",
            "true",
            "0",
            "-1",
            "127",
            "128",
            "-32",
            "-33",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1e300",
            // Close to what a naive conversion gives.
            "1.8437095516164046e+29",
            "\"größe\"",
            "[]",
            "{}",
            r#"[1,-1,"a",{"b":null,"a":[false]}]"#,
            r#"{"bin":"00ff"}"#,
            r#"{"bin":""}"#,
            r#"{"ext":5,"bin":"09"}"#,
            r#"{"ext":-1,"bin":"010203"}"#,
            r#"{"bin":"0"}"#,
            r#"{"bin":"XY"}"#,
            r#"{"bin":"00","more":1}"#,
            r#"{"ext":500,"bin":"00"}"#,
        ] {
            let bytes = from_text(text).unwrap();
            let back = from_messagepack(&bytes);
            assert_eq!(back, serde_json::from_str::<Value>(text).unwrap(), "{text}");
            // The order of keys is kept too.
            if !text.contains("e300") && !text.contains("größe") {
                assert_eq!(to_text(&back), text);
            }
        }
    }

    #[test]
    fn bytes_and_extensions_travel_as_such() {
        assert_eq!(from_text(r#"{"bin":"00ff"}"#).unwrap(), b"\xc4\x02\x00\xff");
        let text = r#"{"ext":-1,"bin":"0102"}"#;
        assert_eq!(from_text(text).unwrap(), b"\xd5\xff\x01\x02");
        let long = format!(r#"{{"ext":7,"bin":"{}"}}"#, "00".repeat(70_000));
        let bytes = from_text(&long).unwrap();
        assert_eq!(bytes[..6], [0xc9, 0, 1, 0x11, 0x70, 7]);
        assert_eq!(to_text(&from_messagepack(&bytes)), long);
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(from_bytes(b""), Ok(vec![0xc0]));
        assert_eq!(from_bytes(b" \n"), Ok(vec![0xc0]));
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        for text in ["{", "{a:1}", "1 2", "NaN", "'a'", "[1,]"] {
            assert!(
                matches!(from_text(text), Err(PayloadError::Json(_))),
                "{text}"
            );
        }
        assert_eq!(from_bytes(b"\"\xff\""), Err(PayloadError::Encoding));
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(from_text(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(from_text(&nested(MAX_DEPTH + 1)), Err(PayloadError::Depth));
        assert!(from_text(&nested(100_000)).is_err());
    }
}
