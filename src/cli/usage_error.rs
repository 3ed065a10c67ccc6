//! Why a command line is invalid, with messages. Decides nothing.

use std::fmt;

use callboard::address::AddressError;
use callboard::protocol::NameError;

use super::messagepack::PayloadError;

/// Why a command line is invalid.
#[derive(Debug)]
pub(super) enum UsageError {
    /// There is no command.
    NoCommand,
    /// An unknown command, and a similar one that exists.
    UnknownCommand(String, Option<&'static str>),
    /// An unknown option before the command.
    UnknownOption(String),
    /// An option is unknown, lacks its value, has one it does not take, or is repeated.
    Option(getopts::Fail),
    /// A value is invalid.
    Value {
        /// The flag or variable that it came from.
        place: String,
        value: String,
        error: ValueError,
    },
    /// A surplus argument.
    Surplus(String),
    /// `expose` without a name.
    NoNames,
    /// A name is invalid.
    Name(String, NameError),
    /// This argument is missing.
    Missing(&'static str),
    /// The token cannot be read.
    Token(std::io::Error),
    /// An unknown action of `token`.
    NeitherNewNorCheck(String),
    /// An unknown right.
    NoVerb(String),
    /// A flag that requires `-- COMMAND`.
    NoCommandFor(&'static str),
    /// An unknown kind of measurement.
    NoKind { given: String, known: String },
    /// A flag that does not apply to this kind of measurement.
    NotForKind(&'static str, &'static str),
    /// Two flags that exclude each other.
    Together(&'static str, &'static str),
}

/// Why a value is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValueError {
    /// Not a duration.
    Duration,
    /// Not a number.
    Number,
    /// Not an address.
    Address(AddressError),
    /// Not a log level.
    Level,
    /// Not a name.
    Name(NameError),
    /// Not a payload.
    Payload(PayloadError),
    /// Out of this range.
    Range(usize, usize),
    /// There is no such process.
    Process,
    /// None of these words.
    OneOf(&'static str),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration => f.write_str("it must be a duration such as 500ms, 5s or 1m"),
            Self::Number => f.write_str("it must be a whole number"),
            Self::Address(error) => error.fmt(f),
            Self::Level => f.write_str("it must be off, error, warn, info, debug or trace"),
            Self::Name(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::OneOf(words) => write!(f, "it must be {words}"),
            Self::Process => f.write_str("there is no such process"),
            Self::Range(least, usize::MAX) => {
                write!(f, "it must be a whole number of at least {least}")
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
            Self::UnknownCommand(given, None) => write!(f, "unknown command `{given}`"),
            Self::UnknownCommand(given, Some(meant)) => {
                write!(f, "unknown command `{given}`; did you mean `{meant}`?")
            }
            Self::UnknownOption(given) => write!(f, "unknown option {given}"),
            Self::Option(fail) => match fail {
                getopts::Fail::ArgumentMissing(name) => write!(f, "--{name} needs a value"),
                getopts::Fail::UnrecognizedOption(name) => {
                    write!(f, "unknown option {}", dashed(name))
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
                // These errors quote the value themselves.
                ValueError::Address(error) => write!(f, "{place}: {error}"),
                // A payload may be too long to quote.
                ValueError::Payload(error) => write!(f, "{place}: {error}"),
                error => write!(f, "{place}: `{value}`: {error}"),
            },
            Self::Surplus(argument) => write!(f, "unexpected argument `{argument}`"),
            Self::NoNames => f.write_str("there is no name to register"),
            Self::Name(name, error) => write!(f, "`{name}`: {error}"),
            Self::Missing(argument) => write!(f, "{argument} is missing"),
            Self::Token(error) => write!(f, "cannot read the token: {error}"),
            Self::NeitherNewNorCheck(given) => {
                write!(f, "`{given}` is neither `new` nor `check`")
            }
            Self::NoVerb(given) => write!(
                f,
                "unknown right `{given}`; the rights are register, call, observe, emit, bind, admin"
            ),
            Self::NoCommandFor(flag) => {
                write!(f, "--{flag} requires `-- COMMAND`")
            }
            Self::NoKind { given, known } => {
                write!(f, "KIND: unknown kind `{given}`; the kinds are {known}")
            }
            Self::NotForKind(flag, kind) => write!(f, "--{flag} does not apply to `{kind}`"),
            Self::Together(one, other) => {
                write!(f, "--{one} and --{other} cannot be given together")
            }
        }
    }
}

/// getopts reports single letters and long names without their dashes.
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
