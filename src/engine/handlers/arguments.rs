//! The arguments of the engine's own functions, read strictly: one map with text keys, and nothing behind it. Plain serde
//! would take an array for a struct, a number for a key, and the first of two values for all.

use serde::Deserialize;

use crate::engine::connection::input::Input;
use crate::engine::refusal::Refusal;
use crate::protocol::{Code, Text, check_value};

/// Entries of one page, unless another number is asked for.
const PAGE_DEFAULT: u64 = 1000;
/// Entries of one page at most.
const PAGE_MAX: u64 = 10_000;

/// The arguments of the lists. All keys may be absent, and so may the map.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListArguments<'a> {
    #[serde(borrow)]
    prefix: Option<Text<'a>>,
    #[serde(borrow)]
    after: Option<Text<'a>>,
    limit: Option<u64>,
}

impl<'a> ListArguments<'a> {
    pub(super) fn read(payload: &'a [u8], input: &Input) -> Result<Self, Refusal> {
        if matches!(payload, [] | [0xc0]) {
            return Ok(Self::default());
        }
        read(payload, input)
            .map_err(|error| refused("a map of `prefix`, `after`, `limit` is wanted", &error))
    }

    /// Only names with this prefix (of functions, workers, events).
    pub(super) fn prefix(&self) -> &'a str {
        self.prefix.map_or("", |prefix| prefix.0)
    }

    /// Only entries after this key: `next` of the previous page.
    pub(super) fn after(&self) -> Option<&'a str> {
        self.after.map(|after| after.0)
    }

    /// The number that the page before ended with.
    pub(super) fn number_after(&self) -> Result<Option<u64>, Refusal> {
        let number = self.after().map(str::parse).transpose();
        number.map_err(|_| {
            let message = "`after` must be the `next` of a page before";
            Refusal::new(Code::InvalidArgument, message)
        })
    }

    /// This many entries at most.
    pub(super) fn limit(&self) -> u64 {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }
}

/// The arguments of `engine::workers::kick`: one of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KickArguments<'a> {
    pub(super) worker: Option<u64>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
}

impl<'a> KickArguments<'a> {
    pub(super) fn read(payload: &'a [u8], input: &Input) -> Result<Self, Refusal> {
        let wanted = "a map of `worker` (an id) or `name` is wanted";
        let arguments: Self = read(payload, input).map_err(|error| refused(wanted, &error))?;
        if arguments.worker.is_some() == arguments.name.is_some() {
            return Err(Refusal::new(Code::InvalidArgument, wanted));
        }
        Ok(arguments)
    }
}

/// Reads a map. Skipped values cost time, too: a payload is not checked as its frame is.
fn read<'a, T: Deserialize<'a>>(payload: &'a [u8], input: &Input) -> Result<T, String> {
    let values = check_value(payload).map_err(|error| error.to_string())?;
    input.add_values(values);
    if !matches!(payload[0], 0x80..=0x8f | 0xde | 0xdf) {
        return Err("this is no map".to_owned());
    }
    rmp_serde::from_slice(payload).map_err(|error| error.to_string())
}

fn refused(wanted: &str, error: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, format!("{wanted}: {error}"))
}
