//! Flags and arguments: getopts and the help use the same list. Parses values (numbers, durations, addresses)
//! without knowing their purpose.

use std::ffi::OsString;
use std::time::Duration;

use callboard::address::Address;

use super::usage_error::{UsageError, ValueError};

/// A flag of a command.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    /// Placeholder of its value in the help; a flag without one is a switch.
    pub(super) value: Option<&'static str>,
    pub(super) default: Option<String>,
    pub(super) text: &'static str,
    /// Whether it may be given several times.
    pub(super) many: bool,
    pub(super) group: Group,
}

/// The group of a flag in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Options,
    Engine,
    Limits,
    /// Not listed: for the program's own use.
    Hidden,
}

impl Flag {
    pub(super) fn switch(long: &'static str, text: &'static str) -> Self {
        Self {
            long,
            value: None,
            default: None,
            text,
            many: false,
            group: Group::Options,
        }
    }

    pub(super) fn value(long: &'static str, value: &'static str, text: &'static str) -> Self {
        Self {
            value: Some(value),
            ..Self::switch(long, text)
        }
    }

    pub(super) fn default(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }

    pub(super) fn many(mut self) -> Self {
        self.many = true;
        self
    }

    pub(super) fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// The text of the help: its purpose, whether it may be repeated, and the default.
    pub(super) fn told(&self) -> String {
        let mut told = self.text.to_owned();
        if self.many {
            told.push_str(" May be given several times.");
        }
        if let Some(default) = &self.default {
            told.extend([" [", default, "]"]);
        }
        told
    }
}

/// The parsed command line of a command.
#[derive(Debug)]
pub(super) struct Options {
    matches: getopts::Matches,
    before_dashes: usize,
}

impl Options {
    /// Parses the arguments after the command's name; `None` if they ask for help.
    pub(super) fn read(
        flags: &[Flag],
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<Option<Self>, UsageError> {
        let mut known = getopts::Options::new();
        known.optflag("h", "help", "");
        for flag in flags {
            match (flag.value, flag.many) {
                (None, _) => known.optflag("", flag.long, ""),
                (Some(_), false) => known.optopt("", flag.long, "", ""),
                (Some(_), true) => known.optmulti("", flag.long, "", ""),
            };
        }
        let matches = known.parse(arguments)?;
        if matches.opt_present("help") {
            return Ok(None);
        }
        let before_dashes = matches.free_trailing_start().unwrap_or(matches.free.len());
        Ok(Some(Self {
            matches,
            before_dashes,
        }))
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.matches.opt_present(flag)
    }

    pub(super) fn value(&self, flag: &str) -> Option<String> {
        self.matches.opt_str(flag)
    }

    pub(super) fn values(&self, flag: &str) -> Vec<String> {
        self.matches.opt_strs(flag)
    }

    /// The positional arguments before `--`.
    pub(super) fn arguments(&self) -> &[String] {
        &self.matches.free[..self.before_dashes]
    }

    /// The arguments after `--`.
    pub(super) fn behind_dashes(&self) -> &[String] {
        &self.matches.free[self.before_dashes..]
    }

    /// The argument of a command that takes at most one.
    pub(super) fn one_argument(&self) -> Result<Option<&str>, UsageError> {
        match &self.matches.free[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [_, surplus, ..] => Err(UsageError::Surplus(surplus.clone())),
        }
    }

    /// The arguments of a command that takes from `least` to `N`; `names` are their names, in order.
    pub(super) fn few_arguments<const N: usize>(
        &self,
        least: usize,
        names: [&'static str; N],
    ) -> Result<[Option<&str>; N], UsageError> {
        let given = &self.matches.free;
        if let Some(surplus) = given.get(N) {
            return Err(UsageError::Surplus(surplus.clone()));
        }
        if given.len() < least {
            return Err(UsageError::Missing(names[given.len()]));
        }
        let mut given = given.iter().map(String::as_str);
        Ok([(); N].map(|()| given.next()))
    }

    /// For commands that take no arguments.
    pub(super) fn no_arguments(&self) -> Result<(), UsageError> {
        match self.matches.free.first() {
            None => Ok(()),
            Some(surplus) => Err(UsageError::Surplus(surplus.clone())),
        }
    }

    /// The value of a flag, parsed by `parse`.
    pub(super) fn parsed<T>(
        &self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<Option<T>, UsageError> {
        let Some(value) = self.value(flag) else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => Err(UsageError::Value {
                place: format!("--{flag}"),
                value,
                error,
            }),
        }
    }
}

/// Parses a duration: a whole number of `ms`, `s` or `m`, above zero.
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| ValueError::Duration)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(ValueError::Duration),
    };
    match number.checked_mul(factor) {
        None | Some(0) => Err(ValueError::Duration),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
    }
}

/// Parses a number.
pub(super) fn number(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::Number)
}

/// Parses an address.
pub(super) fn address(text: &str) -> Result<Address, ValueError> {
    text.parse().map_err(ValueError::Address)
}

/// Parses comma-separated addresses.
pub(super) fn addresses(text: &str) -> Result<Vec<Address>, ValueError> {
    Address::parse_list(text).map_err(ValueError::Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_are_above_zero() {
        for (text, milliseconds) in [("500ms", 500), ("5s", 5000), ("1m", 60_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "5",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "5 s",
            "5h",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(text), Err(ValueError::Duration), "{text}");
        }
        assert_eq!(duration("18446744073709551615m"), Err(ValueError::Duration));
    }
}
