//! The macro that declares the message kinds, and the functions that read their fields. Knows no kind.

use serde::de::{Error, SeqAccess};

use super::wire::{Field, Strict};

/// Declares the kinds: a struct for each, the `Message` enum, encoding and decoding.
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
                /// The kind's number, the first element of the array.
                pub const KIND: u64 = $kind;

                /// Appends this message to `out` as a whole frame, length included.
                ///
                /// # Panics
                /// If the frame is 16 MiB or longer; the limits rule that out.
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

                /// The same, with a single allocation if the frame has at most `room` bytes.
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
                /// The kind's number.
                kind: u64,
                /// The id, if this is a request.
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

            /// The kind's number.
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

        /// Reads the known elements of a well-formed body.
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

/// The extensions behind the fields, if any.
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
