//! A message: one MessagePack array `[kind, fields …, extensions?, anything newer …]`. Decoding
//! borrows from the frame; a message of the call path allocates nothing. Readers skip what they
//! don't know: further elements, keys, kinds.

use std::fmt;

use rmp_serde::Deserializer;
use rmp_serde::decode::ReadRefReader;
use serde::de::{DeserializeSeed, Error, SeqAccess};

use super::Malformed;
use super::wire::{Field, Strict};

/// Why a frame's body is no message that this version can read.
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

/// Declares the kinds: a struct each, the [`Message`] enum over them, and both ways of the wire.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? = $kind:literal { $($field:ident : $type:ty),* $(,)? }
        ext $ext:ty;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Default)]
            #[allow(missing_docs)] // The struct's own text names its fields.
            pub struct $name $(<$life>)? {
                $( pub $field: $type, )*
                pub ext: $ext,
            }

            impl $(<$life>)? $name $(<$life>)? {
                /// The number that stands first in the frame.
                pub const KIND: u64 = $kind;

                /// Appends this message to `out` as a whole frame, length included.
                ///
                /// # Panics
                /// When the frame is 16 MiB or longer; the limits are checked before.
                pub fn encode(&self, out: &mut Vec<u8>) {
                    use serde::ser::{SerializeTuple, Serializer};
                    let mark = super::begin_frame(out);
                    let plain = self.ext == Default::default();
                    let fields = 1 $( + { let _ = stringify!($field); 1 } )*;
                    let mut serializer = rmp_serde::Serializer::new(&mut *out);
                    let written = (|| {
                        let mut array =
                            serializer.serialize_tuple(fields + usize::from(!plain))?;
                        array.serialize_element(&Self::KIND)?;
                        $( array.serialize_element(&self.$field)?; )*
                        if !plain {
                            array.serialize_element(&self.ext)?;
                        }
                        array.end()
                    })();
                    written.expect("writing to memory does not fail");
                    super::end_frame(out, mark);
                }

                /// This message as a whole frame, length included.
                #[must_use]
                pub fn to_frame(&self) -> Vec<u8> {
                    self.to_frame_in(64)
                }

                /// The same, in memory that is taken once if the frame has at most `room` bytes.
                #[must_use]
                pub fn to_frame_in(&self, room: usize) -> Vec<u8> {
                    let mut out = Vec::with_capacity(room);
                    self.encode(&mut out);
                    out
                }
            }
        )*

        /// Any message.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // Each variant holds the struct of its name, documented there.
        pub enum Message<'a> {
            $( $name(messages!(@owned $name 'a $($life)?)), )*
            /// A kind that this version does not know.
            Unknown {
                /// The number that stands first in the frame.
                kind: u64,
                /// What a request's first field says, if this is a request.
                id: Option<u64>,
            },
        }

        impl<'a> Message<'a> {
            /// Reads the body of a frame.
            pub fn decode(body: &'a [u8]) -> Result<Self, super::DecodeError> {
                if let Some(hot) = super::hot::Hot::read(body) {
                    return Ok(hot.into_message());
                }
                super::check_wellformed(body)?;
                super::message::read_wellformed(body)
            }

            /// Appends this message to `out` as a whole frame. Nothing for [`Message::Unknown`].
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $( Self::$name(message) => message.encode(out), )*
                    Self::Unknown { .. } => {}
                }
            }

            /// The number that stands first in the frame.
            #[must_use]
            pub fn kind(&self) -> u64 {
                match self {
                    $( Self::$name(_) => $kind, )*
                    Self::Unknown { kind, .. } => *kind,
                }
            }

            /// The name of the kind's struct.
            #[must_use]
            pub fn kind_name(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => stringify!($name), )*
                    Self::Unknown { .. } => "Unknown",
                }
            }

            /// Name and number of every kind.
            pub const KINDS: &'static [(&'static str, u64)] =
                &[ $( (stringify!($name), $kind), )* ];
        }

        /// Reads the elements of a well-formed body as far as this version knows them.
        pub(super) fn read_elements<'de, A: serde::de::SeqAccess<'de>>(
            mut seq: A,
        ) -> Result<Message<'de>, A::Error> {
            use super::message::{extensions, field};
            let kind: u64 = field(&mut seq, "kind", "Message")?;
            let message = match kind {
                $( $kind => {
                    Message::$name($name {
                        $( $field: field(
                            &mut seq, stringify!($field), stringify!($name),
                        )?, )*
                        ext: extensions(&mut seq, stringify!($name))?,
                    })
                } )*
                _ if kind < super::FIRST_UNANSWERED_KIND => {
                    Message::Unknown { kind, id: Some(field(&mut seq, "id", "request")?) }
                }
                _ => Message::Unknown { kind, id: None },
            };
            Ok(message)
        }
    };
    (@owned $name:ident $own:lifetime $life:lifetime) => { $name<$own> };
    (@owned $name:ident $own:lifetime) => { $name };
}
pub(super) use messages;

pub use super::kinds::Message;

impl Message<'_> {
    /// The kind's name as the specification writes it.
    #[must_use]
    pub fn wire_name(&self) -> String {
        match self {
            // `Result` is taken in Rust.
            Self::Outcome(_) => "RESULT".to_owned(),
            Self::Unknown { kind, .. } => format!("kind {kind}"),
            _ => self.kind_name().to_uppercase(),
        }
    }
}

/// The number that stands first in a body, of which nothing else is looked at; `None` if there is none.
pub(crate) fn kind_of(mut body: &[u8]) -> Option<u64> {
    rmp::decode::read_array_len(&mut body).ok()?;
    rmp::decode::read_int(&mut body).ok()
}

/// The next positional field, or an error that names it.
pub(super) fn field<'de, T: Field<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    name: &'static str,
    of: &'static str,
) -> Result<T, A::Error> {
    match seq.next_element() {
        Ok(Some(Strict(value))) => Ok(value),
        Ok(None) => Err(A::Error::custom(format_args!(
            "{of} lacks its field `{name}`"
        ))),
        Err(error) => Err(A::Error::custom(format_args!(
            "{of}, field `{name}`: {error}"
        ))),
    }
}

/// What stands behind the fields, if anything does.
pub(super) fn extensions<'de, T: Field<'de> + Default, A: SeqAccess<'de>>(
    seq: &mut A,
    of: &'static str,
) -> Result<T, A::Error> {
    match seq.next_element() {
        Ok(Some(Strict(ext))) => Ok(ext),
        Ok(None) => Ok(T::default()),
        Err(error) => Err(A::Error::custom(format_args!("{of}, extensions: {error}"))),
    }
}

/// The elements of a body. `rmp_serde` wants to see the last of an array; here nobody looks at what a newer peer says
/// behind all that is known: it is well-formed, and it may be a megabyte.
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
    super::kinds::read_elements(Elements { rest, left })
        .map_err(|error| DecodeError::Field(error.to_string()))
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
        // Bytes are no text, text is no bytes, arrays and nil are no maps.
        assert!(error(&body(&(6, 1, serde_bytes::Bytes::new(b"f"), ""))).contains("function"));
        assert!(error(&body(&(6, 1, "f", "text"))).contains("payload"));
        assert!(Message::decode(&body(&(67, 5, [0u8; 0]))).is_err());
        assert!(Message::decode(&body(&(67, 5, ()))).is_err());
        assert!(error(&body(&(1, 1, false, [("a", "b")]))).contains("functions"));
        // Wherever it stands, the error says where that is.
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
