//! How fields look on the wire: strict borrowed text and bytes, and the macro for maps with short
//! string keys. serde alone would take bytes for text and arrays for structs; a protocol that
//! other languages speak must not.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A borrowed MessagePack `str`. Bytes are not taken for text.
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

impl<'de> Deserialize<'de> for Text<'de> {
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

/// Borrowed MessagePack `bin`: opaque to the engine. Text is not taken for bytes.
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

/// Declares a struct that travels as a map with string keys. A field at its default is left out;
/// an absent key reads as the default; an unknown key is skipped. That is how maps grow.
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
                                $( $key => value.$field = map.next_value()?, )*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    )*};
    (@owned $name:ident $de:lifetime $life:lifetime) => { $name<$de> };
    (@owned $name:ident $de:lifetime) => { $name };
}
pub(crate) use wire_map;
