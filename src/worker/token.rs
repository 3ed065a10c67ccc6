//! The token that a worker presents: a text, or a file read again for each connection, so that a token can be
//! replaced without a restart. Never printed, not even in debug output.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// Variable with the token itself.
const VARIABLE: &str = "CALLBOARD_TOKEN";

/// Variable with the path of the token's file.
const FILE_VARIABLE: &str = "CALLBOARD_TOKEN_FILE";

/// The longest token in bytes.
const BYTES_MAX: u64 = 1024;

/// The source of a worker's token.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<str>),
    File(PathBuf),
}

impl Token {
    /// A token given as text. Do not take it from where others can see it, such as a command line.
    #[must_use]
    pub fn text(token: &str) -> Self {
        Self(Source::Text(token.trim_end().into()))
    }

    /// A token read from this file for each connection. White space at the end is ignored.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The token in `CALLBOARD_TOKEN`, else the file named by `CALLBOARD_TOKEN_FILE`, else none.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty());
        if let Some(token) = named(VARIABLE) {
            return Some(Self::text(&token.to_string_lossy()));
        }
        named(FILE_VARIABLE).map(Self::file)
    }

    /// The current token. Fails if the file cannot be read, and with [`io::ErrorKind::InvalidData`] if it is empty,
    /// not text or larger than 1 KiB.
    pub fn read(&self) -> io::Result<Arc<str>> {
        let path = match &self.0 {
            Source::Text(token) => return checked(token),
            Source::File(path) => path,
        };
        let read = || {
            let mut text = String::new();
            let file = File::open(path)?;
            file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
            checked(text.trim_end())
        };
        read().map_err(|error| {
            let message = format!("{}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })
    }
}

fn checked(token: &str) -> io::Result<Arc<str>> {
    let what = match token.len() as u64 {
        0 => "it contains no token",
        1..=BYTES_MAX => return Ok(token.into()),
        _ => "it is too long to be a token",
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(_) => f.write_str("Token(…)"),
            Source::File(path) => write!(f, "Token(file {})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Token::file(&path);
        assert_eq!(token.read().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "one\n").unwrap();
        assert_eq!(&*token.read().unwrap(), "one");
        fs::write(&path, "two \r\n").unwrap();
        assert_eq!(&*token.read().unwrap(), "two");
        for wrong in [&b"\n"[..], b"\xff", &[b'x'; 2000]] {
            fs::write(&path, wrong).unwrap();
            let error = token.read().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("token"), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", Token::text("secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
