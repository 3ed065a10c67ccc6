//! Why something is refused: the code for the peer's program, a sentence for people, and the limit, if it was
//! one. Every refusal that a limit causes is counted under its flag.

use crate::protocol::Code;

use super::rights::Verb;
use super::stats::Stats;

/// Characters of a name that a message shows.
const NAME_SHOWN: usize = 64;

/// Bytes of a message at the most.
const MESSAGE_MAX: usize = 1024;

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    /// The flag of the limit that was met.
    limit: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            limit: None,
        }
    }

    /// Because of rights. In the same words whether what is named exists or not.
    pub(super) fn forbidden(verb: Verb, name: &str) -> Self {
        let message = format!("no right to {verb} `{}`", shown(name));
        Self::new(Code::Forbidden, message)
    }

    /// Because of a limit, whose flag the message will name.
    pub(super) fn over(flag: &'static str, code: Code, message: &str) -> Self {
        Self {
            code,
            message: format!("{message} (--{flag})"),
            limit: Some(flag),
        }
    }

    /// Counts it, if a limit is behind it.
    pub(super) fn count(&self, stats: &mut Stats) {
        if let Some(flag) = self.limit {
            stats.count_limited(flag);
        }
    }
}

/// A name of a peer's choosing as a message can bear it: escaped, and not at any length.
pub(super) fn shown(name: &str) -> String {
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

/// A message that fits into a frame and a log line whatever a peer put into it.
pub(super) fn cut(message: &str) -> &str {
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
    fn names_and_messages_are_shown_in_part_when_they_are_long() {
        assert_eq!(shown("a::b\n"), "a::b\\n");
        assert_eq!(shown(&"x".repeat(NAME_SHOWN)), "x".repeat(NAME_SHOWN));
        let long = shown(&"\u{80}".repeat(100_000));
        assert!(long.len() < 10 * NAME_SHOWN && long.ends_with('\u{2026}'));
        assert_eq!(cut("short"), "short");
        let cut = cut(&"\u{20ac}".repeat(1000)).to_owned();
        assert!(cut.len() <= MESSAGE_MAX && cut.len() > MESSAGE_MAX - 4);
    }
}
