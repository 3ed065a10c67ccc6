//! The token that a worker presents: a text, or a file that is read anew for each connection, so that a token can be
//! replaced without a restart. Never shown, not even for debugging.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// The token itself.
const VARIABLE: &str = "CALLBOARD_TOKEN";

/// The file that has it.
const FILE_VARIABLE: &str = "CALLBOARD_TOKEN_FILE";

/// Bytes of a token, at the most.
const BYTES_MAX: u64 = 1024;

/// Where a worker's token comes from.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<str>),
    File(PathBuf),
}

impl Token {
    /// This text. What can be seen by others, such as a command line, is no place for it.
    #[must_use]
    pub fn text(token: &str) -> Self {
        Self(Source::Text(token.trim_end().into()))
    }

    /// The text of this file, whatever it is at the time of each connection; white space at its end does not
    /// count.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// What `CALLBOARD_TOKEN` says; without it the file that `CALLBOARD_TOKEN_FILE` names; without both none.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty());
        if let Some(token) = named(VARIABLE) {
            return Some(Self::text(&token.to_string_lossy()));
        }
        named(FILE_VARIABLE).map(Self::file)
    }

    /// The token of now. Errors are those of reading the file; one that is empty, is no text, or has more than
    /// 1 KiB is [`io::ErrorKind::InvalidData`].
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
        0 => "there is no token in it",
        1..=BYTES_MAX => return Ok(token.into()),
        _ => "it is too long for a token",
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
