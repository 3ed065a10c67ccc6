//! The macro that declares the kinds of messages, and how it reads their fields. Knows no kind.

use serde::de::{Error, SeqAccess};

use super::wire::{Field, Strict};

/// Declares the kinds: a struct each, the `Message` enum over them, and both ways of the wire.
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
                    let mark = super::frame::begin_frame(out);
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
                    super::frame::end_frame(out, mark);
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

        impl Message<'_> {
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
            use super::message_macro::{extensions, field};
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
                _ if kind < FIRST_UNANSWERED_KIND => {
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
