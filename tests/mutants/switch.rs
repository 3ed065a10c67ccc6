//! The switches of the mutated copy: `mutants` puts this file into it as `src/mutant.rs`, and fills the lines that it
//! marks. Allocates nothing after the start of the program, because tests count allocations.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The ids of the mutants, by switch.
const IDS: &[&str] = &[/* ids */];

const OFF: u8 = 0;
/// The next evaluation is to be recorded.
const UNSEEN: u8 = 1;
const ON: u8 = 2;

static SWITCHES: [AtomicU8; IDS.len()] = [const { AtomicU8::new(OFF) }; IDS.len()];

/// One file for each mutant: its existence says that the switch was evaluated.
static RECORDS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Whether this mutant is the active one.
#[inline]
pub(crate) fn on(mutant: usize) -> bool {
    match SWITCHES[mutant].load(Ordering::Relaxed) {
        OFF => false,
        ON => true,
        _ => {
            record(mutant);
            false
        }
    }
}

#[cold]
fn record(mutant: usize) {
    // Without a free descriptor, a later evaluation is recorded.
    if RECORDS
        .get()
        .is_some_and(|files| std::fs::File::create(&files[mutant]).is_ok())
    {
        SWITCHES[mutant].store(OFF, Ordering::Relaxed);
    }
}

extern "C" fn start() {
    if let Ok(active) = std::env::var("CALLBOARD_MUTANT") {
        if let Some(mutant) = IDS.iter().position(|id| *id == active) {
            SWITCHES[mutant].store(ON, Ordering::Relaxed);
        }
    }
    if let Some(folder) = std::env::var_os("CALLBOARD_REACHED") {
        let files = IDS
            .iter()
            .map(|id| PathBuf::from(&folder).join(id))
            .collect();
        if RECORDS.set(files).is_ok() {
            SWITCHES
                .iter()
                .for_each(|switch| switch.store(UNSEEN, Ordering::Relaxed));
        }
    }
}

// Runs before `main`, also before that of a test program.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;
