//! The log: lines on stderr with time and level, or with a priority if stderr is systemd's journal. Results never
//! go there.

use env_logger::{Builder, Env};
use log::LevelFilter;

use super::systemd_journal;
use super::usage_error::ValueError;

/// Parses a level.
pub(super) fn level(text: &str) -> Result<LevelFilter, ValueError> {
    text.parse().map_err(|_| ValueError::Level)
}

/// Starts the log with this level, or else the one in RUST_LOG, or else the default.
pub(super) fn start(level: Option<LevelFilter>, default: &str) {
    let mut log = match level {
        Some(level) => {
            let mut log = Builder::new();
            log.filter_level(level);
            log
        }
        None => Builder::from_env(Env::default().default_filter_or(default)),
    };
    if systemd_journal::is_stderr() {
        log.format(|out, record| {
            systemd_journal::write(out, record.level(), &record.args().to_string())
        });
    } else {
        log.format_target(false).format_timestamp_millis();
    }
    log.init();
}
