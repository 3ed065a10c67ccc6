//! Payloads on the command line: JSON from an argument or from standard input. `messagepack` converts it.

use std::io::{self, Read};

use super::failure::Failure;
use super::messagepack::MAX_JSON;
pub(super) use super::messagepack::{PayloadError, from_bytes, from_text};
use super::usage_error::{UsageError, ValueError};

/// The payload of an argument: JSON, `-` for JSON on standard input, null if there is none.
pub(super) fn from_argument(argument: Option<&str>) -> Result<Vec<u8>, Failure> {
    match argument {
        None => Ok(vec![0xc0]),
        Some("-") => {
            let json = read_stdin()?;
            Ok(from_bytes(&json).map_err(|error| refused("standard input", error))?)
        }
        Some(text) => Ok(from_text(text).map_err(|error| refused("JSON", error))?),
    }
}

/// Omits the text, which may be long.
fn refused(place: &str, error: PayloadError) -> UsageError {
    UsageError::Value {
        place: place.to_owned(),
        value: String::new(),
        error: ValueError::Payload(error),
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(MAX_JSON + 1);
    input.read_to_end(&mut bytes).map_err(Failure::Input)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_is_null() {
        assert_eq!(from_argument(None).unwrap(), [0xc0]);
    }
}
