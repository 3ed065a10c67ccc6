//! Addresses of engines: `host:port` or `unix:/path`. One grammar for the engine, the worker library and the
//! command line. Never resolves a name, never opens a socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The default address of an engine.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:4747";

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `host:port`; the host may be a name, an IPv4 address or an IPv6 address in brackets.
    Tcp(String),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// The text, or an element of the list, is empty.
    Empty,
    /// No `:port` at the end.
    NoPort(String),
    /// The part after the last colon is not a number from 0 to 65535.
    BadPort(String),
    /// There is no host before the port.
    NoHost(String),
    /// `unix:` without a path.
    NoPath,
    /// The path exceeds the 107 bytes of a Unix socket's address.
    LongPath(String),
    /// A URL; this is not HTTP.
    Url(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an address is empty")?,
            Self::NoPort(text) => write!(f, "`{text}` has no port")?,
            Self::BadPort(text) => write!(f, "`{text}`: the port must be 0 to 65535")?,
            Self::NoHost(text) => write!(f, "`{text}` has no host")?,
            Self::NoPath => f.write_str("`unix:` has no path")?,
            Self::LongPath(path) => {
                write!(
                    f,
                    "`{path}` is longer than the 107 bytes of a Unix socket's path"
                )?;
            }
            Self::Url(text) => write!(f, "`{text}` is a URL")?,
        }
        f.write_str("; an address is host:port or unix:/path")
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(AddressError::NoPath),
                1..=107 => Ok(Self::Unix(PathBuf::from(path))),
                _ => Err(AddressError::LongPath(path.to_owned())),
            };
        }
        if text.contains("://") {
            return Err(AddressError::Url(text.to_owned()));
        }
        let bare_v6 = text.matches(':').count() > 1 && !text.contains("]:");
        let Some((host, port)) = text.rsplit_once(':').filter(|_| !bare_v6) else {
            return Err(AddressError::NoPort(text.to_owned()));
        };
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        if port.parse::<u16>().is_err() {
            return Err(AddressError::BadPort(text.to_owned()));
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl Address {
    /// Parses a comma-separated list, in order of preference.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        text.split(',').map(str::parse).collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_were_written() {
        for text in [
            "127.0.0.1:4747",
            "localhost:0",
            "[::1]:80",
            "unix:/run/callboard.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let list = Address::parse_list("a:1, unix:/b").unwrap();
        assert_eq!(
            list,
            [Address::Tcp("a:1".into()), Address::Unix("/b".into())]
        );
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            ("localhost", "no port"),
            ("::1", "no port"),
            (":80", "no host"),
            ("a:70000", "0 to 65535"),
            ("a:b", "0 to 65535"),
            ("unix:", "no path"),
            ("http://a:80", "URL"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("unix:/path"),
                "{text}: {error}"
            );
        }
        assert_eq!(Address::parse_list("a:1,,b:2"), Err(AddressError::Empty));
    }
}
