//! The lists of the engine's own functions, page by page. Prints nothing.

use callboard::worker::Worker;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::target::Target;

/// The most pages of a list to request.
const MAX_PAGES: usize = 1000;

#[derive(Serialize)]
struct Arguments<'a> {
    prefix: &'a str,
    after: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    entries: Vec<T>,
    #[serde(default = "Option::default")]
    next: Option<String>,
}

/// The rows of a list whose names begin with `prefix`. Those that came before an error are in `rows`.
pub(super) fn collect<T: DeserializeOwned>(
    (target, worker): (&Target, &Worker),
    function: &str,
    prefix: &str,
    rows: &mut Vec<T>,
) -> Result<(), Failure> {
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let arguments = Arguments {
            prefix,
            after: after.take(),
        };
        let arguments = rmp_serde::to_vec_named(&arguments).map_err(unreadable)?;
        let answer = target.ask_over(worker, function, arguments)?;
        let page: Page<T> = rmp_serde::from_slice(&answer).map_err(unreadable)?;
        rows.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(())
}

fn unreadable(error: impl std::error::Error + 'static) -> Failure {
    Failure::Command(error.into())
}
