//! Keeps `expose` and `bind` running after registration until a signal, and reports when the engine is lost and
//! back. Registers nothing itself.

use callboard::worker::{Changes, ConnectionInfo, Notice};

use super::failure::Failure;
use super::output::Output;
use super::signals::Stop;
use super::text;

/// Prints the first line, then follows the connection until it ends for good.
pub(super) fn run_until_stopped(changes: Changes, stop: Stop, first: &str) -> Result<(), Failure> {
    let mut out = Output::stdout();
    out.line(first)?;
    out.flush()?;
    for notice in changes {
        match notice {
            Notice::Disconnected(_) if stop.is_given() => {}
            Notice::Disconnected(loss) => {
                let reason = loss.to_string();
                out.line(format_args!(
                    "lost the engine ({}); reconnecting",
                    text::visible(&reason)
                ))?;
            }
            Notice::Connected(connection) => out.line(back(&connection))?,
            Notice::NotRestored { name, refusal } => {
                let reason = refusal.to_string();
                out.line(format_args!(
                    "{} could not be registered again: {}",
                    text::visible(&name),
                    text::visible(&reason)
                ))?;
            }
            Notice::Restored { name } => {
                out.line(format_args!("{} is registered again", text::visible(&name)))?;
            }
            Notice::Ended(end) => {
                return stop.finish_after(end);
            }
            _ => {}
        }
        out.flush()?;
    }
    stop.finish()
}

fn back(connection: &ConnectionInfo) -> String {
    let engine = text::visible(&connection.engine);
    let address = &connection.address;
    format!("the engine is back (\"{engine}\" at {address}); registering again")
}
