//! Validates a frame body in one pass before serde sees it: exactly one MessagePack array, no deeper than allowed
//! and no wider than its own bytes. A body that passes decodes without surprises; any other is a `protocol_error`.
//! Skips `bin` payloads, so the cost does not grow with them, and never allocates.

use std::fmt;

/// The deepest nesting of arrays and maps, including the envelope's own array. rmp-serde would allow 1,024, which
/// overflows a 2 MiB stack in debug builds.
pub const MAX_DEPTH: usize = 32;

/// The most keys in one map of the envelope. Duplicates are found by comparing all pairs, so the number must be
/// small; the protocol's largest map has a dozen.
pub const MAX_MAP_KEYS: usize = 64;

/// The most elements in one array of the envelope. A decoded element may take a hundred times its encoded byte:
/// without a bound, a frame of a megabyte would occupy the engine for a tenth of a second. As many as one worker
/// may have functions (`--max-functions`).
pub const MAX_ELEMENTS: usize = 65_536;

/// Why a body is not well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The outermost value is not an array with at least one element.
    NotAnArray,
    /// The bytes end inside a value, or a header announces more elements than there are bytes.
    Truncated,
    /// Bytes follow the array, or the value.
    TrailingBytes(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// 0xc1, which MessagePack does not use.
    ReservedByte,
    /// An extension type, which the protocol does not use.
    ExtensionType,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A map key that is not a string.
    KeyNotString,
    /// A key occurs twice in one map.
    DuplicateKey,
    /// More than [`MAX_ELEMENTS`] elements in one array.
    TooManyElements,
    /// More than [`MAX_MAP_KEYS`] keys in one map.
    TooManyKeys,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArray => f.write_str("a frame must hold one array that starts with a kind"),
            Self::Truncated => f.write_str("a value is longer than the bytes that hold it"),
            Self::TrailingBytes(n) => write!(f, "{n} bytes follow the value"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Self::ReservedByte => f.write_str("byte 0xc1, which MessagePack reserves"),
            Self::ExtensionType => f.write_str("a MessagePack extension type"),
            Self::InvalidUtf8 => f.write_str("a string that is not UTF-8"),
            Self::KeyNotString => f.write_str("a map key that is not a string"),
            Self::DuplicateKey => f.write_str("the same key twice in a map"),
            Self::TooManyElements => {
                write!(
                    f,
                    "more than {MAX_ELEMENTS} elements in an array: use several requests"
                )
            }
            Self::TooManyKeys => write!(f, "more than {MAX_MAP_KEYS} keys in a map"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Checks that `body` is exactly one well-formed array. Returns the number of values in it, including itself and
/// map keys; the cost of decoding is proportional to that.
///
/// # Errors
/// The first fault found.
pub fn check_wellformed(body: &[u8]) -> Result<usize, Malformed> {
    if !matches!(body.first(), Some(0x91..=0x9f | 0xdc | 0xdd)) {
        return Err(Malformed::NotAnArray);
    }
    // Other encoders may use any width for the length; the length of an empty array is zero in each.
    if matches!(body, [0xdc, 0, 0, ..] | [0xdd, 0, 0, 0, 0, ..]) {
        return Err(Malformed::NotAnArray);
    }
    check_value(body)
}

/// Checks that `bytes` is exactly one well-formed value. Returns the number of values in it, as
/// [`check_wellformed`] does.
///
/// # Errors
/// The first fault found.
pub(crate) fn check_value(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut walk = Walk {
        rest: bytes,
        values: 0,
    };
    walk.value(MAX_DEPTH)?;
    match walk.rest.len() {
        0 => Ok(walk.values),
        n => Err(Malformed::TrailingBytes(n)),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<usize, Malformed> {
        Ok(self
            .take(width)?
            .iter()
            .fold(0, |n, &byte| n << 8 | usize::from(byte)))
    }

    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        let marker = self.take(1)?[0];
        self.values += 1;
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Ok(()),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth),
            0x90..=0x9f => self.array(usize::from(marker & 0x0f), depth),
            0xa0..=0xbf | 0xd9..=0xdb => self.string(marker).map(drop),
            0xc1 => Err(Malformed::ReservedByte),
            0xc4..=0xc6 => {
                let n = self.length(1 << (marker - 0xc4))?;
                self.take(n).map(drop)
            }
            0xc7..=0xc9 | 0xd4..=0xd8 => Err(Malformed::ExtensionType),
            0xca => self.take(4).map(drop),
            0xcb => self.take(8).map(drop),
            0xcc..=0xcf => self.take(1 << (marker - 0xcc)).map(drop),
            0xd0..=0xd3 => self.take(1 << (marker - 0xd0)).map(drop),
            0xdc | 0xdd => {
                let n = self.length(2 << (marker - 0xdc))?;
                self.array(n, depth)
            }
            0xde | 0xdf => {
                let n = self.length(2 << (marker - 0xde))?;
                self.map(n, depth)
            }
        }
    }

    fn string(&mut self, marker: u8) -> Result<&'a [u8], Malformed> {
        let n = match marker {
            0xa0..=0xbf => usize::from(marker & 0x1f),
            _ => self.length(1 << (marker - 0xd9))?,
        };
        let bytes = self.take(n)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(bytes),
            Err(_) => Err(Malformed::InvalidUtf8),
        }
    }

    fn array(&mut self, n: usize, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        if n > MAX_ELEMENTS {
            return Err(Malformed::TooManyElements);
        }
        // Every element takes at least one byte: a false header is refused before the first.
        if n > self.rest.len() {
            return Err(Malformed::Truncated);
        }
        (0..n).try_for_each(|_| self.value(depth))
    }

    fn map(&mut self, n: usize, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        if n > self.rest.len() / 2 {
            return Err(Malformed::Truncated);
        }
        if n > MAX_MAP_KEYS {
            return Err(Malformed::TooManyKeys);
        }
        // Nearly all maps are small; space for the largest would cost more than the pass itself.
        if n <= 8 {
            self.entries::<8>(n, depth)
        } else {
            self.entries::<MAX_MAP_KEYS>(n, depth)
        }
    }

    /// The `n` entries of a map, at most `ROOM`.
    fn entries<const ROOM: usize>(&mut self, n: usize, depth: usize) -> Result<(), Malformed> {
        let mut keys: [&[u8]; ROOM] = [&[]; ROOM];
        for i in 0..n {
            let marker = self.take(1)?[0];
            if !matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb) {
                return Err(Malformed::KeyNotString);
            }
            keys[i] = self.string(marker)?;
            self.values += 1;
            if keys[..i].contains(&keys[i]) {
                return Err(Malformed::DuplicateKey);
            }
            self.value(depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_name() {
        let cases: &[(&[u8], Malformed)] = &[
            (&[], Malformed::NotAnArray),
            (&[0x90], Malformed::NotAnArray),
            (&[0x01], Malformed::NotAnArray),
            (&[0x80], Malformed::NotAnArray),
            (&[0xdc, 0, 0], Malformed::NotAnArray),
            (&[0xdd, 0, 0, 0, 0], Malformed::NotAnArray),
            (&[0x91], Malformed::Truncated),
            (&[0x91, 0xc1], Malformed::ReservedByte),
            (&[0x91, 0xd4, 1, 1], Malformed::ExtensionType),
            (&[0x91, 0xc7, 0, 1], Malformed::ExtensionType),
            (&[0x91, 0x01, 0x02], Malformed::TrailingBytes(1)),
            (&[0x91, 0xa2, 0xff, 0xff], Malformed::InvalidUtf8),
            (&[0x91, 0xa5, b'a'], Malformed::Truncated),
            (&[0x91, 0xc6, 0xff, 0xff, 0xff, 0xff], Malformed::Truncated),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], Malformed::TooManyElements),
            (&[0xdd, 0, 1, 0, 1], Malformed::TooManyElements),
            (&[0xdd, 0, 1, 0, 0], Malformed::Truncated),
            (&[0x91, 0xdf, 0xff, 0xff, 0xff, 0xff], Malformed::Truncated),
            (&[0x91, 0x81, 0x01, 0x01], Malformed::KeyNotString),
            (
                &[0x91, 0x82, 0xa1, b'a', 1, 0xa1, b'a', 2],
                Malformed::DuplicateKey,
            ),
        ];
        for (bytes, want) in cases {
            assert_eq!(check_wellformed(bytes), Err(*want), "{bytes:02x?}");
        }
    }

    #[test]
    fn keys_and_values_are_counted() {
        let body = rmp_serde::to_vec_named(&serde_json::json!([{"a": 1, "b": {"c": []}}])).unwrap();
        assert_eq!(check_wellformed(&body), Ok(8));
    }

    #[test]
    fn maps_of_up_to_64_keys_pass_and_none_with_the_same_key_twice() {
        let map = |keys: &[u8]| {
            let header = [&[0x91, 0xde][..], &(keys.len() as u16).to_be_bytes()].concat();
            let entries = keys.iter().flat_map(|&key| [0xd9, 1, key, 0xc0]);
            header.into_iter().chain(entries).collect::<Vec<u8>>()
        };
        for n in 0..=MAX_MAP_KEYS + 2 {
            let mut keys: Vec<u8> = (0..n as u8).collect();
            let expected = match n {
                0..=MAX_MAP_KEYS => Ok(2 + 2 * n),
                _ => Err(Malformed::TooManyKeys),
            };
            assert_eq!(check_wellformed(&map(&keys)), expected, "{n} keys");
            // The last one equals any of those before.
            for same in 0..n.min(MAX_MAP_KEYS).saturating_sub(1) {
                keys.truncate(MAX_MAP_KEYS);
                *keys.last_mut().unwrap() = same as u8;
                let expected = Err(Malformed::DuplicateKey);
                assert_eq!(check_wellformed(&map(&keys)), expected, "{n} keys");
            }
        }
    }

    #[test]
    fn depth_is_capped_before_the_stack_is() {
        let nested = |n: usize| {
            let mut bytes = vec![0x91; n];
            bytes.push(0xc0);
            bytes
        };
        assert_eq!(check_wellformed(&nested(MAX_DEPTH)), Ok(MAX_DEPTH + 1));
        assert_eq!(
            check_wellformed(&nested(MAX_DEPTH + 1)),
            Err(Malformed::TooDeep)
        );
        assert_eq!(
            check_wellformed(&nested(1_000_000)),
            Err(Malformed::TooDeep)
        );
    }

    #[test]
    fn an_array_that_is_too_long_is_refused_by_its_header() {
        let list = |n: usize| {
            let header = [&[0x92, 0x01, 0xdd][..], &(n as u32).to_be_bytes()].concat();
            [header, vec![0x80; n]].concat()
        };
        assert_eq!(check_wellformed(&list(MAX_ELEMENTS)), Ok(3 + MAX_ELEMENTS));
        // The array is refused unread: its first element is not even checked.
        let mut long = list(MAX_ELEMENTS + 1);
        long[7] = 0xc1;
        assert_eq!(check_wellformed(&long), Err(Malformed::TooManyElements));
    }

    #[test]
    fn all_plain_values_pass() {
        let body = rmp_serde::to_vec(&(
            1u8,
            -1i8,
            1.5f32,
            2.5f64,
            true,
            (),
            "text",
            u64::MAX,
            i64::MIN,
            vec![1u8; 20],
            serde_bytes::Bytes::new(&[0xc1; 300]),
        ))
        .unwrap();
        // The array, its elements, and those of the list of twenty.
        assert_eq!(check_wellformed(&body), Ok(1 + 11 + 20));
        for end in 1..body.len() {
            assert!(check_wellformed(&body[..end]).is_err(), "cut at {end}");
        }
    }
}
