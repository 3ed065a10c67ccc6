//! Text for people: escapes what peers chose, groups digits, shortens lists, formats durations. Prints nothing.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

/// Whether a character would affect a terminal or be invisible: control characters, bidirectional marks and the
/// like. Spaces and combining marks pass.
pub(super) fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // The standard library knows which characters are printable, but reveals it only by escaping. After a letter,
    // because a combining mark on its own would be escaped.
    let mut buffer = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    match std::str::from_utf8(&buffer[..length]) {
        Ok(text) => text.escape_debug().nth(1) != Some(c),
        Err(_) => true,
    }
}

/// The text with hidden characters escaped as `\u{…}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Columns that a text without hidden characters takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Cut to this many columns, with `…` at the end if it was longer.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        // Measured together: a character may widen the one before it.
        if width(&out) + 1 > columns {
            out.pop();
            break;
        }
    }
    out.push('…');
    Cow::Owned(out)
}

/// Padded with spaces to this many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// With commas between groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 function`, `2,000 functions`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// The first few names of a list and the number of the rest, with hidden characters escaped.
pub(super) fn shortened<'a>(names: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let all = names.len();
    first_of(names, most, all)
}

/// The same of a list of so many, of which not all names are known.
pub(super) fn first_of<'a>(
    names: impl Iterator<Item = &'a str>,
    most: usize,
    all: usize,
) -> String {
    let shown: Vec<_> = names.take(most).map(visible).collect();
    let mut out = shown.join(", ");
    let more = all.saturating_sub(shown.len());
    if more > 0 {
        // Writing to memory does not fail.
        let _ = write!(out, ", +{}", grouped(more));
    }
    out
}

/// A short duration in milliseconds with its significant digits, a longer one in seconds.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// A duration of any length, in whole seconds and the units that a person would use.
pub(super) fn long_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_durations_have_two_units() {
        let shown = |seconds| long_duration(Duration::from_secs(seconds));
        let expected = [
            "0 s",
            "59 s",
            "1 min 0 s",
            "59 min 59 s",
            "1 h 0 min",
            "23 h 59 min",
            "1 d 0 h",
            "400 d 1 h",
        ];
        let seconds = [0, 59, 60, 3599, 3600, 86_399, 86_400, 400 * 86_400 + 3_600];
        assert_eq!(seconds.map(shown), expected);
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, shown) in [
            (
                "plain text, 'quoted' \\ \"so\"",
                "plain text, 'quoted' \\ \"so\"",
            ),
            ("größe 名前 e\u{301}", "größe 名前 e\u{301}"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\r\n\tb\u{7f}", "a\\u{d}\\u{a}\\u{9}b\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("a\u{2066}b\u{200f}", "a\\u{2066}b\\u{200f}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("line\u{2028}end", "line\\u{2028}end"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn columns_are_counted_as_a_terminal_does() {
        assert_eq!(width("名前"), 4);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("名前名前", 4), "名…");
        assert_eq!(cut("5\u{fe0f}bc", 2), "5…");
        assert_eq!(padded("名", 4), "名  ");
    }

    #[test]
    fn lists_and_numbers_stay_short() {
        let names = ["a", "b", "c", "\u{7}"];
        assert_eq!(shortened(names.iter().copied(), 2), "a, b, +2");
        assert_eq!(shortened(names.iter().copied(), 4), "a, b, c, \\u{7}");
        assert_eq!(count(1, "function"), "1 function");
        assert_eq!(count(10_000, "function"), "10,000 functions");
        assert_eq!(duration(Duration::from_micros(412)), "0.41 ms");
        assert_eq!(duration(Duration::from_millis(1500)), "1.5 s");
    }
}
