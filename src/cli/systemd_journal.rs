//! Detects systemd's journal on standard error, and writes lines with a priority for it. The journal adds the time
//! and the program's name.

use std::env;
use std::io::{self, Write};

use log::Level;
use rustix::fs::fstat;

/// `device:inode` of the stream that the journal gave to a service.
const STREAM: &str = "JOURNAL_STREAM";

/// Whether standard error is the journal's stream. The variable alone is not enough, since child processes inherit
/// it.
pub(super) fn is_stderr() -> bool {
    let Ok(stream) = env::var(STREAM) else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|it| stream == format!("{}:{}", it.st_dev, it.st_ino))
}

/// Writes a message, one journal line for each of its lines.
pub(super) fn write(out: &mut impl Write, level: Level, message: &str) -> io::Result<()> {
    for line in message.lines() {
        writeln!(out, "<{}>{line}", priority(level))?;
    }
    Ok(())
}

/// Syslog priorities: 3 is an error, 7 is debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_how_grave_it_is() {
        let mut out = Vec::new();
        write(&mut out, Level::Warn, "first\nsecond").unwrap();
        write(&mut out, Level::Debug, "third").unwrap();
        assert_eq!(out, b"<4>first\n<4>second\n<7>third\n");
    }
}
