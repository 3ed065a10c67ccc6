//! The encoding of fields: strict borrowed text and bytes, strict lists, and the macro for maps with short string
//! keys. Plain serde would accept bytes as text or lists, nil for an absent key, and arrays for structs; a protocol
//! for several languages must not.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A value of a field or key. By default it is read as serde reads it.
pub(super) trait Field<'de>: Deserialize<'de> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl Field<'_> for u64 {}
impl Field<'_> for bool {}
impl<'de> Field<'de> for Text<'de> {}
impl<'de> Field<'de> for Bin<'de> {}

/// A present key has a value: nil is not accepted.
impl<'de, T: Field<'de>> Field<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Some)
    }
}

/// An array. When asked for a sequence, `rmp_serde` would return the bytes of a bin one by one.
impl<'de, T: Field<'de>> Field<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Field<'de>> Visitor<'de> for List<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                // Allocates the announced length: the body is well-formed, so it has at least as many bytes, and a
                // growing list would take up to three times as much.
                let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0));
                while let Some(Strict(value)) = seq.next_element()? {
                    list.push(value);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

/// Reads a field strictly; the wrapper that serde's interfaces require.
pub(super) struct Strict<T>(pub T);

impl<'de, T: Field<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

/// A borrowed MessagePack `str`. Bytes are not accepted as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<'a>(pub &'a str);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strict;
        impl<'de> Visitor<'de> for Strict {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text))
            }
        }
        deserializer.deserialize_str(Strict)
    }
}

/// A borrowed MessagePack `bin`, opaque to the engine. Text is not accepted as bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Bin<'a>(pub &'a [u8]);

impl fmt::Debug for Bin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bin({} bytes)", self.0.len())
    }
}

impl Deref for Bin<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl<'a> From<&'a [u8]> for Bin<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Serialize for Bin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bin<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strict;
        impl<'de> Visitor<'de> for Strict {
            type Value = Bin<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("binary data")
            }
            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bin<'de>, E> {
                Ok(Bin(bytes))
            }
        }
        deserializer.deserialize_bytes(Strict)
    }
}

/// The value of this key, or an error that names the key.
pub(super) fn value<'de, T: Field<'de>, A: MapAccess<'de>>(
    map: &mut A,
    key: &'static str,
) -> Result<T, A::Error> {
    map.next_value()
        .map(|Strict(value)| value)
        .map_err(|error| A::Error::custom(format_args!("`{key}`: {error}")))
}

/// Declares a struct encoded as a map with string keys. Fields at their default are omitted, absent keys read as
/// the default, and unknown keys are skipped: so maps can grow.
macro_rules! wire_map {
    ($(
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty = $key:literal, )*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name $(<$life>)? {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $(<$life>)? serde::Serialize for $name $(<$life>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let present = 0usize
                    $( + usize::from(self.$field != <$type as Default>::default()) )*;
                #[allow(unused_mut)]
                let mut map = serializer.serialize_map(Some(present))?;
                $( if self.$field != <$type as Default>::default() {
                    map.serialize_entry($key, &self.$field)?;
                } )*
                map.end()
            }
        }

        impl<'de: $($life,)? $($life)?> serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = wire_map!(@owned $name 'de $($life)?);
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a map: ", stringify!($name)))
                    }
                    #[allow(unused_mut)]
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut value = $name::default();
                        while let Some(key) = map.next_key::<$crate::protocol::Text<'de>>()? {
                            match key.0 {
                                $( $key => {
                                    value.$field = $crate::protocol::wire::value(&mut map, $key)?;
                                } )*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }

        impl<'de: $($life,)? $($life)?> $crate::protocol::wire::Field<'de> for $name $(<$life>)? {}
    )*};
    (@owned $name:ident $de:lifetime $life:lifetime) => { $name<$de> };
    (@owned $name:ident $de:lifetime) => { $name };
}
pub(crate) use wire_map;
