//! Why a command line makes no sense, in words. Decides nothing.

use std::fmt;

use callboard::address::AddressError;
use callboard::protocol::NameError;

use super::messagepack::PayloadError;

/// Why a command line makes no sense.
#[derive(Debug)]
pub(super) enum UsageError {
    /// No command at all.
    NoCommand,
    /// A command that does not exist, and one that it may have been meant for.
    UnknownCommand(String, Option<&'static str>),
    /// An option in front of the command that does not exist.
    UnknownOption(String),
    /// An option that does not exist, lacks its value, has one too much, or comes twice.
    Option(getopts::Fail),
    /// A value is not of its kind.
    Value {
        /// The flag or the variable that it was given by.
        place: String,
        value: String,
        error: ValueError,
    },
    /// An argument too much.
    Surplus(String),
    /// `expose` without a name.
    NoNames,
    /// A name is against the grammar.
    Name(String, NameError),
    /// This argument is missing.
    Missing(&'static str),
    /// The token that was given cannot be read.
    Token(std::io::Error),
    /// What `token` is to do.
    NeitherNewNorCheck(String),
    /// There is no such right.
    NoVerb(String),
    /// A flag that makes no sense without `-- COMMAND`.
    NoCommandFor(&'static str),
    /// A kind of measurement that does not exist.
    NoKind { given: String, known: String },
    /// A flag that this kind of measurement does not take.
    NotForKind(&'static str, &'static str),
    /// Two flags of which only one may be given.
    Together(&'static str, &'static str),
}

/// Why a value is not of its kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValueError {
    /// No duration.
    Duration,
    /// No number.
    Number,
    /// No address.
    Address(AddressError),
    /// No level of logging.
    Level,
    /// No name.
    Name(NameError),
    /// No payload.
    Payload(PayloadError),
    /// Not within these bounds.
    Range(usize, usize),
    /// No process.
    Process,
    /// None of these words.
    OneOf(&'static str),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration => f.write_str("it must be a time such as 500ms, 5s or 1m"),
            Self::Number => f.write_str("it must be a whole number"),
            Self::Address(error) => error.fmt(f),
            Self::Level => f.write_str("it must be off, error, warn, info, debug or trace"),
            Self::Name(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::OneOf(words) => write!(f, "it must be {words}"),
            Self::Process => f.write_str("there is no such process"),
            Self::Range(least, usize::MAX) => {
                write!(f, "it must be a whole number from {least} on")
            }
            Self::Range(least, most) => {
                write!(f, "it must be a whole number from {least} to {most}")
            }
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("a command is missing"),
            Self::UnknownCommand(given, None) => write!(f, "there is no command `{given}`"),
            Self::UnknownCommand(given, Some(meant)) => {
                write!(f, "there is no command `{given}`; is `{meant}` meant?")
            }
            Self::UnknownOption(given) => write!(f, "there is no option {given}"),
            Self::Option(fail) => match fail {
                getopts::Fail::ArgumentMissing(name) => write!(f, "--{name} needs a value"),
                getopts::Fail::UnrecognizedOption(name) => {
                    write!(f, "there is no option {}", dashed(name))
                }
                getopts::Fail::OptionMissing(name) => write!(f, "--{name} is missing"),
                getopts::Fail::OptionDuplicated(name) => write!(f, "--{name} is given twice"),
                getopts::Fail::UnexpectedArgument(name) => write!(f, "--{name} takes no value"),
            },
            Self::Value {
                place,
                value,
                error,
            } => match error {
                // These quote the value themselves.
                ValueError::Address(error) => write!(f, "{place}: {error}"),
                // A payload may be long.
                ValueError::Payload(error) => write!(f, "{place}: {error}"),
                error => write!(f, "{place}: `{value}`: {error}"),
            },
            Self::Surplus(argument) => write!(f, "`{argument}` is one argument too many"),
            Self::NoNames => f.write_str("there is no name to expose"),
            Self::Name(name, error) => write!(f, "`{name}`: {error}"),
            Self::Missing(argument) => write!(f, "{argument} is missing"),
            Self::Token(error) => write!(f, "cannot read the token: {error}"),
            Self::NeitherNewNorCheck(given) => {
                write!(f, "`{given}` is neither `new` nor `check`")
            }
            Self::NoVerb(given) => write!(
                f,
                "there is no right `{given}`; there are register, call, observe, emit, bind, admin"
            ),
            Self::NoCommandFor(flag) => {
                write!(f, "--{flag} is of no use without `-- COMMAND`")
            }
            Self::NoKind { given, known } => {
                write!(f, "KIND: there is no `{given}`; it is one of {known}")
            }
            Self::NotForKind(flag, kind) => write!(f, "--{flag} is of no use with `{kind}`"),
            Self::Together(one, other) => {
                write!(f, "--{one} and --{other} cannot be given together")
            }
        }
    }
}

/// getopts tells single letters and long names without their dashes.
fn dashed(name: &str) -> String {
    match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    }
}

impl std::error::Error for UsageError {}

impl From<getopts::Fail> for UsageError {
    fn from(fail: getopts::Fail) -> Self {
        Self::Option(fail)
    }
}
