//! The units in `deploy/`, as far as systemd can judge them without running. Where there is no
//! systemd-analyze nothing is checked; `.ci/run` sees to it that there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// What `deploy/check-units` says of the units in this folder; none without systemd-analyze.
fn checked(units: &Path) -> Option<Output> {
    let there = Command::new("systemd-analyze").arg("--version").output();
    if there.is_err() {
        eprintln!("not checked: there is no systemd-analyze");
        return None;
    }
    let check = Command::new(deploy().join("check-units"))
        .arg(env!("CARGO_BIN_EXE_callboard"))
        .arg(units)
        .output();
    Some(check.unwrap())
}

/// The units with one line changed.
fn changed(unit: &str, line: &str, into: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["callboard.service", "callboard.socket"] {
        let mut text = fs::read_to_string(deploy().join(name)).unwrap();
        if name == unit {
            assert!(text.contains(line), "{line}");
            text = text.replace(line, into);
        }
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    if let Some(check) = checked(&deploy()) {
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(check.status.success(), "{said}");
    }
}

#[test]
fn the_check_of_the_units_finds_faults() {
    for (unit, line, into) in [
        ("callboard.service", "WatchdogSec=", "WatchdogSecs="),
        ("callboard.service", "Type=notify", "Type=notifies"),
        ("callboard.socket", "Backlog=4096", "Backlog=many"),
        (
            "callboard.service",
            "/usr/bin/callboard",
            "/usr/bin/callbored",
        ),
        // One weakness is enough: the exposure is near what may be.
        ("callboard.service", "SystemCallFilter=", "#"),
    ] {
        let units = changed(unit, line, into);
        if let Some(check) = checked(units.path()) {
            assert!(!check.status.success(), "{into} passed");
        }
    }
}
