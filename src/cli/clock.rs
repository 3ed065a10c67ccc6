//! The time of day for `watch`, in UTC: the standard library has no time zones.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time as `HH:MM:SS.mmm`.
pub(super) fn time_of_day() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    of_milliseconds(since.map_or(0, |since| since.as_millis() as u64))
}

fn of_milliseconds(since_epoch: u64) -> String {
    let (seconds, milliseconds) = (since_epoch / 1000, since_epoch % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{milliseconds:03}",
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_a_clock() {
        assert_eq!(of_milliseconds(0), "00:00:00.000");
        assert_eq!(of_milliseconds(1_700_000_000_123), "22:13:20.123");
    }
}
