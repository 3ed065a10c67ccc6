//! The grammar of names.

use std::fmt;

/// The longest name in bytes.
pub const NAME_MAX: usize = 255;

/// The prefix reserved for the engine.
const RESERVED: &str = "engine::";

/// Why a name is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// More than [`NAME_MAX`] bytes.
    TooLong(usize),
    /// A byte at this offset is not visible ASCII (0x21 to 0x7E).
    Invisible(usize),
    /// It is under `engine::`.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::TooLong(n) => write!(f, "the name has {n} bytes, the limit is {NAME_MAX}"),
            Self::Invisible(at) => write!(
                f,
                "byte {at} of the name is not visible ASCII (0x21 to 0x7E; no spaces)"
            ),
            Self::Reserved => write!(f, "names under `{RESERVED}` belong to the engine"),
        }
    }
}

impl std::error::Error for NameError {}

/// Checks a function's name: 1 to 255 bytes of visible ASCII, not under `engine::`.
pub fn check_function_name(name: &str) -> Result<(), NameError> {
    check_event_name(name)?;
    if name.starts_with(RESERVED) {
        Err(NameError::Reserved)
    } else {
        Ok(())
    }
}

/// Checks the name of an event or a namespace, or the id of a binding: 1 to 255 bytes of visible ASCII.
pub fn check_event_name(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    match name.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(at) => Err(NameError::Invisible(at)),
        None => Ok(()),
    }
}

/// Checks a worker's name, which is for people: 1 to 255 bytes of any UTF-8. Escape it before printing.
pub fn check_worker_name(name: &str) -> Result<(), NameError> {
    check_length(name)
}

fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        1..=NAME_MAX => Ok(()),
        n => Err(NameError::TooLong(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_names_are_visible_ascii_and_not_the_engines() {
        for good in [
            "a",
            "orders::create",
            "!~",
            "engine",
            "engine:x",
            &"x".repeat(255),
        ] {
            assert_eq!(check_function_name(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (&*"x".repeat(256), NameError::TooLong(256)),
            ("a b", NameError::Invisible(1)),
            ("a\n", NameError::Invisible(1)),
            ("\u{7f}", NameError::Invisible(0)),
            ("größe", NameError::Invisible(2)),
            ("engine::stats", NameError::Reserved),
        ] {
            assert_eq!(check_function_name(bad), Err(why), "{bad}");
        }
    }
}
