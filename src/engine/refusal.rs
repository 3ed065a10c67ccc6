//! A refusal: the error code for the peer's program, a sentence for people, and the flag of the limit, if a limit
//! caused it. Counts nothing; [`super::Engine`]'s metrics count a refusal that a limit caused under its flag.

use std::fmt;

use crate::protocol::Code;

/// Characters of a name that a message shows.
const NAME_SHOWN: usize = 64;

/// Bytes of a message at most.
const MESSAGE_MAX: usize = 1024;

/// The reason why a request or a connection is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    limit: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            limit: None,
        }
    }

    /// A right is missing. The words are the same whether the named thing exists or not.
    pub(crate) fn forbidden(verb: impl fmt::Display, name: &str) -> Self {
        let message = format!("no right to {verb} `{}`", shown(name));
        Self::new(Code::Forbidden, message)
    }

    /// A limit was met. The message names its flag.
    pub(crate) fn over(flag: &'static str, code: Code, message: &str) -> Self {
        Self {
            code,
            message: format!("{message} (--{flag})"),
            limit: Some(flag),
        }
    }

    /// The flag of the limit that was met.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        self.limit
    }
}

/// A peer's name, escaped and shortened for a message.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(NAME_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(NAME_SHOWN).is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// A message shortened to fit into a frame and a log line, whatever a peer put into it.
pub(crate) fn truncated(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_and_messages_are_shortened() {
        assert_eq!(shown("a::b\n"), "a::b\\n");
        assert_eq!(shown(&"x".repeat(NAME_SHOWN)), "x".repeat(NAME_SHOWN));
        let long = shown(&"\u{80}".repeat(100_000));
        assert!(long.len() < 10 * NAME_SHOWN && long.ends_with('\u{2026}'));
        assert_eq!(truncated("short"), "short");
        let cut = truncated(&"\u{20ac}".repeat(1000)).to_owned();
        assert!(cut.len() <= MESSAGE_MAX && cut.len() > MESSAGE_MAX - 4);
    }
}
