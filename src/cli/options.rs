//! Commands and their flags as data: what getopts reads and what the help shows come from the same
//! list. Knows the shapes of values (numbers, durations, addresses), not what they are good for.

use std::ffi::OsString;
use std::time::Duration;

use callboard::address::Address;

use super::usage_error::{UsageError, ValueError};

/// One flag of a command.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    /// What stands for its value in the help; a flag without is a switch.
    pub(super) value: Option<&'static str>,
    pub(super) default: Option<String>,
    pub(super) text: &'static str,
    /// May be given more than once.
    pub(super) many: bool,
    pub(super) group: Group,
}

/// Where the help lists a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Options,
    Engine,
    Limits,
    /// Nowhere: between the program and itself.
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

    /// Its text, whether it may come more than once, and what holds without it.
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

/// The command line of one command, read.
#[derive(Debug)]
pub(super) struct Options {
    matches: getopts::Matches,
    before_dashes: usize,
}

impl Options {
    /// Reads the arguments that follow the command's name; `None` if they ask for help.
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

    /// The arguments that belong to no flag, up to `--`.
    pub(super) fn arguments(&self) -> &[String] {
        &self.matches.free[..self.before_dashes]
    }

    /// The arguments behind `--`.
    pub(super) fn behind_dashes(&self) -> &[String] {
        &self.matches.free[self.before_dashes..]
    }

    /// The only argument, if there is one; for commands that take no more.
    pub(super) fn one_argument(&self) -> Result<Option<&str>, UsageError> {
        match &self.matches.free[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [_, surplus, ..] => Err(UsageError::Surplus(surplus.clone())),
        }
    }

    /// Between so many and so many arguments; `names` says what they are, in order.
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

    /// A flag's value, read by `parse`.
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

/// Reads a duration: a whole number of `ms`, `s` or `m`, above zero.
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

/// Reads a plain number.
pub(super) fn number(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::Number)
}

/// Reads an address.
pub(super) fn address(text: &str) -> Result<Address, ValueError> {
    text.parse().map_err(ValueError::Address)
}

/// Reads addresses separated by commas.
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
