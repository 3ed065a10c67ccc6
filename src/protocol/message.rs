//! Messages: one MessagePack array `[kind, fields …, extensions?, anything newer …]`. Decoding borrows from the
//! frame, and allocates nothing for messages of the call path. Readers skip unknown elements, keys and kinds.

use std::fmt;

use rmp_serde::Deserializer;
use rmp_serde::decode::ReadRefReader;
use serde::de::{DeserializeSeed, SeqAccess};

use super::fast_path::FastPath;
use super::kinds::{Message, read_elements};
use super::wellformed::{Malformed, check_wellformed};

/// Why the body of a frame is not a readable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// It is not well-formed.
    Malformed(Malformed),
    /// It is well-formed, but a field is missing or of the wrong type.
    Field(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Field(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<'a> Message<'a> {
    /// Reads the body of a frame.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if let Some(fast) = FastPath::read(body) {
            return Ok(fast.into_message());
        }
        check_wellformed(body)?;
        read_wellformed(body)
    }
}

impl Message<'_> {
    /// The kind's name as the specification writes it.
    #[must_use]
    pub fn wire_name(&self) -> String {
        match self {
            // `Result` is a reserved name in Rust.
            Self::Outcome(_) => "RESULT".to_owned(),
            Self::Unknown { kind, .. } => format!("kind {kind}"),
            _ => self.kind_name().to_uppercase(),
        }
    }
}

/// The kind of a body, without looking at the rest; `None` if there is none.
pub(crate) fn kind_of(mut body: &[u8]) -> Option<u64> {
    rmp::decode::read_array_len(&mut body).ok()?;
    rmp::decode::read_int(&mut body).ok()
}

/// The elements of a body. `rmp_serde` insists on reading an array to its end, but elements of a newer peer behind
/// the known ones are skipped unread: they are well-formed, and may be a megabyte.
struct Elements<'de> {
    rest: Deserializer<ReadRefReader<'de, [u8]>>,
    left: u32,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = rmp_serde::decode::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut self.rest).map(Some)
    }
}

/// Reads a well-formed body of any kind.
pub(crate) fn read_wellformed(mut body: &[u8]) -> Result<Message<'_>, DecodeError> {
    let left = rmp::decode::read_array_len(&mut body).map_err(|_| Malformed::NotAnArray)?;
    let rest = Deserializer::from_read_ref(body);
    read_elements(Elements { rest, left }).map_err(|error| DecodeError::Field(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::*;

    fn body(value: &impl serde::Serialize) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let hello = Hello {
            versions: vec![1, 2],
            name: Text("a"),
            namespace: Text("default"),
            ext: HelloOptions {
                watch: Some(Watch {
                    functions: Some(vec![Text("")]),
                    ..Watch::default()
                }),
                session: Some(Bin(&[7; 16])),
                ..HelloOptions::default()
            },
        };
        let frame = hello.to_frame();
        assert_eq!(
            Message::decode(&frame[HEADER_LEN..]),
            Ok(Message::Hello(hello))
        );
    }

    #[test]
    fn newer_peers_are_understood() {
        let plain = body(&(67, 5u64));
        let extended = body(&(
            67,
            5u64,
            serde_json::json!({"new": {"deep": [1, 2]}}),
            "more",
            7,
        ));
        let ping = Message::Ping(Ping {
            revision: 5,
            ext: NoExtensions {},
        });
        assert_eq!(Message::decode(&plain), Ok(ping.clone()));
        assert_eq!(Message::decode(&extended), Ok(ping));
    }

    #[test]
    fn an_unknown_request_keeps_its_id() {
        let want = Message::Unknown {
            kind: 63,
            id: Some(9),
        };
        assert_eq!(Message::decode(&body(&(63, 9, "x"))), Ok(want));
        let want = Message::Unknown {
            kind: 500,
            id: None,
        };
        assert_eq!(Message::decode(&body(&(500, "x"))), Ok(want));
    }

    #[test]
    fn wrong_types_are_refused_with_the_field_named() {
        let error = |body: &[u8]| Message::decode(body).unwrap_err().to_string();
        assert!(error(&body(&("x", 1))).contains("kind"));
        assert!(error(&body(&(67, "x"))).contains("revision"));
        assert!(error(&body(&(67,))).contains("lacks its field `revision`"));
        assert!(error(&body(&(67, -1))).contains("revision"));
        assert!(error(&body(&(63, "x"))).contains("id"));
        // Bytes are not text, text is not bytes, arrays and nil are not maps.
        assert!(error(&body(&(6, 1, serde_bytes::Bytes::new(b"f"), ""))).contains("function"));
        assert!(error(&body(&(6, 1, "f", "text"))).contains("payload"));
        assert!(Message::decode(&body(&(67, 5, [0u8; 0]))).is_err());
        assert!(Message::decode(&body(&(67, 5, ()))).is_err());
        assert!(error(&body(&(1, 1, false, [("a", "b")]))).contains("functions"));
        // The error names the place, wherever it is.
        let hello = |ext| error(&body(&(64, [1], "w", "n", ext)));
        let token = hello(serde_json::json!({"token": null}));
        assert!(token.contains("Hello, extensions: `token`: "), "{token}");
        let prefix = hello(serde_json::json!({"watch": {"functions": [1]}}));
        assert!(prefix.contains("`watch`: `functions`: "), "{prefix}");
        assert!(hello(serde_json::json!([])).starts_with("Hello, extensions: "));
    }

    #[test]
    fn the_kind_is_found_without_the_rest() {
        use super::kind_of;
        assert_eq!(kind_of(&[0x92, 70]), Some(70));
        assert_eq!(
            kind_of(&[0xdd, 0, 0, 0, 2, 0xcf, 0, 0, 0, 0, 0, 0, 0, 70]),
            Some(70)
        );
        assert_eq!(kind_of(&[0x92, 0xa1, b'x']), None);
        assert_eq!(kind_of(&[0x92]), None);
        assert_eq!(kind_of(&[70]), None);
    }

    #[test]
    fn kinds_are_told_apart() {
        let mut numbers: Vec<u64> = Message::KINDS.iter().map(|&(_, kind)| kind).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Message::KINDS.len());
    }
}
