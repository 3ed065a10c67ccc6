//! A seed that hangs ends its test program, and says which it is.

use std::process::{Command, Stdio};

use crate::watchdog::{self, Watchdog};

const HANGING: &str = "a_seed_that_hangs";

#[test]
#[ignore = "hangs by design"]
fn a_seed_that_hangs() {
    let _watchdog = Watchdog::over("core", HANGING, 17);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_seed_that_hangs_ends_the_program_and_is_named_with_its_test() {
    let program = std::env::current_exe().expect("this program");
    let run = Command::new(program)
        .args(["--ignored", "--exact", "hang::a_seed_that_hangs"])
        .env(watchdog::VARIABLE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("this program runs");
    assert_eq!(run.status.code(), Some(101), "{run:?}");
    let said = String::from_utf8_lossy(&run.stderr);
    for words in [
        "test a_seed_that_hangs hangs: seed 17 has not ended after 1 s",
        "CALLBOARD_SEEDS=17..18 cargo test --test core a_seed_that_hangs",
    ] {
        assert!(said.contains(words), "{said}");
    }
}
